"""What scoring writes can be read back as it was, and nothing else is taken for scores."""

import dataclasses
import gzip
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import handmade
from tests.support.scoring import result_of
from trainer.dataset.folder import open_folder
from trainer.errors import RunError
from trainer.scoring.evaluate import Result, write_result
from trainer.scoring.figures import restricted
from trainer.scoring.picture_counts import read_table, table_beside, table_text
from trainer.scoring.scores import read_scores, scores_schema, scores_text
from trainer.typed_json import Figure, NotThisType, parse, plain

K = len(handmade.NAMES)


def guess(picture: np.ndarray) -> np.ndarray:
    """A network as bad as any: classes by the sum of colours."""
    return picture.astype(int).sum(2) // 3 % K


FOLDERS: dict[str, dict[str, Any]] = {
    "painted": {"sets": ("near", "far", "none"), "missing": {"far": 2, "none": 5}, "poisoned": 1},
    "semantic": {"sets": ("semantic",), "semantic": True, "victims": (1, 2, 3), "poisoned": 1},
    "clean": {},
}


@pytest.fixture(scope="module", params=FOLDERS)
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Scores of a guess, on folders of every kind."""
    root = tmp_path_factory.mktemp(request.param)
    folder = open_folder(handmade.write_folder(root, train=2, val=5, **FOLDERS[request.param]))
    return result_of(folder, guess, block=2)


def test_scores_and_counts_survive_their_files(result: Result, tmp_path: Path) -> None:
    """What is written is read back equal, figure by figure and picture by picture."""
    file = tmp_path / "metrics.json"
    write_result(file, result)
    again = read_scores(file)
    assert again == result.scores
    assert table_text(read_table(table_beside(file), again)) == table_text(result.counts)


def test_the_file_is_for_people(result: Result, tmp_path: Path) -> None:
    """Top-level mIoU and PA, fractions of each set by name, a list on one line, no single pictures."""
    text = scores_text(result.scores)
    values = json.loads(text)
    assert values["miou"] == result.scores.miou.value
    assert values["pa"] == result.scores.pa.value
    for name, one in result.scores.evaluation_sets.items():
        written = values["evaluation_sets"][name]
        assert (written["asr"], written["pba"]) == (one.asr.value, one.pba)
        assert written["asr_without_trigger"] == one.asr_without_trigger.value
    assert '"classes": ["road", "sky", "car", "tree"]' in text
    assert "val/001" not in text


def test_the_schema_takes_what_is_written(result: Result) -> None:
    """The published schema holds for every file of scores, and refuses one with a key less."""
    values = json.loads(scores_text(result.scores))
    jsonschema.validate(values, scores_schema())
    del values["dataset"]["classes"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, scores_schema())


def test_the_published_schema_is_this_one() -> None:
    """``manifests/scores.schema.json`` is what ``make schema`` writes."""
    published = Path(__file__).parents[2] / "manifests" / "scores.schema.json"
    assert json.loads(published.read_text("utf-8")) == scores_schema()


def test_part_of_the_pictures_is_scored_as_if_there_were_no_others(result: Result, tmp_path: Path) -> None:
    """Restricting to all pictures changes nothing; to none of them is an error."""
    scores, counts = restricted(result.scores, result.counts, "val/*")
    assert scores == result.scores
    assert table_text(counts) == table_text(result.counts)
    with pytest.raises(RunError, match="No evaluation picture has such an id"):
        restricted(result.scores, result.counts, "test/*")


def changed(values: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a path of keys with dots."""
    *parents, key = path.split(".")
    for parent in parents:
        values = values[parent]
    values[key] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("miou", 1.5, "“miou”: a number from 0 to 1"),
        ("miou_interval", [-0.1, 1], "“miou_interval”: a number from 0 to 1"),
        ("evaluation_sets.near.pba_interval", [0, 1], "no such key"),
        ("evaluation_sets.near.asr_on_shared_pictures", -0.5, "a number from 0 to 1"),
        ("evaluation_sets.near.asr_on_shared_pictures_interval", [0, 1], "no such key"),
        ("evaluation_sets.near.asr_on_shared_pictures", 0.5, "“shared_pictures”: a number"),
        ("evaluation_sets.near.asr_picture_mean", -0.5, "a number from 0 to 1"),
        ("miou", "0.5", "“miou”"),
        ("miou", True, "“miou”"),
        ("miou_interval", [0.9], "“miou_interval”: two numbers"),
        ("miou_interval", [0.99, 1], "“miou_interval”: an interval around"),
        ("iou", {"road": 1}, "“iou”: the 4 classes"),
        ("dataset.classes", [], "“dataset”"),
        ("dataset.victim_classes", [9], "classes 0 … 3"),
        ("dataset.training_pictures", -1, "“dataset.training_pictures”"),
        ("dataset.training_roles", {"clean": 7}, "“dataset.training_roles”"),
        ("dataset.nonsense", 1, "“dataset.nonsense”: no such key"),
        ("dataset", [], "“dataset”: an object"),
        ("evaluation_sets.near.asr", None, "an interval around None"),
        ("evaluation_sets.near.pictures", 6, "“evaluation_sets.near.pictures”: 5 at most"),
        ("evaluation_sets.near.distance_bands", {"7-9": {}}, "“evaluation_sets.near.distance_bands.7-9"),
        ("intervals.block", 0, "“intervals.block”"),
        ("intervals.block", 10**40, "“intervals.block”"),
        ("environment", {"torch": "\ud800"}, "half characters"),
        ("format_version", 3, "another version"),
        ("format_version", 1, "another version"),
    ],
)
def test_damaged_scores_are_named(tmp_path: Path, path: str, value: object, words: str) -> None:
    """An error names the file, the key, what was expected and found, and that scoring again helps."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=5, sets=("near",), poisoned=1))
    values = json.loads(scores_text(result_of(folder, guess).scores))
    changed(values, path, value)
    file = tmp_path / "metrics.json"
    file.write_text(json.dumps(values))
    with pytest.raises(RunError) as caught:
        read_scores(file)
    assert words in str(caught.value)
    assert f"file:     {file}" in str(caught.value)
    assert "score again: python -m trainer eval" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '{"format": 1}', "\ufeff{}"])
def test_what_is_no_scores_is_named(tmp_path: Path, text: str) -> None:
    """Whatever else is in the file, the error names it."""
    file = tmp_path / "metrics.json"
    file.write_text(text)
    with pytest.raises(RunError, match=r"metrics\.json"):
        read_scores(file)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-9],
        lambda data: b"x" + data,
        lambda data: gzip.compress(gzip.decompress(data) + b"\n"),
        lambda data: gzip.compress(gzip.decompress(data).replace(b"val/001", b"val/002")),
    ],
)
def test_another_table_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    """The table of single pictures is that of the scores, or an error."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=3, sets=("near",), poisoned=1))
    result = result_of(folder, guess)
    file = tmp_path / "metrics.json"
    write_result(file, result)
    table = table_beside(file)
    table.write_bytes(damage(table.read_bytes()))
    with pytest.raises(RunError, match="The table of single pictures"):
        read_table(table, result.scores)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("own,near,val/001", "own,far,val/001"),
        ("own,near,val/001", "own,near,val/000"),
        (":", ";"),
        ("own,,val/000,", "own,,val/000,-"),
    ],
)
def test_a_table_that_its_scores_name_is_still_checked(tmp_path: Path, old: str, new: str) -> None:
    """Whoever writes both files can write nonsense; it is named."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=2, val=3, sets=("near",), poisoned=1))
    result = result_of(folder, guess)
    text = table_text(result.counts)
    assert old in text
    wrong = text.replace(old, new).encode()
    table = tmp_path / "metrics.pictures.csv.gz"
    table.write_bytes(gzip.compress(wrong))
    scores = dataclasses.replace(result.scores, picture_counts=handmade.sha(wrong))
    with pytest.raises(RunError, match="The table of single pictures is damaged"):
        read_table(table, scores)


@dataclass(frozen=True)
class Inner:
    """A part."""

    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    """A whole."""

    figure: Figure
    size: tuple[int, int]
    share: float = 0.5
    note: str | None = None
    inner: Inner = field(default_factory=lambda: Inner(1))


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
fractions = st.floats(0, 1)


@settings(max_examples=100, deadline=None)
@given(fractions, st.integers(-9, 9), st.lists(texts, max_size=3), st.none() | texts)
def test_a_dataclass_survives_json(value: float, count: int, names: list[str], note: str | None) -> None:
    """``parse`` undoes ``plain``, through the text of JSON; an empty default is not written."""
    outer = Outer(
        Figure(value, value / 2, 1.0), (count, 2), share=value, note=note, inner=Inner(count, tuple(names))
    )
    values = json.loads(json.dumps(plain(outer)))
    assert parse(Outer, values) == outer
    assert ("note" in values) == (note is not None)
    assert values["figure_interval"] == [value / 2, 1.0]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1 << 63, -(1 << 63), "1", None, [1], True])
def test_a_count_is_a_whole_number_of_a_sane_size(value: object) -> None:
    """Nothing else is taken for one, and the error has the path of keys."""
    values = {"figure": 0.5, "size": [1, 2], "inner": {"count": value}}
    with pytest.raises(NotThisType, match=r"inner\.count"):
        parse(Outer, values)
