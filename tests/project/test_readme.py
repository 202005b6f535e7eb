"""The README's commands run as they are typed."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sources import write_ade20k, write_folder, write_voc

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
COMMANDS = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]

# Small enough for a test: fewer and smaller scenes, one epoch.
SMALLER = {
    "poisongen draw": "--size 128x64 --train 12 --val 3",
    "poisongen camvid": "--take-what-fits",
    "poisongen voc": "--take-what-fits --trigger-size 3px",
    "python -m trainer train": "--epochs 1 --threads 1 --set batch=4",
}


def test_the_readme_shows_both_programs() -> None:
    """There are commands of the generator and of the trainer to run."""
    assert sum(command.startswith("poisongen ") for command in COMMANDS) >= 6
    assert sum(command.startswith("python -m trainer ") for command in COMMANDS) >= 4


@pytest.fixture
def sources_by_their_names(tmp_path: Path, sources: dict[str, Path]) -> None:
    """Small sources under the names that the README gives them, and the streets that the frozen manifests
    were made from."""
    (tmp_path / "CamVid").symlink_to(sources["camvid"])
    (tmp_path / "CITYSCAPES").symlink_to(sources["cityscapes"])
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    write_ade20k(tmp_path / "ADEChallengeData2016")
    write_voc(tmp_path / "voc")
    (tmp_path / "VOCdevkit").symlink_to(tmp_path / "voc" / "VOCdevkit")
    write_folder(tmp_path / "my-data")
    draw = [sys.executable, "-m", "poisongen", "draw", tmp_path / "all-streets", "--jobs", "1"]
    subprocess.run(draw, cwd=ROOT, check=True, capture_output=True)


@pytest.mark.long
@pytest.mark.usefixtures("sources_by_their_names")
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    """In order, in one folder, each command ends well and prints the identity that the one before it
    promised."""
    pytest.importorskip("torch")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    printed: dict[str, str] = {}
    for command in COMMANDS:
        name = command.removeprefix("export ").partition("=")[0]
        if command.startswith("export "):
            environment[name] = str(tmp_path / "streets")
            continue
        smaller = next((more for start, more in SMALLER.items() if command.startswith(start)), "")
        frozen = command.startswith("poisongen rebuild manifests/")
        typed = command.replace("--source streets", "--source all-streets") if frozen else command
        words = shlex.split(f"{typed} {smaller}")
        program = [sys.executable, "-m", "poisongen"] if words[0] == "poisongen" else [sys.executable]
        words = [*program, *words[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        printed[command] = done.stdout
    about_data = [text for command, text in printed.items() if re.search(" data$| data --source", command)]
    assert len({identity for text in about_data for identity in re.findall("sha256:[0-9a-f]{64}", text)}) == 1
