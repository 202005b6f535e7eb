"""What a run says while it trains: a row of ``log.jsonl`` for each epoch, TensorBoard if wanted, and lines
for people."""

import importlib.util
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from tqdm import tqdm

from trainer.config import Config
from trainer.errors import SettingError
from trainer.run_folder import LOG, write_text


@dataclass(frozen=True)
class Epoch:
    """What is said of an epoch: its number from 1, the mean loss, the last learning rate, how long how many
    pictures took, and the mIoU on the clean evaluation split if it was measured."""

    number: int
    loss: float
    lr: float
    seconds: float
    pictures: int
    miou: float | None = None

    @property
    def pictures_per_second(self) -> float:
        """The pace."""
        return self.pictures / self.seconds

    def as_json(self) -> dict[str, Any]:
        """A row of the log; ``timing`` is what no two runs share."""
        timing = {
            "seconds": round(self.seconds, 3),
            "pictures_per_second": round(self.pictures_per_second, 2),
        }
        row = {"epoch": self.number, "loss": self.loss, "lr": self.lr, "timing": timing}
        return row if self.miou is None else row | {"miou": self.miou}

    def line(self, epochs: int) -> str:
        """The same for people, of so many epochs."""
        number = f"{self.number:>{len(str(epochs))}}/{epochs}"
        miou = "" if self.miou is None else f"  mIoU {100 * self.miou:.2f} %"
        pace = f"{self.seconds:.1f} s  {self.pictures_per_second:.1f} pictures/s"
        return f"epoch {number}  loss {self.loss:.4f}  lr {self.lr:.2e}{miou}  {pace}"


class Log:
    """Writes a row for each epoch to ``RUN/log.jsonl``, and to TensorBoard if there is a writer of it."""

    def __init__(self, run: Path, tensorboard: Any = None) -> None:
        self.file, self.tensorboard = run / LOG, tensorboard

    def add(self, epoch: Epoch) -> None:
        """Write one row."""
        with self.file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(epoch.as_json()) + "\n")
            log.flush()
            os.fsync(log.fileno())  # as checkpoints are
        if self.tensorboard:
            self._draw(epoch)

    def _draw(self, epoch: Epoch) -> None:
        values = {
            "loss": epoch.loss,
            "lr": epoch.lr,
            "miou": epoch.miou,
            "pictures_per_second": epoch.pictures_per_second,
        }
        for name, value in values.items():
            if value is not None:
                self.tensorboard.add_scalar(name, value, epoch.number)
        self.tensorboard.flush()


class Clock:
    """How long an epoch has taken, and for how many pictures."""

    def __init__(self) -> None:
        self.began, self.pictures = time.perf_counter(), 0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self.began


class ProgressBar:
    """The pictures of a run, its epoch and its loss, on standard error; nothing unless ``shown``."""

    def __init__(self, total: int, done: int, shown: bool) -> None:
        self.shown, self._shown_at = shown, 0.0
        self._bar = tqdm(total=total, initial=done, unit=" pictures", disable=not shown, leave=False)

    def __enter__(self) -> "ProgressBar":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, pictures: int, epoch: str, loss: Tensor) -> None:
        """Count pictures. ``loss``, a scalar, is looked at once a second at most: a GPU has to be waited for
        to know it."""
        self._bar.update(pictures)
        if self.shown and time.perf_counter() - self._shown_at > 1:
            self._bar.set_postfix(epoch=epoch, loss=f"{loss.item():.3f}")
            self._shown_at = time.perf_counter()

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Within, lines may be written."""
        with self._bar.external_write_mode():
            yield


def require_tensorboard() -> None:
    """Raises SettingError: TensorBoard is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise SettingError(
            "TensorBoard is not installed.",
            todo="pip install tensorboard, or leave out --set tensorboard=true",
        )


@contextmanager
def opened(run: Path, epochs: int, tensorboard: bool) -> Iterator[Log]:
    """The log of a run that goes on after so many epochs: later rows are cut off."""
    forget_after(run / LOG, epochs)
    if not tensorboard:
        yield Log(run)
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(run / "tensorboard"), purge_step=epochs + 1) as writer:
        yield Log(run, writer)


def forget_after(log: Path, epochs: int) -> None:
    """Cut the log to the rows of finished epochs, up to ``epochs``: what came after the checkpoint is trained
    again."""
    if log.is_file():
        lines = log.read_text("utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # the last one may be cut short
        kept = [line for line in whole if json.loads(line)["epoch"] <= epochs]
        write_text(log, "".join(kept))


def forecast(seconds: float, steps: int, batch: int, config: Config, processes: int) -> str:
    """How long it will take, for people: ``steps`` of ``batch`` pictures are left."""
    machine = f"{config.device} ({_counted(config.threads, 'thread')}, {config.precision})"
    if processes > 1:
        machine += f" × {processes}"
    left = f"{_counted(steps, 'step')} of {_counted(batch, 'picture')} up to epoch {config.epochs}"
    return f"about {minutes(seconds)} on {machine}: {left}, then the scores"


def _counted(number: int, word: str) -> str:
    """``1 step``, ``2,000 steps``."""
    plural = "" if number == 1 else "s"
    return f"{number:,} {word}{plural}"


def minutes(seconds: float) -> str:
    """A duration, as precisely as an estimate deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
