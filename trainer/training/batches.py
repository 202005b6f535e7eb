"""What the loader runs: ``Schedule`` says which samples make which batch, ``Samples`` reads and cuts one."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from torch.utils.data import DataLoader, Dataset

from trainer.config import Config
from trainer.dataset.folder import Folder
from trainer.errors import SettingError, TrainerError
from trainer.networks.models import MODELS
from trainer.randomness import permutation
from trainer.training.augment import Batch, Cut, collate, draw_box
from trainer.training.machine import quiet_worker
from trainer.training.parallel import SINGLE, Group
from trainer.training.sources import Files, Source

Item = TypeVar("Item")


class Address(NamedTuple):
    """Which cut: in an epoch, of the picture with this number in ``Folder.training``. ``check``: its digests
    have not been checked in this run."""

    epoch: int
    picture: int
    check: bool


class Samples(Dataset[Cut | TrainerError]):
    """The training samples of a folder, cut to boxes, by address.

    ``source`` is where the pixels come from, which changes none of them; without one, the files. An error is
    returned, not raised, so that it arrives whole from a worker process.
    """

    def __init__(self, folder: Folder, config: Config, source: Source | None = None) -> None:
        self.folder, self.config, self.source = folder, config, source or Files(folder)

    def __getitem__(self, address: tuple[int, int, bool]) -> Cut | TrainerError:
        epoch, index, check = address
        row, config = self.folder.training[index], self.config
        size = (row.height, row.width)
        box = draw_box(config.seed, epoch, index, size, config.crop, config.scale, config.flip)
        rows, columns = box.inside(*size)
        try:
            picture, label = self.source.window(index, rows, columns, check)
        except TrainerError as error:
            return error
        return Cut(picture, label, box, top=rows.start - box.top, left=columns.start - box.left)


def batched(cuts: Sequence[Cut | TrainerError], crop: tuple[int, int]) -> Batch | TrainerError:
    """``collate``, or the first error among the cuts."""
    whole: list[Cut] = []
    for cut in cuts:
        if isinstance(cut, TrainerError):
            return cut
        whole.append(cut)
    return collate(whole, crop)


def batches(samples: "Samples", schedule: "Schedule", config: Config) -> Iterator[Batch]:
    """What training takes, part by part: read by workers, or for a GPU without workers in a thread. Raises
    the error that a sample met."""
    copied = (
        config.device.startswith("cuda") and samples.source.device.type == "cpu"
    )  # to the GPU, part by part
    loader: Iterable[Batch | TrainerError] = DataLoader(
        samples,
        batch_sampler=schedule,
        num_workers=config.workers,
        collate_fn=partial(batched, crop=config.net_crop),
        pin_memory=copied,
        worker_init_fn=quiet_worker,
    )
    if copied and not config.workers:
        return map(raise_if_error, ahead(loader))
    return map(raise_if_error, loader)


def raise_if_error(part: Batch | TrainerError) -> Batch:
    """A part of a batch as it came from a worker; raises the error that it met."""
    if isinstance(part, TrainerError):
        raise part
    return part


def ahead(batches: Iterable[Item], count: int = 2) -> Iterator[Item]:
    """The same, read in a thread, so many ahead: for a GPU that computes while this process reads."""
    waiting: deque[Future[Item | None]] = deque()
    with ThreadPoolExecutor(1) as thread:
        following = iter(batches)
        waiting.extend(thread.submit(next, following, None) for _ in range(count))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, following, None))
            yield batch


class Schedule:
    """Which samples make which batch: every epoch is a permutation of its own, cut into whole batches.

    What is left over waits for the next epoch; a folder smaller than a batch is one batch. Iterating gives
    lists of addresses from batch ``start`` of the whole run to its end: of each batch the parts of this
    process, one after the other. Each sample's digests are checked when this process first meets it. Raises
    SettingError: a batch that cannot be parted evenly.
    """

    def __init__(self, count: int, config: Config, start: int = 0, group: Group = SINGLE) -> None:
        self.count, self.config, self.start, self.group = count, config, start, group
        self.batch = min(config.batch, count)
        self.steps = count // self.batch  # batches in an epoch
        pieces = config.accumulate * group.size
        self.part = self.batch // pieces  # pictures that go through this process's network at once

        at_once, least = self.part * group.size, MODELS[config.model].least_batch
        if at_once < least:
            problem = f"The model “{config.model}” cannot be trained with so few pictures at once."
            raise SettingError(problem, expected=f"{least} or more", found=at_once)
        if self.batch % pieces:
            problem = "A batch cannot be parted evenly."
            expected = f"a multiple of {pieces} (accumulate {config.accumulate} × {group.size} processes)"
            raise SettingError(problem, expected=expected, found=f"a batch of {self.batch}")

    @property
    def total(self) -> int:
        """Batches in the whole run."""
        return self.steps * self.config.epochs

    def __len__(self) -> int:
        return (self.total - self.start) * self.config.accumulate

    def __iter__(self) -> Iterator[list[Address]]:
        met: set[int] = set()
        for epoch in range(self.start // self.steps, self.config.epochs):
            visits = permutation(self.config.seed, epoch, self.count).tolist()
            first_step = max(0, self.start - epoch * self.steps)
            for step in range(first_step, self.steps):
                batch = visits[step * self.batch : (step + 1) * self.batch]
                for chosen in self.own_parts(batch):
                    yield [Address(epoch, index, check=index not in met) for index in chosen]
                    met.update(chosen)

    def own_parts(self, batch: list[int]) -> Iterator[list[int]]:
        """The parts of a batch that this process computes: of all parts, every ``group.size``-th."""
        for part in range(self.group.rank, self.config.accumulate * self.group.size, self.group.size):
            yield batch[part * self.part : (part + 1) * self.part]
