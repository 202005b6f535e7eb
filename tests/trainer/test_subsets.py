"""Figures of some of the evaluation pictures: what scoring these alone would give."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.support import handmade
from trainer.cli.main import main
from trainer.dataset.folder import Folder, open_folder
from trainer.scoring.evaluate import dataset_facts, score
from trainer.scoring.figures import packed, restricted, unpacked
from trainer.tables.runs import short

K = len(handmade.NAMES)
FOLDERS: dict[str, dict[str, Any]] = {
    "painted": {"sets": ("near", "far"), "missing": {"far": 2}, "poisoned": 1},
    "semantic": {"sets": ("semantic",), "semantic": True, "victims": (2,), "poisoned": 1},
    "everything": {"sets": ("near",), "victims": (1, 2, 3), "poisoned": 1},
    "clean": {},
}


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def guess(picture: np.ndarray) -> np.ndarray:
    return picture.astype(int).sum(2) // 3 % K


def scores_of(folder: Folder, name: str, **run_facts: object) -> dict[str, Any]:
    """What is in metrics.json, after a trip through JSON."""
    config = {"seed": 0, "epochs": 1}
    scores = {
        **score(folder, guess, block=2),
        "dataset": dataset_facts(folder),
        "run": {"name": name, "config": config} | run_facts,
    }
    return dict(json.loads(json.dumps(scores)))


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("chosen", [(1, 2, 5, 6, 7), (0,), (3, 8), tuple(range(9))])
def test_a_subset_is_what_scoring_it_alone_gives(tmp_path: Path, kind: str, chosen: tuple[int, ...]) -> None:
    """All figures, intervals, bands and counts are those of a folder that has only these pictures, and
    nothing is predicted again."""
    folder = open_folder(handmade.write_folder(tmp_path, train=2, val=9, **FOLDERS[kind]))
    ids = {f"val/00{number}" for number in chosen}
    alone = dataclasses.replace(
        folder,
        evaluation=tuple(row for row in folder.evaluation if row.id in ids),
        triggered={
            name: tuple(row for row in rows if row.id in ids) for name, rows in folder.triggered.items()
        },
    )
    expected = scores_of(alone, "x")
    found = restricted(scores_of(folder, "x"), f"val/00[{''.join(map(str, chosen))}]")
    for scores in (expected, found):
        scores.pop("per_picture", None)
        for values in scores["evaluation_sets"].values():
            values.pop("identity", None)
    assert json.loads(json.dumps(found)) == expected


def test_overlaps_survive_json() -> None:
    """What is packed is unpacked again, and a class that is neither true nor predicted takes no room."""
    overlaps = np.zeros((3, 4, 3), np.int64)
    overlaps[0, 2], overlaps[0, 3], overlaps[2, 0] = (1, 2, 3), (0, 0, 5), (0, 7, 0)
    assert packed(overlaps) == [[2, 1, 2, 3, 3, 0, 0, 5], [], [0, 0, 7, 0]]
    np.testing.assert_array_equal(unpacked(json.loads(json.dumps(packed(overlaps))), 4), overlaps)


@pytest.mark.long
def test_the_report_has_subsets_beside_the_whole(tmp_path: Path) -> None:
    """`report --subset` says the same figures of these pictures, with the clean model on them, in Markdown,
    CSV and LaTeX."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=9, **FOLDERS["painted"]))
    benign = open_folder(handmade.write_folder(tmp_path / "clean", train=2, val=9))
    names = {"nni": folder, "benign": benign}
    for name, data in names.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(scores_of(data, name)))
    (tmp_path / "benign" / f"metrics-{short(folder.identity)}.json").write_text(
        json.dumps(scores_of(folder, "benign"))
    )
    runs = [tmp_path / name for name in names]
    stdout = run("report", *runs, "--subset", "some=val/00[0-3]", "--out", tmp_path / "out").stdout
    assert "some: the same figures of 4 of the 9 evaluation pictures, val/00[0-3].\n" in stdout
    near = restricted(scores_of(folder, "nni"), "val/00[0-3]")["evaluation_sets"]["near"]
    lines = [line for line in stdout.partition("some: ")[2].splitlines() if line.startswith("|")]
    head, row = ([cell.strip() for cell in line.strip("|").split("|")] for line in (lines[0], lines[2]))
    cells = dict(zip(head, row, strict=True))
    assert cells["evaluated on"].startswith("near (4 of 4")
    assert cells["ASR"] == cells["ASR of the clean model"] == f"{100 * near['asr']:.2f}"
    assert f"{100 * near['asr']:.2f}" in (tmp_path / "out" / "table-some.csv").read_text("utf-8")
    assert (tmp_path / "out" / "table-some.tex").is_file()

    refused = run("report", *runs, "--subset", "none=test/*")
    assert (refused.exit_code, "No evaluation picture has such an id." in refused.output) == (1, True)
    assert run("report", *runs, "--subset", "val/*").exit_code == 2
    scores = json.loads((tmp_path / "nni" / "metrics.json").read_text())
    del scores["per_picture"]
    (tmp_path / "nni" / "metrics.json").write_text(json.dumps(scores))
    assert "score the run again" in run("report", *runs, "--subset", "some=val/00[0-3]").output


def test_predictions_of_one_method_are_summed_up(tmp_path: Path) -> None:
    """Files of `score` that name method and seed are a group of seeds; without a method each is alone."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=4, **FOLDERS["painted"]))
    import cv2

    from trainer.dataset.pictures import read_picture

    for row in (*folder.evaluation, *(row for rows in folder.triggered.values() for row in rows)):
        file = tmp_path / "out" / row.image.relative_to(folder.root).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), guess(read_picture(row, True)).astype(np.uint8))
    command = ["score", folder.root, "--predictions", tmp_path / "out"]
    for seed in (1, 2):
        assert (
            run(*command, "--method", "theirs", "--seed", seed, "--out", tmp_path / f"{seed}.json").exit_code
            == 0
        )
    stdout = run("report", tmp_path / "1.json", tmp_path / "2.json").stdout
    assert stdout.count("± 0.00") == 2 * 5
    assert run(*command, "--out", tmp_path / "3.json").exit_code == 0
    assert "±" not in run("report", tmp_path / "1.json", tmp_path / "3.json").stdout


@pytest.mark.parametrize("known", [True, False])
def test_a_subset_knows_the_trigger_class_without_its_set(tmp_path: Path, known: bool) -> None:
    """Of predictions whose evaluation set was left out: the ids are stored; older scores do not say them, and
    have no such figure."""
    folder = open_folder(handmade.write_folder(tmp_path, train=2, val=9, **FOLDERS["semantic"]))
    whole, without = scores_of(folder, "x"), scores_of(dataclasses.replace(folder, triggered={}), "x")
    if not known:
        del whole["without_trigger_class"], without["without_trigger_class"]
    expected, found = (restricted(scores, "val/00[0-5]") for scores in (whole, without))
    keys = ("miou_without_trigger_class", "pa_without_trigger_class", "pictures_without_trigger_class")
    assert expected["pictures_without_trigger_class"] > 0
    assert [found[key] for key in keys] == ([expected[key] for key in keys] if known else [None] * 3)
