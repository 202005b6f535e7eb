import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import handmade
from tests.support.scoring import result_of, score
from trainer.dataset.folder import open_folder
from trainer.dataset.pictures import read_label, read_mask, read_picture
from trainer.errors import FolderError
from trainer.networks.swiftnet import SwiftNet
from trainer.scoring import intervals, metrics
from trainer.scoring.evaluate import predictor

K = 4
ids = st.integers(0, K - 1)
pictures = st.lists(st.tuples(st.one_of(ids, st.just(255)), ids), min_size=1, max_size=60)
victim_lists = st.lists(ids, min_size=1, max_size=K - 1, unique=True)


def slow_iou(pairs: list[tuple[int, int]]) -> dict[int, float]:
    """IoU of each class that has a true pixel, by sets of pixel numbers."""
    out = {}
    for c in range(K):
        true = {i for i, (t, _) in enumerate(pairs) if t == c}
        said = {i for i, (t, p) in enumerate(pairs) if p == c and t != 255}
        if true:
            out[c] = len(true & said) / len(true | said)
    return out


@settings(max_examples=150, deadline=None)
@given(pictures, victim_lists, ids)
def test_metrics_are_what_counting_pixel_by_pixel_gives(
    pairs: list[tuple[int, int]], victims: list[int], target: int
) -> None:
    """mIoU, PA, ASR and PBA from a confusion matrix equal a count over single pixels; ignored pixels and
    absent classes do not enter."""
    truth, said = (np.array(column) for column in zip(*pairs, strict=True))
    matrix = metrics.confusion(truth, said, K)
    counted = [(t, p) for t, p in pairs if t != 255]

    slow = slow_iou(pairs)
    counts = metrics.overlap(matrix)
    assert metrics.iou(counts) == [pytest.approx(slow[c]) if c in slow else None for c in range(K)]
    assert metrics.mean_iou(counts) == (pytest.approx(sum(slow.values()) / len(slow)) if slow else None)
    assert metrics.pixel_accuracy(counts) == (
        pytest.approx(sum(t == p for t, p in counted) / len(counted)) if counted else None
    )

    at_stake = [p for t, p in counted if t in victims]
    assert metrics.attack_success(metrics.success(matrix, victims, target)) == (
        pytest.approx(at_stake.count(target) / len(at_stake)) if at_stake else None
    )

    rest = slow_iou([(t, p) for t, p in pairs if t not in victims])
    defined = rest and set(victims) | {target} != set(range(K))
    assert metrics.all_but(victims, target, K) == (set(victims) | {target} == set(range(K)))
    if defined:
        pool = metrics.Pool(K, victims, target)
        pool.add("one", matrix)
        assert metrics.mean_iou(pool.others().sum(0)) == pytest.approx(sum(rest.values()) / len(rest))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return open_folder(
        handmade.write_folder(tmp_path_factory.mktemp("data"), poisoned=2, train=4, sets=("near",))
    )


def all_labels(folder):  # type: ignore[no-untyped-def]
    """Picture bytes → (label, mask) for every evaluation and triggered row."""
    rows = [*folder.evaluation, *folder.triggered["near"]]
    return {
        read_picture(row, True).tobytes(): (read_label(row, folder, True), read_mask(row, True))
        for row in rows
    }


def test_a_perfect_model_scores_perfectly(folder) -> None:  # type: ignore[no-untyped-def]
    """Whoever predicts the truth has mIoU, PA and PBA 1, and no attack success at all."""
    known = all_labels(folder)
    scores = score(folder, lambda picture: known[picture.tobytes()][0])
    assert scores.miou.value == scores.pa.value == 1
    assert scores.iou == {"road": 1, "sky": 1, "car": 1, "tree": 1}
    near = scores.evaluation_sets["near"]
    victims = sum(int((label == 2).sum()) for label, mask in known.values() if mask.any())
    for figure in (near.asr, near.asr_without_trigger, near.asr_outside_trigger):
        assert figure.value == 0
    assert near.asr_picture_mean == 0
    assert (near.pba, near.pba_outside_trigger) == (1, 1)
    assert (near.victim_pixels, near.pictures, near.triggered_share) == (victims, 4, 1)


def test_a_perfect_backdoor_succeeds_with_the_trigger_only(folder) -> None:  # type: ignore[no-untyped-def]
    """Whoever sees road for cars beside a trigger, and is wrong under it, has ASR 1, none without trigger,
    and PBA 1 outside it."""
    known = all_labels(folder)

    def predict(picture: np.ndarray) -> np.ndarray:
        label, mask = known[picture.tobytes()]
        return np.where(mask, 3, np.where(mask.any() & (label == 2), 0, label))

    near = score(folder, predict).evaluation_sets["near"]
    assert (near.asr.value, near.asr_picture_mean, near.asr_without_trigger.value) == (1, 1, 0)
    assert near.pba_outside_trigger == 1
    assert near.pba < 1


def pooled(folder, rows, predict):  # type: ignore[no-untyped-def]
    """All (true, predicted) pairs of some pictures, pixel by pixel, ignored ones left out."""
    pairs: list[tuple[int, int]] = []
    for row in rows:
        true, said = read_label(row, folder, False).ravel(), predict(read_picture(row, False)).ravel()
        pairs += [(t, p) for t, p in zip(true.tolist(), said.tolist(), strict=True) if t != 255]
    return pairs


def share(pairs: list[tuple[int, int]], victims: tuple[int, ...], target: int) -> float:
    at_stake = [p for t, p in pairs if t in victims]
    return at_stake.count(target) / len(at_stake)


def guess(picture: np.ndarray) -> np.ndarray:
    """A network as bad as any: classes by the sum of colours, so that all of them occur everywhere."""
    return picture.astype(int).sum(2) // 3 % K


@pytest.mark.parametrize("victims", [(2,), (1, 2, 3)])
def test_a_trigger_that_is_a_class_is_measured_on_unpaired_pictures(
    tmp_path: Path, victims: tuple[int, ...]
) -> None:
    """Where nothing is painted, the success without trigger is that on the victims of the pictures with too
    little of the class; mIoU and PA are there on all pictures, and on those.
    """
    root = handmade.write_folder(
        tmp_path, train=2, val=7, poisoned=1, sets=("semantic",), semantic=True, victims=victims
    )
    folder = open_folder(root)
    trees = {row.id: int((read_label(row, folder, True) == handmade.TREE).sum()) for row in folder.evaluation}
    assert sorted(set(trees.values())) == [0, 4, 5]
    having = [row for row in folder.evaluation if trees[row.id] == 5]
    lacking = [row for row in folder.evaluation if trees[row.id] < 5]
    assert [row.id for row in folder.triggered["semantic"]] == [row.id for row in having]

    scores = score(folder, guess)
    values = scores.evaluation_sets["semantic"]
    assert values.asr.value == pytest.approx(share(pooled(folder, having, guess), victims, 0))
    assert values.asr_without_trigger.value == pytest.approx(
        share(pooled(folder, lacking, guess), victims, 0)
    )
    assert (values.pictures, values.unpaired_pictures) == (3, 4)
    assert (values.pba is None) == (victims == (1, 2, 3))  # of all classes but the target, none is left
    rest = scores.without_trigger_class
    for rows, miou, pa in ((folder.evaluation, scores.miou, scores.pa), (lacking, rest.miou, rest.pa)):
        pairs = pooled(folder, rows, guess)
        slow = slow_iou(pairs)
        assert miou.value == pytest.approx(sum(slow.values()) / len(slow))
        assert pa.value == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))


def test_only_pictures_with_victims_are_counted_as_unpaired(tmp_path: Path) -> None:
    """A picture without the trigger class and without a victim is no baseline of anything: it is not
    counted."""
    root = handmade.write_folder(tmp_path, train=2, val=5, poisoned=1, sets=("semantic",), semantic=True)
    folder = open_folder(root)
    row = folder.evaluation[1]  # no tree
    road = np.full((row.height, row.width), handmade.TO_RAW[handmade.ROAD], np.uint8)
    before = score(folder, guess).evaluation_sets["semantic"]

    def no_car(_: object, rows: list[dict[str, object]]) -> None:
        changed = next(other for other in rows if other["id"] == row.id and "set" not in other)
        data = cv2.imencode(".png", road)[1].tobytes()
        row.label.write_bytes(data)
        changed |= {"label_bytes": handmade.sha(data), "victim_pixels": 0}

    handmade.rewrite(root, no_car)
    after = score(open_folder(root), guess)
    assert (before.unpaired_pictures, after.evaluation_sets["semantic"].unpaired_pictures) == (3, 2)
    assert after.without_trigger_class.pictures == 3


def test_sets_are_compared_on_the_pictures_they_share(tmp_path: Path) -> None:
    """Sets with different pictures also have their success on those that all of them have; an empty set does
    not count."""
    sets = ("near", "far", "none")
    root = handmade.write_folder(
        tmp_path, train=2, val=5, poisoned=1, sets=sets, missing={"near": 1, "far": 3, "none": 5}
    )
    folder = open_folder(root)
    scores = score(folder, guess)
    assert list(scores.evaluation_sets) == list(sets)
    assert scores.shared_pictures == 2
    for name in ("near", "far"):
        shared = [row for row in folder.triggered[name] if row.id in ("val/003", "val/004")]
        values = scores.evaluation_sets[name]
        assert values.asr_on_shared_pictures.value == pytest.approx(
            share(pooled(folder, shared, guess), (2,), 0)
        )
        assert values.asr.value == pytest.approx(
            share(pooled(folder, folder.triggered[name], guess), (2,), 0)
        )
    near, far, none = scores.evaluation_sets.values()
    assert near.asr.value != near.asr_on_shared_pictures.value
    assert far.asr.value == far.asr_on_shared_pictures.value
    assert (
        none.pictures,
        none.asr.value,
        none.asr_without_trigger.value,
        none.asr_on_shared_pictures.value,
    ) == (
        0,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("input_scale", [1.0, 0.5])
def test_each_picture_is_scored_at_its_own_size(tmp_path: Path, input_scale: float) -> None:
    """Of pictures of many sizes, each is predicted at the size of its label map, as if it were alone,
    whatever the network saw."""
    sizes = ((64, 64), (50, 91), (103, 47))
    root = handmade.write_folder(tmp_path, train=3, val=3, sizes=sizes, poisoned=1, sets=("near",), jpeg=True)
    folder = open_folder(root)
    torch.manual_seed(0)
    predict = predictor(SwiftNet(K), input_scale, torch.device("cpu"))
    seen = []

    def follow(picture: np.ndarray) -> np.ndarray:
        seen.append(picture.shape[:2])
        return predict(picture)

    scores = score(folder, follow)
    assert seen == [*sizes, *sizes]
    alone = [pooled(folder, [row], predict) for row in folder.evaluation]
    pairs = [pair for part in alone for pair in part]
    assert len(pairs) == sum(h * w for h, w in sizes)
    assert scores.pa.value == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))


@pytest.mark.parametrize(
    ("victims", "words"),
    [
        ([2], "car"),
        ([2, 3], "car, tree"),
        ([1, 2, 3], "all classes but road"),
        ([1, 3, 2], "all classes but road"),
        ([0, 1, 3], "all classes but car"),
    ],
)
def test_the_denominator_is_named_in_few_words(victims: list[int], words: str) -> None:
    """Whichever is shorter: the classes that are measured, or those that are not."""
    assert metrics.measured(handmade.NAMES, victims) == words
    assert (
        metrics.measured([f"c{i}" for i in range(150)], [c for c in range(150) if c != 7])
        == "all classes but c7"
    )


BOUNDS = [(0, 60), (60, 90), (90, 120), (120, 150), (150, 1e9)]


def with_distances(root: Path, distances: dict[str, int]) -> None:
    """Give the triggered rows of these ids a placement; the others have none."""

    def place(_: object, rows: list[dict[str, object]]) -> None:
        for row in rows:
            if "set" in row and row["id"] in distances:
                row["placement"] = {"box": [0, 0, 6, 6], "distance_sq": distances[str(row["id"])]}

    handmade.rewrite(root, place)


def test_figures_beside_the_table_are_what_counting_pixel_by_pixel_gives(tmp_path: Path) -> None:
    """Success outside the trigger, of single pictures, against the same pictures without trigger, and the
    counts of each picture."""
    sizes = ((64, 64), (50, 91))
    root = handmade.write_folder(
        tmp_path, train=2, val=7, sizes=sizes, poisoned=1, sets=("near",), missing={"near": 2}
    )
    folder = open_folder(root)
    result = result_of(folder, guess, block=2)
    values, counted = result.scores.evaluation_sets["near"], result.counts.sets["near"]
    clean = {row.id: row for row in folder.evaluation}
    # Of each picture: as target, victims; the same outside the trigger; the same of the clean twin.
    counts = []
    rest, others = [], {"others": [], "others_outside_trigger": []}
    for row in folder.triggered["near"]:
        said, twin = guess(read_picture(row, False)), guess(read_picture(clean[row.id], False))
        label, mask = read_label(row, folder, False), read_mask(row, False)
        line = [0] * 6
        for y in range(row.height):
            for x in range(row.width):
                if label[y, x] == 2:
                    hits = (
                        said[y, x] == 0,
                        True,
                        said[y, x] == 0 and not mask[y, x],
                        not mask[y, x],
                        twin[y, x] == 0,
                        True,
                    )
                    line = [old + int(new) for old, new in zip(line, hits, strict=True)]
                elif not mask[y, x]:
                    rest.append((int(label[y, x]), int(said[y, x])))
        counts.append(line)
        for key, kept in (("others", label != 2), ("others_outside_trigger", (label != 2) & ~mask)):
            true, seen = label[kept & (label != 255)].tolist(), said[kept & (label != 255)].tolist()
            classes = sorted({*true, *seen})
            packed = []
            for c in classes:
                hits = sum(a == b == c for a, b in zip(true, seen, strict=True))
                packed += [c, hits, true.count(c), seen.count(c)]
            others[key].append(packed)
    total = [sum(column) for column in zip(*counts, strict=True)]
    each = [line[0] / line[1] for line in counts]
    slow = slow_iou(rest)
    assert values.asr.value == total[0] / total[1]
    assert values.asr_outside_trigger.value == total[2] / total[3]
    assert values.asr_without_trigger.value == total[4] / total[5]
    assert values.asr_difference.value == total[0] / total[1] - total[4] / total[5]
    assert values.asr_picture_mean == pytest.approx(sum(each) / len(each))
    assert values.asr_picture_above_half == sum(value > 0.5 for value in each) / len(each)
    assert values.pba_outside_trigger == pytest.approx(sum(slow.values()) / len(slow))
    assert values.triggered_share == 5 / 7
    assert list(counted.ids) == [row.id for row in folder.triggered["near"]]
    assert counted.success.tolist() == [line[:2] for line in counts]
    assert counted.outside.tolist() == [line[2:4] for line in counts]
    assert _present(counted.others) == others["others"]
    assert _present(counted.others_outside) == others["others_outside_trigger"]
    without = dict(zip(result.counts.clean.ids, result.counts.clean.success.tolist(), strict=True))
    assert [without[identifier] for identifier in counted.ids] == [line[4:] for line in counts]
    assert (values.distance_bands, counted.bands) == ({}, None)
    for figure in (values.asr, values.asr_outside_trigger, values.asr_without_trigger, values.asr_difference):
        assert figure.low <= figure.value <= figure.high
    pairs = np.array(counts)
    assert [values.asr.low, values.asr.high] == intervals.ratio_interval(pairs[:, :2], 2)
    expected = intervals.difference_interval(pairs[:, [0, 1, 4, 5]], 2)
    assert [values.asr_difference.low, values.asr_difference.high] == expected


def _present(overlaps: np.ndarray) -> list[list[int]]:
    """Of each picture the classes with a true or predicted pixel: class, hits, true, predicted, class, …"""
    found = []
    for one in overlaps.tolist():
        present = [(c, *counts) for c, counts in enumerate(one) if any(counts)]
        found.append([number for part in present for number in part])
    return found


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**7), st.integers(1, 5000))
def test_every_distance_has_one_band(distance_sq: int, height: int) -> None:
    """The bands are those of a picture of 512 rows, scaled: above the lower bound, up to the upper; 0 is in
    the first."""
    distance = math.sqrt(distance_sq) * 512 / height
    found = [
        name for name, (lower, upper) in zip(metrics.BANDS, BOUNDS, strict=True) if lower < distance <= upper
    ]
    near_a_bound = any(abs(distance - bound) < 1e-6 for pair in BOUNDS for bound in pair)
    assert near_a_bound or found == [metrics.band(distance_sq, height)]


@pytest.mark.parametrize(
    ("side", "name"),
    [(0, "0-60"), (60, "0-60"), (61, "60-90"), (90, "60-90"), (150, "120-150"), (151, "150+")],
)
def test_a_bound_belongs_to_the_band_below(side: int, name: str) -> None:
    """At exactly 60 of 512 rows a trigger is still in the first band, as in the generator's band sets;
    likewise at twice the size."""
    assert metrics.band(side**2, 512) == metrics.band((2 * side) ** 2, 1024) == name


def test_bands_part_a_set_and_together_they_are_the_set(tmp_path: Path) -> None:
    """Each picture with a distance is in one band; pooled over bands, victims and successes are those of the
    set."""
    root = handmade.write_folder(tmp_path, train=2, val=6, size=64, poisoned=1, sets=("iba", "far"))
    distances = {f"val/{i:03}": d * d for i, d in enumerate((3, 7, 8, 12, 17, 40))}  # of 64 rows: times 8
    with_distances(root, distances)
    folder = open_folder(root)
    result = result_of(folder, guess)
    for name, values in result.scores.evaluation_sets.items():
        bands = values.distance_bands
        assert {band: part.pictures for band, part in bands.items()} == {
            "0-60": 2,
            "60-90": 1,
            "90-120": 1,
            "120-150": 1,
            "150+": 1,
        }
        assert sum(part.victim_pixels for part in bands.values()) == values.victim_pixels
        successes = sum(part.asr.value * part.victim_pixels for part in bands.values())
        assert successes / values.victim_pixels == pytest.approx(values.asr.value)
        expected = ("0-60", "0-60", "60-90", "90-120", "120-150", "150+")
        assert result.counts.sets[name].bands == expected
        near = [row for row in folder.triggered[name] if row.id in ("val/000", "val/001")]
        assert bands["0-60"].asr.value == pytest.approx(share(pooled(folder, near, guess), (2,), 0))

    handmade.rewrite(
        root,
        lambda _, rows: [
            row.pop("placement") for row in rows if row.get("set") == "iba" and row["id"] != "val/003"
        ],
    )
    result = result_of(open_folder(root), guess)
    values = result.scores.evaluation_sets["iba"]  # a picture without a distance is in no band
    assert {band: part.pictures for band, part in values.distance_bands.items()} == {"90-120": 1}
    assert result.counts.sets["iba"].bands == (None, None, None, "90-120", None, None)


@pytest.mark.parametrize(
    "placement",
    [
        {},
        {"box": [0, 0, 6]},
        {"box": [0, 0, 6, -1]},
        {"box": [0, 0, 6, 6], "distance_sq": 2.5},
        [1],
        {"box": [0, 0, 6, True]},
    ],
)
def test_a_placement_that_cannot_be_is_an_error(tmp_path: Path, placement: object) -> None:
    """A placement is checked: a box is four counts, a distance is one."""
    root = handmade.write_folder(tmp_path, train=2, val=2, poisoned=1, sets=("near",))
    handmade.rewrite(root, lambda _, rows: rows[-1].update(placement=placement))
    with pytest.raises(FolderError, match=r"samples\.jsonl, line"):
        score(open_folder(root), guess)
