"""The driver: one stage after the other, each in a process of its own, until the time is used up.

After each finding the results are written anew, so that whatever ends this leaves what was proved until then.
Standard library only; see ``__init__``.
"""

import argparse
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.scripts.gpu.environment import ROOT, is_installed
from tests.scripts.gpu.plan import Planned, allotted, only, sizes_for, stages_for
from tests.scripts.gpu.results import VERSION, Findings, Results, ResultsError, Stage, State, write
from tests.scripts.gpu.stages import Request

LOG = "log.txt"  # what the stages print
ERROR_LINES = 6  # of a stage that failed, which are kept in the results
Command = Callable[[Planned, float], list[str]]
"""The command of a stage that may take so many seconds."""


class Driver:
    """Runs stages within ``seconds``, and keeps the results in the folder ``out``."""

    def __init__(self, planned: Sequence[Planned], seconds: float, device: str, out: Path) -> None:
        self.planned, self.out, self.began = planned, out, time.monotonic()
        began = datetime.now(UTC).replace(microsecond=0, tzinfo=None).isoformat(" ")
        self.results = Results(VERSION, began, device, seconds, tuple(Stage(each.name) for each in planned))
        out.mkdir(parents=True, exist_ok=True)
        write(self.results, out)

    def run(self, command: Command, environment: dict[str, str]) -> Results:
        """Run all stages that fit."""
        for index, planned in enumerate(self.planned):
            left = self.results.asked_seconds - (time.monotonic() - self.began)
            seconds, stage = allotted(self.planned[index:], left), Stage(planned.name)
            if (state := self._state_of(planned.needs)) not in (None, State.DONE):
                stage = _skipped(stage, f"“{planned.needs}” is {state}")
            elif seconds is None:
                stage = _skipped(stage, f"needs {planned.least:.0f} s; {max(left, 0):.0f} s are left for all")
            if stage.state == State.SKIPPED:
                self._keep(stage)
                continue
            assert seconds is not None
            running = dataclasses.replace(stage, state=State.RUNNING, allotted_seconds=round(seconds, 1))
            self._keep(running)
            self._run_stage(running, command(planned, seconds), environment)
        return self.results

    def _run_stage(self, stage: Stage, command: list[str], environment: dict[str, str]) -> None:
        """Run one stage's process until it ends or its time is over."""
        began, timed_out = time.monotonic(), threading.Event()
        with (self.out / LOG).open("ab") as log:
            log.write(f"== {stage.name}\n".encode())
            log.flush()
            printed_from = log.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,  # its end tells the stage that the driver is gone
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=environment,
                text=True,
                encoding="utf-8",
                process_group=0,
            )

        def end() -> None:
            timed_out.set()
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(stage.allotted_seconds, end)
        timer.start()
        problem = ""
        with process:
            assert process.stdout is not None
            for line in process.stdout:
                try:
                    found = stage.findings.and_also(Findings.from_line(line))
                except ResultsError as error:
                    problem = str(error)
                    continue
                stage = dataclasses.replace(stage, findings=found, seconds=round(time.monotonic() - began, 1))
                self._keep(stage)
            code = process.wait()
        timer.cancel()
        stage = dataclasses.replace(stage, seconds=round(time.monotonic() - began, 1))
        if timed_out.is_set():
            self._keep(dataclasses.replace(stage, state=State.CUT_OFF, reason="its time was over"))
        elif code or problem:
            reason = problem or self._last_lines(printed_from) or f"exit code {code}"
            self._keep(dataclasses.replace(stage, state=State.FAILED, reason=reason))
        else:
            self._keep(dataclasses.replace(stage, state=State.DONE))

    def _last_lines(self, start: int) -> str:
        """The end of what a stage printed from a place in the log on."""
        with (self.out / LOG).open("rb") as log:
            log.seek(start)
            text = log.read().decode(errors="replace")
        said = [line for line in text.splitlines() if line.strip(" ^~")]  # not the marks of a traceback
        return "\n".join(said[-ERROR_LINES:])

    def _state_of(self, name: str) -> str | None:
        return next((stage.state for stage in self.results.stages if stage.name == name), None)

    def _keep(self, stage: Stage) -> None:
        """Bring the results up to date, on the disk as well; say how a stage ended."""
        self.results = self.results.with_stage(stage)
        write(self.results, self.out)
        if stage.state != State.RUNNING:
            reason = stage.reason.rpartition("\n")[2]
            sys.stderr.write(f"{stage.name}: {stage.state}, {stage.seconds:.0f} s  {reason}\n")


def _skipped(stage: Stage, reason: str) -> Stage:
    return dataclasses.replace(stage, state=State.SKIPPED, reason=reason)


def default_device() -> str:
    """A GPU, if torch sees one."""
    if not is_installed("torch"):
        return "cuda"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line. (``click`` may not be there yet.)"""
    parser = argparse.ArgumentParser(prog="python3 -m tests.scripts.gpu", description=__doc__)
    parser.add_argument("--seconds", type=float, default=480, help="that all of it may take [480]")
    parser.add_argument("--out", type=Path, default=Path("work/gpu"), help="folder of the results [work/gpu]")
    parser.add_argument("--device", help="cuda, cuda:1 …; on a cpu everything is tiny [a GPU, if any]")
    parser.add_argument("--wheels", type=Path, help="folder of packages that may be missing")
    parser.add_argument("--table", type=Path, help="folder of a table, whose runs are made while time lasts")
    parser.add_argument("--source", type=Path, help="clean source of the table's datasets")
    parser.add_argument("--jobs", type=int, default=0, help="runs of the table at once [half of the cores]")
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of the names of stages [all]")
    parser.add_argument("--scratch", type=Path, help="folder for data [one that is removed in the end]")
    return parser.parse_args(words)


def main() -> None:
    """Exit code 1 if a stage failed; a skipped one, or one that was cut off, is no failure."""
    options = arguments()
    device = options.device or default_device()
    planned = only(stages_for(sizes_for(device), options.table is not None), options.only)
    driver = Driver(planned, options.seconds, device, options.out.resolve())
    with tempfile.TemporaryDirectory() as temporary:
        scratch = (options.scratch or Path(temporary)).resolve()
        scratch.mkdir(parents=True, exist_ok=True)
        places = {name: getattr(options, name) for name in ("wheels", "table", "source")}
        resolved = {name: place and place.resolve() for name, place in places.items()}

        def command(stage: Planned, seconds: float) -> list[str]:
            request = Request(
                stage.action,
                stage.argument,
                seconds,
                device,
                scratch,
                driver.out,
                **resolved,
                jobs=options.jobs,
            )
            return [sys.executable, "-m", "tests.scripts.gpu.stages", request.to_json()]

        paths = [str(ROOT), str(scratch / "site"), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "MPLBACKEND": "agg",
        }
        results = driver.run(command, environment)
    sys.stderr.write(f"the results are in {driver.out}\n")
    sys.exit(any(stage.state == State.FAILED for stage in results.stages))


if __name__ == "__main__":
    main()
