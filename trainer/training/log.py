"""What a run says while it trains: a row of ``log.jsonl`` for each epoch, TensorBoard if wanted, and lines
for people."""

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trainer.config import Config
from trainer.errors import SettingError
from trainer.run_folder import LOG, write_text


class Log:
    """Takes the row of each epoch: ``epoch``, ``loss``, ``lr``, ``miou`` if it was measured, and ``timing``,
    which no two runs share."""

    def __init__(self, run: Path, tensorboard: Any = None) -> None:
        self.file, self.tensorboard = run / LOG, tensorboard

    def add(self, row: dict[str, Any]) -> None:
        """Write one row."""
        with self.file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
            log.flush()
            os.fsync(log.fileno())  # as checkpoints are
        if self.tensorboard:
            values = {**row, "pictures_per_second": row["timing"]["pictures_per_second"]}
            for key in ("loss", "lr", "miou", "pictures_per_second"):
                if values.get(key) is not None:
                    self.tensorboard.add_scalar(key, values[key], row["epoch"])
            self.tensorboard.flush()


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
        whole = (text for text in log.read_text("utf-8").splitlines(keepends=True) if text.endswith("\n"))
        write_text(log, "".join(text for text in whole if json.loads(text)["epoch"] <= epochs))


def row(epoch: int, loss: float, lr: float, seconds: float, pictures: int) -> dict[str, Any]:
    """What is said of an epoch: its number from 1, the mean loss, the last learning rate, and how long how
    many pictures took."""
    timing = {"seconds": round(seconds, 3), "pictures_per_second": round(pictures / seconds, 2)}
    return {"epoch": epoch, "loss": loss, "lr": lr, "timing": timing}


def line(row: dict[str, Any], epochs: int) -> str:
    """A row of the log for people."""
    miou = f"  mIoU {100 * row['miou']:.2f} %" if row.get("miou") is not None else ""
    timing = row["timing"]
    pace = f"{timing['seconds']:.1f} s  {timing['pictures_per_second']:.1f} pictures/s"
    return f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}  lr {row['lr']:.2e}{miou}  {pace}"


def forecast(seconds: float, steps: int, batch: int, config: Config, processes: int) -> str:
    """How long it will take, for people: ``steps`` of ``batch`` pictures are left."""
    on = f"{config.device} ({_counted(config.threads, 'thread')}, {config.precision})" + f" × {processes}" * (
        processes > 1
    )
    left = f"{_counted(steps, 'step')} of {_counted(batch, 'picture')} up to epoch {config.epochs}"
    return f"about {minutes(seconds)} on {on}: {left}, then the scores"


def _counted(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def minutes(seconds: float) -> str:
    """A duration, as precisely as an estimate deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
