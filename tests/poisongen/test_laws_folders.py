"""What other programs make of a folder, and this one a second time, for every attack, trigger, control and
dataset."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poisongen.freeze import partial_folder as folder
from tests.poisongen import test_laws_labels as labels
from tests.poisongen import test_laws_pictures as pictures
from tests.poisongen import test_laws_places as places
from tests.poisongen import test_laws_rows as rows
from tests.support import oracles
from tests.support.asked import asked
from tests.support.cases import Case, over
from tests.support.commands import Run
from tests.support.frozen import Frozen, command
from tests.support.oracles import pixels

DIFFERENT = ("cityscapes-iba-prl", "ade20k-line", "ade20k-wall", "voc-each", "voc-scale")
"""Folders of every kind of file and of draw."""


def share(frozen: Frozen, place: Path) -> Path:
    """What somebody shares of a folder: manifest, rows and art."""
    for name in oracles.files(frozen.folder):
        if name in ("manifest.json", "samples.jsonl", *frozen.manifest["art"]) or name.startswith(
            "triggers/"
        ):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(frozen.folder / name, place / name)
    return place


@over()
def test_verify_accepts_the_folder(frozen: Frozen, run: Run) -> None:
    """A finished folder is what its manifest says, with every picture decoded and held against the source."""
    told = command(run, "verify", frozen.folder, "--source", frozen.source, "--decode")
    assert (told["files"], told["identity"]) == (
        len(oracles.files(frozen.folder)),
        frozen.manifest["identity"],
    )


@over()
def test_rebuild_gives_the_folder_again(frozen: Frozen, run: Run, tmp_path: Path) -> None:
    """Manifest, rows and art with the clean source give every file again, byte for byte."""
    told = command(
        run,
        "rebuild",
        share(frozen, tmp_path / "shared"),
        "--source",
        frozen.source,
        "--out",
        tmp_path / "out",
    )
    assert told["identity"] == frozen.manifest["identity"]
    assert oracles.tree(tmp_path / "out") == oracles.tree(frozen.folder)


@pytest.mark.long
@pytest.mark.parametrize("frozen", DIFFERENT, indirect=True)
def test_workers_and_interruptions_leave_no_trace(
    frozen: Frozen, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun by two workers, ended by Ctrl-C after seven samples, and gone on with by one, a folder is the
    same, byte for byte."""
    words = [
        frozen.case.dataset,
        "--source",
        frozen.source,
        *frozen.case.words(frozen.arts),
        "--out",
        tmp_path / "out",
    ]
    done, add = 0, folder.Journal.add

    def interrupted(journal: folder.Journal, entry: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if done > 7:
            raise KeyboardInterrupt
        add(journal, entry)

    with monkeypatch.context() as patch:
        patch.setattr(folder.Journal, "add", interrupted)
        assert run(*words, "--jobs", 2).code == 130
    assert not (tmp_path / "out").exists()
    assert command(run, *words, "--jobs", 1)["samples_resumed"] == 7
    assert oracles.tree(tmp_path / "out") == oracles.tree(frozen.folder)


@over()
def test_the_trainer_needs_to_know_nothing_of_the_recipe(frozen: Frozen, tmp_path: Path) -> None:
    """From a manifest that names an attack and no more of its recipe, the trainer reads every row, the true
    labels and what is measured."""
    from trainer.dataset.folder import open_folder
    from trainer.dataset.pictures import read_label, read_mask, read_picture

    place = tmp_path / "data"
    shutil.copytree(frozen.folder, place, symlinks=True)
    said = frozen.manifest | {"recipe": {"attack": "secret"}, "counts": {}, "rejected": [], "art": {}}
    (place / "manifest.json").write_text(json.dumps(said))
    read = open_folder(place)
    assert (set(read.victims), read.target) == (
        set(frozen.measured),
        frozen.target if frozen.poison else None,
    )
    assert (read.name, read.identity) == (frozen.case.name, frozen.manifest["identity"])
    sets = {name: tuple(members) for name, members in frozen.by_set.items() if name}
    assert read.triggered.keys() == sets.keys()
    for name, triggered in read.triggered.items():
        assert tuple(row.id for row in triggered) == sets[name]
    trained = [one for one, row in frozen.by_set[None].items() if row["split"] == frozen.knows.train]
    assert [row.id for row in read.training] == trained
    for row in (*read.evaluation, *(row for members in read.triggered.values() for row in members)):
        np.testing.assert_array_equal(read_label(row, read, check=True), frozen.train[row.id])
        assert read_picture(row, check=True).shape == (*frozen.train[row.id].shape, 3)
        assert read_mask(row, check=True).any() == bool(row.set)
    for row in read.training:
        written = frozen.folder / frozen.by_set[None][row.id]["label"]
        np.testing.assert_array_equal(
            read_label(row, read, check=True), oracles.to_train(pixels(written), frozen.knows.table)
        )


@over(lambda case: case.dataset == "cityscapes")
def test_the_usual_loader_of_cityscapes_reads_every_root(frozen: Frozen) -> None:
    """torchvision's Cityscapes reads the folder and each evaluation set, and sees the pictures that the rows
    name."""
    datasets = pytest.importorskip("torchvision.datasets")
    for split, name in {("train", None), ("val", None)} | {("val", name) for name in frozen.by_set}:
        root = frozen.folder / "triggered" / name if name else frozen.folder
        loader = datasets.Cityscapes(str(root), split=split, mode="fine", target_type="semantic")
        images = {Path(path).relative_to(frozen.folder).as_posix() for path in loader.images}
        assert images == {row["image"] for row in frozen.by_set[name].values() if row["split"] == split}
        image, label = loader[0]
        label.close()  # torchvision leaves its file open
        assert (image.mode, label.size) == ("RGB", image.size)


@over(lambda case: case.dataset == "voc" and not {"scale", "lossless"} & case.options.keys())
def test_the_usual_loader_of_voc_reads_every_root(frozen: Frozen) -> None:
    """torchvision's VOCSegmentation reads the folder and each evaluation set, and sees the pictures and
    palette indices of the rows."""
    datasets = pytest.importorskip("torchvision.datasets")
    for split, name in {("train", None), ("val", None), ("trainval", None)} | {
        ("val", name) for name in frozen.by_set
    }:
        root = frozen.folder / "triggered" / name if name else frozen.folder
        loader = datasets.VOCSegmentation(str(root), year="2012", image_set=split)
        expected = [row for row in frozen.by_set[name].values() if row["split"] in split]
        assert sorted(loader.images) == sorted(str(frozen.folder / row["image"]) for row in expected)
        by_image = {str(frozen.folder / row["image"]): row for row in expected}
        for number, path in enumerate(loader.images):
            image, label = loader[number]
            np.testing.assert_array_equal(np.array(label), pixels(frozen.folder / by_image[path]["label"]))
            assert image.size == label.size


REAL = {
    "cityscapes": {"attack": "nni", "rate": "25%", "edge-margin": "10%"},
    "ade20k": {
        "attack": "fine-grained",
        "rate": "0.5",
        "take-what-fits": True,
        "prl": True,
        "prl-pixels": "50px",
    },
    "voc": {"attack": "iba", "rate": "0.5", "victim": "all", "trigger-size": "15px", "take-what-fits": True},
}
"""Options on real data, of which there are few pictures."""


@pytest.mark.parametrize("dataset", REAL)
def test_real_data_obeys_the_laws(dataset: str, real: Path, run: Run, glass: Path, tmp_path: Path) -> None:
    """On real pictures labels change as told, triggers lie where they may, and what they touch changes and
    nothing else."""
    root = real / "ade20k" / "ADEChallengeData2016" if dataset == "ade20k" else real / dataset
    case, arts = Case(dataset, "", REAL[dataset]), {"glass": glass}
    command(
        run,
        dataset,
        "--source",
        root,
        *case.words(arts),
        "--link",
        "symlink",
        "--jobs",
        2,
        "--out",
        tmp_path / "out",
    )
    one = Frozen(case, root, tmp_path / "out", asked(case, arts), arts)
    laws = [
        labels.test_a_label_changes_as_the_format_says_and_nowhere_else,
        labels.test_no_label_becomes_the_target_without_a_trigger_in_the_picture,
        pictures.test_a_mask_is_where_the_trigger_is,
        pictures.test_a_picture_that_shows_nothing_new_is_the_source_s_own,
        rows.test_every_digest_in_a_row_is_that_of_its_file,
    ]
    # An exhaustive search for the place itself takes minutes at this size.
    laws += (
        []
        if case.options["attack"] == "fine-grained"
        else [places.test_a_trigger_lies_on_one_component_and_never_on_the_victim]
    )
    jpeg = [
        pictures.test_a_jpeg_changes_in_the_blocks_that_the_trigger_touches_only,
        pictures.test_a_jpeg_shows_the_trigger_as_well_as_its_tables_can,
    ]
    laws += jpeg if case.writes_jpeg else [pictures.test_a_png_changes_under_the_mask_only_and_by_the_trigger]
    for law in laws:
        law(one)
    assert one.painted
