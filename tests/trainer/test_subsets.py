"""Figures of some of the evaluation pictures: what scoring these alone would give."""

import dataclasses
import gzip
from collections.abc import Collection
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support import handmade
from tests.support.scores import run, tables
from tests.support.scoring import result_of
from trainer.dataset.facts import dataset_facts
from trainer.dataset.folder import Folder, open_folder
from trainer.dataset.pictures import read_picture
from trainer.scoring.evaluate import Result, write_result
from trainer.scoring.figures import restricted
from trainer.scoring.picture_counts import table_beside, table_text
from trainer.scoring.scores import Scores, TrainedRun

K = len(handmade.NAMES)
FOLDERS: dict[str, dict[str, Any]] = {
    "painted": {"sets": ("near", "far"), "missing": {"far": 2}, "poisoned": 1},
    "semantic": {"sets": ("semantic",), "semantic": True, "victims": (2,), "poisoned": 1},
    "everything": {"sets": ("near",), "victims": (1, 2, 3), "poisoned": 1},
    "clean": {},
}


def guess(picture: np.ndarray) -> np.ndarray:
    """A network as bad as any: classes by the sum of colours."""
    return picture.astype(int).sum(2) // 3 % K


def scored_as(folder: Folder, name: str, trained_on: Folder) -> Result:
    """What scoring a run gives."""
    result = result_of(folder, guess, block=2)
    trained = TrainedRun(name, trained_on=dataset_facts(trained_on), settings={"epochs": "1"}, seed=0)
    return Result(dataclasses.replace(result.scores, run=trained), result.counts)


def only(folder: Folder, ids: Collection[str]) -> Folder:
    """The same folder as if the evaluation pictures were these alone."""
    triggered = {}
    for name, rows in folder.triggered.items():
        triggered[name] = tuple(row for row in rows if row.id in ids)
    evaluation = tuple(row for row in folder.evaluation if row.id in ids)
    return dataclasses.replace(folder, evaluation=evaluation, triggered=triggered)


def without_identities(scores: Scores) -> Scores:
    """Scores without what differs for sets of fewer pictures, but no figure."""
    sets = {}
    for name, values in scores.evaluation_sets.items():
        sets[name] = dataclasses.replace(values, identity="")
    dataset = dataclasses.replace(scores.dataset, own_set=None)
    return dataclasses.replace(scores, evaluation_sets=sets, picture_counts="", dataset=dataset)


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("chosen", [(1, 2, 5, 6, 7), (0,), (3, 8), tuple(range(9))])
def test_a_subset_is_what_scoring_it_alone_gives(tmp_path: Path, kind: str, chosen: tuple[int, ...]) -> None:
    """All figures, intervals, bands and counts are those of a folder that has only these pictures, and
    nothing is predicted again."""
    folder = open_folder(handmade.write_folder(tmp_path, train=2, val=9, **FOLDERS[kind]))
    alone = result_of(only(folder, {f"val/00{number}" for number in chosen}), guess, block=2)
    whole = result_of(folder, guess, block=2)
    pattern = f"val/00[{''.join(map(str, chosen))}]"
    scores, counts = restricted(whole.scores, whole.counts, pattern)
    assert without_identities(scores) == without_identities(alone.scores)
    assert table_text(counts) == table_text(alone.counts)


@pytest.mark.long
def test_the_report_has_subsets_beside_the_whole(tmp_path: Path) -> None:
    """`report --subset` says the same figures of these pictures, with the clean model on them, in Markdown,
    CSV and LaTeX."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=9, **FOLDERS["painted"]))
    benign = open_folder(handmade.write_folder(tmp_path / "clean", train=2, val=9))
    runs = [tmp_path / "nni", tmp_path / "benign"]
    attacked = scored_as(folder, "nni", folder)
    for one, result in zip(runs, (attacked, scored_as(benign, "benign", benign)), strict=True):
        one.mkdir()
        write_result(one / "metrics.json", result)
    there = scored_as(folder, "benign", benign)
    write_result(runs[1] / f"metrics-{there.scores.dataset.short_identity}.json", there)

    subset = ("--subset", "some=val/00[0-3]")
    result = run("report", *runs, *subset, "--details", "--intervals", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "some: the same figures of 4 of the 9 evaluation pictures, val/00[0-3].\n" in result.stdout
    part, _ = restricted(attacked.scores, attacked.counts, "val/00[0-3]")
    near = part.evaluation_sets["near"]
    row = tables(result.stdout.partition("some: ")[2])[0][0]
    expected = f"{100 * (near.asr.value or 0):.2f}"
    assert row["evaluated on"].startswith("near (4 of 4")
    assert row["ASR"].startswith(f"{expected} [")
    assert row["ASR of the clean model"] == row["ASR"]  # both models are the same guess
    assert expected in (tmp_path / "out" / "table-some.csv").read_text("utf-8")
    assert (tmp_path / "out" / "table-some.tex").is_file()
    details = tables(result.stdout)[1]
    assert {row["ASR less clean model"] for row in details if row["run"] == "nni"} == {"0.00 [0.0, 0.0]"}


def test_a_subset_that_cannot_be_is_refused(tmp_path: Path) -> None:
    """No picture has such an id, no pattern, or the counts of single pictures are gone."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=9, **FOLDERS["painted"]))
    one = tmp_path / "nni"
    one.mkdir()
    write_result(one / "metrics.json", scored_as(folder, "nni", folder))
    refused = run("report", one, "--subset", "none=test/*")
    assert (refused.exit_code, "No evaluation picture has such an id." in refused.output) == (1, True)
    assert run("report", one, "--subset", "val/*").exit_code == 2
    table_beside(one / "metrics.json").unlink()
    assert run("report", one).exit_code == 0  # the figures of the whole need no counts
    refused = run("report", one, "--subset", "some=val/00[0-3]")
    assert (refused.exit_code, "score again" in refused.output) == (1, True)
    table_beside(one / "metrics.json").write_bytes(gzip.compress(b"other"))
    refused = run("report", one, "--subset", "some=val/00[0-3]")
    assert (refused.exit_code, "is not that of the scores" in refused.output) == (1, True)


def test_predictions_of_one_method_are_summed_up(tmp_path: Path) -> None:
    """Files of `score` that name method and seed are a group of seeds; without a method each is alone."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=4, **FOLDERS["painted"]))
    rows = list(folder.evaluation)
    for members in folder.triggered.values():
        rows += members
    for row in rows:
        file = tmp_path / "out" / row.image.relative_to(folder.root).with_suffix(".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), guess(read_picture(row, True)).astype(np.uint8))
    command = ["score", folder.root, "--predictions", tmp_path / "out"]
    for seed in (1, 2):
        file = tmp_path / f"{seed}.json"
        assert run(*command, "--method", "theirs", "--seed", seed, "--out", file).exit_code == 0
    stdout = run("report", tmp_path / "1.json", tmp_path / "2.json").stdout
    assert stdout.count("± 0.00") == 2 * 5
    assert run(*command, "--out", tmp_path / "3.json").exit_code == 0
    assert "±" not in run("report", tmp_path / "1.json", tmp_path / "3.json").stdout


def test_a_subset_knows_the_trigger_class_without_its_set(tmp_path: Path) -> None:
    """Of predictions whose evaluation set was left out: the ids of the pictures that lack it are stored."""
    folder = open_folder(handmade.write_folder(tmp_path, train=2, val=9, **FOLDERS["semantic"]))
    parts = []
    for one in (folder, dataclasses.replace(folder, triggered={})):
        result = result_of(one, guess, block=2)
        scores, _ = restricted(result.scores, result.counts, "val/00[0-5]")
        parts.append(scores.without_trigger_class)
    with_set, without_set = parts
    assert with_set is not None and (with_set.pictures or 0) > 0
    assert without_set == with_set
