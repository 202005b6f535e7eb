"""Small sources with everything that matters in them, real ones where they are given, and the command line as
tests call it."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from poisongen.cli.commands import main
from tests.support.asked import asked
from tests.support.cases import CASES, DATASETS
from tests.support.commands import Outcome, Run
from tests.support.frozen import Frozen, command, listing, once
from tests.support.oracles import save
from tests.support.refusals import Refuse
from tests.support.sources import write_ade20k, write_folder, write_voc
from tests.support.streets import write_camvid, write_cityscapes

REAL = "POISONGEN_TEST_DATA"
QUICK_FOLDERS = ("cityscapes-iba-prl", "camvid-nni-glass", "ade20k-line", "voc-each", "folder-nni")
"""The frozen folders that ``make test-quick`` holds the laws against, one of each dataset."""
QUICK_CASES = 2
"""Of every other law, as many cases."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``quick`` a few cases of every law that takes no seconds."""
    cases = Counter[str]()
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("long"):
            continue
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        law = item.nodeid.partition("[")[0]
        if parameters.get("frozen") in QUICK_FOLDERS or (
            "frozen" not in parameters and cases[law] < QUICK_CASES
        ):
            item.add_marker("quick")
            cases[law] += 1


def _complete(arguments: tuple[object, ...]) -> list[str]:
    words = [str(argument) for argument in arguments]
    works = words and words[0] in (*DATASETS, "build", "rebuild", "verify")
    return words + (["--jobs", "1"] if works and "--jobs" not in words else [])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process; any exception but its own exit is a traceback that a user would
    see."""

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        kept = signal.getsignal(signal.SIGTERM)
        monkeypatch.setattr(sys, "argv", ["poisongen", *_complete(arguments)])
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            try:
                main()
            finally:
                signal.signal(signal.SIGTERM, kept)
        return Outcome(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    return call


@pytest.fixture
def refuse(run: Run, tmp_path: Path) -> Refuse:
    """Run a command that must be refused, in an empty folder."""
    return Refuse(run, tmp_path)


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
    """Trigger art of 8 rows and 9 columns with a hole, an invisible border, and every kind of
    transparency."""
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
    """A folder with a sticker for each sample of VOC and of the described folder, but for every fourth; one
    is larger than any picture."""

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
            once(
                folder,
                lambda out: command(run, case.dataset, "--source", source, *case.words(arts), "--out", out),
            )
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
        pytest.skip(f"{REAL} is not set: real data are a folder of cityscapes/, camvid/, ade20k/ and voc/")
    root = Path(os.environ[REAL])
    for name in ("cityscapes", "camvid", "ade20k", "voc"):
        if not (root / name).is_dir():
            pytest.fail(f"{REAL} is set, but {root / name} is not a folder")
    return root
