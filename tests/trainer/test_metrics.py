import handmade
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import metrics
from trainer.data import open_folder, read_label, read_mask, read_picture
from trainer.evaluate import score

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
