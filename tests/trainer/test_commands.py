import ast
import json
import subprocess
import sys
from pathlib import Path

import handmade
import pytest
from click.testing import CliRunner

import trainer
from trainer.cli import main
from trainer.config import load, presets
from trainer.errors import SettingError

ROOT = Path(__file__).parents[2]
SMALL = ["--set", "crop=48x48", "--set", "batch=6", "--epochs", "1", "--threads", "1", "--set", "precision=float32"]


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_the_trainer_imports_nothing_of_the_generator() -> None:
    """The two programs meet in the folder only: neither the text of the trainer nor a process that runs it has poisongen."""
    for file in (ROOT / "trainer").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "poisongen" for name in names), file
    foreign = ("poisongen", "pydantic", "scipy")
    code = f"import sys, trainer.cli; print([name for name in sys.modules if name.partition('.')[0] in {foreign}])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("command", [[], ["train"], ["eval"], ["report"], ["panel"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    """Help has an example and fits 80 columns."""
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "python -m trainer" in result.output.split("Example:")[1]
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_the_version_is_printed() -> None:
    """`--version` says which trainer this is."""
    assert trainer.__version__ in run("--version").output


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("epohcs=3", "did you mean epochs"),
        ("epochs", "key=value"),
        ("epochs=many", "a int"),
        ("epochs=0", "outside its range"),
        ("lr=nan", "outside its range"),
        ("crop=3", "2 numbers"),
        ("scale=[2, 1]", "outside its range"),
        ("precision=float8", "outside its range"),
        ("flip=1", "a bool"),
    ],
)
def test_a_wrong_setting_is_a_letter(tmp_path: Path, setting: str, answer: str) -> None:
    """A setting that does not exist or cannot be is refused before any work, with what to write instead."""
    data = handmade.write_folder(tmp_path / "data", train=2, val=1)
    result = run("train", data, "--out", tmp_path / "run", "--set", setting)
    assert result.exit_code == 2
    assert answer in result.output
    assert not (tmp_path / "run").exists()


def test_presets_load_and_follow_the_dataset() -> None:
    """Each preset is a valid difference from the defaults; settings of the command line go over it."""
    assert set(presets()) >= {"default", "cityscapes", "camvid", "streets"}
    for name in presets():
        assert load(name, {"epochs": "7"}).epochs == 7
    assert load("cityscapes", {}).epochs == 200
    assert (load("cityscapes", {}).init, load("camvid", {}).init, load("streets", {}).init) == ("imagenet", "random", "random")
    assert load("camvid", {"input_scale": "0.5"}).net_crop == (180, 240)
    with pytest.raises(SettingError, match="did you mean streets"):
        load("street", {})


def test_an_experiment_ends_in_a_table(tmp_path: Path) -> None:
    """Train twice, score the benign model on the poisoned folder, and the table has every figure, as Markdown and as CSV."""
    benign = handmade.write_folder(tmp_path / "benign", train=6, val=2, size=48)
    poisoned = handmade.write_folder(tmp_path / "nni", train=6, val=2, size=48, poisoned=3, sets=("near", "far"))
    runs = tmp_path / "b", tmp_path / "p"
    for data, out in zip((benign, poisoned), runs, strict=True):
        result = run("train", data, "--out", out, *SMALL)
        assert result.exit_code == 0, result.output
        assert "min for 1 epochs" in result.stderr or " s for 1 epochs" in result.stderr
        assert result.stdout.startswith("| run")
        assert not (out / "checkpoint.safetensors").exists()
        assert (out / "panel.png").read_bytes()[:4] == b"\x89PNG"
    before = (runs[1] / "metrics.json").read_text()
    assert run("eval", runs[1]).exit_code == 0
    assert (runs[1] / "metrics.json").read_text() == before
    assert run("eval", runs[0], "--data", poisoned).exit_code == 0
    result = run("report", *runs, "--out", tmp_path / "tables")
    assert result.exit_code == 0, result.output

    metrics = json.loads(before)
    identity = metrics["dataset"]["identity"].removeprefix("sha256:")
    baseline = json.loads((runs[0] / f"metrics-{identity[:12]}.json").read_text())
    assert metrics["evaluation_sets"].keys() == {"near", "far"}
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines() if line.startswith("|")]
    assert [row[:3] for row in table[2:]] == [["b", "benign", "–"], ["p", "nni", "50.00"], ["p", "nni", "50.00"]]
    near, clean = metrics["evaluation_sets"]["near"], baseline["evaluation_sets"]["near"]
    expected = [metrics["miou"], metrics["pa"], near["asr"], near["asr_without_trigger"], clean["asr"], near["pba"]]
    assert [table[3][i] for i in (3, 4, 6, 7, 8, 9)] == [f"{100 * value:.2f}" for value in expected]
    assert (tmp_path / "tables" / "table.csv").read_text().count("\n") == 4
    assert (tmp_path / "tables" / "table.md").read_text() == result.stdout

    assert run("panel", runs[1], "--clean-run", runs[0], "--out", tmp_path / "panel.png").exit_code == 0
    assert "finished" in run("train", poisoned, "--out", runs[1], *SMALL).output


def test_a_folder_that_is_no_run_is_a_letter(tmp_path: Path) -> None:
    """Commands that want a run say which file of it is missing."""
    for command in (["report", tmp_path], ["eval", tmp_path], ["panel", tmp_path, "--out", tmp_path / "x.png"]):
        result = run(*command)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert str(tmp_path) in result.output
