"""Classes in the labels of the training split, before the attack and after it. Label maps in, counts out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poisongen.datasets.reading import Reader
from poisongen.datasets.source import Sample
from poisongen.errors import VerifyError
from poisongen.format.manifest import Manifest, Row
from poisongen.imaging.pixels import Pixels, histogram
from poisongen.labels import IGNORE, LabelSpace
from poisongen.show.views import NotInSource, changes_label, missing, read_label, source_label

PixelCounts = tuple[int, ...]
"""Pixels of each class, by training id; ignored ones last."""


@dataclass(frozen=True)
class LabelCounts:
    """Of one label map or of many: after, and before if that is known; else the ``note`` says why it is
    not."""

    after: PixelCounts
    before: PixelCounts | None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """The one victim, and the target that its pixels became."""

    victim: int
    target: int


def single_claim(manifest: Manifest) -> Claim | None:
    """Victim and target, if there is one victim, so that relabelled pixels were all of it."""
    poison = manifest.recipe.poison
    if poison is None or len(poison.victim_classes) != 1:
        return None
    return Claim(poison.victim_classes[0], poison.target_class)


@dataclass(frozen=True)
class TrainingLabel:
    """A row of the training split, and where the clean source has its sample, None if it has not."""

    row: Row
    sample: Sample | None


@dataclass(frozen=True)
class LabelReader:
    """Counts the classes in a training label, before and after. Runs in worker processes. ``claim``: where
    the label before follows from the row alone."""

    root: Path
    source: Reader | None
    space: LabelSpace
    claim: Claim | None

    def __call__(self, label: TrainingLabel) -> LabelCounts:
        """Raises VerifyError."""
        row = label.row
        after = self._count(read_label(self.root, row), self.root / row.label)
        if not changes_label(row):
            return LabelCounts(after, before=after)
        note = missing("labels before", self.source)
        if self.source is not None and label.sample is not None:
            try:
                raw = source_label(self.source, label.sample, row)
            except NotInSource as reason:
                note = str(reason)
            else:
                return LabelCounts(after, self._count(raw, self.source.root / label.sample.label))
        if self.claim is not None and row.relabelled_pixels is not None and not row.randomised_pixels:
            return LabelCounts(after, self._undone(after, self.claim, row.relabelled_pixels, row))
        return LabelCounts(after, None, note)

    def _undone(self, after: PixelCounts, claim: Claim, pixels: int, row: Row) -> PixelCounts:
        """The counts before ``pixels`` of the victim became the target."""
        before = list(after)
        before[claim.victim] += pixels
        before[claim.target] -= pixels
        if before[claim.target] < 0:
            raise VerifyError(
                "A row says that more pixels were relabelled than its label map has of the target.",
                file=self.root / row.label,
                expected=f"{after[claim.target]:,} or less",
                found=f"{pixels:,}",
            )
        return tuple(before)

    def _count(self, raw: Pixels, path: Path) -> PixelCounts:
        counts = histogram(raw)
        self.space.check(counts, path)
        classes = range(len(self.space.names))
        return tuple(self.space.count(counts, (train,)) for train in (*classes, IGNORE))


def summed(counted: Iterable[LabelCounts]) -> LabelCounts:
    """The sum over label maps; no counts before, and why, if those of one of them are not known."""
    all_after: list[PixelCounts] = []
    all_before: list[PixelCounts] = []
    reasons: Counter[str] = Counter()
    for one in counted:
        all_after.append(one.after)
        if one.before is None:
            reasons[one.note] += 1
        else:
            all_before.append(one.before)
    notes = [f"{reason} ({number:,} label maps)" for reason, number in sorted(reasons.items())]
    before = None if notes else _added(all_before)
    return LabelCounts(_added(all_after), before, "; ".join(notes))


def _added(counts: Sequence[PixelCounts]) -> PixelCounts:
    return tuple(sum(of_class) for of_class in zip(*counts, strict=True))
