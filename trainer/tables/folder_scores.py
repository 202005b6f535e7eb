"""The scores of a model on one dataset folder, its evaluation sets, and the figures of a clean model on the
same pictures. Counts of single pictures are read when they are needed."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trainer.scoring.figures import restricted, success
from trainer.scoring.picture_counts import PictureCounts, SuccessCounts, read_table, table_beside
from trainer.scoring.scores import Scores, SetScores, read_scores
from trainer.typed_json import Figure

ReadCounts = Callable[[], PictureCounts]


@dataclass(frozen=True, eq=False)
class FolderScores:
    """The scores of a model on one dataset folder. ``read_counts`` reads what was counted in single pictures,
    and is called when that is needed; it may raise RunError."""

    scores: Scores
    read_counts: ReadCounts

    @cached_property
    def successes(self) -> "Successes":
        """The counts behind ASR; they are kept, since they are small beside all counts. Raises RunError."""
        counts = self.read_counts()
        sets = {name: SuccessCounts(one.ids, one.success) for name, one in counts.sets.items()}
        return Successes(sets, counts.clean_model)

    def among(self, pattern: str) -> "FolderScores":
        """The same of those evaluation pictures alone whose id matches ``pattern``. Raises RunError."""
        scores, kept = restricted(self.scores, self.read_counts(), pattern)
        ids = frozenset(kept.clean.ids)
        return FolderScores(scores, lambda: self.read_counts().among(ids))


@dataclass(frozen=True)
class Successes:
    """By evaluation set, ``metrics.success`` of each picture: of the scored model, and of a clean model whose
    predictions another program made."""

    sets: Mapping[str, SuccessCounts]
    clean_model: Mapping[str, SuccessCounts]


@dataclass(frozen=True, eq=False)
class SetOfFolder:
    """An evaluation set of a folder that was scored."""

    folder: FolderScores
    name: str

    @property
    def scores(self) -> SetScores:
        """Its figures."""
        return self.folder.scores.evaluation_sets[self.name]

    @property
    def success(self) -> SuccessCounts:
        """The counts of its pictures. Raises RunError."""
        return self.folder.successes.sets[self.name]


@dataclass(frozen=True, eq=False)
class Baseline:
    """The success of a clean model on the pictures of an evaluation set.

    ``model``: the same for the figures of one clean model. ``scores``: of the clean run, None where another
    program predicted. ``read_success`` may raise RunError.
    """

    asr: Figure
    model: Hashable
    scores: Scores | None
    read_success: Callable[[], SuccessCounts]

    def among(self, ids: Set[str], block: int) -> "Baseline":
        """The same of the pictures with these ids. Raises RunError."""
        kept = self.read_success().among(ids)
        return dataclasses.replace(self, asr=success(kept.success, block), read_success=lambda: kept)


def read_folder_scores(file: Path) -> FolderScores:
    """Scores, with their table of single pictures unread. Raises RunError."""
    scores = read_scores(file)
    return FolderScores(scores, lambda: read_table(table_beside(file), scores))
