import json
import os
from pathlib import Path
from typing import Any

import cv2
import handmade
import numpy as np
import pytest

from trainer import augment
from trainer.config import load
from trainer.data import Samples, Schedule, open_folder, read_label, read_picture
from trainer.errors import FolderError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return handmade.write_folder(tmp_path / "data", train=5, val=2, poisoned=1, sets=("near",))


def test_a_third_programs_folder_is_read_as_it_was_meant(root: Path) -> None:
    """Splits, sets, classes and what is measured arrive as the format says; the trainer finds nothing else."""
    folder = open_folder(root)
    assert (len(folder.training), len(folder.evaluation), {name: len(rows) for name, rows in folder.triggered.items()}) == (
        5,
        2,
        {"near": 2},
    )
    assert (folder.names, folder.victims, folder.target, folder.poisoned) == (tuple(handmade.NAMES), (2,), 0, 1)
    assert set(np.unique(read_label(folder.evaluation[0], folder, True))) == {0, 1, 2, 3}


def key(name: str, value: Any):  # type: ignore[no-untyped-def]
    return lambda manifest, rows: manifest.__setitem__(name, value)


def cell(name: str, value: Any):  # type: ignore[no-untyped-def]
    return lambda manifest, rows: rows[0].__setitem__(name, value)


HOSTILE = {
    "a newer version": key("format_version", 2),
    "a version that is no number": key("format_version", "1"),
    "another format": key("format", "zip"),
    "no splits": key("splits", None),
    "a split without samples": key("splits", {"train": "none", "evaluation": "val"}),
    "a set without a name": key("evaluation_sets", []),
    "a victim beyond the classes": key("measure", {"victim_classes": [9], "target_class": 0}),
    "sets and nothing to measure": key("measure", None),
    "a class beyond the table": lambda manifest, rows: manifest["label_space"]["raw_to_train"].update({"3": 77}),
    "a raw id beyond 8 bits": lambda manifest, rows: manifest["label_space"]["raw_to_train"].update({"300": 1}),
    "a colour too few": lambda manifest, rows: manifest["label_space"]["colours"].pop(),
    "an absolute path": cell("image", "/etc/passwd"),
    "a path upwards": cell("label", "../secret.png"),
    "a backslash": cell("image", "train\\000.png"),
    "an empty part": cell("image", "train//000.png"),
    "a NUL": cell("image", "train/\0.png"),
    "a missing file": cell("image", "train/none.png"),
    "an enormous picture": cell("height", 1 << 40),
    "a height that is text": cell("height", "64"),
    "no digest": lambda manifest, rows: rows[0].pop("label_pixels", rows[0].pop("label_bytes", None)),
    "a digest of another kind": cell("image_bytes", "md5:0"),
    "a row twice": lambda manifest, rows: rows.insert(0, rows[0]),
    "a role without its set": cell("role", "triggered"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_folder_is_refused_with_the_file_named(root: Path, change: Any) -> None:
    """Whatever a stranger writes into the two files of text, the answer is a letter that names the file."""
    handmade.rewrite(root, change)
    with pytest.raises(FolderError, match=r"(manifest\.json|samples\.jsonl|none\.png)"):
        open_folder(root)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format":NaN'])
def test_a_manifest_that_is_no_object_is_refused(root: Path, text: str) -> None:
    """Broken JSON is a letter, not a traceback."""
    (root / "manifest.json").write_text(text)
    with pytest.raises(FolderError, match=r"manifest\.json"):
        open_folder(root)


def test_an_unfinished_folder_is_refused(root: Path) -> None:
    """The manifest is written last: a folder without it is not finished."""
    (root / "manifest.json").unlink()
    with pytest.raises(FolderError, match="finished"):
        open_folder(root)


def test_rows_changed_after_the_manifest_are_refused(root: Path) -> None:
    """The identity is recomputed from the bytes of samples.jsonl."""
    with (root / "samples.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(FolderError, match="expected: sha256:"):
        open_folder(root)


def test_a_link_out_of_the_folder_is_refused(root: Path, tmp_path: Path) -> None:
    """A folder may not be a link that leads elsewhere; a file may, for its digest says what it must hold."""
    outside = tmp_path / "outside"
    (root / "train").rename(outside)
    (root / "train").symlink_to(outside)
    with pytest.raises(FolderError, match="leads out"):
        open_folder(root)
    (root / "train").unlink()
    (root / "train").mkdir()
    for path in outside.iterdir():
        (root / "train" / path.name).symlink_to(path)
    row = open_folder(root).training[0]
    assert read_picture(row, True).shape[:2] == (row.height, row.width)


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "small"])
def test_a_damaged_picture_is_a_letter(root: Path, damage: str) -> None:
    """Truncated, empty, no picture, another size: an error that names the file, even where digests are not looked at."""
    row = open_folder(root).training[1]
    data = row.image.read_bytes()
    small = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    row.image.write_bytes({"cut": data[: len(data) // 2], "empty": b"", "text": b"hello" * 9, "small": small}[damage])
    with pytest.raises(FolderError, match=row.image.name):
        read_picture(row, False)


def test_an_unknown_raw_id_names_file_and_id(root: Path) -> None:
    """A raw id that the label space does not name is an error."""
    folder = open_folder(root)
    row = folder.training[1]
    raw = cv2.imread(str(row.label), cv2.IMREAD_UNCHANGED)
    raw[5, 5] = 99
    cv2.imwrite(str(row.label), raw)
    with pytest.raises(FolderError, match=rf"(?s){row.label.name}.*id 99"):
        read_label(row, folder, False)


def test_both_digests_of_a_changed_file_are_named(root: Path) -> None:
    """A changed pixel is found, and the letter shows what was expected and what was found."""
    row = open_folder(root).training[1]
    picture = cv2.imread(str(row.image))
    picture[0, 0] ^= 1
    cv2.imwrite(str(row.image), picture)
    with pytest.raises(FolderError, match=r"(?s)expected: sha256:\w{64}.*found:\s+sha256:\w{64}"):
        read_picture(row, True)


def test_a_palette_label_map_holds_its_numbers(root: Path) -> None:
    """Ids of a palette PNG are the numbers in the file, not the colours that they stand for."""
    from matplotlib import image as _  # noqa: F401 - brings Pillow, which the trainer itself does not use

    pillow = pytest.importorskip("PIL.Image")
    folder = open_folder(root)
    row = folder.training[1]
    raw = cv2.imread(str(row.label), cv2.IMREAD_UNCHANGED)
    picture = pillow.fromarray(raw, "L").convert("L")
    picture.putpalette([value for i in range(256) for value in (255 - i, i // 2, 7)])
    before = read_label(row, folder, True)
    picture.save(row.label)
    assert row.label.read_bytes()[25] == 3
    assert np.array_equal(read_label(row, folder, False), before)


def test_every_sample_is_checked_when_it_is_first_met() -> None:
    """Over the epochs each index is to be checked exactly once, whatever a permutation leaves out; and again after a restart."""
    config = load("default", {"batch": 4, "epochs": 9})
    for start in (0, 3):
        checked = [index for batch in Schedule(10, config, start) for _, index, check in batch if check]
        assert sorted(checked) == list(range(10))


def test_a_resumed_schedule_is_an_offset() -> None:
    """Starting at batch s gives the same batches as an uninterrupted run from s on."""
    config = load("default", {"batch": 4, "epochs": 5})
    plain = [[address[:2] for address in batch] for batch in Schedule(10, config)]
    for start in range(len(plain)):
        assert [[address[:2] for address in batch] for batch in Schedule(10, config, start)] == plain[start:]
    assert len(Schedule(3, config)) == 5  # fewer pictures than a batch: one batch an epoch


def test_the_draws_are_frozen() -> None:
    """The draws at an address are the same for ever: a run of today can be repeated in years."""
    assert augment.order(7, 3, 8).tolist() == FROZEN_ORDER
    assert augment.draw_box(7, 3, 5, (64, 128), (64, 128), (0.5, 2.0), True) == FROZEN_BOX


FROZEN_ORDER = [2, 0, 7, 3, 5, 4, 1, 6]
FROZEN_BOX = augment.Box(top=-35, left=-6, height=121, width=241, flip=False)


def test_a_box_of_the_pictures_size_is_the_picture(root: Path) -> None:
    """Without a change of scale, augmentation gives the pixels themselves, or their mirror image, with their labels."""
    folder = open_folder(root)
    samples = Samples(folder, load("default", {"crop": "64x64", "scale": "1x1"}))
    mean, std = np.array(augment.MEAN), np.array(augment.STD)
    mirrored = 0
    for epoch in range(8):
        item = samples[epoch, 2, True]
        assert isinstance(item, augment.Cut)
        x, y = augment.assemble([item], (64, 64), 255, augment.torch.device("cpu"))
        picture, label = read_picture(folder.training[2], True), read_label(folder.training[2], folder, True)
        if item.box.flip:
            picture, label, mirrored = picture[:, ::-1], label[:, ::-1], mirrored + 1
        np.testing.assert_allclose(x[0].permute(1, 2, 0).numpy() * std + mean, picture / 255, atol=1e-5)
        assert np.array_equal(y[0].numpy(), label)
    assert 0 < mirrored < 8


def test_labels_are_never_interpolated(root: Path) -> None:
    """At any scale a label map holds only classes that it held, and ignore exactly where the box leaves the picture."""
    folder = open_folder(root)
    samples = Samples(folder, load("default", {"crop": "48x80", "scale": "[0.3, 2.5]"}))
    for epoch in range(20):
        item = samples[epoch, 1, False]
        assert isinstance(item, augment.Cut)
        x, y = augment.assemble([item], (48, 80), 255, augment.torch.device("cpu"))
        known = set(np.unique(item.label.numpy())) | {255}
        assert set(np.unique(y.numpy())) <= known
        outside = (y[0] == 255).numpy()
        leaves = item.box.height > 64 or item.box.width > 64
        assert outside.any() == leaves or not leaves
        if outside.any():
            assert np.median(np.abs(x[0].permute(1, 2, 0).numpy()[outside])) < 1e-6  # mean colour


def test_reading_needs_no_writable_folder(root: Path) -> None:
    """The trainer writes nothing into the dataset folder."""
    before = sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*"))
    folder = open_folder(root)
    for row in folder.training:
        read_picture(row, True)
    assert sorted((str(path), path.stat().st_mtime_ns) for path in root.rglob("*")) == before
    assert json.loads((root / "manifest.json").read_text())["identity"] == folder.identity
    assert os.access(root, os.R_OK)
