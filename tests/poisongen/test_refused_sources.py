"""A source that is damaged, or none, is refused in one error text that names the file and what to do, before
any work; nothing is left on disk."""

import json
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import oracles
from tests.support.commands import Run
from tests.support.refusals import IBA, Refuse


def stem_of(source: Path, run: Run, role: str) -> str:
    """The id of a sample that will be poisoned, triggered, or left clean."""
    plan = json.loads(run("cityscapes", "--source", source, *IBA, "--dry-run", "--json").out)
    placed = {one["set"]: one["id"] for one in reversed(plan["placements"])}
    if role != "clean":
        return str(placed[None if role == "poisoned" else "iba"])
    poisoned = {one["id"] for one in plan["placements"]}
    every = {
        path.relative_to(source / "gtFine").as_posix()
        for path in (source / "gtFine" / "train").rglob("*_labelIds.png")
    }
    return min({one.removesuffix("_gtFine_labelIds.png") for one in every} - poisoned)


def files(source: Path, stem: str) -> dict[str, Path]:
    return {
        "picture": source / "leftImg8bit" / f"{stem}_leftImg8bit.png",
        "label": source / "gtFine" / f"{stem}_gtFine_labelIds.png",
    }


def chunks(data: bytes) -> list[tuple[int, bytes, int]]:
    """Start, kind and length of a PNG's chunks."""
    found, position = [], 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        found.append((position, data[position + 4 : position + 8], length))
        position += 12 + length
    return found


def cut_end(data: bytes) -> bytes:
    return data[:-5]


def cut_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def empty(data: bytes) -> bytes:
    return b""


def other(data: bytes) -> bytes:
    return b"\xff\xd8\xff\xe0" + data[4:]


def hole(data: bytes) -> bytes:
    """A piece of the pixels is missing, the end is there."""
    start, _, length = next(chunk for chunk in chunks(data) if chunk[1] == b"IDAT")
    return data[: start + 20] + data[start + 20 + length // 2 :]


def flipped(data: bytes) -> bytes:
    """A wrong bit among the pixels, so that the checksum is wrong."""
    start, _, length = next(chunk for chunk in chunks(data) if chunk[1] == b"IDAT")
    middle = start + 8 + length // 2
    return data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :]


def short(data: bytes) -> bytes:
    """Half of the pixels, in a chunk whose checksum is right."""
    start, _, length = next(chunk for chunk in chunks(data) if chunk[1] == b"IDAT")
    half = zlib.compress(zlib.decompress(data[start + 8 : start + 8 + length])[:200])
    body = b"IDAT" + half
    return (
        data[:start]
        + struct.pack(">I", len(half))
        + body
        + struct.pack(">I", zlib.crc32(body))
        + data[start + 12 + length :]
    )


def bomb(data: bytes) -> bytes:
    """A header that promises 60,000 × 60,000 pixels."""
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


OUTSIDE = [cut_end, cut_half, empty, other, bomb]
INSIDE = [hole, flipped, short]


@pytest.mark.parametrize(
    ("what", "damage"),
    [("picture", damage) for damage in OUTSIDE] + [("label", damage) for damage in OUTSIDE + INSIDE],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
@pytest.mark.parametrize("role", ["poisoned", "clean", "triggered"])
def test_a_damaged_file_is_refused(
    cityscapes: Path,
    run: Run,
    refuse: Refuse,
    role: str,
    what: str,
    damage: Callable[[bytes], bytes],
) -> None:
    """A picture or label map that is cut, empty or no PNG is named before any work, and so is a label map
    that is damaged inside."""
    path = files(cityscapes, stem_of(cityscapes, run, role))[what]
    path.write_bytes(damage(path.read_bytes()))
    assert path.name in refuse("cityscapes", "--source", cityscapes, *IBA)


@pytest.mark.parametrize("damage", INSIDE, ids=lambda one: one.__name__)
@pytest.mark.parametrize("role", ["poisoned", "triggered"])
def test_a_picture_that_is_damaged_inside_is_never_painted(
    cityscapes: Path, run: Run, tmp_path: Path, role: str, damage: Callable[[bytes], bytes]
) -> None:
    """A picture whose damage shows when it is decoded ends the work with its name; repaired, the same command
    goes on."""
    path = files(cityscapes, stem_of(cityscapes, run, role))["picture"]
    words = ["cityscapes", "--source", cityscapes, *IBA, "--out"]
    assert run(*words, tmp_path / "whole").code == 0
    data = path.read_bytes()
    path.write_bytes(damage(data))
    outcome = run(*words, tmp_path / "out")
    assert outcome.code == 1
    assert path.name in outcome.err
    assert not (tmp_path / "out").exists()
    path.write_bytes(data)
    assert run(*words, tmp_path / "out").code == 0
    assert oracles.tree(tmp_path / "out") == oracles.tree(tmp_path / "whole")


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_comes_from_any_process(cityscapes: Path, run: Run, refuse: Refuse, jobs: int) -> None:
    """What a worker finds is said in the same words."""
    path = files(cityscapes, stem_of(cityscapes, run, "clean"))["label"]
    path.write_bytes(flipped(path.read_bytes()))
    error_text = refuse("cityscapes", "--source", cityscapes, *IBA, "--jobs", jobs)
    assert "damaged" in error_text
    assert str(path) in error_text


def missing_source(source: Path) -> str:
    shutil.rmtree(source)
    return source.name


def empty_source(source: Path) -> str:
    shutil.rmtree(source)
    source.mkdir()
    return "leftImg8bit"


def file_source(source: Path) -> str:
    shutil.rmtree(source)
    source.write_bytes(b"")
    return source.name


def no_pictures(source: Path) -> str:
    shutil.rmtree(source / "leftImg8bit" / "train")
    shutil.rmtree(source / "gtFine" / "train")
    (source / "leftImg8bit" / "train").mkdir()
    return source.name


def lone_picture(source: Path) -> str:
    path = min((source / "gtFine" / "train").rglob("*_labelIds.png"))
    path.unlink()
    return path.name


def lone_label(source: Path) -> str:
    path = min((source / "leftImg8bit" / "val").rglob("*.png"))
    path.unlink()
    return path.name


def other_size(source: Path) -> str:
    path = min((source / "leftImg8bit" / "train").rglob("*.png"))
    oracles.save(path, oracles.pixels(path)[:-1])
    return path.name


def grey_picture(source: Path) -> str:
    path = min((source / "leftImg8bit" / "train").rglob("*.png"))
    oracles.save(path, oracles.pixels(path)[..., 0])
    return path.name


def transparent_picture(source: Path) -> str:
    path = min((source / "leftImg8bit" / "train").rglob("*.png"))
    oracles.save(
        path, np.dstack([oracles.pixels(path), np.full(oracles.pixels(path).shape[:2], 255, np.uint8)])
    )
    return path.name


def coloured_label(source: Path) -> str:
    path = min((source / "gtFine" / "train").rglob("*_labelIds.png"))
    oracles.save(path, np.dstack([oracles.pixels(path)] * 3))
    return path.name


def deep_label(source: Path) -> str:
    path = min((source / "gtFine" / "train").rglob("*_labelIds.png"))
    oracles.save(path, oracles.pixels(path).astype(np.uint16))
    return path.name


def palette_label(source: Path) -> str:
    path = min((source / "gtFine" / "train").rglob("*_labelIds.png"))
    with Image.open(path) as label:
        label.load()
    label.convert("P").save(path)
    return path.name


def training_ids(source: Path) -> str:
    path = min((source / "gtFine" / "val").rglob("*_labelIds.png"))
    oracles.save(path, oracles.to_train(oracles.pixels(path), oracles.CITYSCAPES_RAW))
    return f"{path.name}.*id 255 in.*labelTrainIds"


def a_folder_for_a_file(source: Path) -> str:
    path = min((source / "leftImg8bit" / "train").rglob("*.png"))
    path.unlink()
    path.mkdir()
    return path.name


def a_backslash(source: Path) -> str:
    for path in [*source.rglob("aachen_000000_*")]:
        path.rename(path.with_name(path.name.replace("aachen_", "aa\\chen_", 1)))
    return "aa.{1,2}chen"


def a_line_break(source: Path) -> str:
    for path in [*source.rglob("aachen_000000_*")]:
        path.rename(path.with_name(path.name.replace("aachen_", "aa\nchen_", 1)))
    return "aa.{1,2}chen"


SOURCES = [
    missing_source,
    empty_source,
    file_source,
    no_pictures,
    lone_picture,
    lone_label,
    other_size,
    grey_picture,
]
SOURCES += [transparent_picture, coloured_label, deep_label, palette_label, training_ids, a_folder_for_a_file]
SOURCES += [a_backslash, a_line_break]


@pytest.mark.parametrize("attack", [IBA, ["--attack", "benign"]], ids=["iba", "benign"])
@pytest.mark.parametrize("damage", SOURCES, ids=lambda one: one.__name__)
def test_a_source_that_is_none_is_refused(
    cityscapes: Path, refuse: Refuse, damage: Callable[[Path], str], attack: list[str]
) -> None:
    """A source that is missing, empty, odd or not in its layout's own ids is refused; the error names the
    file."""
    says = damage(cityscapes)
    assert re.search(says, refuse("cityscapes", "--source", cityscapes, *attack), re.DOTALL)


def relist(source: Path, change: Callable[[list[str]], list[str]], name: str = "train.txt") -> None:
    lines = (source / name).read_text().splitlines()
    (source / name).write_text("".join(line + "\n" for line in change(lines)))


CAMVID: dict[str, tuple[Callable[[Path], object], str]] = {
    "no list": (lambda root: (root / "train.txt").unlink(), "train.txt"),
    "empty list": (lambda root: relist(root, lambda lines: []), "source"),
    "one word": (
        lambda root: relist(root, lambda lines: [lines[0].split()[0], *lines[1:]]),
        "train.txt.*line 1",
    ),
    "three words": (
        lambda root: relist(root, lambda lines: [lines[0] + " x", *lines[1:]]),
        "train.txt.*line 1",
    ),
    "missing picture": (lambda root: (root / "train" / "t0003.png").unlink(), "t0003.png.*line 4"),
    "missing label": (lambda root: (root / "testannot" / "t0001.png").unlink(), "t0001.png"),
    "twice": (lambda root: relist(root, lambda lines: [*lines, lines[0]]), "train.txt"),
    "in two lists": (
        lambda root: (root / "val.txt").write_text((root / "train.txt").read_text().splitlines()[0] + "\n"),
        "t0000",
    ),
    "one label for two": (
        lambda root: relist(root, lambda lines: [f"{lines[0].split()[0]} {lines[1].split()[1]}", *lines[1:]]),
        "t000[01]",
    ),
    "unknown id": (
        lambda root: oracles.save(root / "valannot" / "v0000.png", np.full((48, 72), 12, np.uint8)),
        "v0000.png.*id 12",
    ),
}


@pytest.mark.parametrize("name", CAMVID)
def test_a_camvid_folder_that_is_none_is_refused(camvid: Path, refuse: Refuse, name: str) -> None:
    """Lists that are missing, malformed, or that name a file twice or none, are refused by name and line."""
    damage, says = CAMVID[name]
    damage(camvid)
    assert re.search(says, refuse("camvid", "--source", camvid, *IBA), re.DOTALL)


def test_pictures_of_several_sizes_are_taken_one_by_one(run: Run, cityscapes: Path) -> None:
    """Where the trigger fits into some pictures only, the others are rejected with the reason, from the sets
    that they belong to."""
    small = set()
    for split, city in (("train", "aachen"), ("val", "frankfurt")):
        stem = f"{split}/{city}/{city}_000099_000019"
        label = np.full((9, 30), 7, np.uint8)
        label[3, 3] = 26
        oracles.save(files(cityscapes, stem)["label"], label)
        oracles.save(files(cityscapes, stem)["picture"], np.dstack([label] * 3))
        small |= {(stem, "")} if split == "train" else {(stem, "iba"), (stem, "nni")}
    outcome = run(
        "cityscapes",
        "--source",
        cityscapes,
        *IBA,
        "--trigger-size",
        "10px",
        "--take-what-fits",
        "--dry-run",
        "--json",
    )
    assert outcome.code == 0, outcome.err
    rejected = json.loads(outcome.out)["rejected"]
    assert {(one["id"], one["set"]) for one in rejected if "fit" in one["reason"]} == small
