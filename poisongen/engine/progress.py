"""How far a command is, on standard error: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm


class Progress:
    """Counts the samples that are done, and shows it. Use as a context manager; ``quiet`` shows nothing."""

    def __init__(self, title: str, total: int, *, quiet: bool = False, every_seconds: float = 15) -> None:
        self.title, self.total, self.quiet = title, total, quiet
        self.count = 0
        self.every_seconds = every_seconds
        self.last_line = time.monotonic()
        self.bar: tqdm[None] | None = None
        if not quiet and sys.stderr.isatty():
            self.bar = tqdm(total=total, desc=title, unit="sample", dynamic_ncols=True, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self) -> None:
        """One more sample is done."""
        self.count += 1
        if self.bar is not None:
            self.bar.update()
        elif not self.quiet and time.monotonic() - self.last_line > self.every_seconds:
            self.last_line = time.monotonic()
            sys.stderr.write(f"{self.title}: {self.count:,} of {self.total:,}\n")
