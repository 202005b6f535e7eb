"""What a step of a table is, whatever its kind: its key, its record on disk, and what the runner asks of it.

Beside what a step makes lie ``NAME.log``, what its commands have printed, and ``NAME.step.json``, what it was
made of. The kinds are in ``kinds.py``; ``runner.py`` knows none of them.
"""

import hashlib
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from trainer.errors import RunError
from trainer.run_folder import read_json, write_json
from trainer.typed_json import NotThisType, parse, plain

TRAINER = (sys.executable, "-m", "trainer")
POISONGEN = (sys.executable, "-m", "poisongen")


@dataclass(frozen=True)
class Key:
    """What a step is made of; never a time, a path or a commit. ``inputs``: digests of what other steps
    made."""

    kind: str
    settings: Mapping[str, str]
    inputs: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The same for the same kind, settings and inputs."""
        text = json.dumps([self.kind, dict(self.settings), dict(self.inputs)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def changes(self, wanted: "Key") -> list[str]:
        """What is another in ``wanted``, for people."""
        before, after = self.settings, wanted.settings
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        found = [f"{name}: {_shown(before.get(name))} → {_shown(after.get(name))}" for name in names]
        inputs = {**self.inputs, **wanted.inputs}
        return found + [
            f"{name} changed" for name in inputs if self.inputs.get(name) != wanted.inputs.get(name)
        ]


@dataclass(frozen=True)
class Record:
    """What ``step.json`` says: written when a step begins, and again when its command has ended.

    ``commit``: of the code that began it. ``seconds``: of all its commands together. ``key``: the digest of
    kind, settings and inputs.
    """

    kind: str
    name: str
    key: str
    settings: Mapping[str, str]
    inputs: Mapping[str, str]
    commit: str
    finished: bool
    seconds: float

    @classmethod
    def begun(cls, name: str, key: Key, commit: str) -> "Record":
        """The record of a step that begins."""
        return cls(key.kind, name, key.digest, key.settings, key.inputs, commit, False, 0.0)

    @property
    def made_of(self) -> Key:
        """The key in its parts."""
        return Key(self.kind, self.settings, self.inputs)

    def after(self, seconds: float, finished: bool) -> "Record":
        """The record when a command that took so long has ended."""
        return replace(self, seconds=round(self.seconds + seconds, 1), finished=finished)


@dataclass(frozen=True)
class Tools:
    """How steps are made on this machine. It is part of no key.

    ``source``: the clean dataset; ``build_jobs``: processes of one build; ``link``: how a dataset holds clean
    files; ``threads``: of a training, instead of the table's.
    """

    source: Path | None = None
    build_jobs: int = 1
    link: str = "symlink"
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Step(ABC):
    """One thing to make. ``folder``: what it makes, or that of the run to which it adds."""

    name: str
    folder: Path

    kind: ClassVar[str]
    adopts: ClassVar[bool] = True  # is what lies there without a record taken as it is?

    @property
    def label(self) -> str:
        """What it is called, the same for no other step of the table."""
        return f"{self.kind} {self.name}"

    @property
    def record_file(self) -> Path:
        """Its ``step.json``."""
        return self.folder.with_name(f"{self.folder.name}.step.json")

    @property
    def log(self) -> Path:
        """Where its commands print."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    @abstractmethod
    def doing(self) -> str:
        """What its command does, for people."""

    @property
    def needs(self) -> "Sequence[Step]":
        """The steps that have to be made before."""
        return ()

    @abstractmethod
    def settings(self) -> Mapping[str, str]:
        """What its key says of it alone."""

    def inputs(self) -> Mapping[str, str]:
        """Digests of what it is made of. To be asked when what it needs is made."""
        return {}

    def key(self) -> Key:
        """What it should be made of. To be asked when what it needs is made."""
        return Key(self.kind, self.settings(), self.inputs())

    def record(self) -> Record | None:
        """What it was made of, or begun with; None if nothing says so. Raises RunError."""
        if not self.record_file.is_file():
            return self.former_record()
        try:
            return parse(Record, read_json(self.record_file))
        except NotThisType as error:
            raise RunError(
                "The record of a step cannot be read.",
                file=self.record_file,
                expected=f"“{error.where}”: {error.expected}",
                found=error.found,
                todo="remove this file: what it was for is then made again",
            ) from None

    def former_record(self) -> Record | None:
        """What an earlier version of the project wrote instead."""
        return None

    def write(self, record: Record) -> None:
        """Write ``step.json``, whole or not at all."""
        write_json(self.record_file, plain(record))

    @abstractmethod
    def is_made(self, record: Record | None) -> bool:
        """Is it there, whole?"""

    def progress(self) -> str:
        """How far it has come, for people; nothing if it has not begun, or begins anew each time."""
        return ""

    def put_aside(self, stamp: str) -> None:  # noqa: B027  # most are written over
        """Make room for the same thing made of something else."""

    def prepare(self) -> None:
        """What has to be there before the command."""
        self.log.parent.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def command(self, tools: Tools, device: str | None) -> list[str]:
        """The program and its arguments; no shell reads them."""

    def tidy(self) -> None:  # noqa: B027  # most leave nothing
        """What is left to do when the command has succeeded."""

    def begun_on(self) -> str | None:
        """The device that it must go on with, if there is one."""
        return None

    @property
    def parts(self) -> int:
        """How many parts it has that take alike long for similar steps: the epochs of a training."""
        return 1

    def parts_done(self) -> int:
        """How many of them are done, if it goes on."""
        return 0

    def pace(self) -> float | None:
        """Seconds that such a part has taken here; None if that is not known."""
        record = self.record()
        return record.seconds or None if record and record.finished else None


def _shown(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= 40 else f"{value[:37]}…"
