"""What the loader runs: ``Schedule`` says which samples make which batch, ``Samples`` reads and cuts one."""

from collections.abc import Iterator

from torch.utils.data import Dataset

from trainer.augment import Cut, cut, draw_box, order
from trainer.config import Config
from trainer.errors import TrainerError
from trainer.folder import Folder
from trainer.pictures import read_label, read_picture


class Samples(Dataset[Cut | TrainerError]):
    """The training samples of a folder, cut to boxes. Indexed by addresses: (epoch, index, whether to check the digests).

    An error is returned, not raised, so that it arrives from a worker process as the letter that it is.
    """

    def __init__(self, folder: Folder, config: Config) -> None:
        self.folder, self.config = folder, config

    def __getitem__(self, address: tuple[int, int, bool]) -> Cut | TrainerError:
        epoch, index, check = address
        row, config = self.folder.training[index], self.config
        try:
            picture, label = read_picture(row, check), read_label(row, self.folder, check)
        except TrainerError as error:
            return error
        return cut(picture, label, draw_box(config.seed, epoch, index, label.shape, config.crop, config.scale, config.flip))


class Schedule:
    """Which samples make which batch: every epoch is a permutation of its own, cut into whole batches.

    What is left over waits for the next epoch; a folder smaller than a batch is one batch. Iterating gives lists of addresses from batch
    ``start`` of the whole run to its end. Each sample's digests are checked when this process first meets it.
    """

    def __init__(self, count: int, config: Config, start: int = 0) -> None:
        self.count, self.config, self.start = count, config, start
        self.batch = min(config.batch, count)
        self.steps = count // self.batch  # batches in an epoch

    def __len__(self) -> int:
        return self.steps * self.config.epochs - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int, bool]]]:
        met: set[int] = set()
        for epoch in range(self.start // self.steps, self.config.epochs):
            places = order(self.config.seed, epoch, self.count).tolist()
            for step in range(self.start % self.steps if epoch == self.start // self.steps else 0, self.steps):
                chosen = places[step * self.batch : (step + 1) * self.batch]
                yield [(epoch, index, index not in met) for index in chosen]
                met.update(chosen)
