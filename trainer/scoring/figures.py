"""Figures from what was counted in single pictures: of a whole split, of an evaluation set, or of part of
them.

Pure functions: counts and facts in, ``Scores`` out. ``metrics.py`` has the definitions, ``intervals.py`` the
intervals.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RunError
from trainer.scoring import intervals, metrics
from trainer.scoring.picture_counts import PictureCounts, SetCounts, SuccessCounts, Table
from trainer.scoring.scores import BandScores, CleanSet, Scores, SetScores, WithoutTriggerClass
from trainer.typed_json import Figure

NO_SUCCESS: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Figures:
    """The figures of one model on one folder, or on part of its pictures; the keys are those of
    ``Scores``."""

    miou: Figure
    pa: Figure
    iou: Mapping[str, float | None]
    evaluation_sets: Mapping[str, SetScores]
    without_trigger_class: WithoutTriggerClass | None
    shared_pictures: int | None


def figures_of(
    counts: PictureCounts, classes: Sequence[str], identities: Mapping[str, str], block: int
) -> Figures:
    """All figures that these counts give. ``identities``: of each evaluation set; ``block``: see
    ``intervals``."""
    clean = counts.clean
    miou, pa = segmentation(clean.overlaps, block)
    iou = metrics.iou(clean.overlaps.sum(0))
    without = None
    if clean.lacking is not None:
        rest = clean.among(clean.lacking)
        without = WithoutTriggerClass(*segmentation(rest.overlaps, block), len(rest.ids))
    shared = shared_ids(one.ids for one in counts.sets.values())
    sets = {}
    for name, one in counts.sets.items():
        unpaired = clean.lacking is not None
        untriggered = clean.among(clean.lacking if clean.lacking is not None else frozenset(one.ids))
        twins = SuccessCounts(untriggered.ids, untriggered.success)
        sets[name] = _of_set(one, twins, identities[name], len(clean.ids), shared, unpaired, block)
    return Figures(
        miou=miou,
        pa=pa,
        iou=dict(zip(classes, iou, strict=True)),
        evaluation_sets=sets,
        without_trigger_class=without,
        shared_pictures=None if shared is None else len(shared),
    )


def segmentation(overlaps: Table, block: int) -> tuple[Figure, Figure]:
    """mIoU and PA with their intervals, from the overlap of each picture, (N, K, 3)."""
    whole = overlaps.sum(0)
    miou = _figure(metrics.mean_iou(whole), intervals.mean_iou_interval(overlaps, block))
    pa = _figure(metrics.pixel_accuracy(whole), intervals.accuracy_interval(overlaps, block))
    return miou, pa


def success(counts: Table, block: int) -> Figure:
    """A share pooled over pictures, (N, 2), and its interval."""
    return _figure(metrics.attack_success(counts.sum(0)), intervals.ratio_interval(counts, block))


def _figure(value: float | None, interval: intervals.Interval) -> Figure:
    return Figure(value) if value is None or interval is None else Figure(value, *interval)


def _of_set(
    counts: SetCounts,
    untriggered: SuccessCounts,
    identity: str,
    evaluation_pictures: int,
    shared: Set[str] | None,
    unpaired: bool,
    block: int,
) -> SetScores:
    """The figures of one evaluation set. ``untriggered``: the clean twins of its pictures, or, where the
    trigger is a class (``unpaired``), the pictures of the evaluation split that lack it. ``shared``: see
    ``shared_ids``.
    """
    every = [metrics.attack_success(pair) for pair in counts.success]
    each = [value for value in every if value is not None]
    above_half = sum(value > 0.5 for value in each)
    on_shared = None
    if shared is not None:
        inside = np.array([identifier in shared for identifier in counts.ids], np.bool_)
        on_shared = success(counts.success[inside], block)
    return SetScores(
        identity=identity,
        pictures=len(counts.ids),
        victim_pixels=int(counts.success[:, 1].sum()),
        triggered_share=metrics.ratio(len(counts.ids), evaluation_pictures),
        asr=success(counts.success, block),
        asr_without_trigger=success(untriggered.success, block),
        asr_difference=difference(counts, untriggered, block),
        asr_outside_trigger=success(counts.outside, block),
        asr_picture_mean=float(np.mean(each)) if each else None,
        asr_picture_above_half=metrics.ratio(above_half, len(each)),
        pba=_mean_iou(counts.others),
        pba_outside_trigger=_mean_iou(counts.others_outside),
        asr_on_shared_pictures=on_shared,
        unpaired_pictures=int((untriggered.success[:, 1] > 0).sum()) if unpaired else None,
        distance_bands=_bands(counts, block),
    )


def _mean_iou(overlaps: Table | None) -> float | None:
    return None if overlaps is None else metrics.mean_iou(overlaps.sum(0))


def _bands(counts: SetCounts, block: int) -> dict[str, BandScores]:
    """ASR by the distance from the victim, of the bands that have a picture."""
    if counts.bands is None:
        return {}
    own = np.array([band or "" for band in counts.bands], str)
    found = {}
    for name in metrics.BANDS:
        inside = own == name
        if inside.any():
            # The blocks are those of the whole set: neighbours in a band are no neighbours in time.
            asr = success(np.where(inside[:, None], counts.success, 0), block)
            victim_pixels = int(counts.success[inside, 1].sum())
            found[name] = BandScores(asr=asr, pictures=int(inside.sum()), victim_pixels=victim_pixels)
    return found


def shared_ids(sets: Iterable[Sequence[str]]) -> Set[str] | None:
    """The ids that all evaluation sets have, apart from empty sets; None where the sets do not differ."""
    ids = [set(members) for members in sets if members]
    return set.intersection(*ids) if any(members != ids[0] for members in ids) else None


def difference(one: SuccessCounts, other: SuccessCounts, block: int) -> Figure:
    """The success of ``one`` less that of ``other``, each picture beside its twin, where it has one.

    Pictures are in the order of their ids, so that blocks are neighbours.
    """
    mine = dict(zip(one.ids, one.success.tolist(), strict=True))
    theirs = dict(zip(other.ids, other.success.tolist(), strict=True))
    ids = sorted({*mine, *theirs})
    rows = [[*mine.get(i, NO_SUCCESS), *theirs.get(i, NO_SUCCESS)] for i in ids]
    table: NDArray[np.int64] = np.array(rows, np.int64).reshape(len(ids), 4)
    first, second = (metrics.attack_success(half) for half in np.split(table.sum(0), 2))
    if first is None or second is None:
        return Figure(None)
    return _figure(first - second, intervals.difference_interval(table, block))


def restricted(scores: Scores, counts: PictureCounts, pattern: str) -> tuple[Scores, PictureCounts]:
    """Scores and counts as they would be if the evaluation pictures were those whose id matches ``pattern``
    alone (``test/Seq05VD*``).

    The definitions are the same, pooled over these pictures. Raises RunError: no picture matches.
    """
    ids = counts.clean.ids
    wanted = frozenset(identifier for identifier in ids if fnmatchcase(identifier, pattern))
    if not wanted:
        found = f"{', '.join(ids[:2])}, …"
        raise RunError("No evaluation picture has such an id.", expected=pattern, found=found)
    kept, block = counts.among(wanted), scores.intervals.block
    identities = {name: values.identity for name, values in scores.evaluation_sets.items()}
    figures = figures_of(kept, scores.dataset.classes, identities, block)
    clean_model = scores.clean_model
    if clean_model is not None:
        successes = {name: CleanSet(success(one.success, block)) for name, one in kept.clean_model.items()}
        clean_model = dataclasses.replace(clean_model, evaluation_sets=successes)
    dataset = dataclasses.replace(scores.dataset, evaluation_pictures=len(wanted))
    own = {key.name: getattr(figures, key.name) for key in dataclasses.fields(figures)}
    return dataclasses.replace(scores, dataset=dataset, clean_model=clean_model, **own), kept
