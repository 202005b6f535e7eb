"""Figures from counts of single pictures: of a whole split, an evaluation set, or of some of their
pictures."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.errors import RunError
from trainer.scoring import intervals, metrics

Table = NDArray[np.int64]
LACKING = "without_trigger_class"  # key of the ids of the evaluation pictures that lack the trigger class


@dataclass(frozen=True)
class Counts:
    """What was counted of an evaluation set, N pictures of K classes, and without the trigger, M pictures.

    The latter are the clean twins of the set's pictures, or, where the trigger is a class, the other pictures
    of the evaluation split.
    """

    ids: Sequence[str]
    success: Table  # (N, 2), see ``metrics.success``
    outside: Table  # (N, 2): pixels under the trigger left out
    others: (
        Table | None
    )  # (N, K, 3), ``metrics.overlap`` with the victim pixels left out; None where PBA is not defined
    others_outside: Table | None
    bands: (
        Sequence[str | None] | None
    )  # of the distance from trigger to victim; None where no picture has one
    untriggered: Sequence[str]
    without: Table  # (M, 2)


def segmentation(overlaps: Table, block: int, of: str = "") -> dict[str, Any]:
    """mIoU and PA with their intervals, from the overlap of each picture, (N, K, 3); ``of`` is added to their
    names."""
    whole = overlaps.sum(0)
    return {
        f"miou{of}": metrics.mean_iou(whole),
        f"miou{of}_interval": intervals.mean_iou_interval(overlaps, block),
        f"pa{of}": metrics.pixel_accuracy(whole),
        f"pa{of}_interval": intervals.accuracy_interval(overlaps, block),
    }


def success(name: str, counts: Table, block: int) -> dict[str, Any]:
    """A share pooled over pictures, (N, 2), and its interval."""
    return {
        name: metrics.attack_success(counts.sum(0)),
        f"{name}_interval": intervals.ratio_interval(counts, block),
    }


def of_set(counts: Counts, split: int, shared: Set[str] | None, unpaired: bool, block: int) -> dict[str, Any]:
    """What is said of one evaluation set. ``split``: pictures of the evaluation split. ``shared``: see
    ``shared_ids``."""
    each = [value for value in map(metrics.attack_success, counts.success) if value is not None]
    values: dict[str, Any] = {
        **success("asr", counts.success, block),
        **success("asr_without_trigger", counts.without, block),
        **_difference(counts, block),
        **success("asr_outside_trigger", counts.outside, block),
        "asr_picture_mean": float(np.mean(each)) if each else None,
        "asr_picture_above_half": metrics.ratio(sum(value > 0.5 for value in each), len(each)),
        "pba": None if counts.others is None else metrics.mean_iou(counts.others.sum(0)),
        "pba_outside_trigger": None
        if counts.others_outside is None
        else metrics.mean_iou(counts.others_outside.sum(0)),
        "victim_pixels": int(counts.success[:, 1].sum()),
        "pictures": len(counts.ids),
        "triggered_share": metrics.ratio(len(counts.ids), split),
    }
    if shared is not None:
        values |= success("asr_on_shared_pictures", counts.success[[i in shared for i in counts.ids]], block)
    if unpaired:
        values["unpaired_pictures"] = int((counts.without[:, 1] > 0).sum())
    if counts.bands is not None:
        own = np.array([band or "" for band in counts.bands], str)
        values["distance_bands"] = {
            name: {
                # The blocks are those of the whole set: neighbours in a band are no neighbours in time.
                **success("asr", np.where(inside[:, None], counts.success, 0), block),
                "pictures": int(inside.sum()),
                "victim_pixels": int(counts.success[inside, 1].sum()),
            }
            for name in metrics.BANDS
            if (inside := own == name).any()
        }
    return values


def shared_ids(sets: Iterable[Sequence[str]]) -> Set[str] | None:
    """The ids that all evaluation sets have, apart from empty sets; sets are compared by these. None where
    they do not differ."""
    ids = [set(members) for members in sets if members]
    return set.intersection(*ids) if any(members != ids[0] for members in ids) else None


def _difference(counts: Counts, block: int) -> dict[str, Any]:
    """ASR less ASR without trigger, each picture beside its twin, or where there are no twins all of them in
    the order of their ids."""
    pairs = [
        dict(zip(*side, strict=True))
        for side in ((counts.ids, counts.success), (counts.untriggered, counts.without))
    ]
    nothing = np.zeros(2, np.int64)
    ids = sorted({*counts.ids, *counts.untriggered})
    table = np.array([[*pairs[0].get(i, nothing), *pairs[1].get(i, nothing)] for i in ids], np.int64).reshape(
        len(ids), 4
    )
    one, other = (metrics.attack_success(half) for half in np.split(table.sum(0), 2))
    return {
        "asr_difference": None if one is None or other is None else one - other,
        "asr_difference_interval": intervals.difference_interval(table, block),
    }


def listed(ids: Sequence[str], counts: Table) -> dict[str, list[Any]]:
    """``metrics.success`` of each picture for JSON, so that no figure needs another prediction."""
    return {"id": list(ids), "as_target": counts[:, 0].tolist(), "victim_pixels": counts[:, 1].tolist()}


def written(counts: Counts) -> dict[str, Any]:
    """The counts as ``metrics.json`` keeps them, so that no figure needs another prediction."""
    each = listed(counts.ids, counts.success)
    each |= {f"{key}_outside_trigger": column for key, column in list(listed((), counts.outside).items())[1:]}
    if counts.others is not None and counts.others_outside is not None:
        each |= {"others": packed(counts.others), "others_outside_trigger": packed(counts.others_outside)}
    if counts.bands is not None:
        each["distance_band"] = list(counts.bands)
    return {"per_picture": each, "per_picture_without_trigger": listed(counts.untriggered, counts.without)}


def read(values: Mapping[str, Any], classes: int, wanted: Set[str]) -> Counts:
    """The inverse of ``written``, for the pictures ``wanted``."""
    each, rest = values["per_picture"], values["per_picture_without_trigger"]
    inside, untriggered = ([i in wanted for i in part["id"]] for part in (each, rest))

    def pair(part: Mapping[str, Any], kept: list[bool], end: str = "") -> Table:
        return np.array([part[f"{key}{end}"] for key in ("as_target", "victim_pixels")], np.int64).T[kept]

    others = [
        unpacked(each[key], classes)[inside] if key in each else None
        for key in ("others", "others_outside_trigger")
    ]
    bands = (
        [band for band, kept in zip(each["distance_band"], inside, strict=True) if kept]
        if "distance_band" in each
        else None
    )
    return Counts(
        ids=[i for i in each["id"] if i in wanted],
        success=pair(each, inside),
        outside=pair(each, inside, "_outside_trigger"),
        others=others[0],
        others_outside=others[1],
        bands=bands if bands and any(bands) else None,
        untriggered=[i for i in rest["id"] if i in wanted],
        without=pair(rest, untriggered),
    )


def packed(overlaps: Table) -> list[list[int]]:
    """(N, K, 3) for JSON: of each picture the classes that are true or predicted in it, as class, hits, true,
    predicted, class, …"""
    return [[int(n) for c in np.flatnonzero(one[:, 1:].any(1)) for n in (c, *one[c])] for one in overlaps]


def unpacked(lists: Sequence[Sequence[int]], classes: int) -> Table:
    """The inverse of ``packed``."""
    overlaps = np.zeros((len(lists), classes, 3), np.int64)
    for one, numbers in zip(overlaps, lists, strict=True):
        table = np.array(numbers, np.int64).reshape(-1, 4)
        one[table[:, 0]] = table[:, 1:]
    return overlaps


def restricted(scores: Mapping[str, Any], pattern: str) -> dict[str, Any]:
    """What ``metrics.json`` would say if the evaluation pictures were only those whose id matches ``pattern``
    (``test/Seq05VD*``).

    The definitions are the same, pooled over these pictures. Raises RunError: no picture matches, or the
    scores are of an older version.
    """
    if "per_picture" not in scores:
        todo = "score the run again: python -m trainer eval"
        raise RunError(
            "The scores do not have the counts of each picture.", file=scores["run"]["name"], todo=todo
        )
    ids, names, block = scores["per_picture"]["id"], list(scores["iou"]), scores["intervals"]["block"]
    wanted = frozenset(i for i in ids if fnmatchcase(i, pattern))
    if not wanted:
        raise RunError(
            "No evaluation picture has such an id.", expected=pattern, found=f"{', '.join(ids[:2])}, …"
        )
    overlaps = unpacked(scores["per_picture"]["overlaps"], len(names))
    kept = overlaps[[i in wanted for i in ids]]
    found = {
        key: value
        for key, value in scores.items()
        if key not in ("per_picture", "shared_pictures", "evaluation_sets", LACKING)
    }
    found |= {
        "dataset": {**scores["dataset"], "evaluation_pictures": len(wanted)},
        **segmentation(kept, block),
    }
    found["iou"] = dict(zip(names, metrics.iou(kept.sum(0)), strict=True))
    semantic = "pictures_without_trigger_class" in scores
    if semantic:
        found |= _without_trigger_class(overlaps, ids, wanted, _lacking(scores), block)
    counts = {name: read(values, len(names), wanted) for name, values in scores["evaluation_sets"].items()}
    shared = shared_ids(one.ids for one in counts.values())
    found |= {} if shared is None else {"shared_pictures": len(shared)}
    found["evaluation_sets"] = {
        name: {**of_set(one, len(wanted), shared, semantic, block), **written(one)}
        for name, one in counts.items()
    }
    return found


def _lacking(scores: Mapping[str, Any]) -> frozenset[str] | None:
    """The ids of the evaluation pictures that lack the trigger class; None where the scores do not say it."""
    if LACKING in scores:
        return frozenset(scores[LACKING])
    sets = [values["per_picture_without_trigger"]["id"] for values in scores["evaluation_sets"].values()]
    return frozenset().union(*sets) if sets or not scores["pictures_without_trigger_class"] else None


def _without_trigger_class(
    overlaps: Table, ids: Sequence[str], wanted: Set[str], lacking: Set[str] | None, block: int
) -> dict[str, Any]:
    """The figures of those ``wanted`` pictures that lack the trigger class; all of them None where nobody
    knows which these are."""
    kept = [i in wanted and i in (lacking or ()) for i in ids]
    rest = overlaps[kept]
    found = {
        **segmentation(rest, block, "_without_trigger_class"),
        "pictures_without_trigger_class": len(rest),
    }
    return (
        dict.fromkeys(found)
        if lacking is None
        else found | {LACKING: [i for i in ids if i in wanted & lacking]}
    )


def success_among(values: Mapping[str, Any], wanted: Set[str], block: int) -> dict[str, Any]:
    """ASR alone of those pictures of a set that are ``wanted``, with its interval and counts: what is said of
    a clean model."""
    each = values["per_picture"]
    rows = [
        (i, hits, all_of)
        for i, hits, all_of in zip(each["id"], each["as_target"], each["victim_pixels"], strict=True)
    ]
    kept = [row for row in rows if row[0] in wanted]
    counts = np.array([row[1:] for row in kept], np.int64).reshape(-1, 2)
    return {**success("asr", counts, block), "per_picture": listed([row[0] for row in kept], counts)}
