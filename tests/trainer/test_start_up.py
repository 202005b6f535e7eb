"""What the commands import before they know what to do, and whose trainer the console script runs."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import poisongen_trainer
import trainer
from trainer.cli.main import COMMANDS, main
from trainer.cli.options import BLOCK
from trainer.scoring import intervals

ROOT = Path(__file__).parents[2]
SLOW = ("torch", "torchvision", "numpy", "matplotlib", "cv2", "h5py", "safetensors", "tqdm")
"""What takes long to import: 0.1 to 4 seconds each."""

CALLS: list[tuple[list[str], int]] = [
    (["--version"], 0),
    (["--help"], 0),
    ([], 2),
    (["--wrong"], 2),
    (["wrong"], 2),
    *(([name, "--help"], 0) for name in sorted(COMMANDS)),
    *(([name, "--wrong"], 2) for name in sorted(COMMANDS)),
    (["panel", "run", "--out", "panel.jpg"], 2),
    (["report", "run", "--panels"], 2),
]
"""Words, and the exit code that they end with before anything is computed."""

CALL_ALL = """\
import json, sys
from trainer.cli.main import main
for words in json.loads(sys.argv[1]):
    try:
        main(words, prog_name="trainer")
    except SystemExit as left:
        slow = [name for name in sys.argv[2:] if name in sys.modules]
        print(json.dumps([words, left.code, slow]), file=sys.stderr)
"""


def test_help_and_wrong_words_import_nothing_slow() -> None:
    """Version, help and what click itself refuses are there at once: no library that computes is imported."""
    words = json.dumps([words for words, _ in CALLS])
    command = [sys.executable, "-c", CALL_ALL, words, *SLOW]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[[")]
    nothing: list[str] = []
    assert found == [[words, code, nothing] for words, code in CALLS]


def test_short_helps_are_those_of_the_commands() -> None:
    """The list of commands, which imports none, says of each what its own help begins with."""
    context = click.Context(main)
    for name, place in COMMANDS.items():
        command = main.get_command(context, name)
        assert command is not None and command.help is not None
        assert command.help.splitlines()[0] == place.short_help


def test_the_default_block_is_that_of_the_intervals() -> None:
    """The command line repeats the number, so as not to import what computes intervals."""
    assert intervals.BLOCK == BLOCK


def console_script(folder: Path, *more_paths: Path) -> subprocess.CompletedProcess[str]:
    """Call what pyproject.toml names as poisongen-trainer, installed in ``folder``, as its script does."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, function = scripts["poisongen-trainer"].split(":")
    code = (
        f"import sys; sys.argv[1:] = ['--version']; from {module} import {function}; sys.exit({function}())"
    )
    paths = os.pathsep.join(map(str, [*more_paths, folder]))
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, "-P", "-c", code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds the trainer as site-packages does."""
    folder = tmp_path / "site-packages"
    shutil.copytree(ROOT / "trainer", folder / "trainer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "poisongen_trainer.py", folder)
    return folder


def foreign(folder: Path) -> Path:
    """A package of the same name by somebody else, which must not be run."""
    (folder / "trainer").mkdir(parents=True, exist_ok=True)
    (folder / "trainer" / "__init__.py").write_text("raise SystemExit('the foreign package was run')\n")
    return folder / "trainer" / "__init__.py"


def test_the_console_script_runs_our_trainer(installed: Path) -> None:
    """Installed alone, the command is the trainer's command line."""
    done = console_script(installed)
    assert (done.returncode, done.stdout) == (0, f"trainer, version {trainer.__version__}\n"), done.stderr


def test_a_foreign_trainer_that_is_found_first_is_named(installed: Path, tmp_path: Path) -> None:
    """Another package earlier on the path is not run: the error says which file it is, and what to do."""
    file = foreign(tmp_path / "elsewhere")
    done = console_script(installed, tmp_path / "elsewhere")
    assert done.returncode == 1
    assert f"found:    {file}" in done.stderr and "virtual environment" in done.stderr
    assert f"expected: {installed / 'trainer' / '__init__.py'}" in done.stderr
    assert "python -m trainer" in done.stderr and "was run" not in done.stderr


def test_a_foreign_trainer_that_was_installed_over_ours_is_named(installed: Path) -> None:
    """Another package in the very place of ours is not run, either."""
    file = foreign(installed)
    done = console_script(installed)
    assert done.returncode == 1
    assert f"found:    {file}" in done.stderr and "was run" not in done.stderr


def test_a_missing_trainer_is_named() -> None:
    """Without any trainer, the command says so."""
    assert not poisongen_trainer.is_ours(None)
    assert "no such package" in poisongen_trainer.error_text(None)
