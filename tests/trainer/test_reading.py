import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support import handmade
from trainer.config import load
from trainer.dataset.folder import open_folder
from trainer.dataset.pictures import read_label, read_picture
from trainer.errors import FolderError
from trainer.randomness import permutation
from trainer.training import augment
from trainer.training.batches import Samples, Schedule


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return handmade.write_folder(tmp_path / "data", train=5, val=2, poisoned=1, sets=("near",))


def test_a_third_programs_folder_is_read_as_it_was_meant(root: Path) -> None:
    """Splits, sets, classes and what is measured arrive as the format says; the trainer finds nothing
    else."""
    folder = open_folder(root)
    assert (
        len(folder.training),
        len(folder.evaluation),
        {name: len(rows) for name, rows in folder.triggered.items()},
    ) == (
        5,
        2,
        {"near": 2},
    )
    assert (folder.names, folder.victims, folder.target, folder.poisoned) == (
        tuple(handmade.NAMES),
        (2,),
        0,
        1,
    )
    assert set(np.unique(read_label(folder.evaluation[0], folder, True))) == {0, 1, 2, 3}


def key(name: str, value: Any):  # type: ignore[no-untyped-def]
    return lambda manifest, rows: manifest.__setitem__(name, value)


def cell(name: str, value: Any):  # type: ignore[no-untyped-def]
    return lambda manifest, rows: rows[0].__setitem__(name, value)


def measure(**changes: object):  # type: ignore[no-untyped-def]
    """A semantic trigger is measured, and each row counts it; but for the changes all is well."""

    def change(manifest: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        manifest["measure"] = {
            "victim_classes": [2],
            "target_class": 0,
            "trigger_class": 3,
            "min_trigger_pixels": 1,
        } | changes
        for row in rows:
            row["trigger_class_pixels"] = 3

    return change


HOSTILE = {
    "a newer version": key("format_version", 2),
    "a version that is no number": key("format_version", "1"),
    "another format": key("format", "zip"),
    "no splits": key("splits", None),
    "a split without samples": key("splits", {"train": "none", "evaluation": "val"}),
    "a set without a name": key("evaluation_sets", []),
    "a victim beyond the classes": key("measure", {"victim_classes": [9], "target_class": 0}),
    "sets and nothing to measure": key("measure", None),
    "a class beyond the table": lambda manifest, rows: manifest["label_space"]["raw_to_train"].update(
        {"3": 77}
    ),
    "a raw id beyond 8 bits": lambda manifest, rows: manifest["label_space"]["raw_to_train"].update(
        {"300": 1}
    ),
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
    "two digests of a picture": lambda manifest, rows: rows[1].update(
        image_pixels=handmade.sha(b""), image_bytes=handmade.sha(b"")
    ),
    "coefficients of a label map": lambda manifest, rows: rows[1].update(
        label_coefficients=rows[1].pop("label_bytes")
    ),
    "a name that is no text": key("name", 7),
    "a measure that is a list": key("measure", []),
    "a measure without a target": key("measure", {"victim_classes": [2]}),
    "a trigger class beyond the classes": measure(trigger_class=4),
    "a trigger class that is text": measure(trigger_class="tree"),
    "no least number of trigger pixels": measure(min_trigger_pixels=None),
    "a trigger class without a pixel": measure(min_trigger_pixels=0),
    "a row that does not count the trigger class": lambda *parts: [
        measure()(*parts),
        parts[1][5].pop("trigger_class_pixels"),
    ],
    "a count that is no number": cell("trigger_class_pixels", "3"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_folder_is_refused_with_the_file_named(root: Path, change: Any) -> None:
    """Whatever a stranger writes into the two files of text, the answer is an error that names the file."""
    handmade.rewrite(root, change)
    with pytest.raises(FolderError, match=r"(manifest\.json|samples\.jsonl|none\.png)"):
        open_folder(root)


def test_without_its_fault_the_hostile_folder_is_read(root: Path) -> None:
    """What is refused above is refused for its one fault."""
    handmade.rewrite(root, measure())
    assert (open_folder(root).trigger_class, open_folder(root).min_trigger_pixels) == (3, 1)
    handmade.rewrite(root, lambda *_: None)
    open_folder(root)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, '{"format":NaN'])
def test_a_manifest_that_is_no_object_is_refused(root: Path, text: str) -> None:
    """Broken JSON is an error text, not a traceback."""
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


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "small", "ends"])
def test_a_damaged_picture_is_an_error(root: Path, damage: str) -> None:
    """Truncated, empty, no picture, another size: an error that names the file, even where digests are not
    looked at."""
    row = open_folder(root).training[1]
    data = row.image.read_bytes()
    small = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    bad = {
        "cut": data[: len(data) // 2],
        "empty": b"",
        "text": b"hello" * 9,
        "small": small,
        "ends": data[:8] + data[-12:],
    }
    row.image.write_bytes(bad[damage])
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
    """A changed pixel is found, and the error shows what was expected and what was found."""
    row = open_folder(root).training[1]
    picture = cv2.imread(str(row.image))
    picture[0, 0] ^= 1
    cv2.imwrite(str(row.image), picture)
    with pytest.raises(FolderError, match=r"(?s)expected: sha256:\w{64}.*found:\s+sha256:\w{64}"):
        read_picture(row, True)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_label_map_holds_its_numbers(tmp_path: Path, bits: int) -> None:
    """Ids of a palette PNG are the numbers in the file, of 1, 2, 4 or 8 bits, not the colours that they stand
    for, and not scaled."""
    root = handmade.write_folder(tmp_path / "data", train=2, val=1)
    numbers = np.random.default_rng(bits).integers(0, min(1 << bits, 99), (64, 64), dtype=np.uint8)

    def change(manifest: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        manifest["label_space"]["raw_to_train"] = {str(raw): raw % 4 for raw in range(100)}
        data = handmade.palette_png(numbers, bits)
        (root / rows[0]["label"]).write_bytes(data)
        rows[0] |= {"label_bytes": handmade.sha(data)}
        data = handmade.palette_png(
            numbers, bits, palette=bytes(3)
        )  # a palette of one colour, black; the numbers go on
        (root / rows[1]["label"]).write_bytes(data)
        del rows[1]["label_bytes"]
        rows[1]["label_pixels"] = handmade.pixels_sha(numbers)

    handmade.rewrite(root, change)
    folder = open_folder(root)
    for row in folder.training:
        assert np.array_equal(read_label(row, folder, True), numbers % 4)


def test_255_classes_and_ignore_fill_a_byte(root: Path) -> None:
    """As many classes as there are numbers beside ignore arrive as they are."""
    numbers = np.arange(4096, dtype=np.int64).reshape(64, 64).astype(np.uint8)

    def change(manifest: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        names, colours = [f"class {i}" for i in range(255)], [[i, i, i] for i in range(255)]
        manifest["label_space"] |= {
            "names": names,
            "colours": colours,
            "raw_to_train": {str(raw): (raw + 9) % 256 for raw in range(256)},
        }
        (root / rows[1]["label"]).write_bytes(cv2.imencode(".png", numbers)[1].tobytes())

    handmade.rewrite(root, change)
    folder = open_folder(root)
    assert np.array_equal(read_label(folder.training[1], folder, False), (numbers.astype(int) + 9) % 256)


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
def test_a_grey_label_map_has_8_bits(root: Path, bits: int) -> None:
    """A decoder would scale the ids of a grey PNG of another depth: it is refused before it is decoded."""
    folder = open_folder(root)
    data = bytearray(handmade.palette_png(np.zeros((64, 64), np.uint8), min(bits, 8)))
    data[24:26] = bytes([bits, 0])
    folder.training[1].label.write_bytes(data)
    with pytest.raises(FolderError, match=rf"(?s){folder.training[1].label.name}.*8-bit.*{bits} bits"):
        read_label(folder.training[1], folder, False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of JPEGs: a poisoned one and two triggered ones were written anew."""
    return handmade.write_folder(tmp_path / "photos", train=4, val=2, poisoned=1, sets=("near",), jpeg=True)


def test_a_jpeg_is_what_another_decoder_sees(photos: Path) -> None:
    """Pictures of every flavour of JPEG arrive as Pillow decodes them: a grey one in three channels, and none
    turned by its EXIF entry."""
    pillow = pytest.importorskip("PIL.Image")
    row = open_folder(photos).training[1]
    plain = pillow.open(row.image).convert("RGB")
    turned = pillow.Exif()
    turned[0x0112] = 6
    for options in (
        {},
        {"progressive": True},
        {"subsampling": 0},
        {"restart_marker_blocks": 2},
        {"exif": turned},
        {"comment": b"\xff\xd9"},
    ):
        for picture in (plain, plain.convert("L")):
            picture.save(row.image, "JPEG", **options)
            expected = np.asarray(pillow.open(row.image).convert("RGB"))
            assert np.array_equal(read_picture(row, False), expected), options
    filled = row.image.read_bytes()
    row.image.write_bytes(
        filled[:2] + b"\xff\xff" + filled[2:]
    )  # a marker may be preceded by bytes of filling
    assert np.array_equal(read_picture(row, False), expected)


def test_a_jpeg_written_anew_is_held_against_sha256sums(photos: Path) -> None:
    """Its digest of coefficients cannot be had from pixels; a changed byte is found by SHA256SUMS, and
    decoders would only have warned."""
    folder = open_folder(photos)
    for row in (folder.training[0], *folder.triggered["near"]):
        assert {"image_coefficients", "image_sums"} <= row.digests.keys()
        before = read_picture(row, True)
        data = bytearray(row.image.read_bytes())
        data[len(data) * 2 // 3] ^= 0x55
        row.image.write_bytes(data)
        assert read_picture(row, False).shape == before.shape
        with pytest.raises(FolderError, match=rf"(?s){row.image.name}.*") as error:
            read_picture(row, True)
        assert "SHA256SUMS" in str(error.value)
        assert handmade.sha(bytes(data)) in str(error.value)


@pytest.mark.parametrize("damage", ["line", "file", "text"])
def test_sha256sums_must_know_every_jpeg_written_anew(photos: Path, damage: str) -> None:
    """A missing line, a missing file, and a line that says something else are errors when the folder is
    opened."""
    sums = photos / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    if damage == "file":
        sums.unlink()
    elif damage == "line":
        sums.write_text("".join(line for line in lines if not line.endswith("triggered/near/val/001.jpg\n")))
    else:
        sums.write_text("hello\n" + "".join(lines))
    with pytest.raises(
        FolderError, match=r"(?s)SHA256SUMS.*" + ("triggered/near/val/001.jpg" if damage == "line" else "")
    ):
        open_folder(photos)


def test_sha256sums_is_read_where_it_is_needed_only(
    root: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder whose rows say all has no need of it; another has it parsed once, however many pictures are
    read."""
    (root / "SHA256SUMS").unlink()
    assert read_picture(open_folder(root).training[0], True).any()
    folder = open_folder(photos)
    (photos / "SHA256SUMS").unlink()
    for row in (*folder.training, *folder.triggered["near"]):
        read_picture(row, True)


def test_a_jpeg_cut_anywhere_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey rubbish is no picture: wherever a JPEG is cut short, it is an error that names the file, digests
    or not. No decoder is asked, for some fill up what is missing.
    """
    row = open_folder(photos).training[1]
    data = row.image.read_bytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    for end in {*range(0, len(data), 7), len(data) - 1}:
        row.image.write_bytes(data[:end])
        with pytest.raises(FolderError, match=row.image.name):
            read_picture(row, False)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_picture_of_another_size_is_not_even_decoded(
    root: Path, photos: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header's size must be the row's before a decoder makes room for it."""
    row = open_folder(photos if kind == "jpg" else root).training[1]
    row.image.write_bytes(cv2.imencode(f".{kind}", np.zeros((64, 80, 3), np.uint8))[1].tobytes())
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(FolderError, match=r"(?s)64×64, as in its row.*80×64"):
        read_picture(row, False)


@pytest.mark.parametrize("suffix", [".bmp", ".tiff", ".webp"])
def test_a_file_is_png_or_jpeg(root: Path, suffix: str) -> None:
    """Whatever else a decoder may know is refused; and a label map is never a JPEG, which would change its
    ids."""
    folder = open_folder(root)
    row = folder.training[1]
    row.image.write_bytes(cv2.imencode(suffix, np.zeros((64, 64, 3), np.uint8))[1].tobytes())
    with pytest.raises(FolderError, match="PNG or JPEG"):
        read_picture(row, False)
    row.label.write_bytes(cv2.imencode(".jpg", np.zeros((64, 64), np.uint8))[1].tobytes())
    with pytest.raises(FolderError, match="a PNG"):
        read_label(row, folder, False)


def test_a_folder_is_called_what_its_manifest_says(root: Path) -> None:
    """The manifest's name is the dataset's; where it has none, the attack's name stands in."""
    assert open_folder(root).name == "nni"
    handmade.rewrite(root, key("name", "nni + PRL"))
    assert (open_folder(root).name, open_folder(root).attack) == ("nni + PRL", "nni")


@pytest.mark.parametrize(
    ("role", "others"), [("poisoned", "noised"), ("trigger-only", "clean"), ("label-only", "clean")]
)
def test_every_role_is_a_sample_to_train_on(tmp_path: Path, role: str, others: str) -> None:
    """Random labels and controls are training pictures like any other; only the poisoned ones are counted as
    poisoned."""
    root = handmade.write_folder(tmp_path / "data", train=5, val=1, poisoned=2, role=role, others=others)
    folder = open_folder(root)
    samples = Samples(folder, load("default", {"crop": "64x64"}))
    assert all(isinstance(samples[0, index, True], augment.Cut) for index in range(5))
    assert folder.roles == {role: 2, others: 3}
    assert folder.poisoned == (2 if role == "poisoned" else 0)


def test_pictures_of_many_sizes_make_one_batch(tmp_path: Path) -> None:
    """Boxes of one size come out of pictures of any size, and each shows its own picture, in its own place,
    and nothing around it."""
    sizes = ((64, 64), (48, 90), (101, 47))
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=3, val=1, sizes=sizes, jpeg=True))
    assert [(row.height, row.width) for row in folder.training] == list(sizes)
    samples = Samples(folder, load("default", {"crop": "60x70", "scale": "[1, 1]"}))
    for epoch in range(6):
        cuts = [samples[epoch, index, True] for index in range(3)]
        x, y = augment.assemble(augment.collate(cuts, (60, 70)), 255, augment.torch.device("cpu"))  # type: ignore[arg-type]
        assert x.shape == (3, 3, 60, 70)
        for item, row, label in zip(cuts, folder.training, y.numpy(), strict=True):
            assert isinstance(item, augment.Cut)
            padded = np.full(
                (row.height + 400, row.width + 400), 255
            )  # the map on a field of ignore: a box is a window on it
            padded[200:-200, 200:-200] = read_label(row, folder, False)
            window = padded[200 + item.box.top :, 200 + item.box.left :][:60, :70]
            assert np.array_equal(label, window[:, ::-1] if item.box.flip else window)


def test_every_sample_is_checked_when_it_is_first_met() -> None:
    """Over the epochs each index is to be checked exactly once, whatever a permutation leaves out; and again
    after a restart."""
    config = load("default", {"batch": 4, "epochs": 9})
    for start in (0, 3):
        checked = [index for batch in Schedule(10, config, start) for _, index, check in batch if check]
        assert sorted(checked) == list(range(10))


def pictures_of_batches(schedule: Schedule) -> list[list[tuple[int, int]]]:
    """Epoch and picture of each address, batch by batch."""
    batches = []
    for batch in schedule:
        batches.append([(epoch, index) for epoch, index, _ in batch])
    return batches


def test_a_resumed_schedule_is_an_offset() -> None:
    """Starting at batch s gives the same batches as an uninterrupted run from s on."""
    config = load("default", {"batch": 4, "epochs": 5})
    plain = pictures_of_batches(Schedule(10, config))
    for start in range(len(plain)):
        assert pictures_of_batches(Schedule(10, config, start)) == plain[start:]
    assert len(Schedule(3, config)) == 5  # fewer pictures than a batch: one batch an epoch


def test_the_draws_are_frozen() -> None:
    """The draws at an address are the same for ever: a run of today can be repeated in years."""
    assert permutation(7, 3, 8).tolist() == FROZEN_ORDER
    assert augment.draw_box(7, 3, 5, (64, 128), (64, 128), (0.5, 2.0), True) == FROZEN_BOX


FROZEN_ORDER = [2, 0, 7, 3, 5, 4, 1, 6]
FROZEN_BOX = augment.Box(top=-35, left=-6, height=121, width=241, flip=False)


def test_a_box_of_the_pictures_size_is_the_picture(root: Path) -> None:
    """Without a change of scale, augmentation gives the pixels themselves, or their mirror image, with their
    labels."""
    folder = open_folder(root)
    samples = Samples(folder, load("default", {"crop": "64x64", "scale": "1x1"}))
    mean, std = np.array(augment.MEAN), np.array(augment.STD)
    mirrored = 0
    for epoch in range(8):
        item = samples[epoch, 2, True]
        assert isinstance(item, augment.Cut)
        x, y = augment.assemble(augment.collate([item], (64, 64)), 255, augment.torch.device("cpu"))
        picture, label = read_picture(folder.training[2], True), read_label(folder.training[2], folder, True)
        if item.box.flip:
            picture, label, mirrored = picture[:, ::-1], label[:, ::-1], mirrored + 1
        np.testing.assert_allclose(x[0].permute(1, 2, 0).numpy() * std + mean, picture / 255, atol=1e-5)
        assert np.array_equal(y[0].numpy(), label)
    assert 0 < mirrored < 8


def test_labels_are_never_interpolated(root: Path) -> None:
    """At any scale a label map holds only classes that it held, and ignore exactly where the box leaves the
    picture."""
    folder = open_folder(root)
    samples = Samples(folder, load("default", {"crop": "48x80", "scale": "[0.3, 2.5]"}))
    for epoch in range(20):
        item = samples[epoch, 1, False]
        assert isinstance(item, augment.Cut)
        x, y = augment.assemble(augment.collate([item], (48, 80)), 255, augment.torch.device("cpu"))
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
