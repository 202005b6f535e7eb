"""The process of one stage: ``python -m tests.scripts.gpu.stages REQUEST``, the request as JSON.

Findings go to standard output, one line of JSON each; everything else that is printed, to standard error. A
stage that cannot prove what it should raises. When its standard input ends, the driver is gone: it ends then,
with all that it started.
"""

import dataclasses
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from tests.scripts.gpu import environment
from tests.scripts.gpu.plan import Sizes, sizes_for
from tests.scripts.gpu.results import Findings


@dataclass(frozen=True)
class Request:
    """What a stage is asked to do within ``seconds``. ``scratch`` is a folder that all stages share."""

    action: str
    argument: str
    seconds: float
    device: str
    scratch: Path
    out: Path
    wheels: Path | None
    table: Path | None
    source: Path | None
    jobs: int

    @property
    def sizes(self) -> Sizes:
        """How large the work is."""
        return sizes_for(self.device)

    def to_json(self) -> str:
        """For the command line."""
        return json.dumps(dataclasses.asdict(self), default=str)

    @staticmethod
    def from_json(text: str) -> "Request":
        """The inverse of ``to_json``."""
        values = json.loads(text)
        for name in ("scratch", "out", "wheels", "table", "source"):
            values[name] = None if values[name] is None else Path(values[name])
        return Request(**values)


class Report:
    """Hands findings to the driver, each when it is there, over standard output, which is then its own."""

    def __init__(self) -> None:
        self.lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def __call__(self, findings: Findings) -> None:
        self.lines.write(findings.to_line() + "\n")
        self.lines.flush()


Act = Callable[[Request, Report], None]

MODULES = {"repeats": "repeats", "streets": "speed", "speed": "speed", "table": "table"}
"""Where the actions are. They are imported when they are asked for: the first stage may have to install what
they import."""


def prepare(request: Request, report: Report) -> None:
    """Install what is missing and at hand; say what there is. Raises RuntimeError: something is still
    missing."""
    wheels = environment.wheels_to_install(request.wheels) if request.wheels else []
    if wheels:
        environment.install(wheels, request.scratch / "site")
    found = environment.environment(request.device, wheels)
    report(Findings(environment=(found,)))
    if found.missing:
        todo = "make gpu-wheels collects wheels, WHEELS=FOLDER names them"
        raise RuntimeError(f"packages are missing: {', '.join(found.missing)}; {todo}")


def end_with_driver() -> None:
    """Wait for the end of standard input, then end this process and all that it started."""
    sys.stdin.read()
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Do what is asked."""
    threading.Thread(target=end_with_driver, daemon=True).start()
    request, report = Request.from_json(sys.argv[1]), Report()
    if request.action == "environment":
        prepare(request, report)
        return
    act: Act = getattr(import_module(f"tests.scripts.gpu.{MODULES[request.action]}"), request.action)
    act(request, report)


if __name__ == "__main__":
    main()
