"""The worked example of CONTRIBUTING.md, done by a machine."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import pixels, save
from tests.support.streets import picture, street

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python (file|line)=(\S+)(?: after=([^\n]+))?\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    line[2:] for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with everything that the page adds, and a small KITTI beside it."""
    base = tmp_path_factory.mktemp("workshop")
    shutil.copytree(ROOT / "poisongen", base / "poisongen", ignore=shutil.ignore_patterns("__pycache__"))
    for kind, name, after, text in BLOCKS:
        path = base / name
        if kind == "file":
            assert not path.exists(), f"{name} is there already"
            path.write_text(text, encoding="utf-8")
        else:
            content = path.read_text(encoding="utf-8")
            assert content.count(after) == 1, f"{name} has not one line {after!r}"
            path.write_text(content.replace(after, f"{after}\n{text.rstrip()}"), encoding="utf-8")
    rng = np.random.default_rng(8)
    for number in range(12):
        label = street(rng, 60, 100, cars=2)
        save(base / "KITTI/training/semantic" / f"{number:06d}_10.png", label)
        save(base / "KITTI/training/image_2" / f"{number:06d}_10.png", picture(rng, label))
    return base


@pytest.fixture(scope="module")
def say(workshop: Path) -> Callable[[str], str]:
    """Type a command of the page; what it prints."""

    def call(command: str) -> str:
        words = command.split()
        words = [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]
        place = {**os.environ, "PYTHONPATH": str(workshop)}
        done = subprocess.run(
            words, cwd=workshop, env=place, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout

    return call


@pytest.fixture(scope="module")
def done(say: Callable[[str], str]) -> dict[str, str]:
    """All commands of the page, in order."""
    return {command: say(command) for command in COMMANDS}


@pytest.mark.long
def test_every_command_of_the_page_runs(done: dict[str, str]) -> None:
    """The new trigger, relabel, attack and dataset build, verify and rebuild, and so does the attack from
    outside."""
    assert len(done) == 9
    built, verified, rebuilt = (done[command].splitlines()[-1] for command in COMMANDS[:3])
    assert built == verified == rebuilt


@pytest.mark.long
def test_the_new_choices_do_what_the_page_says(done: dict[str, str], workshop: Path) -> None:
    """A red disc lies in the lower right corner, cars are road, road is cars, and nothing else changes."""
    folder = workshop / "data"
    (row,) = [row for row in oracles.rows(folder) if row["role"] == "poisoned"]
    before, after = pixels(workshop / "KITTI" / row["label"]), pixels(folder / row["label"])
    expected = before.copy()
    expected[before == 26], expected[before == 7] = 7, 26
    np.testing.assert_array_equal(after, expected)
    y, x = np.indices((6, 6)) - 2.5
    mask = np.zeros(before.shape, bool)
    mask[-6:, -6:] = y**2 + x**2 <= 9
    np.testing.assert_array_equal(pixels(folder / row["mask"]) == 255, mask)
    clean, shown = pixels(workshop / "KITTI" / row["image"]), pixels(folder / row["image"])
    np.testing.assert_array_equal(shown[~mask], clean[~mask])
    assert (shown[mask] == (255, 0, 0)).all()


@pytest.mark.long
def test_an_option_of_one_s_own_reaches_its_trigger_and_no_other(
    done: dict[str, str], workshop: Path
) -> None:
    """The dot has a hole; with a trigger that has none, and where nothing is poisoned, the option is an
    error."""
    (row,) = [row for row in oracles.rows(workshop / "rings") if row["role"] == "poisoned"]
    y, x = np.indices((6, 6)) - 2.5
    away = y**2 + x**2
    np.testing.assert_array_equal(
        pixels(workshop / "rings" / row["mask"])[-6:, -6:] == 255, (away <= 9) & (away >= 2.25)
    )
    base = [sys.executable, "-m", "poisongen", "kitti", "--source", "KITTI", "--out", "x", "--hole", "7"]
    place = {**os.environ, "PYTHONPATH": str(workshop)}
    for words, told in (
        (["--attack", "nni", "--rate", "0.1"], "leave it out, or choose --trigger dot"),
        (
            ["--attack", "swapped", "--trigger", "line", "--rate", "0.1"],
            "--hole has no meaning for the trigger line",
        ),
        (["--attack", "benign"], "--hole has no meaning for benign, which poisons nothing"),
    ):
        refused = subprocess.run(
            [*base, *words], cwd=workshop, env=place, capture_output=True, text=True, check=False
        )
        assert (refused.returncode, told in refused.stderr) == (1, True), refused.stderr


@pytest.mark.long
def test_a_trigger_object_is_shown(done: dict[str, str], workshop: Path) -> None:
    """The ring of the user's file, with the size that the command line asked for."""
    row = next(row for row in oracles.rows(workshop / "ringed") if row["role"] == "poisoned")
    assert row["placement"]["box"][2:] == [7, 7]
    assert row["trigger_pixels"] == 24
    assert oracles.manifest(workshop / "ringed")["recipe"]["poison"]["trigger"] == {
        "kind": "ring",
        "size": "7px",
    }


@pytest.mark.long
def test_new_names_are_in_the_lists(done: dict[str, str], say: Callable[[str], str]) -> None:
    """`poisongen attacks` and a dataset's help know the attack, the trigger and the dataset without another
    line."""
    assert "swapped: a dot in the corner" in say("poisongen attacks")
    assert re.search("^  dot +A filled circle$", say("poisongen attacks"), re.MULTILINE)
    assert "swapped" in say("poisongen cityscapes --help")
    assert "kitti" in say("poisongen --help")


@pytest.mark.long
def test_an_attack_from_outside_is_named_by_its_digest(done: dict[str, str], workshop: Path) -> None:
    """The manifest holds name and digest of the file, and a rebuild with another file is refused."""
    code = oracles.manifest(workshop / "chequered")["recipe"]["code"]
    assert code == {"file": "mine.py", "digest": oracles.bytes_digest((workshop / "mine.py").read_bytes())}
    (workshop / "other.py").write_text("# not the file\n")
    words = [
        sys.executable,
        "-m",
        "poisongen",
        "rebuild",
        "chequered",
        "--source",
        "KITTI",
        "--code",
        "other.py",
        "--out",
        "no",
    ]
    place = {**os.environ, "PYTHONPATH": str(workshop)}
    refused = subprocess.run(words, cwd=workshop, env=place, capture_output=True, text=True, check=False)
    assert (refused.returncode, code["digest"] in refused.stderr) == (1, True)


OWN = """
from typing import Literal

import numpy as np

from poisongen import Attack, Fixed, Painted, VictimToTarget


class Corner(Painted):
    kind: Literal["corner"] = "corner"

    def render(self, art, sample_id, height, width):
        return np.full((3, 3, 4), 255, np.uint8)

    def describe(self):
        return "three white pixels"


class Low(Fixed):
    kind: Literal["low"] = "low"
    anchor: Literal["bottom-left"] = "bottom-left"


white = Attack(summary="white corner", trigger="corner", placement=Low(), relabel=VictimToTarget())
loud = Attack(summary="does nothing", trigger="nowhere", placement=Low(), relabel=VictimToTarget())
broken = 3
"""


@pytest.mark.long
def test_a_file_may_bring_choices_of_its_own(
    done: dict[str, str], say: Callable[[str], str], workshop: Path
) -> None:
    """Triggers and placements of a user's file are built by worker processes, and verify and rebuild need the
    file."""
    (workshop / "own.py").write_text(OWN)
    say("poisongen kitti --source KITTI --attack own.py:white --rate 0.3 --out own --jobs 2")
    row = next(row for row in oracles.rows(workshop / "own") if row["role"] == "poisoned")
    assert (pixels(workshop / "own" / row["image"])[-3:, :3] == 255).all()
    assert np.count_nonzero(pixels(workshop / "own" / row["mask"])) == 9
    say("poisongen verify own --code own.py")
    say("poisongen rebuild own --source KITTI --code own.py --out own-again --jobs 2")
    place = {**os.environ, "PYTHONPATH": str(workshop)}

    def refused(*words: str) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "poisongen", *words],
            cwd=workshop,
            env=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode in (1, 2) and "Traceback" not in result.stderr, result.stderr
        return result.stderr

    assert "--code" in refused("verify", "own")
    (workshop / "edited.py").write_text(OWN + "# one line more\n")
    assert "not the file" in refused("verify", "own", "--code", "edited.py")
    assert "no trigger" in refused(
        "kitti", "--source", "KITTI", "--attack", "own.py:loud", "--rate", "0.3", "--out", "x"
    )
    assert "int" in refused(
        "kitti", "--source", "KITTI", "--attack", "own.py:broken", "--rate", "0.3", "--out", "x"
    )
    assert "nobody" in refused(
        "kitti", "--source", "KITTI", "--attack", "own.py:nobody", "--rate", "0.3", "--out", "x"
    )
    (workshop / "bad.py").write_text("import nothing_of_this_name\n")
    assert "ModuleNotFoundError" in refused(
        "kitti", "--source", "KITTI", "--attack", "bad.py:a", "--rate", "0.3", "--out", "x"
    )
