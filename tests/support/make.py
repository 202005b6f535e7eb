"""Calling ``make`` in a test: with the tools of the Python that runs the tests, in the project or a copy."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(
    *(".git", ".venv", "build", "dist", "work", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis"),
    *("demo", "frozen", "streets.partial"),
)
LARGE = ("manifests/camvid/data", "manifests/camvid/runs")
"""Folders of the repository that neither tests nor the source distribution need."""


def copy_project(to: Path) -> Path:
    """A copy of the project as it lies in a fresh clone, but for what is large."""
    left_out = {str(ROOT / name) for name in LARGE}

    def ignored(folder: str, names: list[str]) -> set[str]:
        large = {name for name in names if str(Path(folder, name)) in left_out}
        return NOT_COPIED(folder, names) | large

    shutil.copytree(ROOT, to, ignore=ignored)
    return to


def write_environment(folder: Path) -> Path:
    """What ``make setup`` would install, as scripts that call the tools of this Python."""
    tools = Path(sys.executable).parent
    commands = {name: f"{tools / name}" for name in ("ruff", "mypy")}
    commands |= {"python": sys.executable, "poisongen": f"{sys.executable} -m poisongen"}
    (folder / "bin").mkdir(parents=True)
    for name, command in commands.items():
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
    (folder / "installed").touch()
    return folder


def make(
    project: Path, target: str, variables: Mapping[str, object], succeeds: bool = True, seconds: int = 600
) -> str:
    """Run one target and return all that it prints. ``succeeds``: whether it must."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    environment |= {"PYTHONPATH": str(project), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    words = ["make", target, *(f"{name}={value}" for name, value in variables.items())]
    done = subprocess.run(
        words,
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert (done.returncode == 0) == succeeds, done.stdout
    return done.stdout
