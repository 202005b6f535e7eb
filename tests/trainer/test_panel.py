import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support import handmade
from trainer.dataset.folder import open_folder
from trainer.dataset.pictures import read_label
from trainer.scoring.panel import before_after, most_pixels, panel, shown, success


def guess(picture: np.ndarray) -> np.ndarray:
    return picture.astype(int).sum(2) // 3 % 4


def width(file: Path) -> int:
    return cv2.imread(str(file)).shape[1]


@pytest.mark.long
def test_nothing_painted_is_nothing_to_compare(tmp_path: Path) -> None:
    """Where the trigger is a class, the columns of the untriggered picture are not there; a clean model's
    column is, for any trigger."""
    widths = {}
    for semantic in (False, True):
        root = handmade.write_folder(
            tmp_path / str(semantic), train=2, val=4, poisoned=1, sets=("set",), semantic=semantic
        )
        for clean in (None, guess):
            panel(open_folder(root), guess, tmp_path / "panel.png", "title", clean)
            widths[semantic, clean is not None] = width(tmp_path / "panel.png")
    column = widths[False, True] - widths[False, False]
    assert widths[True, True] - widths[True, False] == column > 0
    assert widths[False, False] - widths[True, False] == 2 * column


@pytest.mark.parametrize("missing", [{"nni": 2}, {"nni": 2, "iba": 2}])
def test_a_set_without_pictures_is_not_drawn(tmp_path: Path, missing: dict[str, int]) -> None:
    """The next set that has pictures is shown, or the clean split, if none has."""
    folder = open_folder(
        handmade.write_folder(tmp_path, train=2, val=2, poisoned=1, sets=("nni", "iba"), missing=missing)
    )
    panel(folder, guess, tmp_path / "panel.png", "title")
    panel(
        open_folder(handmade.write_folder(tmp_path / "clean", train=2, val=2)),
        guess,
        tmp_path / "clean.png",
        "title",
    )
    assert (width(tmp_path / "panel.png") == width(tmp_path / "clean.png")) == (len(missing) == 2)


def test_a_margin_of_training_is_that_of_the_set_that_is_drawn(tmp_path: Path) -> None:
    """Trained with the margin of the sets with one, a model is shown where the trigger keeps it, too."""
    manifest = (
        handmade.write_folder(tmp_path, train=2, val=2, poisoned=1, sets=("nni", "nni-margin"))
        / "manifest.json"
    )
    recipes = [({"placement": {"edge_margin": margin}}, margin == "39%") for margin in ("0px", "39%", "20%")]
    for poison, kept in (
        *recipes,
        ("10 %", False),
        ({"placement": "random"}, False),
        ({"placement": {"edge_margin": 3}}, False),
    ):
        manifest.write_text(
            json.dumps(json.loads(manifest.read_text()) | {"recipe": {"attack": "nni", "poison": poison}})
        )
        expected = "nni-margin" if kept else "nni"
        assert {row.set for row in shown(open_folder(tmp_path), 4)} == {expected}


def test_a_legend_names_the_classes_that_are_seen_most(tmp_path: Path) -> None:
    """Of 150 classes those with the most true pixels, in the order of their ids."""
    folder = open_folder(handmade.write_folder(tmp_path, train=2, val=3))
    labels = np.concatenate([read_label(row, folder, False).ravel() for row in folder.evaluation])
    counts = {c: int((labels == c).sum()) for c in range(4)}
    for count in (1, 2, 3, 4, 9):
        assert most_pixels(folder, folder.evaluation, count) == sorted(
            sorted(counts, key=lambda c: -counts[c])[:count]
        )


def test_a_note_names_the_classes_that_count(tmp_path: Path) -> None:
    """Below a prediction stands how much of which classes became the target."""
    folder = open_folder(handmade.write_folder(tmp_path, train=2, val=1, poisoned=1, victims=(1, 2, 3)))
    label = np.array([[0, 1, 2, 3, 1, 255]])
    assert success(folder, label, np.array([[0, 0, 1, 3, 0, 0]])) == "50 % of all classes but road → road"


@pytest.mark.long
def test_before_and_after_stand_side_by_side(tmp_path: Path) -> None:
    """Picture, truth, clean model, attacked model without and with the trigger: five columns, one less
    without a clean model, and where nothing is painted one prediction of the attacked model is enough.
    """
    columns = {}
    for semantic in (False, True):
        root = handmade.write_folder(
            tmp_path / str(semantic), train=2, val=4, poisoned=1, sets=("set",), semantic=semantic
        )
        for clean in (None, guess):
            before_after(open_folder(root), guess, tmp_path / "panel.png", "title", clean)
            columns[semantic, clean is not None] = width(tmp_path / "panel.png")
    column = columns[False, True] - columns[False, False]
    assert column > 0
    assert (
        columns[False, False] - columns[True, False] == columns[False, True] - columns[True, True] == column
    )
    assert columns[True, True] == columns[False, False]
    panel(open_folder(tmp_path / "False"), guess, tmp_path / "panel.png", "title")
    assert width(tmp_path / "panel.png") - columns[False, False] == 2 * column
