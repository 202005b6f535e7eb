"""The wheel and the source distribution: built from what is committed, installed without torch, and used.

A network, or a cache of pip's, is needed for setuptools and the generator's libraries.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.make import ROOT, copy_project

pytestmark = pytest.mark.slow
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{}(sys.argv[1])"
SHIPPED = (
    *("poisongen/py.typed", "poisongen/art/trigger.png", "poisongen/art/decoy.png"),
    *("poisongen/show/report.html", "poisongen/show/report.css", "poisongen/show/report.js"),
    *("poisongen/show/sans.ttf", "poisongen/show/sans-bold.ttf", "poisongen/show/sans-licence.txt"),
    *("trainer/py.typed", "trainer/presets/default.toml", "trainer/presets/streets.toml"),
    "poisongen_trainer.py",
)


def run(*words: object, cwd: Path | None = None, code: int = 0) -> str:
    """Run a command without this project on the path; what it prints. ``code``: how it must end."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def new_environment(folder: Path) -> Path:
    """An environment with nothing in it; its Python."""
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked, and beside it the wheel that was built of it alone."""
    place = tmp_path_factory.mktemp("packages")
    python = new_environment(place / "builder")
    run(python, *PIP, "install", "setuptools>=77")
    project = copy_project(place / "project")
    run(python, "-c", BUILD.format("sdist"), place, cwd=project)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(place / "sdist", filter="data")
    (folder,) = (place / "sdist").iterdir()
    run(python, "-c", BUILD.format("wheel"), place, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(unpacked: Path) -> Path:
    """The wheel that was built of the source distribution."""
    (found,) = unpacked.parents[1].glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Call a command of a fresh environment that holds the wheel and what it requires; what it prints."""
    place = tmp_path_factory.mktemp("installed")
    python = new_environment(place / "environment")
    run(python, *PIP, "install", "--constraint", ROOT / "constraints.txt", wheel)

    def call(command: str, *words: object, code: int = 0) -> str:
        return run(python.with_name(command), *words, cwd=place, code=code)

    return call


def modules_of(packages: tuple[str, ...]) -> set[str]:
    """The Python files of these packages in the project."""
    files = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix() for path in files}


def test_the_wheel_holds_both_packages_whole(wheel: Path) -> None:
    """All modules of both, art, pages, fonts, presets and the marks of typing; and neither tests nor
    manifests."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert (modules_of(("poisongen", "trainer")) | set(SHIPPED)) - names == set()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"poisongen", "trainer", "poisongen_trainer.py"}


def test_the_source_distribution_holds_what_its_tests_need(unpacked: Path) -> None:
    """Programs, tests with their data, documents, manifests and constraints, but not the large folders."""
    for name in (
        "trainer/train.py",
        "Makefile",
        "CONTRIBUTING.md",
        "constraints.txt",
        "docs/ARCHITECTURE.md",
    ):
        assert (unpacked / name).is_file(), name
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*.py")}
    assert modules_of(("poisongen", "trainer", "tests")) - there == set()
    assert (unpacked / "manifests" / "streets" / "nni-10" / "samples.jsonl").is_file()
    assert not (unpacked / "manifests" / "camvid" / "runs").exists()


def test_the_tests_of_the_source_distribution_pass(unpacked: Path) -> None:
    """Unpacked anywhere, `make test-quick` runs there as in a clone."""
    shown = run(sys.executable, "-m", "pytest", "-q", "-n", "2", "-m", "quick", cwd=unpacked)
    assert " passed" in shown


def test_the_generator_works_without_torch(installed: Callable[..., str]) -> None:
    """Installed of the wheel alone, it draws, freezes, verifies, rebuilds and shows, with one identity."""
    assert "ModuleNotFoundError" in installed("python", "-c", "import torch", code=1)
    assert "cityscapes" in installed("poisongen", "--help")
    installed("poisongen", "draw", "streets", "--size", "128x64", "--train", "12", "--val", "3")
    frozen = installed(
        *(
            "poisongen",
            "cityscapes",
            "--source",
            "streets",
            "--attack",
            "nni",
            "--rate",
            "0.1",
            "--out",
            "data",
        )
    )
    verified = installed("poisongen", "verify", "data")
    rebuilt = installed("poisongen", "rebuild", "data", "--source", "streets", "--out", "again")
    identities = {text.rpartition("sha256:")[2][:64] for text in (frozen, verified, rebuilt)}
    assert len(identities) == 1
    assert "gallery.png" in installed("poisongen", "show", "data", "--source", "streets")
    assert (
        installed("poisongen", "--version").split()
        == installed("python", "-m", "poisongen", "--version").split()
    )


def test_the_trainer_says_what_is_missing(installed: Callable[..., str]) -> None:
    """Without torch, its version and help are printed, and training is an error with a remedy."""
    version = installed("poisongen", "--version").split()[-1]
    assert version in installed("poisongen-trainer", "--version")
    assert "train" in installed("poisongen-trainer", "--help")
    refused = installed("poisongen-trainer", "train", "nowhere", "--out", "run", code=1)
    assert refused.startswith("Error: A library that the trainer computes with is not installed.")
    assert "found:    no torch in " in refused and "poisongen[train]" in refused


def test_the_trainer_refuses_another_package_of_its_name(
    installed: Callable[..., str], tmp_path: Path
) -> None:
    """A package called trainer that is not this project's is named, not run."""
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").write_text("__version__ = '3'\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import poisongen_trainer; poisongen_trainer.main()"
    )
    refused = installed("python", "-c", program, tmp_path, "--version", code=1)
    assert str(tmp_path / "trainer") in refused and "Traceback" not in refused
