"""poisongen show: what the command says, where it writes, that it writes the same again."""

import json
from pathlib import Path

import pytest

from poisongen.engine.workers import Workers
from poisongen.show import show
from tests.support.commands import Run
from tests.support.shown import grouped, shown


def test_the_command_says_what_it_wrote(run: Run, nni: Path, roomy: Path) -> None:
    """The command names its files, what could not be shown, and with --json the samples."""
    outcome = run("show", nni, "--number", "3", "--jobs", "1")
    assert outcome.code == 0, outcome.err
    assert str(nni / "gallery.png") in outcome.out
    assert str(nni / "report.html") in outcome.out
    assert "do not share" in outcome.out
    assert "clean picture: give --source" in outcome.err
    said = json.loads(run("show", nni, "--source", roomy, "--set", "iba", "--json", "--jobs", "1").out)
    assert [one["group"] for one in said["samples"]] == ["triggered/iba"] * len(grouped(nni)["triggered/iba"])
    assert said["notes"] == []


def test_verify_passes_afterwards(folder: Path, run: Run) -> None:
    """The two files may lie in a folder that verifies, and nothing else was added to it."""
    outcome = run("verify", folder)
    assert outcome.code == 0, outcome.err


@pytest.mark.long
def test_elsewhere_is_the_same_and_the_folder_is_left_alone(run: Run, nni: Path, tmp_path: Path) -> None:
    """--out: the same bytes in a folder that is made; the dataset has not a file more. What is no folder is
    refused."""
    before, out = sorted(nni.rglob("*")), tmp_path / "some" / "where"
    result = run("show", str(nni), "--number", "3", "--out", str(out))
    assert result.code == 0 and str(out / "gallery.png") in result.out
    assert sorted(nni.rglob("*")) == before
    shown(nni, number=3)
    for name in ("gallery.png", "report.html"):
        assert (out / name).read_bytes() == (nni / name).read_bytes()
    refused = run("show", str(nni), "--out", str(out / "gallery.png"))
    assert refused.code == 1 and "gallery.png" in refused.err


@pytest.mark.long
def test_the_same_input_gives_the_same_bytes(nni: Path, roomy: Path, tmp_path: Path) -> None:
    """Again, with more workers, or in another folder: the same two files."""
    shown(nni, roomy)
    first = [(nni / name).read_bytes() for name in ("gallery.png", "report.html")]
    moved = nni.rename(tmp_path / "moved")
    with Workers(2, quiet=True) as workers:
        show(moved, workers, source=roomy, number=5)
    assert [(moved / name).read_bytes() for name in ("gallery.png", "report.html")] == first
