"""What a run on a GPU found: one JSON file, written anew after each finding, and the same as Markdown."""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainer.typed_json import parse, plain

VERSION = 1
JSON, MARKDOWN = "results.json", "results.md"


class ResultsError(Exception):
    """A results file, or a line of a stage, that is not what it should be."""


class State(StrEnum):
    """How far a stage is. In a file that nobody writes any more, ``running`` means that all was cut off."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CUT_OFF = "cut off"


@dataclass(frozen=True)
class Environment:
    """The machine, and what is installed there. Memory and disk in GB of 10⁹ bytes.

    ``packages``: of the two programs' requirements those that are there; ``installed``: the wheels among
    them that were brought. ``sources``: SHA-256 of the Python files that ran.
    """

    gpu: str | None
    gpu_memory_gb: float | None
    driver: str | None
    torch: str | None
    cuda: str | None
    cudnn: int | None
    cpu: str
    cores: int
    memory_gb: float
    free_disk_gb: float
    python: str
    packages: tuple[str, ...]
    missing: tuple[str, ...]
    installed: tuple[str, ...]
    commit: str | None
    sources: str


@dataclass(frozen=True)
class Repeat:
    """A training that was made again, and whether all of it is the same, bit by bit.

    ``differing``: what is not, of weights, log, metrics and panel. ``seconds``: of all of its trainings.
    """

    model: str
    story: str
    same_bits: bool
    differing: tuple[str, ...]
    epochs: int
    precision: str
    seconds: float


@dataclass(frozen=True)
class Streets:
    """The drawn pictures that speeds are measured on, and the seconds that drawing and decoding took."""

    pictures: str
    threads: int
    seconds_frozen: float
    seconds_cached: float


@dataclass(frozen=True)
class Speed:
    """Training with pictures of one source, in pictures a second: median, lowest and highest round.

    ``percent_of_no_loading``: the median ratio, within a round, to training on one batch again and again,
    which is what the device alone allows. ``peak_memory_gb``: of the GPU; on a CPU, of the process.
    """

    kernels: str
    compiled: bool
    source: str
    workers: int | None
    batch: int
    crop: int
    pictures_per_second: float
    lowest: float
    highest: float
    percent_of_no_loading: float
    peak_memory_gb: float


@dataclass(frozen=True)
class Kernels:
    """Milliseconds of a step with exact and with free kernels, made in turn, and their median ratio."""

    exact_ms: float
    free_ms: float
    exact_to_free: float


@dataclass(frozen=True)
class TableMade:
    """How many runs the table has, how many were finished, and how many were made at a time."""

    runs: int
    finished: int
    jobs: int
    exit_code: int


@dataclass(frozen=True)
class RunMade:
    """A finished run of the table. ``seconds``: of its epochs, by its log."""

    run: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Findings:
    """What stages found, by kind; a line that a stage writes is one of these, too."""

    environment: tuple[Environment, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    streets: tuple[Streets, ...] = ()
    speeds: tuple[Speed, ...] = ()
    kernels: tuple[Kernels, ...] = ()
    table: tuple[TableMade, ...] = ()
    runs: tuple[RunMade, ...] = ()

    def and_also(self, others: "Findings") -> "Findings":
        """These, and after them the others of each kind."""
        names = [field.name for field in dataclasses.fields(self)]
        return Findings(**{name: getattr(self, name) + getattr(others, name) for name in names})

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(plain(self), ensure_ascii=False, allow_nan=False)

    @staticmethod
    def from_line(line: str) -> "Findings":
        """The inverse of ``to_line``. Raises ResultsError."""
        try:
            return parse(Findings, json.loads(line))
        except ValueError as error:
            raise ResultsError(f"a stage wrote {line[:200]!r}: {error}") from None


@dataclass(frozen=True)
class Stage:
    """A stage, and what it has found so far. ``reason``: why it was skipped or cut off, or its error."""

    name: str
    state: str = State.WAITING
    reason: str = ""
    allotted_seconds: float = 0.0
    seconds: float = 0.0
    findings: Findings = Findings()


@dataclass(frozen=True)
class Results:
    """Everything. ``began`` is UTC in ISO 8601."""

    version: int
    began: str
    device: str
    asked_seconds: float
    stages: tuple[Stage, ...]

    def with_stage(self, stage: Stage) -> "Results":
        """The same, with the stage of this name as it is now."""
        stages = tuple(stage if old.name == stage.name else old for old in self.stages)
        return dataclasses.replace(self, stages=stages)

    def findings(self) -> Findings:
        """Those of all stages."""
        found = Findings()
        for stage in self.stages:
            found = found.and_also(stage.findings)
        return found


def write(results: Results, folder: Path) -> None:
    """Write both files, each whole or not at all: beside its place, then renamed."""
    text = json.dumps(plain(results), indent=1, ensure_ascii=False, allow_nan=False)
    for name, content in ((JSON, text + "\n"), (MARKDOWN, markdown(results))):
        part = folder / f"{name}.part"
        with part.open("w", encoding="utf-8") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(folder / name)


def read(file: Path) -> Results:
    """Read a results file. Raises ResultsError, which says what is wrong."""
    try:
        results = parse(Results, json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:  # NotThisType is one
        raise ResultsError(f"{file} holds no results: {error}") from None
    if results.version != VERSION:
        raise ResultsError(f"{file} is of version {results.version}; this program reads {VERSION}")
    return results


def markdown(results: Results) -> str:
    """The results for people: a line for each stage, then a table for each kind of finding."""
    lines = [
        f"Began {results.began} UTC on {results.device}, with {results.asked_seconds:.0f} seconds to use.",
        "",
        *_table(
            ("stage", "state", "seconds", "at most", ""), [_stage_cells(each) for each in results.stages]
        ),
    ]
    found = results.findings()
    for field in dataclasses.fields(found):
        if members := getattr(found, field.name):
            lines += ["", f"## {field.name}", "", *_findings_table(members)]
    return "\n".join(lines) + "\n"


def _stage_cells(stage: Stage) -> list[object]:
    return [stage.name, stage.state, stage.seconds, stage.allotted_seconds, stage.reason]


def _findings_table(members: Sequence[Any]) -> list[str]:
    """One finding downwards; several, one a line."""
    titles = [field.name.replace("_", " ") for field in dataclasses.fields(members[0])]
    rows = [list(vars(member).values()) for member in members]
    if len(rows) == 1:
        return _table(("", ""), list(zip(titles, rows[0], strict=True)))
    return _table(titles, rows)


def _table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return [_line(row) for row in (titles, ["---"] * len(titles), *rows)]


def _line(row: Sequence[object]) -> str:
    return f"| {' | '.join(map(_cell, row))} |"


def _cell(value: object) -> str:
    match value:
        case None | "" | ():
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case tuple():
            return ", ".join(value)
    return str(value).strip().replace("|", "\\|").replace("\n", "<br>")
