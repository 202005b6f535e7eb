"""Bad input is refused in one error that names the file and what to do, before any work, and leaves nothing
on disk."""

import json
import re
import shlex
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import oracles
from tests.support.commands import Outcome, Run

IBA = ["--attack", "iba", "--rate", "0.5"]


@pytest.fixture
def refuse(run: Run, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused, with exit code 1 for an error, 2 for wrong usage, None for either;
    returns what it says."""

    def call(*arguments: object, out: Path | None = None, code: int | None = 1) -> str:
        before = oracles.tree(tmp_path)
        outcome: Outcome = run(*arguments, "--out", out or tmp_path / "out")
        assert outcome.code == code or (code is None and outcome.code in (1, 2)), outcome
        assert outcome.out == ""
        if outcome.code == 1:
            assert outcome.err.startswith("poisongen: ")
            assert outcome.err.count("poisongen: ") == 1
        assert oracles.tree(tmp_path) == before
        return outcome.err

    return call


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
    refuse: Callable[..., str],
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
def test_an_error_comes_from_any_process(
    cityscapes: Path, run: Run, refuse: Callable[..., str], jobs: int
) -> None:
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
    cityscapes: Path, refuse: Callable[..., str], damage: Callable[[Path], str], attack: list[str]
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
def test_a_camvid_folder_that_is_none_is_refused(camvid: Path, refuse: Callable[..., str], name: str) -> None:
    """Lists that are missing, malformed, or that name a file twice or none, are refused by name and line."""
    damage, says = CAMVID[name]
    damage(camvid)
    assert re.search(says, refuse("camvid", "--source", camvid, *IBA), re.DOTALL)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--victim", "road"], "same class"),
        (["--victim", "car,car"], "given twice"),
        (["--victim", "caar"], "did you mean car"),
        (["--target", "rod"], "did you mean road"),
        (["--victim", "car,"], "no class"),
        (["--target", "99"], "0 … 18"),
        (["--victim", "9" * 5000], "0 … 18"),
        *[
            (["--rate", rate], "rate")
            for rate in ("0", "-1", "1.5", "nan", "inf", "abc", "", "101%", "1e-5000000")
        ],
        (["--rate", "1"], "--take-what-fits"),
        (["--victim", "train"], "No picture"),
        *[
            (["--trigger-size", size], "--trigger-size")
            for size in ("0", "0px", "0.1%", "65px", "129px", "101%", "999999999999")
        ],
        *[
            (["--trigger-size", size], "length")
            for size in ("abc", "-3px", "1.5px", "nan", "5px%", "1e-5000000%")
        ],
        (["--edge-margin", "32px"], "margin"),
        (["--edge-margin", "50%"], "margin"),
        (["--trigger", "other"], "patch:FILE"),
        (["--trigger", "patch:/nowhere/art.png"], "art.png"),
        (["--trigger", "patch:"], "patch:FILE"),
        (["--upper", "3px"], "--attack nni"),
        (["--nni", "band"], "--attack nni"),
        (["--attack", "nni", "--nni", "band"], "--upper"),
        (["--attack", "nni", "--upper", "3px"], "--upper"),
        (["--attack", "nni", "--lower", "9px", "--upper", "8px"], "lower"),
        (["--attack", "nni", "--nni", "band", "--lower", "9px", "--upper", "9px"], "lower"),
        (["--attack", "nni", "--lower", "500px"], "No picture"),
        (["--attack", "benign"], "--rate"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_an_attack_that_cannot_be_is_refused(
    sources: dict[str, Path], refuse: Callable[..., str], words: list[str], says: str
) -> None:
    """Classes, rates, sizes and bounds that make no attack are refused, and the error says what would."""
    assert says in refuse("cityscapes", "--source", sources["cityscapes"], *IBA, *words)


SPANNING = ["line", "frame", "blend", "stripes"]

NONSENSE: list[tuple[str, str]] = [
    # What cannot lie on one surface, or lies where it is.
    *[
        (f"{attack} --trigger {trigger}", "one surface.*badnets or fine-grained")
        for attack in ("iba", "nni")
        for trigger in SPANNING
    ],
    *[
        (f"{attack} --trigger semantic:road", "in the picture already.*badnets or fine-grained")
        for attack in ("iba", "nni")
    ],
    ("fine-grained --trigger semantic:road --anchor centre", "--anchor.*semantic"),
    ("fine-grained --trigger semantic:car", "trigger class is a victim"),
    ("fine-grained --trigger semantic:truck --victim car,truck", "trigger class is a victim"),
    ("fine-grained --trigger semantic:building --victim all", "trigger class is a victim"),
    ("fine-grained --trigger semantic:road --control trigger-only", "control.*clean dataset"),
    ("badnets --trigger semantic:road --control label-only", "control.*clean dataset"),
    # Options of other attacks.
    ("iba --anchor centre", "--anchor.*choose --attack badnets or --attack fine-grained"),
    ("nni --anchor top-left", "--anchor.*choose --attack badnets"),
    *[
        (f"{attack} --edge-margin 3px", "--edge-margin.*choose --attack iba or --attack nni")
        for attack in ("badnets", "fine-grained")
    ],
    ("badnets --victim car", "--victim.*badnets"),
    ("badnets --min-victim-pixels 3", "--min-victim-pixels.*badnets"),
    ("badnets --nni band", "--nni.*choose --attack nni"),
    ("fine-grained --lower 3px", "--lower.*choose --attack nni"),
    ("iba --relabel-ignore", "--relabel-ignore.*choose --attack badnets"),
    *[
        (f"benign --rateless --{option}", f"--{option.split()[0]} has no meaning for benign")
        for option in (
            "relabel-ignore",
            "control label-only",
            "victim car",
            "target car",
            "trigger line",
            "eval bands",
            "anchor centre",
        )
    ],
    # Options of other triggers.
    ("iba --colour #112233", "--colour.*choose --trigger line or --trigger frame or --trigger checkerboard"),
    ("iba --cells 3", "--cells.*choose --trigger checkerboard"),
    ("iba --cycles 3", "--cycles.*choose --trigger stripes"),
    ("iba --min-trigger-pixels 3", "--min-trigger-pixels.*choose --trigger semantic:CLASS"),
    *[
        (f"fine-grained --trigger {trigger} --trigger-size 3", "--trigger-size.*choose --trigger patch:FILE")
        for trigger in SPANNING[2:]
    ],
    ("fine-grained --trigger stripes --colour #112233", "--colour.*choose --trigger line"),
    ("fine-grained --trigger semantic:road --trigger-size 3", "--trigger-size"),
    ("fine-grained --trigger semantic:road --opacity 0.5", "--opacity"),
    ("fine-grained --trigger line --trigger-size own", "length"),
    # Names that there are none of.
    *[
        (f"fine-grained --trigger {trigger}", "There is no trigger.*patch:FILE")
        for trigger in ("sticker", "patch", "patch-folder", "patch-folder:.", "default:x", "''")
    ],
    *[(f"fine-grained --trigger {trigger}", "semantic:CLASS") for trigger in ("semantic", "semantic:")],
    ("fine-grained --trigger line:3", "no argument"),
    ("fine-grained --trigger semantic:vegtation", "did you mean vegetation"),
    ("fine-grained --trigger semantic:99", "0 … 18"),
    ("iba --eval band", "bands, margin or decoy"),
    ("iba --eval ''", "bands, margin or decoy"),
    ("iba --eval bands,", "bands, margin or decoy"),
    ("iba --eval bands,bands", "twice"),
    *[(f"{attack} --eval bands", "same place.*iba or nni") for attack in ("badnets", "fine-grained")],
    ("fine-grained --eval decoy", "no decoy"),
    ("iba --trigger-size own --eval decoy", "no decoy"),
    ("iba --victim car,,person", "no class"),
    ("iba --victim ''", "no class"),
    ("iba --victim ' '", "no class"),
    ("iba --victim car,Car", "given twice"),
    ("iba --victim car,13", "given twice"),
    ("iba --victim all,car", "no class"),
    ("iba --target ''", "no class"),
    ("iba --control both", "trigger-only"),
    # Shares.
    ("fine-grained --coverage 0.5", "--coverage.*semantic"),
    ("fine-grained --trigger semantic:road --coverage 0.5", "either a rate or a coverage"),
    *[
        (f"fine-grained --rateless --trigger semantic:road --coverage {share}", "coverage")
        for share in ("0", "2", "nan", "''")
    ],
    ("fine-grained --rateless --trigger semantic:road", "--rate"),
    *[
        (f"fine-grained --opacity {share}", "opacity")
        for share in ("0", "1.5", "nan", "-1", "''", "abc", "0%", "1e-3")
    ],
    *[(f"iba --scale {share}", "scale") for share in ("0", "2", "nan", "-0.5", "''", "1e-1", "101%")],
    # Forms.
    *[
        (f"fine-grained --colour {colour}", "--colour.*#")
        for colour in ("red", "#12345", "#12345g", "''", "000000")
    ],
    ("fine-grained --trigger checkerboard --cells 0", "--cells"),
    ("fine-grained --trigger checkerboard --cells 20", "smaller than a pixel"),
    ("fine-grained --trigger frame --trigger-size 32px", "nothing of the picture"),
    ("fine-grained --trigger frame --trigger-size 50%", "nothing of the picture"),
    ("fine-grained --trigger-size 65px", "does not fit"),
    ("fine-grained --trigger stripes --cycles 65", "narrower than a pixel"),
    ("fine-grained --trigger stripes --cycles 0", "--cycles"),
    ("fine-grained --trigger semantic:road --min-trigger-pixels 0", "--min-trigger-pixels"),
    (
        "fine-grained --trigger semantic:road --min-trigger-pixels 8193",
        "No picture.*trigger class smaller than 8193",
    ),
    # Random labels.
    ("iba --prl-pixels 30", "--prl-pixels.*add --prl"),
    ("iba --prl-scope all", "--prl-scope.*add --prl"),
    ("benign --rateless --prl --prl-scope poisoned", "none is poisoned.*--prl-scope all"),
    *[
        (f"benign --rateless --prl --prl-pixels {pixels}", "length|no pixel")
        for pixels in ("0", "0%", "-5", "nan", "1.5px")
    ],
    ("benign --rateless --prl --victim nobody", "no class"),
]


@pytest.mark.parametrize(("words", "says"), NONSENSE, ids=lambda value: value.replace(" --rateless", "")[:60])
def test_what_means_nothing_is_refused(
    sources: dict[str, Path], refuse: Callable[..., str], words: str, says: str
) -> None:
    """Choices that exclude each other, and options that have no meaning for what was chosen, are refused with
    a reason and a way out."""
    attack, *options = shlex.split(words)
    rate = [] if "--rateless" in options else ["--rate", "0.5"]
    options = [one for one in options if one != "--rateless"]
    error_text = refuse(
        "cityscapes", "--source", sources["cityscapes"], "--attack", attack, *rate, *options, code=None
    )
    assert re.search(says, error_text, re.DOTALL), error_text
    assert re.search("expected:|to do:|Give|is not in the range|is not one of", error_text), error_text


@pytest.mark.parametrize(
    ("dataset", "words", "says"),
    [
        ("ade20k", "--target pot", "2 classes.*65 .*125 "),
        ("ade20k", "--victim stairs,screen", "3 classes.*58 .*63 .*130 "),
        ("ade20k", "--trigger semantic:screen", "3 classes"),
        ("ade20k", "--trigger semantic:palm --target palm --victim palm", "same class"),
        ("voc", "--victim all --target person --trigger semantic:dog", "trigger class is a victim"),
        ("folder", "--victim car", "the classes are: paving, wall, person, tree, sky"),
    ],
    ids=lambda value: value if " " in value else "",
)
def test_class_names_are_those_of_the_dataset(
    sources: dict[str, Path], refuse: Callable[..., str], dataset: str, words: str, says: str
) -> None:
    """A name that means several classes of a dataset is refused with the ids to choose from, one that means
    none with those there are."""
    arguments = ["--attack", "fine-grained", "--rate", "0.3", *shlex.split(words)]
    assert re.search(says, refuse(dataset, "--source", sources[dataset], *arguments), re.DOTALL)


@pytest.mark.parametrize("kind", ["nothing", "empty", "other files", "other ids"])
def test_a_folder_of_triggers_that_is_none_is_refused(
    sources: dict[str, Path], refuse: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    """A folder of triggers that is not there, that holds no PNG, or none for any sample of the source, is
    refused by name."""
    root = tmp_path / "triggers"
    if kind != "nothing":
        (root / "train").mkdir(parents=True)
    if kind == "other files":
        (root / "train" / "x.jpg").write_bytes(b"")
    elif kind == "other ids":
        oracles.save(root / "train" / "x.png", np.full((5, 5, 3), 9, np.uint8))
    says = {"nothing": "cannot be read", "other ids": "no trigger picture for this sample"}.get(
        kind, "<sample id>.png"
    )
    error_text = refuse(
        "voc",
        "--source",
        sources["voc"],
        "--attack",
        "fine-grained",
        "--rate",
        "0.3",
        "--trigger",
        f"patch:{root}",
    )
    assert says in error_text


def test_a_decoy_has_the_form_of_the_trigger(
    sources: dict[str, Path], refuse: Callable[..., str], glass: Path
) -> None:
    """A decoy that would lie at other places than the trigger, because it has another form, is refused."""
    words = [*IBA, "--trigger", f"patch:{glass}", "--eval", "decoy"]
    assert "square" in refuse("cityscapes", "--source", sources["cityscapes"], *words)


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "0.1"],
        ["--attack", "iba"],
        ["--attack", "none"],
        [*IBA, "--seed", "-1"],
        [*IBA, "--seed", str(1 << 63)],
    ]
    + [
        [*IBA, "--jobs", "0"],
        [*IBA, "--link", "soft"],
        [*IBA, "--min-victim-pixels", "0"],
        [*IBA, "extra"],
        [*IBA, "--rte", "1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_so(
    sources: dict[str, Path], refuse: Callable[..., str], words: list[str]
) -> None:
    """Missing and unknown options end with exit code 2 and the usage."""
    assert "sage" in refuse("cityscapes", "--source", sources["cityscapes"], *words, code=2)


def art(kind: str, path: Path) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "invisible":
        oracles.save(path, np.zeros((8, 8, 4), np.uint8))
    elif kind == "vanishes at its size":
        dot = np.zeros((64, 64, 4), np.uint8)
        dot[5, 5] = (255, 0, 0, 10)
        oracles.save(path, dot)
    elif kind == "palette":
        Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P").save(path)
    elif kind == "deep":
        oracles.save(path, np.ones((8, 8), np.uint16))
    elif kind == "JPEG":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, format="JPEG")
    elif kind == "too wide":
        oracles.save(path, np.full((2, 90, 3), 9, np.uint8))
    elif kind == "too thin":
        oracles.save(path, np.full((90, 2, 3), 9, np.uint8))
    elif kind == "folder":
        path.mkdir()
    else:
        oracles.save(path, np.full((8, 8, 3), 9, np.uint8))
        path.write_bytes(cut_half(path.read_bytes()))


ART = [
    "empty",
    "text",
    "invisible",
    "vanishes at its size",
    "palette",
    "deep",
    "JPEG",
    "too wide",
    "too thin",
    "folder",
    "cut",
]


@pytest.mark.parametrize("kind", ART)
def test_art_that_is_none_is_refused(
    sources: dict[str, Path], refuse: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    """Art that cannot be read, seen or fitted is refused."""
    art(kind, tmp_path / "art.png")
    words = ["--trigger", f"patch:{tmp_path / 'art.png'}"]
    error_text = refuse("cityscapes", "--source", sources["cityscapes"], *IBA, *words)
    assert "art" in error_text or "trigger" in error_text


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_art_of_any_usual_kind_is_taken(
    sources: dict[str, Path], run: Run, tmp_path: Path, mode: str
) -> None:
    """Grey and coloured art, with and without transparency, is frozen as the RGBA that any viewer shows."""
    shown = np.random.default_rng(4).integers(1, 256, (9, 7, 4)).astype(np.uint8)
    picture = Image.fromarray(shown, "RGBA").convert(mode) if mode != "L" else Image.fromarray(shown[..., 0])
    picture.save(tmp_path / "art.png")
    outcome = run(
        "cityscapes",
        "--source",
        sources["cityscapes"],
        *IBA,
        "--trigger",
        f"patch:{tmp_path / 'art.png'}",
        "--out",
        tmp_path / "out",
    )
    assert outcome.code == 0, outcome.err
    with Image.open(tmp_path / "art.png") as original:
        np.testing.assert_array_equal(
            oracles.pixels(tmp_path / "out" / "trigger.png"), np.array(original.convert("RGBA"))
        )


def test_the_output_is_never_the_source(cityscapes: Path, refuse: Callable[..., str], tmp_path: Path) -> None:
    """Neither folder lies inside the other, also not by way of a link."""
    (tmp_path / "link").symlink_to(cityscapes)
    for out in (
        cityscapes,
        cityscapes / "out",
        cityscapes / "leftImg8bit" / "a" / "b",
        tmp_path / "link" / "out",
        tmp_path,
    ):
        error_text = refuse("cityscapes", "--source", cityscapes, *IBA, out=out)
        assert "choose another --out" in error_text


@pytest.mark.parametrize(
    "kind", ["file", "hidden file", "is a file", "dead link", "partial is a file", "partial is not ours"]
)
def test_what_lies_there_is_not_touched(
    sources: dict[str, Path], refuse: Callable[..., str], tmp_path: Path, kind: str
) -> None:
    """An output that holds anything, or is no folder, is refused and left as it is."""
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    if kind in ("file", "hidden file"):
        out.mkdir()
        (out / (".keep" if kind == "hidden file" else "thesis.tex")).write_text("mine")
    elif kind == "is a file":
        out.write_text("mine")
    elif kind == "dead link":
        out.symlink_to(tmp_path / "nowhere")
    elif kind == "partial is a file":
        partial.write_text("mine")
    else:
        partial.mkdir()
        (partial / "thesis.tex").write_text("mine")
    for more in ([], ["--restart"]):
        assert "--out" in refuse("cityscapes", "--source", sources["cityscapes"], *IBA, *more)


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
    assert {
        (one["id"], one["set"]) for one in json.loads(outcome.out)["rejected"] if "fit" in one["reason"]
    } == small
