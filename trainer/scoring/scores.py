"""The scores of a model on a dataset folder: what ``metrics.json`` holds, typed, read and written in one
place.

``metrics.json`` is for people and programs: figures as fractions in [0, 1], without the counts of single
pictures, which lie in the compressed table beside it (``picture_counts.py``). Its JSON Schema is
``manifests/scores.schema.json``. A file of another version is refused: the counts can be had again from the
model, so there is nothing to convert.
"""

import json
import re
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from trainer.dataset.facts import DatasetFacts
from trainer.errors import RunError
from trainer.run_folder import Exactness, write_text
from trainer.scoring.metrics import BANDS
from trainer.typed_json import Count, Figure, Fraction, NotThisType, Range, Share, parse, plain, schema

FORMAT, VERSION = "poisongen scores", 2
SCHEMA = "scores.schema.json"  # in manifests/
Seed = Annotated[int, Range(0, (1 << 64) - 1)]
MAX_CLASSES = 255  # training ids are bytes, and one of them is no class
MAX_BYTES = 1 << 24
"""Of a file of scores; that of ADE20K with ten evaluation sets has less than 1 % of it."""


@dataclass(frozen=True)
class IntervalFacts:
    """How the intervals were computed: see ``intervals.py``. ``block``: pictures in a block; ``level``:
    nominal."""

    method: str
    level: Fraction
    block: Annotated[int, Range(1, 1 << 31)]
    resamples: Count


@dataclass(frozen=True)
class TrainedRun:
    """The run whose model was scored. ``settings``: those of its ``run.json``, as text that ``--set`` takes.

    Of predictions that another program made, only ``name`` is known, and ``method`` and ``seed`` where they
    were given. ``parameters``: of the network. ``environment``: the packages that trained it.
    ``initial_weights``: digest of the file that training began with. ``trigger_in_crops``: share of the
    relabelled pixels whose training crop shows the whole trigger.
    """

    name: str
    trained_on: DatasetFacts | None = None
    settings: Mapping[str, str] | None = None
    seed: Seed | None = None
    parameters: Count | None = None
    exactness: Exactness | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    initial_weights: str | None = None
    trigger_in_crops: Fraction | None = None
    method: str | None = None


@dataclass(frozen=True)
class BandScores:
    """ASR of the pictures of one distance band, see ``metrics.BANDS``."""

    asr: Share
    pictures: Count
    victim_pixels: Count


@dataclass(frozen=True)
class SetScores:
    """The figures of one evaluation set; ``metrics.py`` and ``figures.py`` define them.

    ``identity``: the same for sets of the same pictures. ``unpaired_pictures``: how many other pictures the
    success without trigger is of, where nothing is painted. ``pba`` None: not defined.
    """

    identity: str
    pictures: Count
    victim_pixels: Count
    triggered_share: Fraction | None
    asr: Share
    asr_without_trigger: Share
    asr_difference: Figure
    asr_outside_trigger: Share
    asr_picture_mean: Fraction | None
    asr_picture_above_half: Fraction | None
    pba: Fraction | None
    pba_outside_trigger: Fraction | None
    asr_on_shared_pictures: Share | None = None
    unpaired_pictures: Count | None = None
    distance_bands: Mapping[str, BandScores] = field(default_factory=dict)


@dataclass(frozen=True)
class WithoutTriggerClass:
    """Segmentation of the clean pictures that lack the class whose presence is the trigger; None: nobody
    knows which."""

    miou: Share
    pa: Share
    pictures: Count | None


@dataclass(frozen=True)
class CleanSet:
    """ASR of a clean model on one evaluation set."""

    asr: Share


@dataclass(frozen=True)
class CleanModel:
    """ASR of a model that was trained on no poisoned picture, by evaluation set: of predictions of another
    program."""

    name: str
    evaluation_sets: Mapping[str, CleanSet]


@dataclass(frozen=True)
class Scored:
    """On what the scores were computed. ``device`` is "predictions" where label maps of another program were
    read."""

    device: str
    threads: Count | None = None
    precision: str | None = None


@dataclass(frozen=True)
class Scores:
    """All that ``metrics.json`` says. ``miou``, ``pa``, ``iou`` are of the clean evaluation split.

    ``picture_counts``: the digest of the table of single pictures (of its text, before it is compressed).
    ``shared_pictures``: how many pictures all evaluation sets have, where they differ. ``left_out``:
    evaluation sets that nobody predicted.
    """

    format: str
    format_version: Count
    miou: Share
    pa: Share
    iou: Mapping[str, Fraction | None]
    evaluation_sets: Mapping[str, SetScores]
    dataset: DatasetFacts
    run: TrainedRun
    intervals: IntervalFacts
    scored: Scored
    environment: Mapping[str, str]
    picture_counts: str
    without_trigger_class: WithoutTriggerClass | None = None
    shared_pictures: Count | None = None
    clean_model: CleanModel | None = None
    left_out: tuple[str, ...] = ()
    left_out_of_clean_model: tuple[str, ...] = ()

    @property
    def trained_on(self) -> DatasetFacts:
        """The dataset that the model was trained on; where nobody knows, the one that it is scored on."""
        return self.run.trained_on or self.dataset

    def checked(self) -> "Scores":
        """These scores, if their parts agree. Raises NotThisType."""
        classes = len(self.dataset.classes)
        for where, facts in (("dataset", self.dataset), ("run.trained_on", self.run.trained_on)):
            if facts:
                _check_facts(facts, where)
        if self.dataset.trigger_class is not None and self.without_trigger_class is None:
            raise NotThisType("without_trigger_class", "figures, since there is a trigger class", None)
        if tuple(self.iou) != self.dataset.classes:
            raise NotThisType("iou", f"the {classes} classes of the dataset in their order", list(self.iou))
        for name, values in self.evaluation_sets.items():
            unknown = sorted(set(values.distance_bands) - set(BANDS))
            if unknown:
                raise NotThisType(f"evaluation_sets.{name}.distance_bands", ", ".join(BANDS), unknown)
            if values.pictures > self.dataset.evaluation_pictures:
                most = self.dataset.evaluation_pictures
                raise NotThisType(f"evaluation_sets.{name}.pictures", f"{most} at most", values.pictures)
            if values.asr_on_shared_pictures is not None and self.shared_pictures is None:
                raise NotThisType("shared_pictures", f"a number, since {name} has an ASR on them", None)
        return self


def _check_facts(facts: DatasetFacts, where: str) -> None:
    """Raise NotThisType unless classes exist, and the roles are those of the training pictures."""
    classes = len(facts.classes)
    named = (*facts.victim_classes, facts.target_class, facts.trigger_class)
    unknown = [number for number in named if number is not None and number >= classes]
    if unknown:
        raise NotThisType(where, f"classes 0 … {classes - 1}", unknown)
    if classes > MAX_CLASSES:
        raise NotThisType(f"{where}.classes", f"{MAX_CLASSES} at most", classes)
    if sum(facts.training_roles.values()) != facts.training_pictures:
        expected = f"roles of {facts.training_pictures} pictures"
        raise NotThisType(f"{where}.training_roles", expected, dict(facts.training_roles))
    if facts.trigger_class is not None and not facts.min_trigger_pixels:
        raise NotThisType(f"{where}.min_trigger_pixels", "1 or more, since there is a trigger class", None)


def read_scores(file: Path) -> Scores:
    """Read and check ``metrics.json``. Raises RunError: damaged, of another version, contradicts itself."""
    todo = "score again: python -m trainer eval RUN"
    values = _read_object(file, todo)
    found = values.get("format"), values.get("format_version")
    if found != (FORMAT, VERSION):
        known = "scores without a version"
        if found != (None, None):
            known = ", version ".join(map(reprlib.repr, found))
        raise RunError(
            "The scores are of another version of the trainer.",
            file=file,
            expected=f"{FORMAT}, version {VERSION}",
            found=known,
            todo=todo,
        )
    try:
        return parse(Scores, values).checked()
    except NotThisType as error:
        expected = f"“{error.where}”: {error.expected}"
        raise RunError(
            "Scores are damaged.", file=file, expected=expected, found=error.found, todo=todo
        ) from None


def is_of_this_version(file: Path) -> bool:
    """Is there a file of scores, of the version that ``read_scores`` takes? All else about it is not looked
    at."""
    try:
        values = _read_object(file, "")
    except RunError:
        return False
    return (values.get("format"), values.get("format_version")) == (FORMAT, VERSION)


def _read_object(file: Path, todo: str) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            problem, expected = "A file is too large for scores.", f"up to {MAX_BYTES:,} bytes"
            raise RunError(problem, file=file, expected=expected, found="more", todo=todo)
        values = json.loads(data.decode("utf-8"))
    except OSError as error:
        todo = "give the folder of a run that is finished"
        expected, found = "scores", error.strerror
        raise RunError(
            "Scores cannot be read.", file=file, expected=expected, found=found, todo=todo
        ) from None
    except (ValueError, RecursionError) as error:
        raise RunError("Scores are not JSON.", file=file, expected="JSON", found=error, todo=todo) from None
    if not isinstance(values, dict):
        found = type(values).__name__
        raise RunError("Scores are damaged.", file=file, expected="a JSON object", found=found, todo=todo)
    return values


def scores_text(scores: Scores) -> str:
    """Scores as JSON for people, with a list of numbers or names on one line."""
    text = json.dumps(plain(scores), indent=1, ensure_ascii=False, allow_nan=False)
    # A line break in a string is written as two characters, so these are real lists.
    item = r'(?:null|[-+.0-9eE]+|"[^"\\]*")'
    lists = re.compile(rf"\[\n\s*{item}(?:,\n\s*{item})*\n\s*\]")
    return lists.sub(lambda found: _on_one_line(found[0]), text) + "\n"


def _on_one_line(text: str) -> str:
    joined = re.sub(r",\n\s*", ", ", text)
    return re.sub(r"(?<=\[)\n\s*|\n\s*(?=\]$)", "", joined)


def write_scores(file: Path, scores: Scores) -> None:
    """Write ``metrics.json``, whole or not at all. Raises RunError."""
    write_text(file, scores_text(scores))


def scores_schema() -> dict[str, Any]:
    """The JSON Schema of ``metrics.json``."""
    found = schema(Scores, f"{FORMAT}, version {VERSION}")
    found["properties"] |= {"format": {"const": FORMAT}, "format_version": {"const": VERSION}}
    return found


if __name__ == "__main__":  # python -m trainer.scoring.scores FOLDER writes the published schema
    write_text(Path(sys.argv[1]) / SCHEMA, json.dumps(scores_schema(), indent=1, ensure_ascii=False) + "\n")
