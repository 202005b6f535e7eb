"""The CPU seconds of a command that has nothing to compute: ``python -m tests.scripts.startup``.

User and system time of the process, not the clock: other work on the machine does not count.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CALLS: tuple[tuple[str, ...], ...] = (
    ("-c", "pass"),
    ("-c", "import click"),
    ("-m", "poisongen", "--version"),
    ("-m", "poisongen", "--help"),
    ("-m", "poisongen", "cityscapes", "--help"),
    ("-m", "poisongen", "--wrong"),
    ("-m", "poisongen", "nonsense"),
    ("-m", "poisongen", "cityscapes", "--wrong"),
    ("-m", "trainer", "--version"),
    ("-m", "trainer", "--help"),
    ("-m", "trainer", "--wrong"),
)
"""The words after ``python``; the first two are what any command of this kind costs."""


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a call over several runs."""

    call: tuple[str, ...]
    least: float
    median: float

    def __str__(self) -> str:
        return f"{self.least:6.3f} {self.median:6.3f}  python {' '.join(self.call)}"


def cpu_seconds(call: tuple[str, ...]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    place = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *call], cwd=ROOT, env=place, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(call: tuple[str, ...], runs: int) -> Cost:
    """A call, several times."""
    seconds = [cpu_seconds(call) for _ in range(runs)]
    return Cost(call, min(seconds), statistics.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    sys.stdout.write(f"   min median  CPU seconds of {runs} runs\n")
    for call in CALLS:
        sys.stdout.write(f"{measure(call, runs)}\n")


if __name__ == "__main__":
    main()
