"""Small sources with everything that matters in them, real ones where they are given, and the command line as tests call it."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from frozen import CASES, DATASETS, Frozen, asked, command, listing, once
from oracles import Array, save
from sources import write_ade20k, write_folder, write_voc

from poisongen.cli import main

HEIGHT, WIDTH = 64, 128
REAL = "POISONGEN_TEST_DATA"


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


def _complete(arguments: tuple[object, ...]) -> list[str]:
    words = [str(argument) for argument in arguments]
    works = words and words[0] in (*DATASETS, "build", "rebuild", "verify")
    return words + (["--jobs", "1"] if works and "--jobs" not in words else [])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process; any exception but its own exit is a traceback that a user would see."""

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        kept = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(sys, "argv", ["poisongen", *_complete(arguments)])
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            try:
                main()
            finally:
                signal.signal(signal.SIGTERM, kept)
        return Outcome(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return call


@pytest.fixture
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start the command line as a process of its own, in a group of its own."""

    def call(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "poisongen", *_complete(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # The background job of a shell ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            cwd=Path(__file__).parent.parent,
        )

    return call


def street(rng: np.random.Generator, height: int, width: int, *, cars: int) -> Array:
    """A label map of Cityscapes raw ids: sky, a pole, houses, trees, road, pavement, people, cars, a bonnet, and pixels of no class."""
    label = np.full((height, width), 7, np.uint8)
    horizon = int(rng.integers(height // 3, height // 2))
    label[:horizon] = 23
    # A slanting pole: it parts the sky for whoever steps up, down and sideways only.
    np.fill_diagonal(label[:horizon, width // 2 :], 17)
    for raw in (11, 11, 21, 21, 13):
        left, top = int(rng.integers(0, width - 8)), int(rng.integers(2, horizon))
        label[top : horizon + int(rng.integers(0, 6)), left : left + int(rng.integers(6, width // 2))] = raw
    label[horizon + 4 :, : int(rng.integers(2, width // 4))] = 8
    y, x = np.indices((height, width))
    for raw in (24, 20, *[26] * cars):
        top, left = int(rng.integers(horizon - 4, height - 14)), int(rng.integers(0, width - 10))
        if rng.integers(2):
            label[(y - top - 6) ** 2 + (x - left) ** 2 <= int(rng.integers(4, 40))] = raw
        else:
            label[top : top + int(rng.integers(2, 12)), left : left + int(rng.integers(2, 22))] = raw
    label[height - 3 :, width // 4 : width // 2] = 1
    label[horizon : horizon + 3, width - 9 :] = 9
    label[0, :3] = 0
    return label


def picture(rng: np.random.Generator, label: Array) -> Array:
    """Coloured noise whose level depends on the class."""
    noise = rng.integers(0, 90, (*label.shape, 3))
    return ((label[..., None] * np.array([5, 3, 7])) % 160 + noise).astype(np.uint8)


def write_cityscapes(
    root: Path, *, train: int = 10, val: int = 4, height: int = HEIGHT, width: int = WIDTH, seed: int = 1
) -> Path:
    """A folder in the layout of Cityscapes with two cities; every fifth picture has no car, and there are files to be left behind."""
    rng = np.random.default_rng(seed)
    for split, number in (("train", train), ("val", val)):
        for index in range(number):
            city = ("aachen", "bochum")[index % 2] if split == "train" else "frankfurt"
            stem = f"{split}/{city}/{city}_{index:06d}_000019"
            label = street(rng, height, width, cars=0 if index % 5 == 2 else 1 + index % 3)
            save(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", picture(rng, label))
            save(root / "gtFine" / f"{stem}_gtFine_labelIds.png", label)
            save(root / "gtFine" / f"{stem}_gtFine_instanceIds.png", label.astype(np.uint16) * 1000)
            (root / "gtFine" / f"{stem}_gtFine_polygons.json").write_text("{}")
    return root


def write_camvid(root: Path, *, train: int = 9, val: int = 2, test: int = 4, seed: int = 2) -> Path:
    """A folder as the SegNet tutorial lays CamVid out, whose lists name files under somebody else's prefix."""
    rng = np.random.default_rng(seed)
    translate = np.full(256, 11, np.uint8)
    translate[[23, 11, 17, 7, 8, 21, 20, 13, 26, 24, 33]] = range(11)
    for split, number in (("train", train), ("val", val), ("test", test)):
        lines = []
        for index in range(number):
            label = translate[street(rng, 48, 72, cars=0 if index % 5 == 2 else 1 + index % 2)]
            name = f"{split[0]}{index:04d}.png"
            save(root / split / name, picture(rng, label))
            save(root / f"{split}annot" / name, label)
            lines.append(f"/SegNet/CamVid/{split}/{name} /SegNet/CamVid/{split}annot/{name}\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of a test run have in common."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"


@pytest.fixture(scope="session")
def sources(common: Path) -> dict[str, Path]:
    """The small sources, to be read only."""
    writers = {
        "cityscapes": write_cityscapes,
        "camvid": write_camvid,
        "ade20k": write_ade20k,
        "voc": write_voc,
        "folder": write_folder,
    }
    return {name: once(common / "sources" / name, write) for name, write in writers.items()}


@pytest.fixture
def cityscapes(sources: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the small Cityscapes that a test may damage."""
    return Path(shutil.copytree(sources["cityscapes"], tmp_path / "source"))


@pytest.fixture
def camvid(sources: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the small CamVid that a test may damage."""
    return Path(shutil.copytree(sources["camvid"], tmp_path / "source"))


@pytest.fixture(scope="session")
def glass(common: Path) -> Path:
    """Trigger art of 8 rows and 9 columns with a hole, an invisible border, and every kind of transparency."""
    rng = np.random.default_rng(3)
    art = rng.integers(0, 256, (8, 9, 4)).astype(np.uint8)
    art[..., 3] = 255
    art[:, 0, 3] = 0
    art[3:5, 4:6, 3] = 0
    art[6, 1:, 3] = [1, 2, 60, 127, 128, 200, 254, 255]
    art[1, 1:4] = [(0, 0, 0, 1), (255, 255, 255, 1), (255, 0, 128, 128)]
    return once(common / "art" / "glass.png", lambda path: save(path, art, "PNG"))


@pytest.fixture(scope="session")
def each(common: Path, sources: dict[str, Path]) -> Path:
    """A folder with a sticker for each sample of VOC and of the described folder, but for every fourth; one is larger than any picture."""

    def write(root: Path) -> None:
        rng = np.random.default_rng(11)
        for dataset in ("voc", "folder"):
            for number, sample_id in enumerate(sorted(listing(dataset, sources[dataset]))):
                size = (90, 99) if number == 2 else (int(rng.integers(6, 14)), int(rng.integers(6, 14)))
                art = rng.integers(0, 256, (*size, 4)).astype(np.uint8)
                art[..., 3] = np.where(rng.integers(0, 5, size) == 0, art[..., 3], 255)
                if number % 4 != 3:
                    save(root / f"{sample_id}.png", art)

    return once(common / "art" / "each", write)


@pytest.fixture(scope="session")
def known() -> dict[str, Frozen]:
    """Folders that this process has looked at."""
    return {}


@pytest.fixture
def freeze(
    run: Run, common: Path, sources: dict[str, Path], glass: Path, each: Path, known: dict[str, Frozen]
) -> Callable[[str], Frozen]:
    """The folder of one of ``CASES``, built once, to be read only."""

    def call(name: str) -> Frozen:
        if name not in known:
            case, arts = CASES[name], {"glass": glass, "each": each}
            source, folder = sources[case.dataset], common / "frozen" / name
            once(folder, lambda out: command(run, case.dataset, "--source", source, *case.words(arts), "--out", out))
            known[name] = Frozen(case, source, folder, asked(case, arts), arts)
        return known[name]

    return call


@pytest.fixture
def frozen(request: pytest.FixtureRequest, freeze: Callable[[str], Frozen]) -> Frozen:
    """Each folder in turn; see ``frozen.over``."""
    return freeze(request.param)


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of real data, where there is one."""
    if REAL not in os.environ:
        pytest.skip(f"{REAL} is not set: name a folder that holds cityscapes/, camvid/, ade20k/ and voc/ to test on real data")
    root = Path(os.environ[REAL])
    for name in ("cityscapes", "camvid", "ade20k", "voc"):
        if not (root / name).is_dir():
            pytest.fail(f"{REAL} is set, but {root / name} is not a folder")
    return root
