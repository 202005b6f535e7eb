"""The pictures for people show what lies in the folder and in the source."""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from poisongen.errors import RecipeError, SourceError
from poisongen.show.write import ShownSample
from tests.support import oracles
from tests.support.commands import Run
from tests.support.oracles import Array
from tests.support.shown import freeze, grouped, page, shown


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


def set_of(sample: ShownSample) -> str | None:
    """The evaluation set of a sample; None for training."""
    return sample.group.removeprefix("triggered/") if "/" in sample.group else None


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
    for sample in said.samples:
        name = sample.id
        row = rows[set_of(sample), name]
        clean, after = oracles.pixels(roomy / rows[None, name]["image"]), oracles.pixels(out / row["image"])
        places = [at for at in find(sheet, clean) if (cell(sheet, at, clean) == clean).all()]
        assert places, name
        tops = {top for top, _ in places}
        mask = oracles.pixels(out / row["mask"]) == 255
        around = [at for at in find(sheet, after) if at[0] in tops and at not in places]
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
    for sample in said.samples:
        name = sample.id
        row = rows[set_of(sample), name]
        wanted = [("Picture, clean", oracles.pixels(roomy / rows[None, name]["image"]))]
        wanted += [("Picture, with trigger", oracles.pixels(nni / row["image"]))]
        after = colours[oracles.pixels(nni / row["label"])]
        if row["role"] == "poisoned":
            before = colours[oracles.pixels(roomy / row["label"])]
            wanted += [("Label map, before", before), ("Label map, after", after)]
        else:
            wanted += [("Label map, true label", after)]
        for alt, picture in wanted:
            described = [one for given, one in found if given == alt]
            assert any(np.array_equal(picture, one) for one in described), (name, alt)


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
    assert not any(alt == "Label map, before" for alt, _ in page(nni).pictures())
    with pytest.raises(SourceError):
        shown(nni, tmp_path / "nowhere")


def test_what_is_shown_spans_near_and_far(nni: Path, roomy: Path) -> None:
    """Training and every evaluation set are shown, each from its nearest trigger to its farthest; the same
    rows every time."""
    said = shown(nni, roomy, number=7)
    assert said.samples == shown(nni, number=7).samples
    groups = grouped(nni)
    assert {group for group, _ in said.samples} == groups.keys()
    shares = Counter(group for group, _ in said.samples)
    assert [shares[title] for title in groups] == [3, 2, 2]
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


def test_every_sample_may_have_art_of_its_own(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Of a trigger that is another one in each sample, the samples' own art is shown."""
    rng = np.random.default_rng(5)
    base = freeze(run, roomy, tmp_path / "base", "--attack", "benign")
    art = tmp_path / "art"
    for row in oracles.rows(base):
        any_colours = rng.integers(0, 256, (9, 7, 4)).astype(np.uint8)
        oracles.save(art / f"{row['id']}.png", any_colours | 1)  # no alpha of 0, below which colours are lost
    options = ("--attack", "iba", "--rate", "0.4", "--trigger", f"patch:{art}", "--trigger-size", "9px")
    out = freeze(run, roomy, tmp_path / "out", *options)
    said = shown(out, roomy)
    found = [picture for alt, picture in page(out).pictures() if alt == "Trigger art of this sample"]
    assert len(found) == len(said.samples)
    for (_, name), picture in zip(said.samples, found, strict=True):
        assert (picture == oracles.pixels(out / "triggers" / f"{name}.png")).all()


@pytest.mark.parametrize("dataset", ["cityscapes", "camvid"])
def test_real_data_is_shown(run: Run, real: Path, tmp_path: Path, dataset: str) -> None:
    """Real folders are shown, in files that a browser and a mail can bear."""
    rate = "0.5" if dataset == "cityscapes" else "0.02"
    options = ("--attack", "nni", "--rate", rate, "--link", "symlink")
    outcome = run(dataset, "--source", real / dataset, *options, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    said = shown(tmp_path / "out", real / dataset)
    assert not said.notes
    assert said.sizes["report.html"] < 8e6
    assert said.sizes["gallery.png"] < 8e6
    assert oracles.pixels(tmp_path / "out" / "gallery.png").shape[1] <= 2400
