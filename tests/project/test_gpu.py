"""`make gpu`: the plan of its time, its results file, and all of it on a CPU at tiny sizes."""

import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.scripts.gpu import environment
from tests.scripts.gpu.__main__ import Driver
from tests.scripts.gpu.plan import FULL, TINY, Planned, allotted, chosen, only, stages_for
from tests.scripts.gpu.results import (
    JSON,
    MARKDOWN,
    VERSION,
    Findings,
    Kernels,
    Results,
    ResultsError,
    RunMade,
    Stage,
    State,
    markdown,
    read,
    write,
)
from tests.scripts.gpu.stages import MODULES, Request
from tests.support.make import make

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
FINDINGS = Findings(kernels=(Kernels(2.0, 1.0, 2.0),), runs=(RunMade("iba|10", 100, 1234.5),))
RESULTS = Results(
    VERSION,
    "2030-01-02 03:04:05",
    "cuda",
    480.0,
    (
        Stage("environment", State.DONE, seconds=3.5),
        Stage("speed", State.FAILED, "Error: too\nlarge", 30.0, 29.5, FINDINGS),
    ),
)


def planned(name: str, least: float, share: int = 1, rank: int = 0, needs: str = "") -> Planned:
    return Planned(name, name, "", least, share, rank, needs)


def test_stages_of_small_rank_are_chosen_first_and_run_in_their_order() -> None:
    """Where time is short, a stage of a large rank gives way to a later one of a small rank."""
    stages = [planned("a", 10), planned("b", 50, rank=2), planned("c", 40, rank=1)]
    for left, names in {100: ["a", "b", "c"], 99: ["a", "c"], 49: ["a"], 9: []}.items():
        assert [stage.name for stage in chosen(stages, left)] == names


@pytest.mark.parametrize("with_table", [False, True])
@pytest.mark.parametrize("seconds", [0, 20, 60, 150, 300, 480, 900])
def test_the_time_is_never_overdrawn(seconds: float, with_table: bool) -> None:
    """Stages that take all that they may, one after the other, end in time; each has what it needs; and the
    last one that runs leaves nothing."""
    stages, left = stages_for(FULL, with_table), seconds
    for index, stage in enumerate(stages):
        given = allotted(stages[index:], left)
        if given is not None:
            assert given >= stage.least
            left -= given
    assert left >= -1e-9
    if seconds >= 480:
        assert left < 1e-9


def test_a_table_is_given_its_time_before_compilation_is() -> None:
    """480 seconds are enough for all; with 350, no compiled kernels are timed, but the table is begun."""
    stages = stages_for(FULL, True)
    assert chosen(stages, 480) == stages
    names = [stage.name for stage in chosen(stages, 350)]
    assert "table" in names
    assert not any("compiled" in name for name in names)


def test_only_some_stages_bring_what_they_need() -> None:
    """Speeds need streets, and all need the environment."""
    names = [stage.name for stage in only(stages_for(TINY, True), ["speed: free"])]
    assert names == ["environment", "streets", "speed: free kernels"]


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    """Both files are there, and nothing beside them."""
    write(RESULTS, tmp_path)
    assert read(tmp_path / JSON) == RESULTS
    assert {file.name for file in tmp_path.iterdir()} == {JSON, MARKDOWN}


def test_results_are_shown_as_tables() -> None:
    """A cell is one line, whatever the error says; a single finding stands upright."""
    text = markdown(RESULTS)
    assert "| speed | failed | 29.5 | 30 | Error: too<br>large |" in text
    assert "| exact to free | 2 |" in text
    assert "| run | iba\\|10 |" in text


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('"version": 1', '"version": 2', "version 2"),
        ('"asked_seconds": 480.0', '"asked_seconds": "many"', "asked_seconds"),
        ('"exact_ms": 2.0,', "", "exact_ms"),
        ('"kernels"', '"colonels"', "colonels"),
        ("{", "[", "no results"),
    ],
)
def test_damaged_results_are_refused(tmp_path: Path, old: str, new: str, found: str) -> None:
    """The error names the file and what is wrong in it."""
    write(RESULTS, tmp_path)
    file = tmp_path / JSON
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ResultsError, match=found) as caught:
        read(file)
    assert str(file) in str(caught.value)


def test_a_request_survives_the_command_line() -> None:
    """Paths and None included."""
    request = Request("speed", "exact", 12.5, "cpu", Path("/a"), Path("/b"), None, Path("/c"), None, 3)
    assert Request.from_json(request.to_json()) == request


def test_only_wheels_of_missing_packages_are_installed(tmp_path: Path) -> None:
    """What the machine has is not replaced, by whatever name its package goes."""
    for name in ("numpy-9.9", "opencv_python_headless-9.9", "Pillow-9.9", "no_such_thing-1.0"):
        (tmp_path / f"{name}-py3-none-any.whl").touch()
    assert [wheel.name for wheel in environment.wheels_to_install(tmp_path)] == [
        "no_such_thing-1.0-py3-none-any.whl"
    ]
    assert {"numpy", "pydantic", "torch", "opencv-python-headless"} <= set(environment.requirements())


SCRIPTS = {
    "works": f"print({FINDINGS.to_line()!r})",
    "raises": f"print({FINDINGS.to_line()!r}, flush=True); raise ValueError('no such\\nthing')",
    "babbles": "print('hello')",
    "hangs": f"import time; print({FINDINGS.to_line()!r}, flush=True); time.sleep(60)",
}


def fake(stage: Planned, seconds: float) -> list[str]:
    """A stage's process that does what the stage is called."""
    return [sys.executable, "-c", SCRIPTS[stage.action]]


def run_fakes(out: Path, *stages: Planned, seconds: float = 20) -> dict[str, Stage]:
    results = Driver(stages, seconds, "cpu", out).run(fake, dict(ENVIRONMENT))
    assert read(out / JSON) == results
    return {stage.name: stage for stage in results.stages}


def test_a_stage_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path) -> None:
    """With its error and with what it had found; what needs it is skipped, what does not is made."""
    dependent = dataclasses.replace(planned("works", 1), name="dependent", needs="raises")
    stages = run_fakes(tmp_path, planned("raises", 1), dependent, planned("babbles", 1), planned("works", 1))
    assert stages["raises"].state == State.FAILED
    assert stages["raises"].reason.endswith("ValueError: no such\nthing")
    assert stages["raises"].findings == stages["works"].findings == FINDINGS
    assert (stages["dependent"].state, stages["works"].state) == (State.SKIPPED, State.DONE)
    assert "“raises” is failed" in stages["dependent"].reason
    assert stages["babbles"].state == State.FAILED
    assert "hello" in stages["babbles"].reason


@pytest.mark.long
def test_a_stage_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    """It keeps what it had found; what does not fit any more is skipped and says why."""
    began = time.monotonic()
    stages = run_fakes(tmp_path, planned("hangs", 1.5), planned("works", 5, rank=1), seconds=2)
    assert time.monotonic() - began < 10
    assert (stages["hangs"].state, stages["hangs"].findings) == (State.CUT_OFF, FINDINGS)
    assert stages["works"].state == State.SKIPPED
    assert "needs 5 s" in stages["works"].reason


def gpu(out: Path, *words: str) -> list[str]:
    """The command, on a CPU."""
    return [sys.executable, "-m", "tests.scripts.gpu", "--device", "cpu", "--out", str(out), *words]


def gone(group: int) -> bool:
    """Has a process group ended?"""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.long
def test_killed_anywhere_it_leaves_whole_files_and_no_process(tmp_path: Path) -> None:
    """The results say which stage was at work, and that stage ends with the driver."""
    process = subprocess.Popen(
        gpu(tmp_path, "--seconds", "100", "--only", "environment"), cwd=ROOT, env=ENVIRONMENT
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (stage := children.read_text().split()):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert read(tmp_path / JSON).stages[0].state == State.RUNNING
    until = time.monotonic() + 20
    while not gone(int(stage[0])) and time.monotonic() < until:
        time.sleep(0.05)
    assert gone(int(stage[0]))


@pytest.mark.parametrize("name", ["repeats", "speed", "table"])
def test_the_work_of_each_stage_can_be_imported(name: str) -> None:
    """tests.scripts.gpu.repeats, tests.scripts.gpu.speed, tests.scripts.gpu.table: with a function for each
    action that is planned."""
    pytest.importorskip("torch")
    module = importlib.import_module(f"tests.scripts.gpu.{name}")
    actions = {stage.action for stage in stages_for(FULL, True) if MODULES.get(stage.action) == name}
    assert actions
    assert all(callable(getattr(module, action)) for action in actions)


@pytest.mark.long
def test_speeds_are_measured_on_a_cpu(tmp_path: Path) -> None:
    """Environment, streets and exact kernels from end to end: a floor of 100 % and three sources."""
    pytest.importorskip("torch")
    words = ("--seconds", "500", "--only", "speed: exact")
    subprocess.run(gpu(tmp_path, *words), cwd=ROOT, env=ENVIRONMENT, check=False)
    results = read(tmp_path / JSON)
    assert [(stage.state, stage.reason) for stage in results.stages] == [(State.DONE, "")] * 3
    found = results.findings()
    assert [speed.source for speed in found.speeds[:4]] == ["no loading", "files", "cache", "resident"]
    assert found.speeds[0].percent_of_no_loading == 100
    assert found.environment[0].missing == ()
    assert found.kernels


def test_make_hands_its_variables_on(tmp_path: Path) -> None:
    """Nothing has to be installed first, and without OUT it is work/gpu."""
    variables = {"GPU_SECONDS": 7, "OUT": tmp_path, "DEVICE": "cpu", "TABLE": "t", "SOURCE": "s"}
    shown = make(ROOT, "gpu", {**variables, "WHEELS": "w", "GPU_PYTHON": "echo"})
    expected = (
        f"-m tests.scripts.gpu --seconds 7 --out {tmp_path} --device cpu --wheels w --table t --source s"
    )
    assert expected in " ".join(shown.replace("\\\n", " ").split())
    assert "--out work/gpu" in make(ROOT, "gpu", {"GPU_PYTHON": "echo"})


@pytest.mark.target("gpu-wheels")
def test_wheels_are_asked_for_by_name(tmp_path: Path) -> None:
    """For Python 3.12 on Linux, at the versions that the tests are run with; then their size is said."""
    (tmp_path / "a.whl").write_bytes(bytes(3 << 20))
    shown = make(ROOT, "gpu-wheels", {"GPU_PYTHON": "echo", "WHEELS": tmp_path, "GPU_PACKAGES": "click"})
    assert "--python-version 312" in shown and "--constraint constraints.txt" in shown
    assert f"--dest {tmp_path} click" in shown
    assert "may take no more than 64M" in shown


@pytest.mark.slow
@pytest.mark.target("gpu")
def test_all_stages_prove_something_on_a_cpu(tmp_path: Path) -> None:
    """Repeats and all kernels, compiled ones as well, and no stage that fails. A slow machine may cut some
    off."""
    pytest.importorskip("torch")
    variables = {"GPU_PYTHON": sys.executable, "DEVICE": "cpu", "OUT": tmp_path, "GPU_SECONDS": 700}
    make(ROOT, "gpu", variables, seconds=900)
    results = read(tmp_path / JSON)
    failed = {stage.name: stage.reason for stage in results.stages if stage.state == State.FAILED}
    assert failed == {}
    done = {stage.name for stage in results.stages if stage.state == State.DONE}
    assert "repeats: swiftnet" in done
    found = results.findings()
    assert found.repeats and all(repeat.same_bits for repeat in found.repeats)
    assert {speed.kernels for speed in found.speeds} == {"exact", "free"}


TABLE = """
[settings]
preset = "streets"
epochs = 1
batch = 4
width = 0.25
crop = [64, 128]
precision = "float32"
threads = 1

[runs]
benign = {}

[tables]
main = ["benign"]
"""


@pytest.mark.slow
def test_runs_of_a_table_are_made_and_packed(tmp_path: Path) -> None:
    """The dataset is built from its recipe; scores and tables are in the archive, the table's folder is as
    it was."""
    pytest.importorskip("torch")
    table, streets = tmp_path / "table", tmp_path / "streets"
    (table / "recipes").mkdir(parents=True)
    recipe = {"title": "benign", "dataset": "cityscapes", "options": {"attack": "benign", "seed": 0}}
    (table / "recipes" / "benign.json").write_text(json.dumps(recipe))
    (table / "table.toml").write_text(TABLE)
    draw = ["draw", str(streets), "--size", "128x64", "--train", "8", "--val", "2", "--jobs", "1"]
    subprocess.run([sys.executable, "-m", "poisongen", *draw], cwd=ROOT, check=True, capture_output=True)
    words = ["--seconds", "600", "--only", "table", "--table", str(table), "--source", str(streets)]
    subprocess.run(gpu(tmp_path / "out", *words), cwd=ROOT, env=ENVIRONMENT, check=True)
    found = read(tmp_path / "out" / JSON).findings()
    assert (found.table[0].runs, found.table[0].finished, found.runs[0].run) == (1, 1, "benign")
    with tarfile.open(tmp_path / "out" / "table.tar.gz") as archive:
        assert {"runs/benign/metrics.json", "table/main/table.md"} <= set(archive.getnames())
    assert sorted(file.name for file in table.iterdir()) == ["recipes", "table.toml"]
