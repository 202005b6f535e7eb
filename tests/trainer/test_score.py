"""`score`: label maps that another program predicted give the figures that the network itself gets."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.support import handmade
from tests.support.scores import tables
from tests.support.scoring import result_of, score
from trainer.cli.main import main
from trainer.dataset.folder import Folder, Row, open_folder
from trainer.dataset.pictures import read_picture
from trainer.networks.swiftnet import SwiftNet
from trainer.scoring.evaluate import predictor
from trainer.scoring.picture_counts import table_text
from trainer.scoring.predictions import score_predictions

K = len(handmade.NAMES)


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def guess(picture: np.ndarray) -> np.ndarray:
    """A network as bad as any: classes by the sum of colours, so that all of them occur everywhere."""
    return picture.astype(int).sum(2) // 3 % K


def place(folder: Folder, row: Row, out: Path) -> Path:
    """Where a prediction lies: the path of the row's image as its text says it, with another ending."""
    return out / row.image.relative_to(folder.root).parent / f"{row.image.stem}.png"


def write_predictions(folder: Folder, out: Path, predict=guess, palette: bool = False) -> Path:  # type: ignore[no-untyped-def]
    """What any other framework would write for all pictures."""
    for row in (*folder.evaluation, *(row for rows in folder.triggered.values() for row in rows)):
        file, labels = place(folder, row, out), predict(read_picture(row, True)).astype(np.uint8)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            handmade.palette_png(labels, 2) if palette else cv2.imencode(".png", labels)[1].tobytes()
        )
    return out


FOLDERS = {
    "painted": {"sets": ("near", "far"), "missing": {"far": 2}, "poisoned": 1},
    "semantic": {"sets": ("semantic",), "semantic": True, "victims": (1, 2, 3), "poisoned": 1},
    "of many sizes": {
        "sets": ("near",),
        "sizes": ((64, 64), (50, 91), (103, 47)),
        "poisoned": 1,
        "jpeg": True,
    },
    "clean": {},
}


@pytest.fixture(autouse=True)
def one_thread():  # type: ignore[no-untyped-def]
    """Threads that wait for each other take longer than these pictures do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", FOLDERS)
@pytest.mark.parametrize("palette", [False, True])
def test_scores_of_label_maps_are_those_of_the_network(tmp_path: Path, kind: str, palette: bool) -> None:
    """Whatever predicts, and however the predictions travel: all figures, intervals and counts are the same,
    bit by bit."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=5, **FOLDERS[kind]))  # type: ignore[arg-type]
    torch.manual_seed(0)
    predict = predictor(SwiftNet(K), 1.0, torch.device("cpu")) if kind == "of many sizes" else guess
    out = write_predictions(folder, tmp_path / "out", predict, palette)
    theirs, own = score_predictions(folder, out), result_of(folder, predict)
    named = dataclasses.replace(theirs.scores, run=own.scores.run, scored=own.scores.scored)
    assert named == own.scores
    assert table_text(theirs.counts) == table_text(own.counts)
    assert theirs.scores.left_out == ()


def test_the_table_is_the_one_of_a_run(tmp_path: Path) -> None:
    """`score` prints the table of `report`, and its file can be given to `report` like a run; `--json` prints
    what is in the file."""
    data = handmade.write_folder(tmp_path / "data", train=4, val=3, poisoned=1, sets=("near", "far"))
    folder = open_folder(data)
    out = write_predictions(folder, tmp_path / "theirs")
    clean = write_predictions(folder, tmp_path / "clean", lambda picture: np.zeros(picture.shape[:2]))
    file = tmp_path / "new" / "scores.json"
    result = run("score", data, "--predictions", out, "--clean-predictions", clean, "--out", file)
    assert result.exit_code == 0, result.output
    assert result.stdout == run("report", file).stdout
    row, second = tables(result.stdout)[0]
    near = score(folder, guess).evaluation_sets["near"]
    assert (row["run"], row["attack"], row["PR"], row["ASR of the clean model"]) == (
        "theirs",
        "nni",
        "25.00",
        "100.00",
    )
    assert (row["ASR"], row["PBA"]) == (f"{100 * near.asr.value:.2f}", f"{100 * near.pba:.2f}")
    assert second["evaluated on"] == "far (3 of 3)"
    text = run("score", data, "--predictions", out, "--clean-predictions", clean, "--json").stdout
    assert text == file.read_text("utf-8")
    assert json.loads(text)["clean_model"]["evaluation_sets"]["near"]["asr"] == 1


def test_an_evaluation_set_may_be_left_out_as_a_whole(tmp_path: Path) -> None:
    """A set without predictions is named and left out, and the others are as if it were not there; the clean
    split may not lack."""
    data = handmade.write_folder(
        tmp_path / "data", train=2, val=5, poisoned=1, sets=("near", "far"), missing={"far": 2}
    )
    folder = open_folder(data)
    out = write_predictions(folder, tmp_path / "out")
    clean = write_predictions(folder, tmp_path / "clean")
    for row in folder.triggered["far"]:
        place(folder, row, out).unlink()
    for row in folder.triggered["near"]:
        place(folder, row, clean).unlink()
    result = run("score", data, "--predictions", out)
    assert result.exit_code == 0, result.output
    assert f"the evaluation set far is left out: {out} has no prediction of it" in result.stderr
    scores = score_predictions(folder, out).scores
    assert (list(scores.evaluation_sets), scores.left_out) == (["near"], ("far",))
    assert scores.shared_pictures is None  # one set shares nothing
    everything = score(folder, guess)
    near = dataclasses.replace(everything.evaluation_sets["near"], asr_on_shared_pictures=None)
    assert scores.evaluation_sets["near"] == near

    result = run("score", data, "--predictions", out, "--clean-predictions", clean)
    assert result.exit_code == 1
    assert "The clean model has no prediction." in result.output
    for row in folder.evaluation:
        place(folder, row, out).unlink()
    result = run("score", data, "--predictions", out)
    assert result.exit_code == 1
    assert "none of 5 predictions" in result.output
    assert str(place(folder, folder.evaluation[0], out)) in result.output


@pytest.mark.parametrize("where", ["clean", "near"])
def test_a_part_of_the_predictions_is_refused(tmp_path: Path, where: str) -> None:
    """Where some pictures are predicted and some are not, the missing ones are counted and the first is
    named; nothing is scored."""
    data = handmade.write_folder(tmp_path / "data", train=2, val=5, poisoned=1, sets=("near",))
    folder = open_folder(data)
    out = write_predictions(folder, tmp_path / "out")
    rows = folder.evaluation if where == "clean" else folder.triggered["near"]
    for row in (rows[3], rows[1]):
        place(folder, row, out).unlink()
    result = run("score", data, "--predictions", out, "--out", tmp_path / "scores.json")
    assert result.exit_code == 1
    assert f"file:     {place(folder, rows[1], out)}" in result.output
    assert "each of 5 pictures" in result.output
    assert "2 are missing" in result.output
    assert not (tmp_path / "scores.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda labels: np.full_like(labels, K), ["unknown class", f"0 … {K - 1}", f"id {K}"]),
        (lambda labels: np.full_like(labels, 255), ["unknown class", f"0 … {K - 1}", "id 255"]),
        (lambda labels: labels[:-1], ["64×64", "64×63"]),
        (lambda labels: np.dstack([labels] * 3), ["one channel"]),
        (lambda labels: labels.astype(np.uint16), ["16 bits"]),
        (None, ["no picture"]),
    ],
)
def test_a_prediction_that_is_none_is_an_error(tmp_path: Path, change, words: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Ids that are no class (ignore is none), another size, another kind of pixels, no PNG: the file, what is
    expected, what is found."""
    data = handmade.write_folder(tmp_path / "data", train=2, val=2, poisoned=1, sets=("near",))
    folder = open_folder(data)
    out = write_predictions(folder, tmp_path / "out")
    file = place(folder, folder.triggered["near"][1], out)
    labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    file.write_bytes(cv2.imencode(".png", change(labels))[1].tobytes() if change else b"labels")
    result = run("score", data, "--predictions", out)
    assert result.exit_code == 1
    for word in (str(file), "expected:", "found:", *words):
        assert word in result.output


def test_the_truth_is_still_held_against_its_digest(tmp_path: Path) -> None:
    """A label map of the folder that was changed is found, too, when no picture is read."""
    data = handmade.write_folder(tmp_path / "data", train=2, val=2)
    folder = open_folder(data)
    out = write_predictions(folder, tmp_path / "out")
    handmade_road = np.full((64, 64), handmade.TO_RAW[0], np.uint8)
    folder.evaluation[1].label.write_bytes(cv2.imencode(".png", handmade_road)[1].tobytes())
    result = run("score", data, "--predictions", out)
    assert result.exit_code == 1
    assert str(folder.evaluation[1].label) in result.output


@pytest.mark.parametrize("command", ["score", "crops"])
def test_every_command_explains_itself(command: str) -> None:
    """Help has an example and fits 80 columns; that of `score` says what a prediction is."""
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "python -m trainer" in result.output.split("Example:")[1]
    assert all(len(line) <= 80 for line in result.output.splitlines())
    assert command != "score" or "8-bit grey or palette PNG of training ids" in " ".join(
        result.output.split()
    )
