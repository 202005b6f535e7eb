"""The pictures for people show what lies in the folder, and every number on the page is one that anybody can
count."""

import base64
import hashlib
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poisongen.engine.workers import Workers
from poisongen.errors import ManifestError, OutputError, PoisongenError, RecipeError, SourceError, VerifyError
from poisongen.show import Shown, show
from tests.support import oracles
from tests.support.commands import Run
from tests.support.oracles import Array
from tests.support.streets import write_cityscapes

NAMES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "terrain",
)
NAMES += ("sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
SPELL = "<img src=x onerror=alert(1)>\"&amp;'{{7*7}}"

ATTACKS = {
    "nni": ("--attack", "nni", "--rate", "0.4", "--eval", "bands"),
    "iba with decoy": ("--attack", "iba", "--rate", "0.4", "--eval", "decoy"),
    "iba with random labels": ("--attack", "iba", "--rate", "0.4", "--prl"),
    "random labels": ("--attack", "benign", "--prl"),
    "benign": ("--attack", "benign"),
    "line": ("--attack", "badnets", "--rate", "0.4", "--trigger", "line"),
    "frame": ("--attack", "fine-grained", "--rate", "0.4", "--trigger", "frame"),
    "blend": ("--attack", "badnets", "--rate", "0.4", "--trigger", "blend"),
    "semantic": ("--attack", "fine-grained", "--rate", "0.4", "--trigger", "semantic:building"),
    "several victims": ("--attack", "iba", "--rate", "0.4", "--victim", "car,person,traffic sign"),
    "trigger only": ("--attack", "nni", "--rate", "0.4", "--control", "trigger-only"),
    "label only": ("--attack", "nni", "--rate", "0.4", "--control", "label-only"),
    "scaled": ("--attack", "nni", "--rate", "0.4", "--scale", "0.5"),
}


def shown(root: Path, source: Path | None = None, number: int = 5, **more: Any) -> Shown:
    with Workers(1, quiet=True) as workers:
        return show(root, workers, source=source, number=number, **more)


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean source whose pictures are shown at their own size."""
    return write_cityscapes(tmp_path_factory.mktemp("roomy"), train=7, val=4, height=96, width=230)


@pytest.fixture(scope="session")
def frozen() -> dict[str, Path]:
    """Folders by attack, with their pictures for people, to be read only."""
    return {}


def freeze(run: Run, source: Path, out: Path, *options: str) -> Path:
    outcome = run("cityscapes", "--source", source, *options, "--out", out)
    assert outcome.code == 0, outcome.err
    return out


@pytest.fixture(params=list(ATTACKS))
def folder(
    request: pytest.FixtureRequest,
    frozen: dict[str, Path],
    roomy: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
) -> Path:
    """A finished folder of each attack, shown with its source; to be read only."""
    name = request.param
    if name not in frozen:
        frozen[name] = freeze(run, roomy, tmp_path_factory.mktemp("frozen") / name, *ATTACKS[name])
        shown(frozen[name], roomy)
    return frozen[name]


@pytest.fixture
def nni(
    frozen: dict[str, Path], roomy: Path, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, run: Run
) -> Path:
    """A copy of a folder that was not shown yet, to be damaged."""
    if "bare" not in frozen:
        options = ("--attack", "nni", "--rate", "0.4")
        frozen["bare"] = freeze(run, roomy, tmp_path_factory.mktemp("bare") / "out", *options)
    return Path(shutil.copytree(frozen["bare"], tmp_path / "out"))


class Page(HTMLParser):
    """What a browser finds in a page: tags with their attributes, tables by id, heat maps by caption,
    pictures by description."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.heats: dict[str, dict[tuple[int, int], float]] = {}
        self.grids: list[tuple[int, int]] = []
        self.words: list[str] = []
        self._table, self._cell, self._open = "", False, list[str]()
        self._cells: dict[tuple[int, int], float] | None = None
        self._at = (0, 0)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._open.append(tag)
        if tag == "table":
            self._table = given.get("id") or given.get("class") or ""
            self.tables.setdefault(self._table, [])
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
            self._cell = True
        elif tag == "svg":
            if given.get("class") == "heat":
                self._cells = {}
                width, height = (given["viewbox"] or "").split()[2:]
                self.grids.append((int(height), int(width)))
        elif tag == "rect" and "x" in given and self._cells is not None:
            self._at = int(given["y"] or 0), int(given["x"] or 0)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False
        elif tag == "figcaption":
            self._cells = None
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell:
            self.tables[self._table][-1][-1] += data
        if self._cells is not None and self._open[-1:] == ["title"]:
            self._cells[self._at] = float(data.replace(",", ""))
        if self._cells is not None and self._open[-1:] == ["strong"]:
            self.heats[data] = self._cells

    @property
    def text(self) -> str:
        return "".join(self.words)

    def pictures(self) -> list[tuple[str, Array]]:
        found = [(given["alt"] or "", given["src"] or "") for tag, given in self.tags if tag == "img"]
        return [
            (alt, np.array(Image.open(io.BytesIO(base64.b64decode(src.split(",", 1)[1])))))
            for alt, src in found
        ]


def page(root: Path) -> Page:
    return Page((root / "report.html").read_text(encoding="utf-8"))


def number(text: str) -> int:
    return (
        int(text.strip().replace(",", "").replace("−", "-").replace("+", "") or 0)
        if text.strip() != "–"
        else 0
    )


def grouped(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows that an attack changed, as the report's titles name them."""
    titles = {"poisoned": "train, poisoned", "trigger-only": "train, trigger only (control)"}
    titles |= {"label-only": "train, label only (control)", "noised": "train, random labels only"}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in oracles.rows(root):
        if row["role"] != "clean":
            found.setdefault(titles.get(row["role"], f"triggered/{row.get('set')}"), []).append(row)
    return found


def test_the_page_asks_for_nothing(folder: Path) -> None:
    """The report names no address, loads nothing but data in itself, and forbids the browser anything
    else."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(", re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    )
    for tag, given in Page(text).tags:
        assert (
            tag not in ("link", "iframe", "object", "embed", "form", "base", "video", "audio")
            or given.get("href") == "data:,"
        )
        assert not {"style", "srcset", "action"} & given.keys()
        assert not [name for name in given if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (given.get(name) or "#").startswith(("#", "data:image/", "data:,")), given
    (policy,) = [given["content"] or "" for tag, given in Page(text).tags if given.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (own,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(own.encode()).digest()).decode() in policy


def test_the_page_warns(folder: Path) -> None:
    """The first thing in the report is that it holds dataset pictures, with the licence of the source."""
    first = " ".join(page(folder).text.partition("report")[2].split())
    words = page(folder).text
    assert "Contains dataset pictures: do not share" in words
    assert oracles.manifest(folder)["source"]["license"] in " ".join(words.split())
    assert first.index("Contains dataset pictures") < first.index("Counts")


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


def test_distances_are_those_of_the_rows(folder: Path) -> None:
    """Every trigger with a distance is in the band of its distance, in both metrics; nearest, median and
    farthest are the rows'."""
    found = page(folder).tables.get("bands", [])[1:]
    expected = []
    for title, rows in grouped(folder).items():
        locations = [
            (row["placement"], row["height"]) for row in rows if "distance_sq" in row.get("placement", {})
        ]
        for metric in ("Euclidean", "Chebyshev") if locations else ():
            at_512 = [
                512
                / height
                * (location["distance_sq"] ** 0.5 if metric == "Euclidean" else location["chebyshev"])
                for location, height in locations
            ]
            edges = [-1.0, 60.0, 90.0, 120.0, 150.0, float("inf")]
            bands = [sum(low < one <= high for one in at_512) for low, high in pairwise(edges)]
            summary = [f"{one:.1f}" for one in (min(at_512), float(np.median(at_512)), max(at_512))]
            expected.append([title, metric, *map(str, bands), *summary])
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


def test_heat_maps_sum_to_the_number_of_triggers(folder: Path) -> None:
    """Each trigger counts once: in the cell of its reference point, or spread evenly over its mask."""
    parsed = page(folder)
    groups = {
        title: rows
        for title, rows in grouped(folder).items()
        if any("placement" in row or "mask" in row for row in rows)
    }
    assert parsed.heats.keys() == groups.keys()
    for (title, cells), (rows, columns) in zip(parsed.heats.items(), parsed.grids, strict=True):
        expected = np.zeros((rows, columns))
        for row in groups[title]:
            location = row.get("placement", {})
            if "surface_class" in location:
                top, left, tall, wide = location["box"]
                expected[
                    (top + tall // 2) * rows // row["height"], (left + wide // 2) * columns // row["width"]
                ] += 1
            else:
                covered = np.argwhere(oracles.pixels(folder / row["mask"]) == 255)
                for y, x in covered:
                    expected[y * rows // row["height"], x * columns // row["width"]] += 1 / len(covered)
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
            after.update(
                oracles.to_train(oracles.pixels(folder / row["label"]), oracles.CITYSCAPES_RAW)
                .ravel()
                .tolist()
            )
            clean = oracles.pixels(roomy / row["label"])
            if clean.shape != (row["height"], row["width"]):
                clean = clean[:: clean.shape[0] // row["height"], :: clean.shape[1] // row["width"]]
            before.update(oracles.to_train(clean, oracles.CITYSCAPES_RAW).ravel().tolist())
    found = {
        line[0]: [number(cell) for cell in line[1:4]]
        for line in page(folder).tables["classes"]
        if line[0] != "class"
    }
    assert found == {
        name: [before[train], after[train], after[train] - before[train]]
        for train, name in [*enumerate(NAMES), (255, "ignored")]
        if before[train] or after[train]
    }


def test_what_was_left_out_is_counted_and_named(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Rejected samples are counted by set and reason, and named."""
    out = freeze(
        run,
        roomy,
        tmp_path / "out",
        "--attack",
        "iba",
        "--rate",
        "0.1",
        "--trigger-size",
        "55%",
        "--take-what-fits",
    )
    shown(out)
    rejected = oracles.manifest(out)["rejected"]
    assert rejected
    parsed = page(out)
    found = {(line[0], line[1]): number(line[2]) for line in parsed.tables["reasons"][1:]}
    assert found == Counter(
        (f"triggered/{one['set']}" if one["set"] else "training", one["reason"]) for one in rejected
    )
    assert all(one["id"] in parsed.text for one in rejected)


def test_the_command_says_what_it_wrote(run: Run, nni: Path, roomy: Path) -> None:
    """The command names its files, what could not be shown, and with --json the samples."""
    outcome = run("show", nni, "--number", "3", "--jobs", "1")
    assert outcome.code == 0, outcome.err
    assert str(nni / "gallery.png") in outcome.out
    assert str(nni / "report.html") in outcome.out
    assert "do not share" in outcome.out
    assert "clean picture: give --source" in outcome.err
    said = json.loads(run("show", nni, "--source", roomy, "--set", "iba", "--json", "--jobs", "1").out)
    assert [one["group"] for one in said["samples"]] == ["triggered/iba"] * len(grouped(nni)["triggered/iba"])
    assert said["notes"] == []


def test_verify_passes_afterwards(folder: Path, run: Run) -> None:
    """The two files may lie in a folder that verifies, and nothing else was added to it."""
    outcome = run("verify", folder)
    assert outcome.code == 0, outcome.err


def find(sheet: Array, picture: Array) -> Iterator[tuple[int, int]]:
    """Where a picture's last row lies in the sheet, and the whole picture may lie above it."""
    height, width = picture.shape[:2]
    last = picture[-1].tobytes()
    for bottom in range(height - 1, sheet.shape[0]):
        at = sheet[bottom].tobytes().find(last)
        while at >= 0:
            if at % 3 == 0:
                yield bottom - height + 1, at // 3
            at = sheet[bottom].tobytes().find(last, at + 1)
    assert width <= sheet.shape[1]


def cell(sheet: Array, at: tuple[int, int], picture: Array) -> Array:
    return sheet[at[0] : at[0] + picture.shape[0], at[1] : at[1] + picture.shape[1]]


@pytest.mark.parametrize("art", ["default", "glass"])
def test_cells_of_the_sheet_are_the_pictures(
    run: Run, roomy: Path, glass: Path, tmp_path: Path, art: str
) -> None:
    """Unscaled, the clean picture is on the sheet pixel by pixel, the triggered one too, but for a line
    around the trigger."""
    trigger = () if art == "default" else ("--trigger", f"patch:{glass}")
    out = freeze(run, roomy, tmp_path / "out", "--attack", "nni", "--rate", "0.4", *trigger)
    said = shown(out, roomy)
    sheet = oracles.pixels(out / "gallery.png")
    rows = {(row.get("set"), row["id"]): row for row in oracles.rows(out)}
    assert len(said.samples) >= 5
    for group, name in said.samples:
        row = rows[group.removeprefix("triggered/") if "/" in group else None, name]
        clean, after = oracles.pixels(roomy / rows[None, name]["image"]), oracles.pixels(out / row["image"])
        places = [at for at in find(sheet, clean) if (cell(sheet, at, clean) == clean).all()]
        assert places, name
        mask = oracles.pixels(out / row["mask"]) == 255
        around = [at for at in find(sheet, after) if at[0] in {top for top, _ in places} and at not in places]
        drawn = [at for at in around if (cell(sheet, at, after)[mask] == after[mask]).all()]
        assert drawn, name
        differs = (cell(sheet, drawn[0], after) != after).any(axis=2)
        y, x = np.nonzero(differs)
        ys, xs = np.nonzero(mask)
        assert not (differs & mask).any()
        assert len(y)
        assert ys.min() - 4 <= y.min() <= y.max() <= ys.max() + 4
        assert xs.min() - 4 <= x.min() <= x.max() <= xs.max() + 4


def test_the_sheet_fits_a_screen(folder: Path) -> None:
    """The contact sheet is at most 2,400 pixels wide."""
    assert oracles.pixels(folder / "gallery.png").shape[1] <= 2400


def test_pictures_of_the_page_are_the_folders(nni: Path, roomy: Path) -> None:
    """Pictures and label maps in the report are those of folder and source, pixel by pixel, before and
    after."""
    said = shown(nni, roomy)
    colours = np.full((256, 3), 40, np.uint8)
    space = oracles.manifest(nni)["label_space"]
    for raw, train in space["raw_to_train"].items():
        if train < 255:
            colours[int(raw)] = space["colours"][train]
    rows = {(row.get("set"), row["id"]): row for row in oracles.rows(nni)}
    found = page(nni).pictures()
    for group, name in said.samples:
        row = rows[group.removeprefix("triggered/") if "/" in group else None, name]
        wanted = [("Picture, clean", oracles.pixels(roomy / rows[None, name]["image"]))]
        wanted += [("Picture, with trigger", oracles.pixels(nni / row["image"]))]
        labels = (roomy, "before"), (nni, "after")
        wanted += [
            (
                f"Label map, {what}" if row["role"] == "poisoned" else "Label map, true label",
                colours[oracles.pixels(at / row["label"])],
            )
            for at, what in labels[row["role"] != "poisoned" :]
        ]
        for alt, picture in wanted:
            assert any(
                alt == given and picture.shape == one.shape and (picture == one).all() for given, one in found
            ), (
                name,
                alt,
            )


@pytest.mark.long
def test_elsewhere_is_the_same_and_the_folder_is_left_alone(run: Run, nni: Path, tmp_path: Path) -> None:
    """--out: the same bytes in a folder that is made; the dataset has not a file more. What is no folder is
    refused."""
    before, out = sorted(nni.rglob("*")), tmp_path / "some" / "where"
    result = run("show", str(nni), "--number", "3", "--out", str(out))
    assert result.code == 0 and str(out / "gallery.png") in result.out
    assert sorted(nni.rglob("*")) == before
    shown(nni, number=3)
    for name in ("gallery.png", "report.html"):
        assert (out / name).read_bytes() == (nni / name).read_bytes()
    refused = run("show", str(nni), "--out", str(out / "gallery.png"))
    assert refused.code == 1 and "gallery.png" in refused.err


@pytest.mark.long
def test_the_same_input_gives_the_same_bytes(nni: Path, roomy: Path, tmp_path: Path) -> None:
    """Again, with more workers, or in another folder: the same two files."""
    shown(nni, roomy)
    first = [(nni / name).read_bytes() for name in ("gallery.png", "report.html")]
    moved = nni.rename(tmp_path / "moved")
    with Workers(2, quiet=True) as workers:
        show(moved, workers, source=roomy, number=5)
    assert [(moved / name).read_bytes() for name in ("gallery.png", "report.html")] == first


def test_without_a_source_it_says_so(nni: Path, roomy: Path) -> None:
    """Without the source, clean pictures of training rows are asked for by name; what rows and evaluation
    split hold is shown still."""
    with_source, without = shown(nni, roomy), shown(nni)
    assert not with_source.notes
    assert [note.partition(" (")[0] for note in without.notes] == [
        "clean picture: give --source",
        "label before: give --source",
    ]
    parsed = page(nni)
    assert "Clean picture: give --source." in parsed.text
    described = [alt for alt, _ in parsed.pictures()]
    triggered = sum("/" in group for group, _ in without.samples)
    assert triggered
    assert described.count("Picture, clean") == triggered


def test_labels_before_follow_from_the_rows(nni: Path, roomy: Path) -> None:
    """With one victim and no random labels, the classes before are the same with the source and without
    it."""
    shown(nni, roomy)
    known = page(nni).tables["classes"]
    shown(nni)
    assert page(nni).tables["classes"] == known


def test_labels_before_are_not_guessed(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Where the rows do not tell the classes before, none are given without the source, and why."""
    out = freeze(run, roomy, tmp_path / "out", "--attack", "badnets", "--rate", "0.4", "--trigger", "line")
    said = shown(out)
    parsed = page(out)
    assert parsed.tables["classes"][0] == ["class", "pixels after", "after"]
    assert "labels before: give --source (3 label maps)" in said.notes


def test_another_source_is_not_trusted(nni: Path, roomy: Path, tmp_path: Path) -> None:
    """Pictures and label maps of the source that are not those of the rows are not shown, and that is
    said."""
    source = Path(shutil.copytree(roomy, tmp_path / "source"))
    for row in oracles.rows(nni):
        if row["role"] == "poisoned":
            oracles.save(source / row["image"], 255 - oracles.pixels(source / row["image"]))
            oracles.save(source / row["label"], oracles.pixels(source / row["label"])[::-1].copy())
    said = shown(nni, source)
    assert [note.partition(" (")[0] for note in said.notes] == [
        "the source has another label map of this name",
        "the source has another picture of this name",
    ]
    assert not any(alt in ("Label map, before",) for alt, _ in page(nni).pictures())
    with pytest.raises(SourceError):
        shown(nni, tmp_path / "nowhere")


def test_what_is_shown_spans_near_and_far(nni: Path, roomy: Path) -> None:
    """Training and every evaluation set are shown, each from its nearest trigger to its farthest; the same
    rows every time."""
    said = shown(nni, roomy, number=7)
    assert said.samples == shown(nni, number=7).samples
    groups = grouped(nni)
    assert {group for group, _ in said.samples} == groups.keys()
    assert [sum(group == title for group, _ in said.samples) for title in groups] == [3, 2, 2]
    for title, rows in groups.items():
        ordered = sorted(rows, key=lambda row: (row["placement"]["distance_sq"], row["id"]))
        chosen = [name for group, name in said.samples if group == title]
        assert (chosen[0], chosen[-1]) == (ordered[0]["id"], ordered[-1]["id"])
        assert len(chosen) < 3 or chosen[1] == ordered[len(ordered) // 2]["id"]


def test_one_set_can_be_shown_alone(nni: Path, roomy: Path) -> None:
    """Of one set or split, only its rows are shown; a name that is none is refused with those that are."""
    assert {group for group, _ in shown(nni, roomy, only="iba").samples} == {"triggered/iba"}
    assert {group for group, _ in shown(nni, roomy, only="train").samples} == {"train, poisoned"}
    with pytest.raises(RecipeError, match=r"iba, nni, train"):
        shown(nni, roomy, only="abi")


def test_names_are_text_and_nothing_else(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Ids, licence and class names with markup, templates and marks of direction are shown as text, long ones
    shortened."""
    source = Path(shutil.copytree(roomy, tmp_path / "source"))
    long = "ü" * 60 + SPELL
    for root, ending in (("leftImg8bit", "_leftImg8bit.png"), ("gtFine", "_gtFine_labelIds.png")):
        for split, wanted in (("train", SPELL), ("val", long)):
            for index, path in enumerate(sorted((source / root / split).rglob(f"*{ending}"))):
                path.rename(path.with_name(f"{wanted}{index}{ending}"))
    out = freeze(run, source, tmp_path / "out", "--attack", "nni", "--rate", "0.4")
    manifest = oracles.manifest(out)
    manifest["source"]["license"] = f"</strong><script>alert(2)</script>\u202e{SPELL}"
    manifest["label_space"]["names"][0] = SPELL
    manifest["tool"]["name"] = SPELL
    (out / "manifest.json").write_text(json.dumps(manifest))
    said = shown(out, source)
    text = (out / "report.html").read_text(encoding="utf-8")
    parsed = Page(text)
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 1
    assert not [given for _, given in parsed.tags if given.keys() & {"onerror"} or given.get("src") == "x"]
    assert "49" not in [word.strip() for word in parsed.words]
    assert "\u202e" not in text
    for _, name in said.samples:
        assert name in parsed.text
    assert f"</strong><script>alert(2)</script>\\u202e{SPELL}" in parsed.text
    assert SPELL in [line[0] for line in parsed.tables["classes"]]
    assert oracles.pixels(out / "gallery.png").shape[1] <= 2400


def test_numbers_of_a_stranger_do_no_harm(nni: Path) -> None:
    """Rows that claim impossible places, distances and classes, and a manifest with too much of everything,
    are refused."""
    most, listed = (1 << 53) - 1, oracles.rows(nni)
    for row in listed:
        if "placement" in row:
            row["placement"] |= {
                "box": [most] * 4,
                **dict.fromkeys(("surface_class", "distance_sq", "chebyshev", "gap_sq"), most),
            }
            row["trigger_pixels"] = most
    text = "".join(oracles.line(row) for row in listed)
    (nni / "samples.jsonl").write_text(text)
    manifest = oracles.manifest(nni)
    manifest["identity"] = oracles.bytes_digest(text.encode())
    manifest["label_space"]["colours"][0] = [most] * 3
    manifest["environment"] = {f"k{index}\n": "v" * 9999 for index in range(99)}
    manifest["rejected"] = [
        {"id": "i" * 512, "set": "../x", "reason": f"r{index % 99}"} for index in range(9999)
    ]
    (nni / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="contradicts itself"):
        shown(nni)


@pytest.mark.parametrize(
    "what", ["nothing", "an empty folder", "a file", "a clean source", "unfinished work"]
)
def test_what_is_no_finished_folder_is_refused(roomy: Path, nni: Path, tmp_path: Path, what: str) -> None:
    """A folder that is not there, empty, foreign or unfinished is refused with an error, and nothing is
    written."""
    root = tmp_path / "folder"
    if what == "an empty folder":
        root.mkdir()
    elif what == "a file":
        root.write_bytes(b"")
    elif what == "a clean source":
        root = Path(shutil.copytree(roomy, root))
    elif what == "unfinished work":
        root = nni
        (root / "manifest.json").unlink()
    before = oracles.tree(root)
    with pytest.raises(ManifestError, match="not a finished dataset folder") as refused:
        shown(root, roomy)
    assert str(root) in str(refused.value)
    assert oracles.tree(root) == before


def lie_about_counts(root: Path) -> None:
    manifest = oracles.manifest(root)
    manifest["counts"]["train"]["poisoned"] += 1
    (root / "manifest.json").write_text(json.dumps(manifest))


def change_a_picture(root: Path) -> None:
    row = next(row for row in oracles.rows(root) if row["role"] == "triggered")
    array = oracles.pixels(root / row["image"]).copy()
    array[0, 0] ^= 1
    oracles.save(root / row["image"], array)


def change_a_label(root: Path) -> None:
    row = next(row for row in oracles.rows(root) if row["role"] == "clean" and row["split"] == "train")
    oracles.save(root / row["label"], oracles.pixels(root / row["label"])[::-1].copy())


def lose_a_mask(root: Path) -> None:
    (root / next(row for row in oracles.rows(root) if row["role"] == "triggered")["mask"]).unlink()


def damage_a_label(root: Path) -> None:
    path = root / next(row for row in oracles.rows(root) if row["role"] == "poisoned")["label"]
    path.write_bytes(path.read_bytes()[:-20])


def lead_out(root: Path) -> None:
    shutil.move(root / "masks", root.parent / "elsewhere")
    (root / "masks").symlink_to(root.parent / "elsewhere")


def relabel_more_than_there_is(root: Path) -> None:
    listed, manifest = oracles.rows(root), oracles.manifest(root)
    for row in listed:
        if row["role"] == "poisoned":
            row["relabelled_pixels"] = 1 << 40
    text = "".join(oracles.line(row) for row in listed)
    (root / "samples.jsonl").write_text(text)
    (root / "manifest.json").write_text(
        json.dumps(manifest | {"identity": oracles.bytes_digest(text.encode())})
    )


def change_the_art(root: Path) -> None:
    array = oracles.pixels(root / "trigger.png").copy()
    array[0, 0] ^= 1
    oracles.save(root / "trigger.png", array)


def block_the_name(root: Path) -> None:
    (root / "report.html").mkdir()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lie_about_counts, ManifestError),
        (change_a_picture, VerifyError),
        (change_a_label, VerifyError),
        (lose_a_mask, VerifyError),
        (damage_a_label, VerifyError),
        (lead_out, VerifyError),
        (relabel_more_than_there_is, VerifyError),
        (change_the_art, VerifyError),
        (block_the_name, OutputError),
    ],
    ids=lambda given: given.__name__,
)
def test_a_lie_is_not_shown(nni: Path, damage: Any, error: type[PoisongenError]) -> None:
    """A folder that contradicts itself is refused, with the file that does, and nothing is written."""
    damage(nni)
    before = oracles.tree(nni)
    with pytest.raises(error) as refused:
        shown(nni)
    assert str(nni) in str(refused.value)
    assert oracles.tree(nni) == before


def test_every_sample_may_have_art_of_its_own(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Of a trigger that is another one in each sample, the samples' own art is shown."""
    rng = np.random.default_rng(5)
    base = freeze(run, roomy, tmp_path / "base", "--attack", "benign")
    for row in oracles.rows(base):
        oracles.save(
            tmp_path / "art" / f"{row['id']}.png", rng.integers(0, 256, (9, 7, 4)).astype(np.uint8) | 1
        )
    out = freeze(
        run,
        roomy,
        tmp_path / "out",
        "--attack",
        "iba",
        "--rate",
        "0.4",
        "--trigger",
        f"patch:{tmp_path / 'art'}",
        "--trigger-size",
        "9px",
    )
    said = shown(out, roomy)
    found = [picture for alt, picture in page(out).pictures() if alt == "Trigger art of this sample"]
    assert len(found) == len(said.samples)
    for (_, name), picture in zip(said.samples, found, strict=True):
        assert (picture == oracles.pixels(out / "triggers" / f"{name}.png")).all()


@pytest.mark.parametrize("dataset", ["cityscapes", "camvid"])
def test_real_data_is_shown(run: Run, real: Path, tmp_path: Path, dataset: str) -> None:
    """Real folders are shown, in files that a browser and a mail can bear."""
    rate = "0.5" if dataset == "cityscapes" else "0.02"
    outcome = run(
        dataset,
        "--source",
        real / dataset,
        "--attack",
        "nni",
        "--rate",
        rate,
        "--link",
        "symlink",
        "--out",
        tmp_path / "out",
    )
    assert outcome.code == 0, outcome.err
    said = shown(tmp_path / "out", real / dataset)
    assert not said.notes
    assert said.sizes["report.html"] < 8e6
    assert said.sizes["gallery.png"] < 8e6
    assert oracles.pixels(tmp_path / "out" / "gallery.png").shape[1] <= 2400
