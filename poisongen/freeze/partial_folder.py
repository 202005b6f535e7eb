"""The folder while it is written: ``OUT.partial``, locked, bound to one plan, resumed, renamed at the end.

Nothing half-done has a final name: each file is written beside its place and renamed, and one rename at the
end gives the folder its name.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from poisongen.disk import files_below, write_atomic
from poisongen.errors import OutputError
from poisongen.format.manifest import canonical
from poisongen.names import CONTENT, JOURNAL, LOCK, PLAN


class PartialFolder:
    """``OUT.partial`` while it is worked in: locked, bound to one plan, its content renamed to ``OUT`` at the
    end.

    ``path`` is where the dataset grows, ``OUT.partial/content``; lock, plan and journal lie beside it, so
    that a kill at any moment leaves all or nothing of them. Use as a context manager; leaving it without
    ``seal`` keeps the folder for the next try. Raises OutputError if ``out`` holds something, if another
    process works there, or if the folder holds work on another plan (``restart`` discards that).
    """

    def __init__(self, out: Path, *, restart: bool = False) -> None:
        check_out(out)
        self.out = Path(os.path.abspath(out)) if not out.is_symlink() else out.resolve()
        self.partial = self.out.with_name(self.out.name + ".partial")
        self.path = self.partial / CONTENT
        self.restart = restart
        self._lock = -1

    def __enter__(self) -> Self:
        check_out(self.out)
        self._require_ours()
        self.partial.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.partial / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            todo = "wait for it, or choose another --out"
            raise OutputError(
                "Another poisongen is working on this folder.", file=self.partial, todo=todo
            ) from None
        check_out(self.out)
        if self.restart:
            self.discard()
        self.path.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                "The disk is full.",
                file=error.filename or self.partial,
                found=f"{shutil.disk_usage(self.partial).free:,} bytes free",
                todo=f"make room and run the same command: it goes on where it stopped, in {self.partial}",
            ) from error

    def _require_ours(self) -> None:
        if self.partial.is_symlink() or (self.partial.exists() and not self.partial.is_dir()):
            todo = "move it away, or choose another --out"
            raise OutputError("The working folder's name is taken.", file=self.partial, todo=todo)
        if self.partial.is_dir() and any(self.partial.iterdir()) and not (self.partial / LOCK).is_file():
            raise OutputError(
                "The working folder holds something that poisongen did not write.",
                file=self.partial,
                todo="move it away, or choose another --out",
            )

    def discard(self) -> None:
        """Throw away all work but the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        for name in (PLAN, JOURNAL):
            (self.partial / name).unlink(missing_ok=True)

    def abandon(self) -> None:
        """Throw away everything: what was begun cannot end well."""
        shutil.rmtree(self.partial)

    def bind(self, plan: dict[str, Any]) -> list[dict[str, Any]]:
        """Tie the folder to this plan, and return the journal of what an earlier run has done with the same
        one.

        Raises OutputError if the folder holds work on another plan, recipe or source.
        """
        stored, text = self.partial / PLAN, canonical(plan)
        if not stored.exists():
            self.discard()
            self.path.mkdir()
            write_atomic(stored, text.encode())
        elif stored.read_text(encoding="utf-8") != text:
            raise OutputError(
                "The working folder holds unfinished work of another recipe, or on another source.",
                file=self.partial,
                expected="the recipe, options and source of this command",
                todo="repeat the command that began it, discard it with --restart, or choose another --out",
            )
        journal = self.partial / JOURNAL
        entries = []
        if journal.exists():
            for line in journal.read_bytes().split(b"\n")[
                :-1
            ]:  # the last piece is empty, or a line that was cut off
                with contextlib.suppress(ValueError):
                    entries.append(json.loads(line))
            write_atomic(journal, b"".join(canonical(entry).encode() + b"\n" for entry in entries))
        return entries

    @contextlib.contextmanager
    def journal(self) -> Iterator["Journal"]:
        """What is done, one line for each sample, as it is done."""
        with (self.partial / JOURNAL).open("ab") as file:
            yield Journal(file)

    def seal(self, expected: set[str]) -> None:
        """Take away all that is not of the finished folder, flush the disk, and give the folder its name."""
        for found in files_below(self.path):
            if found not in expected:
                (self.path / found).unlink()
        for folder, folders, names in os.walk(self.path, topdown=False):
            if not folders and not names and Path(folder) != self.path:
                Path(folder).rmdir()
        os.sync()
        try:
            self.path.rename(self.out)
        except OSError as error:
            todo = f"the work is complete in {self.path}"
            raise OutputError(
                "The finished folder cannot get its name.", file=self.out, found=error.strerror, todo=todo
            ) from None
        shutil.rmtree(self.partial)


class Journal:
    """Appends one canonical line at a time, so that a kill costs at most the last one."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry and hand it to the system."""
        self.file.write(canonical(entry).encode() + b"\n")
        self.file.flush()


def check_out(out: Path) -> None:
    """Raise OutputError unless ``out`` is free: nothing there, or an empty folder."""
    if out.is_dir():
        if any(out.iterdir()):
            raise OutputError(
                "The output folder is not empty.",
                file=out,
                expected="a new name or an empty folder",
                found=", ".join(sorted(child.name for child in out.iterdir())[:4]),
                todo="choose another --out; nothing was changed",
            )
    elif out.exists() or out.is_symlink():
        raise OutputError(
            "The output is not a folder.", file=out, todo="choose another --out; nothing was changed"
        )
