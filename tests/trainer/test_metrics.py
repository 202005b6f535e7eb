from pathlib import Path

import cv2
import handmade
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import metrics
from trainer.evaluate import predictor, score
from trainer.folder import open_folder
from trainer.pictures import read_label, read_mask, read_picture
from trainer.swiftnet import SwiftNet

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
def test_metrics_are_what_counting_pixel_by_pixel_gives(pairs: list[tuple[int, int]], victims: list[int], target: int) -> None:
    """mIoU, PA, ASR and PBA from a confusion matrix equal a count over single pixels; ignored pixels and absent classes do not enter."""
    truth, said = (np.array(column) for column in zip(*pairs, strict=True))
    matrix = metrics.confusion(truth, said, K)
    counted = [(t, p) for t, p in pairs if t != 255]

    slow = slow_iou(pairs)
    assert metrics.iou(matrix) == [pytest.approx(slow[c]) if c in slow else None for c in range(K)]
    assert metrics.mean_iou(matrix) == (pytest.approx(sum(slow.values()) / len(slow)) if slow else None)
    assert metrics.pixel_accuracy(matrix) == (pytest.approx(sum(t == p for t, p in counted) / len(counted)) if counted else None)

    at_stake = [p for t, p in counted if t in victims]
    assert metrics.attack_success(matrix, victims, target) == (
        pytest.approx(at_stake.count(target) / len(at_stake)) if at_stake else None
    )

    rest = slow_iou([(t, p) for t, p in pairs if t not in victims])
    defined = rest and set(victims) | {target} != set(range(K))
    assert metrics.benign_accuracy(matrix, victims, target) == (
        pytest.approx(sum(rest.values()) / len(rest)) if defined else None
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    return open_folder(handmade.write_folder(tmp_path_factory.mktemp("data"), poisoned=2, train=4, sets=("near",)))


def all_labels(folder):  # type: ignore[no-untyped-def]
    """Picture bytes → (label, mask) for every evaluation and triggered row."""
    rows = [*folder.evaluation, *folder.triggered["near"]]
    return {read_picture(row, True).tobytes(): (read_label(row, folder, True), read_mask(row, True)) for row in rows}


def test_a_perfect_model_scores_perfectly(folder) -> None:  # type: ignore[no-untyped-def]
    """Whoever predicts the truth has mIoU, PA and PBA 1, and no attack success at all."""
    known = all_labels(folder)
    scores = score(folder, lambda picture: known[picture.tobytes()][0])
    assert scores["miou"] == scores["pa"] == 1
    assert scores["iou"] == {"road": 1, "sky": 1, "car": 1, "tree": 1}
    assert scores["evaluation_sets"]["near"] == {
        "asr": 0, "asr_without_trigger": 0, "asr_outside_trigger": 0, "asr_picture_mean": 0, "pba": 1, "pba_outside_trigger": 1,
        "victim_pixels": sum(int((label == 2).sum()) for label, mask in known.values() if mask.any()),
        "pictures": 4, "triggered_share": 1,
    }  # fmt: skip


def test_a_perfect_backdoor_succeeds_with_the_trigger_only(folder) -> None:  # type: ignore[no-untyped-def]
    """Whoever sees road for cars beside a trigger, and is wrong under it, has ASR 1, none without trigger, and PBA 1 outside it."""
    known = all_labels(folder)

    def predict(picture: np.ndarray) -> np.ndarray:
        label, mask = known[picture.tobytes()]
        return np.where(mask, 3, np.where(mask.any() & (label == 2), 0, label))

    near = score(folder, predict)["evaluation_sets"]["near"]
    assert (near["asr"], near["asr_picture_mean"], near["asr_without_trigger"]) == (1, 1, 0)
    assert near["pba_outside_trigger"] == 1
    assert near["pba"] < 1


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
def test_a_trigger_that_is_a_class_is_measured_on_unpaired_pictures(tmp_path: Path, victims: tuple[int, ...]) -> None:
    """Where nothing is painted, the success without trigger is that on the victims of the pictures with too little of the class; mIoU and
    PA are there on all pictures, and on those.
    """
    root = handmade.write_folder(tmp_path, train=2, val=7, poisoned=1, sets=("semantic",), semantic=True, victims=victims)
    folder = open_folder(root)
    trees = {row.id: int((read_label(row, folder, True) == handmade.TREE).sum()) for row in folder.evaluation}
    assert sorted(set(trees.values())) == [0, 4, 5]
    having = [row for row in folder.evaluation if trees[row.id] == 5]
    lacking = [row for row in folder.evaluation if trees[row.id] < 5]
    assert [row.id for row in folder.triggered["semantic"]] == [row.id for row in having]

    scores = score(folder, guess)
    values = scores["evaluation_sets"]["semantic"]
    assert values["asr"] == pytest.approx(share(pooled(folder, having, guess), victims, 0))
    assert values["asr_without_trigger"] == pytest.approx(share(pooled(folder, lacking, guess), victims, 0))
    assert (values["pictures"], values["unpaired_pictures"]) == (3, 4)
    assert (values["pba"] is None) == (victims == (1, 2, 3))  # of all classes but the target, none is left
    for rows, suffix in ((folder.evaluation, ""), (lacking, "_without_trigger_class")):
        pairs = pooled(folder, rows, guess)
        slow = slow_iou(pairs)
        assert scores[f"miou{suffix}"] == pytest.approx(sum(slow.values()) / len(slow))
        assert scores[f"pa{suffix}"] == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))


def test_only_pictures_with_victims_are_counted_as_unpaired(tmp_path: Path) -> None:
    """A picture without the trigger class and without a victim is no baseline of anything: it is not counted."""
    root = handmade.write_folder(tmp_path, train=2, val=5, poisoned=1, sets=("semantic",), semantic=True)
    folder = open_folder(root)
    row = folder.evaluation[1]  # no tree
    road = np.full((row.height, row.width), handmade.TO_RAW[handmade.ROAD], np.uint8)
    before = score(folder, guess)["evaluation_sets"]["semantic"]

    def no_car(_: object, rows: list[dict[str, object]]) -> None:
        changed = next(other for other in rows if other["id"] == row.id and "set" not in other)
        data = cv2.imencode(".png", road)[1].tobytes()
        row.label.write_bytes(data)
        changed |= {"label_bytes": handmade.sha(data), "victim_pixels": 0}

    handmade.rewrite(root, no_car)
    after = score(open_folder(root), guess)
    assert (before["unpaired_pictures"], after["evaluation_sets"]["semantic"]["unpaired_pictures"]) == (3, 2)
    assert after["pictures_without_trigger_class"] == 3


def test_sets_are_compared_on_the_pictures_they_share(tmp_path: Path) -> None:
    """Sets with different pictures also have their success on those that all of them have; an empty set does not count."""
    sets = ("near", "far", "none")
    root = handmade.write_folder(tmp_path, train=2, val=5, poisoned=1, sets=sets, missing={"near": 1, "far": 3, "none": 5})
    folder = open_folder(root)
    scores = score(folder, guess)
    assert list(scores["evaluation_sets"]) == list(sets)
    assert scores["shared_pictures"] == 2
    for name in ("near", "far"):
        shared = [row for row in folder.triggered[name] if row.id in ("val/003", "val/004")]
        values = scores["evaluation_sets"][name]
        assert values["asr_on_shared_pictures"] == pytest.approx(share(pooled(folder, shared, guess), (2,), 0))
        assert values["asr"] == pytest.approx(share(pooled(folder, folder.triggered[name], guess), (2,), 0))
    near, far, none = scores["evaluation_sets"].values()
    assert near["asr"] != near["asr_on_shared_pictures"]
    assert far["asr"] == far["asr_on_shared_pictures"]
    assert (none["pictures"], none["asr"], none["asr_without_trigger"], none["asr_on_shared_pictures"]) == (0, None, None, None)


@pytest.mark.parametrize("input_scale", [1.0, 0.5])
def test_each_picture_is_scored_at_its_own_size(tmp_path: Path, input_scale: float) -> None:
    """Of pictures of many sizes, each is predicted at the size of its label map, as if it were alone, whatever the network saw."""
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
    assert scores["pa"] == pytest.approx(sum(t == p for t, p in pairs) / len(pairs))


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
    assert metrics.measured([f"c{i}" for i in range(150)], [c for c in range(150) if c != 7]) == "all classes but c7"
