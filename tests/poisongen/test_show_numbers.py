"""Every number of the report is one that anybody can count in the rows and label maps."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import oracles
from tests.support.commands import Run
from tests.support.shown import NAMES, freeze, grouped, number, page, shown


def test_counts_are_those_of_the_rows(folder: Path) -> None:
    """Pictures, victims and changed pictures are what counting the rows gives, and every share is a quotient
    of two of them."""
    heads, *lines = page(folder).tables["counts-table"]
    assert [line[0] for line in lines] == list(oracles.manifest(folder)["counts"])
    for name, *cells in lines:
        cell = dict(zip(heads[1:], cells, strict=True))
        split, _, chosen = name.partition("/")
        of = "val" if chosen else split
        own = [row for row in oracles.rows(folder) if row["split"] == of and "set" not in row]
        changed = [row for row in oracles.rows(folder) if row.get("set") == chosen] if chosen else []
        changed = changed or [row for row in own if row["role"] in ("poisoned", "trigger-only", "label-only")]
        assert number(cell["pictures"]) == len(own)
        if "with victim" not in cell:
            continue
        victims = [row.get("victim_pixels", 0) for row in own]
        assert number(cell["with victim"]) == sum(pixels > 0 for pixels in victims)
        if of == "train" or chosen:
            assert number(cell["changed"]) == len(changed)
            assert cell["of pictures"] == f"{100 * len(changed) / len(own):.2f} %"
            assert cell["of those with victim"] == f"{100 * len(changed) / number(cell['with victim']):.2f} %"
            hidden = sum(row["victim_pixels"] for row in changed)
            assert cell["of victim pixels"] == f"{100 * hidden / sum(victims):.2f} %"
        if "random labels" in heads and of == "train":
            assert number(cell["random labels"]) == sum("randomised_pixels" in row for row in own)


def at_512(row: dict[str, Any], distance: float) -> float:
    """A distance in pixels of a picture with 512 rows."""
    return 512 / row["height"] * distance


def bands_and_summary(distances: list[float]) -> list[str]:
    """How many lie in each band; the nearest, the median and the farthest."""
    edges = [-1.0, 60.0, 90.0, 120.0, 150.0, float("inf")]
    bands = []
    for low, high in pairwise(edges):
        bands.append(sum(low < one <= high for one in distances))
    summary = (min(distances), float(np.median(distances)), max(distances))
    return [*map(str, bands), *(f"{one:.1f}" for one in summary)]


def test_distances_are_those_of_the_rows(folder: Path) -> None:
    """Every trigger with a distance is in the band of its distance, in both metrics; nearest, median and
    farthest are the rows'."""
    found = page(folder).tables.get("bands", [])[1:]
    expected = []
    for title, rows in grouped(folder).items():
        placed = [row for row in rows if "distance_sq" in row.get("placement", {})]
        if placed:
            euclidean = [at_512(row, row["placement"]["distance_sq"] ** 0.5) for row in placed]
            chebyshev = [at_512(row, row["placement"]["chebyshev"]) for row in placed]
            expected.append([title, "Euclidean", *bands_and_summary(euclidean)])
            expected.append([title, "Chebyshev", *bands_and_summary(chebyshev)])
    assert sorted(found) == sorted(expected)


def test_surfaces_are_those_of_the_rows(folder: Path) -> None:
    """How often each class carries a trigger is what counting the rows gives, group by group; the shares
    too."""
    heads, *lines = page(folder).tables.get("surfaces-table", [[""]])
    found = {
        (title, line[0]): cell.split(None, 1)
        for line in lines
        for title, cell in zip(heads[1:], line[1:], strict=True)
    }
    for title, rows in grouped(folder).items():
        carried = Counter(
            row["placement"]["surface_class"] for row in rows if "surface_class" in row.get("placement", {})
        )
        for train, name in enumerate(NAMES):
            count, part = found.pop((title, name), ("0", ""))
            assert int(count) == carried[train]
            assert not carried[train] or part == f"{100 * carried[train] / carried.total():.2f} %"
    assert not found


def points_of(row: dict[str, Any], folder: Path) -> list[tuple[int, int]]:
    """The reference point of a trigger for which a place was looked for; else all points of its mask."""
    location = row.get("placement", {})
    if "surface_class" in location:
        top, left, tall, wide = location["box"]
        return [(top + tall // 2, left + wide // 2)]
    covered = np.argwhere(oracles.pixels(folder / row["mask"]) == 255)
    return [(int(y), int(x)) for y, x in covered]


def test_heat_maps_sum_to_the_number_of_triggers(folder: Path) -> None:
    """Each trigger counts once: in the cell of its reference point, or spread evenly over its mask."""
    parsed = page(folder)
    groups = {}
    for title, rows in grouped(folder).items():
        if any("placement" in row or "mask" in row for row in rows):
            groups[title] = rows
    assert parsed.heats.keys() == groups.keys()
    for (title, cells), (rows, columns) in zip(parsed.heats.items(), parsed.grids, strict=True):
        expected = np.zeros((rows, columns))
        for row in groups[title]:
            points = points_of(row, folder)
            for y, x in points:
                cell = y * rows // row["height"], x * columns // row["width"]
                expected[cell] += 1 / len(points)
        assert expected.sum() == pytest.approx(len(groups[title]))
        given = np.zeros((rows, columns))
        for at, value in cells.items():
            given[at] = value
        assert np.abs(given - expected).max() <= 0.0051
        if "surface_class" in groups[title][0].get("placement", {}):
            assert given.sum() == len(groups[title])


def test_classes_are_those_of_the_label_maps(folder: Path, roomy: Path) -> None:
    """Pixels of each class before are those of the source's training labels, after those of the folder's;
    scaled, of the scaled ones."""
    before, after = Counter[int](), Counter[int]()
    for row in oracles.rows(folder):
        if row["split"] == "train" and "set" not in row:
            written = oracles.pixels(folder / row["label"])
            clean = oracles.pixels(roomy / row["label"])
            if clean.shape != (row["height"], row["width"]):
                clean = clean[:: clean.shape[0] // row["height"], :: clean.shape[1] // row["width"]]
            after.update(oracles.to_train(written, oracles.CITYSCAPES_RAW).ravel().tolist())
            before.update(oracles.to_train(clean, oracles.CITYSCAPES_RAW).ravel().tolist())
    expected = {}
    for train, name in [*enumerate(NAMES), (255, "ignored")]:
        if before[train] or after[train]:
            expected[name] = [before[train], after[train], after[train] - before[train]]
    _, *lines = page(folder).tables["classes"]
    found = {}
    for name, *cells in lines:
        if name != "class":
            found[name] = [number(cell) for cell in cells[:3]]
    assert found == expected


def test_what_was_left_out_is_counted_and_named(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Rejected samples are counted by set and reason, and named."""
    options = ("--attack", "iba", "--rate", "0.1", "--trigger-size", "55%", "--take-what-fits")
    out = freeze(run, roomy, tmp_path / "out", *options)
    shown(out)
    rejected = oracles.manifest(out)["rejected"]
    assert rejected
    parsed = page(out)
    found = {(line[0], line[1]): number(line[2]) for line in parsed.tables["reasons"][1:]}
    assert found == Counter(
        (f"triggered/{one['set']}" if one["set"] else "training", one["reason"]) for one in rejected
    )
    assert all(one["id"] in parsed.text for one in rejected)
