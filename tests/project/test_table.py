"""`python -m trainer table`, and `make table` in front of it: recipes to datasets to runs to tables."""

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("torch")

from tests.support.frozen import once
from trainer.errors import SettingError
from trainer.tables import runner, steps
from trainer.tables.decisions import Decision, Found, Verdict, decide, survey
from trainer.tables.definition import read_table
from trainer.tables.estimate import estimate
from trainer.tables.kinds import Run, steps_of
from trainer.tables.publish import without_paths
from trainer.tables.runner import Limits, Runner, on_device
from trainer.tables.steps import Key, Record, Step, Tools

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")} | {
    "PYTHONPATH": str(ROOT),
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
}
PROGRAMS = (sys.executable, "-S", str(ROOT / "tests" / "support" / "table_programs.py"))
"""Stand-ins for both programs."""

VICTIMS = {
    "rate": "0.25",
    "victim": "car",
    "target": "road",
    "trigger-size": "10.7%",
    "seed": 0,
    "eval-seed": 0,
}
TABLE = """
[settings]
preset = "streets"
epochs = 1
batch = 4
width = 0.25
crop = [64, 128]
precision = "float32"
threads = 1

[subsets]
first = "val/*_000012_*"

[runs]
benign = { score = ["nni"] }
near = { data = "nni", settings = { flip = false } }

[tables]
main = ["benign", "near"]
"""


def write_table(folder: Path, text: str = TABLE) -> Path:
    """A table of two recipes."""
    (folder / "recipes").mkdir(parents=True)
    for name, options in {
        "benign": {"attack": "benign", "seed": 0},
        "nni": {"attack": "nni", **VICTIMS},
    }.items():
        recipe = {"title": name, "dataset": "cityscapes", "options": options}
        (folder / "recipes" / f"{name}.json").write_text(json.dumps(recipe))
    (folder / "table.toml").write_text(text)
    return folder


def change(file: Path, old: str, new: str) -> None:
    """Put ``new`` in the place of ``old``, which is there."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def times(out: Path) -> dict[str, int]:
    """When each file was written."""
    return {
        path.relative_to(out).as_posix(): path.lstat().st_mtime_ns
        for path in out.rglob("*")
        if not path.is_dir()
    }


def changed(before: Mapping[str, int], after: Mapping[str, int]) -> set[str]:
    """What is new or was written anew, by the folder or file below data, runs and table."""
    files = {name for name in after if before.get(name) != after[name]} | (before.keys() - after.keys())
    return {"/".join(name.split("/")[:2]) for name in files}


def rows_of(base: Path) -> list[str]:
    """The names in the first column of the table main."""
    lines = (base / "out/table/main/table.csv").read_text("utf-8").splitlines()
    return [line.split(",")[0] for line in lines[1:]]


class Said(NamedTuple):
    """How the command table has ended, and all that it printed."""

    code: int
    text: str


def call(base: Path, *words: str) -> Said:
    """The command, in this process, for the table and the source below ``base``."""
    from trainer.cli.main import main

    text = io.StringIO()
    places = [str(base / "table"), "--out", str(base / "out"), "--source", str(base / "streets")]
    with (
        contextlib.redirect_stdout(text),
        contextlib.redirect_stderr(text),
        pytest.raises(SystemExit) as left,
    ):
        main(["table", *places, *words], prog_name="trainer")
    code = left.value.code
    assert "Traceback" not in text.getvalue()
    return Said(int(code or 0), text.getvalue())


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, whose programs are stand-ins."""
    monkeypatch.setattr(steps, "TRAINER", PROGRAMS)
    monkeypatch.setattr(steps, "POISONGEN", PROGRAMS)
    monkeypatch.setenv("TABLE_CALLS", str(tmp_path / "calls"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    write_table(tmp_path / "table")
    return tmp_path


@dataclass(frozen=True)
class Call:
    """A call of a stand-in."""

    words: list[str]
    gpus: str | None
    code: int
    began: float
    ended: float


def calls(base: Path) -> list[Call]:
    """Those since this was asked last."""
    file = base / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [Call(**json.loads(line)) for line in lines]


def commands(base: Path) -> list[str]:
    """Which commands were called since this was asked last."""
    return sorted(one.words[0] for one in calls(base))


ALL = ["build", "build", "eval", "report", "train", "train"]
"""What the whole table takes."""


# What is made, and what is not


def test_only_what_is_missing_is_made(base: Path) -> None:
    """A second call starts no command and writes nothing."""
    assert call(base, "-j2").code == 0
    assert commands(base) == ALL
    before = times(base / "out")
    assert call(base, "-j2").code == 0
    assert commands(base) == [] and times(base / "out") == before


def test_a_run_in_no_table_is_not_made(base: Path) -> None:
    """Neither is its dataset built."""
    change(base / "table/table.toml", 'main = ["benign", "near"]', 'main = ["near"]')
    assert call(base).code == 0
    assert commands(base) == ["build", "report", "train"]
    assert not (base / "out/data/benign").exists() and not (base / "out/runs/benign").exists()


def test_a_changed_recipe_makes_what_depends_on_it(base: Path) -> None:
    """It builds its dataset and trains its runs anew, and puts the old runs aside; what does not depend on it
    stays."""
    call(base)
    calls(base)
    before, old = times(base / "out"), (base / "out/runs/near/metrics.json").read_text()
    change(base / "table/recipes/nni.json", "0.25", "0.5")
    said = call(base)
    assert said.code == 0 and "options.rate" in said.text
    assert commands(base) == ["build", "eval", "report", "train"]
    touched = changed(before, times(base / "out"))
    assert {name for name in touched if name.startswith("runs/benign")} == {"runs/benign"}  # scored on it
    assert not any(name.startswith("data/benign") for name in touched)
    model = "runs/benign/model.safetensors"
    assert (base / "out" / model).stat().st_mtime_ns == before[model]
    (kept,) = (base / "out/outdated").iterdir()
    assert (kept / "metrics.json").read_text() == old and (kept / "step.json").is_file()
    assert (base / "out/runs/near/metrics.json").read_text() != old
    call(base, "--publish")
    published = json.loads((base / "table/runs/near/metrics.json").read_text())
    assert published == json.loads((base / "out/runs/near/metrics.json").read_text())


@pytest.mark.long
def test_a_dataset_that_is_the_same_again_trains_nothing(base: Path) -> None:
    """A recipe of another title is built anew; its identity is the same, so its runs stay."""
    call(base)
    calls(base)
    change(base / "table/recipes/nni.json", '"title": "nni"', '"title": "near"')
    assert call(base).code == 0
    assert commands(base) == ["build"]
    assert not (base / "out/outdated").exists()


@pytest.mark.long
def test_what_was_only_touched_or_written_otherwise_makes_nothing(base: Path) -> None:
    """Content is compared, and neither times nor blanks."""
    call(base)
    calls(base)
    recipe = base / "table/recipes/nni.json"
    recipe.write_text(json.dumps(json.loads(recipe.read_text()), indent=4, sort_keys=True))
    for path in (base / "out").rglob("*"):
        os.utime(path, follow_symlinks=False)
    before = times(base / "out")
    assert call(base).code == 0
    assert commands(base) == [] and times(base / "out") == before


@pytest.mark.long
def test_a_run_of_other_settings_is_put_aside_and_in_no_table(base: Path) -> None:
    """Neither --now nor --publish takes a run that the table would make anew; --publish names it."""
    call(base)
    call(base, "--publish")
    published = (base / "table/runs/near/metrics.json").read_bytes()
    change(base / "table/table.toml", "flip = false", "flip = true")
    call(base, "--now")
    assert set(rows_of(base)) == {"subset first=val/*_000012_*", "benign"}
    said = call(base, "--publish")
    assert "not there yet: runs/near, table/main" in said.text
    assert (base / "table/runs/near/metrics.json").read_bytes() == published
    said = call(base)
    assert "flip: false → true" in said.text and len(list((base / "out/outdated").iterdir())) == 1
    assert "near" in rows_of(base)


def test_nothing_trained_is_ever_deleted(base: Path) -> None:
    """Runs that are put aside within one second all stay."""
    weights = set()
    for lr in ("1e-3", "2e-3", "3e-3"):
        (base / "table/table.toml").write_text(TABLE.replace("flip = false", f"lr = {lr}"))
        call(base)
        weights.add((base / "out/runs/near/model.safetensors").read_text())
    aside = {file.read_text() for file in (base / "out/outdated").glob("*/model.safetensors")}
    assert len(weights) == 3 and aside < weights and len(aside) == 2


@pytest.mark.long
def test_a_run_that_nobody_knows_is_put_aside(base: Path) -> None:
    """A folder without a record may be of any settings; a dataset without one is taken as it is."""
    call(base)
    (base / "out/runs/near.step.json").unlink()
    (base / "out/data/nni.step.json").unlink()
    (base / "out/data/nni.json").unlink()
    calls(base)
    said = call(base)
    assert "nothing says what it was made of" in said.text
    assert commands(base) == ["train"]
    assert (base / "out/data/nni.json").is_file()
    change(base / "table/recipes/nni.json", "0.25", "0.5")
    call(base)
    assert "build" in commands(base)


def test_settings_of_the_machine_change_nothing(base: Path) -> None:
    """Threads, devices and links are part of no key."""
    call(base)
    calls(base)
    change(base / "table/table.toml", "threads = 1", "threads = 2")
    assert call(base, "--threads", "3", "--devices", "cpu", "--link", "copy", "--build-jobs", "2").code == 0
    assert commands(base) == []


@pytest.mark.long
def test_a_run_is_begun_with_the_machine_that_is_asked_for_and_keeps_it(base: Path) -> None:
    """The command line goes over the table; a run with a checkpoint is told nothing."""
    run = base / "out/runs/near"
    call(base, "--threads", "3", "--devices", "cpu", "--link", "copy", "--build-jobs", "2")
    made = {one.words[0]: one.words for one in calls(base)}
    assert made["train"][-6:] == ["--threads", "1", "--threads", "3", "--device", "cpu"]
    assert made["build"][-4:] == ["--jobs", "2", "--link", "copy"]
    for name in ("metrics.json", "model.safetensors", "log.jsonl"):
        (run / name).unlink()
    call(base)
    (train,) = (one.words for one in calls(base) if one.words[0] == "train")
    assert train[-2:] == ["--threads", "1"]
    (run / "metrics.json").unlink()
    (run / "model.safetensors").rename(run / "checkpoint.safetensors")
    (run / "checkpoint.safetensors").write_text('[0, ""]')
    call(base, "--threads", "3")
    (train,) = (one.words for one in calls(base) if one.words[0] == "train")
    assert "--threads" not in train


@pytest.mark.long
def test_a_table_follows_its_rows_and_options(base: Path) -> None:
    """Another row, subset or option writes the table anew and trains nothing; a second call with the same
    writes nothing."""
    call(base)
    calls(base)
    file = base / "table/table.toml"
    for old, new, rows in (
        ('"benign", "near"]', '"near"]', ["subset first=val/*_000012_*", "near"]),
        ("[subsets]\nfirst", "[subsets]\nother", ["subset other=val/*_000012_*", "near"]),
    ):
        change(file, old, new)
        said = call(base)
        assert "writing the table main" in said.text and commands(base) == ["report"]
        assert rows_of(base) == rows
        before = times(base / "out")
        call(base)
        assert times(base / "out") == before
    call(base, "--report-args", "--intervals")
    assert "intervals" in rows_of(base)


@pytest.mark.long
def test_other_scores_write_the_table_anew(base: Path) -> None:
    """A table is of the content of its scores."""
    call(base)
    calls(base)
    change(base / "out/runs/near/metrics.json", '"weights": "', '"weights": "0')
    call(base)
    assert commands(base) == ["report"]


@pytest.mark.long
def test_a_table_written_now_is_written_again_when_more_is_there(base: Path) -> None:
    """What --now has left out is in the table that is made next."""
    change(base / "table/table.toml", "flip = false", "lr = 1e30")
    assert call(base, "-k").code == 1
    assert call(base, "--now").code == 0
    assert set(rows_of(base)) == {"subset first=val/*_000012_*", "benign"}
    change(base / "table/table.toml", "lr = 1e30", "lr = 1e-3")
    assert call(base).code == 0
    assert "near" in rows_of(base)


def test_no_table_is_written_now_if_nothing_is_finished(base: Path) -> None:
    """It says so, and ends well."""
    said = call(base, "--now")
    assert said.code == 0 and "no run of main is finished" in said.text
    assert not (base / "out/table/main").exists()


@pytest.mark.long
def test_scores_of_another_version_are_made_again(base: Path) -> None:
    """From the model that is there."""
    call(base)
    calls(base)
    for file in (base / "out/runs/benign").glob("metrics*.json"):
        change(file, '"format_version": 2', '"format_version": 1')
    assert re.search("run benign +go on: trained, scores of another version", call(base, "--list").text)
    assert call(base).code == 0
    assert commands(base) == ["eval", "eval"]


# Failures, interruptions, kills


ASTRAY = TABLE.replace(
    "[runs]\n", '[runs]\nastray = { data = "nni", settings = { lr = 1e30 } }\n'
).replace('["benign"', '["astray", "benign"')  # fmt: skip


def test_a_failed_run_stops_no_other_with_k(base: Path) -> None:
    """The others are made, the end of the log is printed, and what depends on it is not made."""
    (base / "table/table.toml").write_text(ASTRAY)
    said = call(base, "-k")
    assert said.code == 1
    assert "is not finite" in said.text and "failed: run astray; not made: table main" in said.text
    assert (base / "out/runs/near/metrics.json").is_file()
    assert (base / "out/runs/benign/metrics.json").is_file()
    call(base, "--now")
    assert [name for name in rows_of(base) if "subset" not in name] == ["benign", "benign", "near"]


def test_after_a_failure_nothing_new_begins_without_k(base: Path) -> None:
    """What runs is finished."""
    (base / "table/table.toml").write_text(ASTRAY)
    said = call(base)
    assert said.code == 1 and "run benign" in said.text.partition("not made:")[2]
    assert commands(base) == ["build", "train"]


def test_a_command_that_was_killed_is_a_failure(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal is named."""
    monkeypatch.setattr(steps, "POISONGEN", (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    said = call(base)
    assert said.code == 1 and "killed by signal 9" in said.text


def test_a_command_that_makes_nothing_is_a_failure(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 is not enough."""
    monkeypatch.setattr(steps, "POISONGEN", ("true",))
    said = call(base)
    assert said.code == 1 and "failed: dataset benign (ended without its result)" in said.text


def test_a_damaged_log_stops_no_table(base: Path) -> None:
    """A line of ``log.jsonl`` that cannot be read is no epoch, and no traceback."""
    assert call(base).code == 0
    log = base / "out/runs/benign/log.jsonl"
    with log.open("ab") as opened:
        opened.write(b'\0\0\0\n[]\n{"timing": 3}\n')
    said = call(base, "--list")
    assert said.code == 0 and "to make: nothing" in said.text


def test_one_way_to_call_it_at_a_time(base: Path) -> None:
    """--list makes nothing: not beside --now or --publish, which do."""
    for words in (("--list", "--now"), ("--list", "--publish"), ("--now", "--publish")):
        assert call(base, *words).code == 2
    assert not (base / "out").exists()


@pytest.mark.long
def test_only_a_table_of_what_is_there_now_is_published(base: Path) -> None:
    """A table that was written before other scores, or of some of its runs, is not finished."""
    assert call(base).code == 0
    assert "not there yet" not in call(base, "--publish").text
    (name,) = [path.name for path in (base / "out/table").iterdir() if path.is_dir()][:1]
    stale = base / f"out/table/{name}/matrix.csv"
    stale.write_text("of a former table")
    scores = base / "out/runs/benign/metrics.json"
    scores.write_text(scores.read_text() + " ")
    assert f"table/{name}" in call(base, "--publish").text
    assert call(base).code == 0
    assert not stale.exists()
    assert f"table/{name}" not in call(base, "--publish").text


@pytest.mark.long
def test_when_the_time_is_up_all_is_interrupted(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands save a checkpoint, the exit code says so, and the same command goes on to the same weights."""
    change(base / "table/table.toml", "epochs = 1\n", "epochs = 30\n")
    monkeypatch.setenv("TABLE_PACE", "0.1")
    said = call(base, "-j2", "--until", "2")
    assert said.code == 75 and "The time is up" in said.text
    assert (base / "out/runs/benign/checkpoint.safetensors").is_file()
    monkeypatch.setenv("TABLE_PACE", "0")
    said = call(base, "-j2", "--list")
    assert re.search(r"run benign +go on: trained up to epoch \d+", said.text)
    assert call(base, "-j2").code == 0
    assert "going on after epoch" in (base / "out/runs/benign.log").read_text()
    assert not (base / "out/outdated").exists()
    again = write_again(base)
    assert results(again) == results(base)


def write_again(base: Path) -> Path:
    """The same table, made without any disturbance."""
    again = base / "again"
    shutil.copytree(base / "table", again / "table")
    assert call(again).code == 0
    return again


def results(base: Path) -> dict[str, str]:
    """Weights, scores and tables."""
    names = ("model.safetensors", "metrics*.json", "table.*")
    found = [path for name in names for path in (base / "out").glob(f"*/*/{name}")]
    return {
        path.relative_to(base).as_posix(): path.read_text() for path in found if "outdated" not in path.parts
    }


OWN_PROCESS = f"""
import sys
from trainer.tables import steps
from trainer.cli.main import main
steps.TRAINER = steps.POISONGEN = {PROGRAMS!r}
main(sys.argv[1:])
"""


@contextlib.contextmanager
def own_process(base: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, in a process and a group of its own."""
    places = ["table", str(base / "table"), "--out", str(base / "out")]
    with subprocess.Popen(
        [sys.executable, "-c", OWN_PROCESS, *places, *words],
        cwd=ROOT,
        env=ENVIRONMENT | {key: os.environ[key] for key in ("TABLE_CALLS", "TABLE_PACE")},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process


def wait_for(condition: Callable[[], bool]) -> None:
    """Up to a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.long
def test_killed_anywhere_it_goes_on_to_the_same_weights(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner, by SIGKILL. Its commands end with it, so that the next runner never meets one of them."""
    change(base / "table/table.toml", "epochs = 1\n", "epochs = 40\n")
    monkeypatch.setenv("TABLE_PACE", "0.05")
    log = base / "out/runs/near/log.jsonl"

    def epochs() -> int:
        return len(log.read_text().splitlines()) if log.is_file() else 0

    for number in (2, 20):
        with own_process(base, "-j2") as process:
            wait_for(lambda: epochs() >= number or process.poll() is not None)  # noqa: B023
            time.sleep(random.uniform(0, 0.1))
            process.kill()
        assert process.returncode == -signal.SIGKILL
    monkeypatch.setenv("TABLE_PACE", "0")
    said = call(base, "-j2")
    assert said.code == 0, said.text
    assert not (base / "out/outdated").exists()
    assert "Another trainer" not in (base / "out/runs/near.log").read_text()
    assert (base / "out/runs/near.log").read_text().count("going on after epoch") == 2
    assert results(write_again(base)) == results(base)


@pytest.mark.long
def test_one_runner_at_a_time_and_ctrl_c_ends_it(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one is refused; interrupted, the first one's commands save checkpoints, and it exits
    with 130."""
    change(base / "table/table.toml", "epochs = 1\n", "epochs = 600\n")
    monkeypatch.setenv("TABLE_PACE", "0.05")
    checkpoints = [base / f"out/runs/{name}/checkpoint.safetensors" for name in ("benign", "near")]
    with own_process(base, "-j2") as process:
        wait_for(lambda: all(file.is_file() for file in checkpoints) or process.poll() is not None)
        said = call(base)
        assert said.code == 1 and "is at work in this folder" in said.text
        os.killpg(process.pid, signal.SIGINT)
        _, text = process.communicate()
    assert process.returncode == 130, text
    assert "Interrupted" in text and "Traceback" not in text
    for name in ("benign", "near"):
        assert (base / f"out/runs/{name}.log").read_text().endswith("A checkpoint is saved.\n")


def test_a_runner_that_could_not_record_the_end_trains_nothing_again(base: Path) -> None:
    """Killed after the scores and before the record, a run is finished all the same."""
    call(base)
    file = base / "out/runs/near.step.json"
    change(file, '"finished": true', '"finished": false')
    (base / "out/runs/near/checkpoint.safetensors").touch()
    calls(base)
    assert call(base).code == 0
    assert commands(base) == []
    assert json.loads(file.read_text())["finished"] is True
    assert not (base / "out/runs/near/checkpoint.safetensors").exists()


@pytest.mark.long
def test_half_a_table_is_written_again(base: Path) -> None:
    """A report that was killed has perhaps written table.md, and not the rest."""
    call(base)
    calls(base)
    change(base / "out/table/main.step.json", '"finished": true', '"finished": false')
    call(base)
    assert commands(base) == ["report"]


# Several at a time


@pytest.mark.long
def test_no_more_than_jobs_at_a_time_and_each_on_a_free_gpu(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two GPUs two commands run, of which each sees another one."""
    monkeypatch.setenv("TABLE_PACE", "0.3")
    (base / "table/table.toml").write_text(
        TABLE.replace("[tables]", 'far = { data = "nni" }\n[tables]').replace('"near"]', '"near", "far"]')
    )
    assert call(base, "--devices", "cuda:0,cuda:1").code == 0
    made = calls(base)
    at_a_time = []
    for other in made:
        at_a_time.append(sum(one.began <= other.began < one.ended for one in made))
    assert max(at_a_time) == 2
    trained = [one for one in made if one.words[0] == "train"]
    for one in trained:
        assert one.words[-2:] == ["--device", "cuda"]
        beside = [
            other
            for other in trained
            if other is not one and other.began < one.ended and one.began < other.ended
        ]
        assert all(other.gpus != one.gpus for other in beside)
    assert {one.gpus for one in trained} == {"0", "1"}


@pytest.mark.parametrize(
    ("device", "among", "begun_on", "visible", "expected"),
    [
        (None, (), None, None, (None, {})),
        ("cpu", ("cpu",), None, None, ("cpu", {})),
        ("cuda:1", ("cuda:1",), None, None, ("cuda:1", {})),
        ("cuda:1", ("cuda:0", "cuda:1"), None, None, ("cuda", {"CUDA_VISIBLE_DEVICES": "1"})),
        ("cuda:1", ("cuda:0", "cuda:1"), "cuda", "4,7", ("cuda", {"CUDA_VISIBLE_DEVICES": "7"})),
        ("cuda:1", ("cuda:0", "cuda:1"), "cuda:1", None, (None, {})),
        ("cpu", ("cpu", "cuda:1"), None, None, ("cpu", {})),
    ],
)
def test_devices(
    device: str | None,
    among: tuple[str, ...],
    begun_on: str | None,
    visible: str | None,
    expected: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of several GPUs a command sees one; a run that was begun on a number keeps it."""
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert on_device(device, among, begun_on) == expected


# What it says


def test_list_says_what_would_be_made_and_why(base: Path) -> None:
    """And makes nothing."""
    said = call(base, "--list")
    assert re.search("dataset nni +make: missing", said.text) and "no estimate" in said.text
    assert not (base / "out").exists()
    call(base)
    assert "to make: nothing; made: 6 of 6 steps" in call(base, "--list").text
    change(base / "table/table.toml", "flip = false", "lr = 1e-3")
    change(base / "table/recipes/nni.json", "0.25", "0.5")
    (base / "out/runs/benign/metrics.json").unlink()
    before = times(base / "out")
    lines = call(base, "--list").text
    assert re.search('dataset nni +make anew: options.rate: "0.25" → "0.5"', lines)
    assert re.search("run benign +go on: trained, not scored", lines)
    assert re.search("run near +wait: after dataset nni", lines)
    assert "about 1 s with 1 at a time" in lines
    assert times(base / "out") == before


def test_each_step_has_a_record_that_a_person_reads(base: Path) -> None:
    """What it is, what it was made of, by which code, in which time."""
    call(base)
    record = json.loads((base / "out/runs/near.step.json").read_text())
    identity = json.loads((base / "out/data/nni/manifest.json").read_text())["identity"]
    assert (record["kind"], record["name"], record["finished"]) == ("run", "near", True)
    assert record["settings"]["flip"] == "false" and "threads" not in record["settings"]
    assert record["inputs"] == {"dataset": identity}
    assert record["commit"] == runner.commit() and record["seconds"] >= 0
    for name in ("data/benign", "data/nni", "runs/benign", "runs/benign/nni", "table/main"):
        assert json.loads((base / f"out/{name}.step.json").read_text())["finished"] is True


@pytest.mark.long
def test_other_code_is_noted_and_makes_nothing_anew(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is no part of a key."""
    call(base)
    calls(base)
    for module in ("trainer.tables.runner.commit",):
        monkeypatch.setattr(module, lambda: "another")
    said = call(base)
    assert "other code" in said.text and "run near" in said.text and commands(base) == []


def test_a_damaged_record_is_an_error(base: Path) -> None:
    """With its name."""
    call(base)
    (base / "out/runs/near.step.json").write_text('{"kind": "run"}')
    said = call(base)
    assert said.code == 1 and "near.step.json" in said.text


@pytest.mark.long
def test_a_folder_of_the_former_make_is_recognised(base: Path) -> None:
    """NAME.begun says what a run was begun with, and NAME.json what a dataset was built of."""
    call(base)
    identities = {}
    for name in ("benign", "nni"):
        identities[name] = json.loads((base / f"out/data/{name}/manifest.json").read_text())["identity"]
    common = ["--preset", "streets", *["--set", "epochs=1", "--set", "batch=4", "--set", "width=0.25"]]
    common += ["--set", "crop=64x128", "--set", "precision=float32"]
    for name, data, own in (("benign", "benign", []), ("near", "nni", ["--set", "flip=false"])):
        lines = [*common, *own, f'  "identity": "{identities[data]}",']
        (base / f"out/runs/{name}.begun").write_text("".join(f"{line}\n" for line in lines))
    for file in (base / "out").rglob("*.step.json"):
        file.unlink()
    calls(base)
    assert call(base).code == 0
    assert commands(base) == ["report"]
    change(base / "table/table.toml", "flip = false", "flip = true")
    assert "flip: false → true" in call(base).text


# Deciding


KEY = Key("run", {"lr": "1e-3"}, {"dataset": "sha256:1"})
RECORD = Record.begun("near", KEY, "")


@pytest.mark.parametrize(
    ("record", "made", "progress", "foreign", "expected"),
    [
        (None, False, "", False, Decision(Verdict.MISSING, "missing")),
        (RECORD, True, "", False, Decision(Verdict.MADE)),
        (RECORD, False, "begun", False, Decision(Verdict.BEGUN, "begun")),
        (None, True, "", True, Decision(Verdict.CHANGED, "nothing says what it was made of")),
        (None, True, "", False, Decision(Verdict.MADE)),
        (Record.begun("near", Key("run", {"lr": "1"}, KEY.inputs), ""), True, "", False,
         Decision(Verdict.CHANGED, "lr: 1 → 1e-3")),
        (Record.begun("near", Key("run", KEY.settings, {"dataset": "sha256:2"}), ""), False, "begun", False,
         Decision(Verdict.CHANGED, "dataset changed")),
    ],
)  # fmt: skip
def test_decisions(
    record: Record | None, made: bool, progress: str, foreign: bool, expected: Decision
) -> None:
    """What is to be done follows from what lies there and from what should."""
    assert decide(KEY, Found(record, made, progress, foreign)) == expected


def test_a_key_is_of_content_only() -> None:
    """The order of settings is none of it, and each part of it is."""
    assert Key("run", {"a": "1", "b": "2"}, {}).digest == Key("run", {"b": "2", "a": "1"}, {}).digest
    others = [
        Key("repair", KEY.settings, KEY.inputs),
        Key("run", {}, KEY.inputs),
        Key("run", KEY.settings, {}),
    ]
    assert len({KEY.digest, *(other.digest for other in others)}) == 4


def test_the_estimate_is_of_what_is_like_it(base: Path) -> None:
    """The pace of the most similar run, of an interrupted run its own, and only for epochs that are left."""
    change(base / "table/table.toml", "epochs = 1\n", "epochs = 10\n")
    every = steps_of(read_table(base / "table"), base / "out")
    call(base)
    for name, seconds, rows in (("benign", 2.0, 10), ("near", 8.0, 4)):
        row = json.dumps({"epoch": 1, "timing": {"seconds": seconds}})
        (base / f"out/runs/{name}/log.jsonl").write_text(f"{row}\n" * rows)
    near = every.runs["near"]
    for verdict, seconds in ((Verdict.BEGUN, 48.0), (Verdict.CHANGED, 80.0), (Verdict.MADE, 0.0)):
        decisions = {every.runs["benign"].label: Decision(Verdict.MADE), near.label: Decision(verdict)}
        assert estimate([every.runs["benign"], near], decisions, 2).seconds == seconds
    (near.folder / "log.jsonl").unlink()
    decisions = {every.runs["benign"].label: Decision(Verdict.MADE), near.label: Decision(Verdict.MISSING)}
    assert estimate([every.runs["benign"], near], decisions, 2).seconds == 20.0


@dataclass(frozen=True, eq=False)
class Repair(Step):
    """A kind of step that the project does not have: something that is made of a run."""

    run: Run
    kind = "repair"

    @property
    def doing(self) -> str:
        return f"repairing {self.run.name}"

    @property
    def needs(self) -> Sequence[Step]:
        return (self.run,)

    def settings(self) -> Mapping[str, str]:
        return {"method": "pruning"}

    def inputs(self) -> Mapping[str, str]:
        return {"run": self.run.key().digest}

    def is_made(self, record: Record | None) -> bool:
        return (self.folder / "repaired").is_file()

    def command(self, tools: Tools, device: str | None) -> list[str]:
        return ["sh", "-c", 'mkdir -p "$0" && touch "$0/repaired"', str(self.folder)]


def test_another_kind_of_step_is_one_more_class(base: Path) -> None:
    """The runner knows no kind: it makes a repair after its run, once, and anew with another run."""

    def wanted() -> list[Step]:
        every = steps_of(read_table(base / "table"), base / "out")
        repair = Repair("near", base / "out/repairs/near", every.runs["near"])
        return [every.datasets["nni"], every.runs["near"], repair]

    lines: list[str] = []
    assert survey(wanted())["repair near"] == Decision(Verdict.WAITS, "after run near")
    assert not Runner(wanted(), Tools(), Limits(), lines.append).run(base / "out").failed
    assert (base / "out/repairs/near/repaired").is_file()
    assert survey(wanted())["repair near"].verdict is Verdict.MADE
    change(base / "table/table.toml", "flip = false", "flip = true")
    lines.clear()
    Runner(wanted(), Tools(), Limits(), lines.append).run(base / "out")
    assert any("repair near: run changed" in line for line in lines)


# What a table may say


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("near = {", "near = { dta = 1,", "did you mean data?"),
        ('data = "nni"', 'data = "nnj"', "did you mean nni?"),
        ("flip = false", "flop = false", "did you mean flip?"),
        ("flip = false", 'init = "a\\nb"', "one line"),
        ('"near"]', '"far"]', "There is no run “far”"),
        ("near =", '"near; true" =', "A name cannot be used"),
        ("near =", '"../near" =', "A name cannot be used"),
        ("near =", '"-near" =', "A name cannot be used"),
        ("[runs]", "[runs", "cannot be read"),
        ("[subsets]", "[subset]", "did you mean subsets?"),
    ],
)
def test_a_table_that_cannot_be_is_an_error(old: str, new: str, says: str, tmp_path: Path) -> None:
    """A wrong name or value is refused, by its place, with what to do."""
    write_table(tmp_path / "table", TABLE.replace(old, new, 1))
    with pytest.raises(SettingError, match=says) as refused:
        read_table(tmp_path / "table")
    assert "table.toml" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    ["runs = 5", "tables = 5", "subsets = 5", "[runs]\nbenign = 5",
     "[runs.benign]\nsettings = 5", "[runs.benign]\nscore = 5",
     "[runs.benign]\nsettings.preset = 5", "[runs.benign]\n[tables]\nmain = 5"],
)  # fmt: skip
def test_a_table_of_other_kinds_is_an_error(tmp_path: Path, text: str) -> None:
    """A number where a part, a run or a list should be is told as such."""
    with pytest.raises(SettingError, match="is of another type"):
        read_table(write_table(tmp_path / "table", text))


def test_a_wrong_table_or_recipe_stops_before_any_work(base: Path) -> None:
    """The error is printed and nothing is made."""
    change(base / "table/table.toml", "flip", "flop")
    said = call(base)
    assert said.code == 2 and "There is no setting “flop”" in said.text
    change(base / "table/table.toml", "flop", "flip")
    (base / "table/recipes/nni.json").write_text("{")
    said = call(base)
    assert said.code == 2 and "nni.json" in said.text
    assert not (base / "out").exists() and commands(base) == []


@pytest.mark.long
def test_what_a_table_says_is_no_command(base: Path) -> None:
    """Whatever a stranger's table holds, no shell reads it: it reaches the trainer as it is."""
    texts = (
        "$(touch bad)",
        "`touch bad`",
        "$(shell touch bad)",
        "'; touch bad; '",
        "# \\",
        "a\\#b\\\\#c",
        "$(OUT)",
        "a  b",
        "--help",
    )
    entries = [
        f'hostile{i} = {{ data = "nni", settings = {{ init = {json.dumps(text)} }} }}\n'
        for i, text in enumerate(texts)
    ]
    rows = "".join(f', "hostile{i}"' for i in range(len(texts)))
    table = TABLE.replace("[tables]", f"{''.join(entries)}[tables]").replace('"near"]', f'"near"{rows}]')
    (base / "table/table.toml").write_text(table)
    assert call(base, "-j4").code == 0
    trained = [one.words for one in calls(base) if one.words[0] == "train"]
    reached = {words[words.index("--out") + 1]: words for words in trained}
    for i, text in enumerate(texts):
        assert f"init={text}" in reached[str(base / f"out/runs/hostile{i}")]
    assert not (ROOT / "bad").exists() and not Path("bad").exists()


def test_what_a_table_says_of_the_machine_is_what_was_read(base: Path) -> None:
    """A number of threads is passed on as the number, whatever is written behind it."""
    change(base / "table/table.toml", "flip = false", 'device = "cpu", threads = "2#;touch bad"')
    near = read_table(base / "table").runs["near"]
    assert near.machine_arguments == ["--threads", "2", "--device", "cpu"]


@pytest.mark.parametrize(
    "words", [["--devices", "gpu"], ["--report-args", "'"], ["--jobs", "-1"], ["--link", "soft"]]
)
def test_wrong_words_are_refused(base: Path, words: list[str]) -> None:
    """Before any work, with exit code 2."""
    assert call(base, *words).code == 2
    assert not (base / "out").exists()


def test_a_path_of_this_machine_is_cut_and_all_else_stays() -> None:
    """Keys and other text are as they were, to the byte."""
    text = '{"a": "/home/x/data", "/b": ["x/y", "/", "\\"/q", "/\\u00e4/ö"], "c": 1.50}\n'
    assert without_paths(text) == '{"a": "data", "/b": ["x/y", "", "\\"/q", "ö"], "c": 1.50}\n'


# In front of it: make


@pytest.fixture
def front(tmp_path: Path) -> Callable[..., list[list[str]]]:
    """Call make with a python that only notes its words; they are returned."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        '#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >> "$CALLS"\necho END >> "$CALLS"\n'
    )
    python.chmod(0o755)

    def make(*words: str, **environment: str) -> list[list[str]]:
        noted = tmp_path / "noted"
        noted.unlink(missing_ok=True)
        command = ["make", "-o", "setup", f"BIN={python.parent}", *words]
        subprocess.run(
            command,
            cwd=ROOT,
            env={**ENVIRONMENT, "CALLS": str(noted), **environment},
            check=True,
            capture_output=True,
        )
        every = noted.read_text().split("END\n")[:-1]
        return [one.splitlines() for one in every]

    return make


PLAIN = ["-m", "trainer", "table", "manifests/camvid", "--out", "work/camvid", "--report-args", ""]
BUILD = ["--build-jobs", "1", "--link", "symlink"]


@pytest.mark.target("table", "table-now", "table-publish")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["table"], [*PLAIN, *BUILD]),
        (["-j4", "table"], [*PLAIN, "--jobs=4", *BUILD]),
        (["table", "-j", "4"], [*PLAIN, "--jobs=4", *BUILD]),
        (["table", "-j"], [*PLAIN, "--jobs=0", *BUILD]),
        (["--jobs=3", "table"], [*PLAIN, "--jobs=3", *BUILD]),
        (["-k", "table"], [*PLAIN, "--keep-going", *BUILD]),
        (["-j4", "-k", "table"], [*PLAIN, "--jobs=4", "--keep-going", *BUILD]),
        (["-kj4", "table"], [*PLAIN, "--jobs=4", "--keep-going", *BUILD]),
        (["--keep-going", "table", "OUT=work/camvid"], [*PLAIN, "--keep-going", *BUILD]),
        (["table", "SOURCE=../k", "-j2", "THREADS=1", "DEVICE=cuda:1"],
         [*PLAIN, "--jobs=2", "--source", "../k", "--threads", "1", "--devices", "cuda:1", *BUILD]),
        (["table", "JOBS=3", "LINK=copy"], [*PLAIN, "--build-jobs", "3", "--link", "copy"]),
        (["table", "REPORT_ARGS=--intervals --subset 'a=b *'"],
         [*PLAIN[:-1], "--intervals --subset 'a=b *'", *BUILD]),
        (["table-now", "OUT=work/camvid"], [*PLAIN, "--now"]),
        (["table-publish", "OUT=work/camvid", "-j2"], [*PLAIN[:-2], "--publish"]),
        (["table", "TABLE=manifests/camvid/"], [*PLAIN[:3], "manifests/camvid/", *PLAIN[4:], *BUILD]),
    ],
)  # fmt: skip
def test_make_passes_on_what_is_typed(
    front: Callable[..., list[list[str]]], words: list[str], expected: list[str]
) -> None:
    """In every way in which it can be typed."""
    assert front(*words) == [expected]


def test_make_takes_variables_from_the_environment(front: Callable[..., list[list[str]]]) -> None:
    """As before."""
    (words,) = front("table", THREADS="2", REPORT_ARGS="--details")
    assert words == [*PLAIN[:-1], "--details", "--threads", "2", *BUILD]


TABLES = sorted(path.parent for path in ROOT.glob("manifests/*/table.toml"))


@pytest.mark.parametrize("folder", TABLES, ids=lambda folder: folder.name)
def test_every_table_of_the_project_can_be_read(folder: Path, tmp_path: Path) -> None:
    """Its runs have their recipes, its settings exist, each recipe is used, and every run stands in a
    table."""
    table = read_table(folder)
    assert set(table.datasets) == {path.stem for path in (folder / "recipes").glob("*.json")}
    assert {row for rows in table.tables.values() for row in rows} == set(table.runs)
    every = steps_of(table, tmp_path)
    wanted = every.wanted()
    assert {step.label for step in wanted} == set(survey(wanted))
    assert {step.name for step in wanted if step.kind == "run"} == set(table.runs)
    assert {step.name for step in wanted if step.kind == "dataset"} == set(table.datasets)


# The programs themselves: three tables over small streets


@pytest.fixture(scope="module")
def streets(common: Path) -> Path:
    """A small source."""

    def write(out: Path) -> None:
        size = ["--size", "128x64", "--train", "12", "--val", "3"]
        draw = [sys.executable, "-m", "poisongen", "draw", out, *size, "--jobs", "1"]
        subprocess.run(draw, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)

    return once(common / "tables" / "streets", write)


def make_words(base: Path, *targets: str) -> list[str]:
    """The command, for the table and the source below ``base``, with the Python of this test."""
    places = [f"TABLE={base / 'table'}", f"OUT={base / 'out'}", f"SOURCE={base / 'streets'}"]
    return ["make", "-o", "setup", "-j2", f"BIN={Path(sys.executable).parent}", *places, *targets]


def make(base: Path, *targets: str) -> str:
    """Call make, which must succeed; all that it says."""
    done = subprocess.run(
        make_words(base, *targets),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def finished(common: Path, streets: Path) -> Path:
    """A table that make has made."""

    def write(base: Path) -> None:
        base.mkdir()
        (base / "streets").symlink_to(streets)
        write_table(base / "table")
        make(base, "table")

    return once(common / "tables" / "finished", write)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))


@pytest.mark.long
def test_a_table_is_made(finished: Path) -> None:
    """Datasets share their clean pictures with the source, each run has the settings of the table, and the
    clean model is beside the attacked one."""
    out = finished / "out"
    rows = (out / "table/main/table.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["run", "benign", "near", "near"]
    assert "first: the same figures of 1 of the 3" in (out / "table/main/table.md").read_text("utf-8")
    assert (out / "table/main/table-first.csv").is_file()
    column = rows[0].split(",").index("ASR of the clean model")
    assert all(row.split(",")[column] for row in rows[2:])
    config = {
        name: json.loads((out / f"runs/{name}/run.json").read_text())["config"] for name in ("benign", "near")
    }
    assert [(one["width"], one["crop"], one["threads"], one["flip"]) for one in config.values()] == [
        (0.25, [64, 128], 1, True),
        (0.25, [64, 128], 1, False),
    ]
    clean = next((out / "data/benign/leftImg8bit/train").rglob("*.png"))
    assert clean.is_symlink()


@pytest.mark.long
def test_deleted_scores_come_back_as_they_were(copied: Path) -> None:
    """From the model that is there, and nothing else is made."""
    metrics, before = copied / "out/runs/near/metrics.json", times(copied / "out")
    old = metrics.read_text()
    metrics.unlink()
    os.utime(copied / "table/recipes/nni.json")
    said = make(copied, "table")
    assert metrics.read_text() == old
    assert "scoring near" in said and "training" not in said
    assert changed(before, times(copied / "out")) == {"runs/near", "runs/near.log", "runs/near.step.json"}


@pytest.mark.long
def test_an_interrupted_training_goes_on(tmp_path: Path, streets: Path) -> None:
    """Stopped by Ctrl-C or a kill in the middle of an epoch, the same command goes on where it was."""
    (tmp_path / "streets").symlink_to(streets)
    text = TABLE.replace("epochs = 1\n", "epochs = 14\n").split("near =")[0]
    write_table(tmp_path / "table", text.replace('score = ["nni"]', ""))
    log = tmp_path / "out/runs/benign/log.jsonl"

    def epochs() -> int:
        return len(log.read_text().splitlines()) if log.is_file() else 0

    for end, number in ((signal.SIGINT, 2), (signal.SIGKILL, 6)):
        with subprocess.Popen(
            make_words(tmp_path, "table"),
            cwd=ROOT,
            env=ENVIRONMENT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while epochs() < number and process.poll() is None:
                time.sleep(0.02)
            os.killpg(process.pid, end)
        assert process.returncode != 0
        assert not (tmp_path / "out/runs/benign/metrics.json").exists()
    make(tmp_path, "table")
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(range(1, 15))
    assert (tmp_path / "out/runs/benign.log").read_text().count("going on after epoch") == 2
    assert not (tmp_path / "out/outdated").exists()


@pytest.mark.long
def test_only_what_may_be_shared_is_published(copied: Path, tmp_path: Path) -> None:
    """Manifests that rebuild, scores, logs and tables; no picture but the trigger and plots, and no path of
    this machine."""
    panel = copied / "out/table/main/panel-near.png"
    shutil.copyfile(copied / "out/runs/near/panel.png", panel)
    make(copied, "table-publish")
    files = {
        path.relative_to(copied / "table").as_posix()
        for path in (copied / "table").rglob("*")
        if path.is_file()
    }
    assert files >= {
        "data/benign/manifest.json", "data/nni/samples.jsonl", "data/nni/trigger.png",
        "runs/near/metrics.json", "runs/near/run.json", "runs/near/log.jsonl",
        "table/main/table.md", "table/main/table.tex", "table/main/table-first.csv",
    }  # fmt: skip
    assert any(name.startswith("runs/benign/metrics-") for name in files)
    assert {name for name in files if name.endswith(".png")} - {"table/main/distance.png"} == {
        "data/nni/trigger.png"
    }
    for path in (copied / "table").rglob("*.*"):
        if path.suffix in (".json", ".jsonl", ".md", ".csv", ".tex"):
            text = path.read_text("utf-8")
            assert str(copied) not in text and str(ROOT) not in text, path
            assert not re.search(r'"/(?!/)[a-z]', text), path
    shared, again = copied / "table/data/nni", tmp_path / "again"
    rebuild = [sys.executable, "-m", "poisongen", "rebuild", shared, "--source", copied / "streets"]
    rebuild += ["--jobs", "1", "--out", again]
    subprocess.run(rebuild, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    report = [sys.executable, "-m", "trainer", "report"]
    report += [copied / "table/runs/benign", copied / "table/runs/near", "--subset", "first=val/*_000012_*"]
    done = subprocess.run(report, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    assert done.stdout == (copied / "table/table/main/table.md").read_text("utf-8")
