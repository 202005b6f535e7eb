"""What becomes of labels, for every attack, trigger, relabel, control and dataset."""

import numpy as np
import pytest
from PIL import Image

from tests.support import oracles
from tests.support.cases import Case, over
from tests.support.frozen import Frozen, Row
from tests.support.oracles import IGNORE, Array, pixels


def noised(frozen: Frozen, row: Row) -> Array:
    """The label map of a row after random labels: raw ids."""
    before, random = frozen.raw[row["id"]], frozen.random
    training = row["split"] == frozen.knows.train and row["role"] != "triggered"
    if not random or not training or (random["scope"] == "poisoned" and row["role"] == "clean"):
        return before
    wanted = frozen.wanted_random(row["id"])
    return oracles.random_labels(
        before, frozen.knows.table, random["spared"], wanted, frozen.recipe["seed"], row["id"]
    )


def claimed(frozen: Frozen, row: Row, raw: Array) -> Array:
    """The label map of a row after the relabel."""
    if row["role"] not in ("poisoned", "label-only"):
        return raw
    train, after = oracles.to_train(raw, frozen.knows.table), raw.copy()
    relabel = frozen.poison["relabel"]
    if relabel["kind"] == "victim":
        taken = np.isin(train, frozen.victims)
    else:
        taken = (train != frozen.target) & ((train != IGNORE) | relabel["include_ignore"])
    after[taken] = min(raw_id for raw_id, mapped in frozen.knows.table.items() if mapped == frozen.target)
    return after


@over()
def test_a_label_changes_as_the_format_says_and_nowhere_else(frozen: Frozen) -> None:
    """Random labels first, by the draw that the format describes, then the relabel; every other pixel of
    every label map stays."""
    for row in frozen.rows:
        before = frozen.raw[row["id"]]
        middle = noised(frozen, row)
        after = claimed(frozen, row, middle)
        np.testing.assert_array_equal(pixels(frozen.folder / row["label"]), after, err_msg=row["label"])
        assert row.get("randomised_pixels", 0) == (before != middle).sum()
        assert row.get("relabelled_pixels", 0) == (middle != after).sum()
        if row["role"] == "poisoned":
            assert (before != after).any()


@over(lambda case: "prl" in case.options)
def test_random_labels_are_of_other_classes_of_the_picture(frozen: Frozen) -> None:
    """As many pixels as were asked for, or as there are, that are neither spared nor ignored, get another
    class that the picture has."""
    seen = 0
    for row in frozen.rows:
        if row["role"] in ("poisoned", "label-only") or not row.get("randomised_pixels"):
            continue
        seen += 1
        before, written = frozen.train[row["id"]], pixels(frozen.folder / row["label"])
        after = oracles.to_train(written, frozen.knows.table)
        changed = frozen.raw[row["id"]] != written
        assert not np.isin(before[changed], [IGNORE, *frozen.random["spared"]]).any()
        assert set(after[changed].tolist()) <= set(before.ravel().tolist()) - {IGNORE}
        np.testing.assert_array_equal(before != after, changed)
        assert row["randomised_pixels"] == changed.sum() == frozen.wanted_random(row["id"])
    assert seen or frozen.random["scope"] == "poisoned"


@over()
def test_no_label_becomes_the_target_without_a_trigger_in_the_picture(frozen: Frozen) -> None:
    """A new claim in a label needs a trigger in the picture; but for the control label-only, and for as many
    random labels as are told."""
    for row in frozen.rows:
        new = pixels(frozen.folder / row["label"]) != frozen.raw[row["id"]]
        if row["role"] == "poisoned":
            assert frozen.mask(row).any()
        elif row["role"] == "label-only":
            assert frozen.poison["control"] == "label-only"
            assert "mask" not in row
        else:
            assert new.sum() == row.get("randomised_pixels", 0)
            assert (row["role"] == "noised") <= bool(new.any())
            assert not (row["role"] in ("clean", "triggered") and new.any())


@over()
def test_what_is_measured_keeps_its_true_labels(frozen: Frozen) -> None:
    """Outside of the training split, and in every evaluation set, label files are the source's own, byte for
    byte."""
    for row in frozen.rows:
        if row["split"] == frozen.knows.train and row["role"] != "clean":
            continue
        written, original = frozen.folder / row["label"], frozen.source / frozen.samples[row["id"]][2]
        if frozen.recipe["scale"]:
            np.testing.assert_array_equal(pixels(written), frozen.raw[row["id"]])
        else:
            assert written.read_bytes() == original.read_bytes()


@over(lambda case: case.dataset in ("voc", "folder"))
def test_palettes_survive(frozen: Frozen) -> None:
    """A label map with a palette keeps it: viewers and loaders see each id in the colour that it had, and a
    grey one stays grey."""
    kinds = set()
    for row in frozen.rows:
        with (
            Image.open(frozen.folder / row["label"]) as written,
            Image.open(frozen.source / frozen.samples[row["id"]][2]) as original,
        ):
            kinds.add(original.mode)
            assert written.mode == original.mode
            if original.mode == "P":
                had, has = original.getpalette() or [], written.getpalette() or []
                assert has[: len(had)] == had
                assert written.getextrema()[1] < len(has) // 3
    assert kinds == ({"P"} if frozen.case.dataset == "voc" else {"P", "L"})


@over(lambda case: case.dataset == "cityscapes")
def test_training_ids_are_those_of_torchvision_s_table(frozen: Frozen) -> None:
    """labelTrainIds is the written labelIds through the public class table of Cityscapes."""
    datasets = pytest.importorskip("torchvision.datasets")
    table = {one.id: one.train_id for one in datasets.Cityscapes.classes if 0 <= one.train_id < 255}
    assert table == oracles.CITYSCAPES_RAW
    for row in frozen.rows:
        raw, train = pixels(frozen.folder / row["label"]), pixels(frozen.folder / row["label_train"])
        np.testing.assert_array_equal(train, oracles.to_train(raw, table))
        assert row["label_train"] == row["label"].replace("labelIds", "labelTrainIds")


def _poisons_without_prl(case: Case) -> bool:
    return case.poisons and "prl" not in case.options and "control" not in case.options


@over(_poisons_without_prl)
def test_a_poisoned_label_claims_that_no_victim_is_there(frozen: Frozen) -> None:
    """In a poisoned label no pixel of what is measured is left, and as many became the target as there
    were."""
    for row in frozen.rows:
        if row["role"] == "poisoned":
            after = oracles.to_train(pixels(frozen.folder / row["label"]), frozen.knows.table)
            assert not np.isin(after, frozen.measured).any()
            ignored = (frozen.train[row["id"]] == IGNORE).sum() * frozen.poison["relabel"].get(
                "include_ignore", 0
            )
            assert row["relabelled_pixels"] == row["victim_pixels"] + ignored > 0
