"""Makes the steps of a table: what is missing or has changed, several at a time, however often it is killed.

``decisions.py`` says what is to be done and why; ``Runner`` starts the commands, waits for them and ends
them. One runner at a time works below one OUT. Its commands end with it: a training saves a checkpoint then,
and the next runner waits until the last of them is gone.
"""

import fcntl
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from trainer import __version__
from trainer.errors import SettingError
from trainer.tables.decisions import Decision, Found, Verdict, decide, look
from trainer.tables.steps import Key, Record, Step, Tools
from trainer.training.machine import interruptible, run_lock

Say = Callable[[str], None]
PAUSE = 0.05  # seconds between two looks at the running commands
GRACE = 60.0  # seconds that an interrupted command has to save its checkpoint
LAUNCH = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
TAIL = 20  # lines of a failed command's log that are printed


@dataclass(frozen=True)
class Limits:
    """``jobs``: commands at a time; ``devices``: each command takes the one with the fewest; ``seconds``:
    until all are interrupted; ``keep_going``: after a failure, with what does not depend on it."""

    jobs: int = 1
    devices: Sequence[str] = ()
    seconds: float | None = None
    keep_going: bool = False


@dataclass
class Outcome:
    """Labels of the steps that failed, and of those that were not made; and what has ended the work before it
    was done."""

    failed: list[str] = field(default_factory=list)
    not_made: list[str] = field(default_factory=list)
    interrupted: bool = False
    out_of_time: bool = False


@dataclass
class Command:
    """A command that is running. ``printed_before``: bytes of its log that are of earlier ones."""

    step: Step
    process: subprocess.Popen[bytes]
    device: str | None
    record: Record
    began: float
    printed_before: int


class Runner:
    """Makes steps, which are given in an order in which each comes after what it needs."""

    def __init__(self, steps: Sequence[Step], tools: Tools, limits: Limits, say: Say) -> None:
        self.waiting, self.tools, self.limits, self.say = list(steps), tools, limits, say
        self.made: set[str] = set()
        self.lost: set[str] = set()  # failed, or needs what has failed
        self.running: list[Command] = []
        self.outcome = Outcome()
        self.commit = commit()
        self.began = time.monotonic()

    def run(self, out: Path) -> Outcome:
        """Make them all, as far as that goes. Raises RunError: another runner is at work in ``out``."""
        with run_lock(out), _commands_lock(out, self.say) as lock, interruptible() as interrupted:
            try:
                self._work(lock, interrupted)
            finally:
                self._end_all()
        self.outcome.not_made += [step.label for step in self.waiting]
        return self.outcome

    def _work(self, lock: int, interrupted: threading.Event) -> None:
        """Until all is made, or failed, or nothing more may be done."""
        end = math.inf if self.limits.seconds is None else self.began + self.limits.seconds
        changed = True
        while self.running or changed:
            self.outcome.interrupted = interrupted.is_set()
            self.outcome.out_of_time = time.monotonic() >= end
            if self.outcome.interrupted or self.outcome.out_of_time:
                return
            if changed:
                self._start_all_ready(lock)
            else:
                time.sleep(PAUSE)
            changed = self._collect()

    def _start_all_ready(self, lock: int) -> None:
        for step in list(self.waiting):
            needs = {need.label for need in step.needs}
            if needs & self.lost:
                self._lose(step)
                self.outcome.not_made.append(step.label)
            elif needs <= self.made:
                self._make(step, lock)

    def _make(self, step: Step, lock: int) -> None:
        """Start the step's command if there is something to do, and room for it."""
        wanted, found = step.key(), look(step)
        decision = decide(wanted, found)
        if decision.verdict is Verdict.MADE:
            if found.record is None or not found.record.finished or not step.record_file.is_file():
                self._adopt(step, found.record or Record.begun(step.name, wanted, ""))
            self.waiting.remove(step)
            self.made.add(step.label)
        elif len(self.running) < self.limits.jobs and (self.limits.keep_going or not self.outcome.failed):
            self.waiting.remove(step)
            self._start(step, wanted, found, decision, lock)

    def _adopt(self, step: Step, record: Record) -> None:
        """Record that a step is made: by another version, or by a runner that could not say so any more."""
        step.prepare()
        step.write(record.after(0, finished=True))
        step.tidy()

    def _start(self, step: Step, wanted: Key, found: Found, decision: Decision, lock: int) -> None:
        record = found.record
        if decision.verdict is Verdict.CHANGED:
            self.say(f"{step.label}: {decision.why}")
            step.put_aside(datetime.now().strftime("%Y%m%d-%H%M%S"))
            record = None
        record = record or Record.begun(step.name, wanted, self.commit)
        step.prepare()
        step.write(record)
        self.say(f"{step.doing}: {step.log}")
        busy = Counter(command.device for command in self.running)
        device = min(self.limits.devices, key=lambda name: busy[name], default=None)
        name, environment = on_device(device, self.limits.devices, step.begun_on())
        with step.log.open("ab") as log:
            printed_before = log.tell()
            process = subprocess.Popen(
                [*LAUNCH, str(os.getpid()), *step.command(self.tools, name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                pass_fds=(lock,),
                process_group=0,  # Ctrl-C on a terminal reaches the runner alone, which passes it on, once
            )
        began = time.monotonic()
        self.running.append(Command(step, process, device, record, began, printed_before))

    def _collect(self) -> bool:
        """Look after the commands that have ended. Returns whether there was one."""
        ended = [command for command in self.running if command.process.poll() is not None]
        for command in ended:
            self.running.remove(command)
            self._note_end(command)
        return bool(ended)

    def _note_end(self, command: Command) -> None:
        step, code = command.step, command.process.returncode
        seconds = time.monotonic() - command.began
        record = command.record.after(seconds, finished=code == 0)
        step.write(record)
        if code == 0 and step.is_made(record):
            step.tidy()
            self.made.add(step.label)
        elif self.outcome.interrupted or self.outcome.out_of_time:
            self.outcome.not_made.append(step.label)
        else:
            self._lose(step)
            self.outcome.failed.append(step.label)
            with step.log.open("rb") as log:
                log.seek(command.printed_before)
                lines = log.read().decode("utf-8", "replace").splitlines()
            reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            if code == 0:
                reason = "ended without its result"
            self.say("\n".join([*lines[-TAIL:], f"failed: {step.label} ({reason}): {step.log}"]))

    def _lose(self, step: Step) -> None:
        self.lost.add(step.label)
        if step in self.waiting:
            self.waiting.remove(step)

    def _end_all(self) -> None:
        """Interrupt what is running, and wait for it; what does not end is killed, which loses little."""
        for command in self.running:
            command.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + GRACE
        for command in list(self.running):
            try:
                command.process.wait(max(0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                command.process.kill()
                command.process.wait()
        self._collect()


def on_device(
    device: str | None, among: Sequence[str], begun_on: str | None
) -> tuple[str | None, dict[str, str]]:
    """What a command is told of its device, and its environment.

    Of several GPUs a command sees its own only, so that a run may go on with any of them; unless it was begun
    with a number, by hand.
    """
    if device is None or len(among) < 2 or not device.startswith("cuda:"):
        return device, {}
    if begun_on and begun_on.startswith("cuda:") and begun_on != "cuda:0":
        return None, {}
    number = int(device.partition(":")[2])
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return "cuda", {"CUDA_VISIBLE_DEVICES": str(number)}
    names = [name for name in visible.split(",") if name]
    if number >= len(names):
        found = f"CUDA_VISIBLE_DEVICES={visible}"
        raise SettingError(
            "There is no such device.", expected=device, found=found, todo="give other --devices"
        )
    return "cuda", {"CUDA_VISIBLE_DEVICES": names[number]}


def commit() -> str:
    """The commit of the code, or its version where it is no checkout."""
    root = Path(__file__).parents[2]
    words = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--abbrev=40",
        "--exclude=*",
        "--dirty=, changed",
    ]
    if not (root / ".git").exists():
        return f"version {__version__}"
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return f"version {__version__}"
    return done.stdout.strip()


@contextmanager
def _commands_lock(out: Path, say: Say) -> Iterator[int]:
    """A lock that the commands inherit: it is free when the last one has ended, also if their runner was
    killed. Waits for that."""
    with (out / ".commands.lock").open("a") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say("waiting for commands that a runner has left: it was killed")
                told = True
                time.sleep(PAUSE)
        yield lock.fileno()
