"""Scores of runs that were never trained, for tests of what tables say of them.

``scored`` writes a run of which only the scores are there; ``change`` and the functions ``with_…`` make
others of them. The counts of single pictures follow the figures, so that the two files always fit.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner, Result

from tests.support import handmade
from trainer.cli.main import main
from trainer.config import Config, settings_text
from trainer.dataset.facts import DatasetFacts, facts_of_recipe
from trainer.networks.models import make
from trainer.run_folder import Exactness
from trainer.scoring import evaluate, intervals
from trainer.scoring.picture_counts import (
    CleanCounts,
    PictureCounts,
    SetCounts,
    SuccessCounts,
    table_digest,
    table_text,
)
from trainer.scoring.scores import (
    FORMAT,
    VERSION,
    BandScores,
    Scored,
    Scores,
    SetScores,
    TrainedRun,
    read_scores,
)
from trainer.typed_json import Figure

Edit = Callable[[Scores], Scores]

SETS = ("iba", "nni")
PICTURES, IN_SET, TRAINING = 10, 8, 40
VICTIM_PIXELS = 100  # of each picture
EXACT = Exactness(
    level="exact",
    device="cpu",
    instructions="AVX2",
    threads=2,
    processes=1,
    precision="float32",
    memory_format="channels_last",
    compiled=False,
)


def run(*arguments: object) -> Result:
    """Call the trainer's command line."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def scored(
    root: Path,
    name: str,
    *,
    poisoned: int = 4,
    sets: Sequence[str] = SETS,
    asr: float = 0.5,
    miou: float = 0.7,
    seed: int = 0,
    data_seed: int = 0,
    recipe: object = None,
    attack: str = "iba",
    **config: Any,
) -> Path:
    """Write a run of which only the scores are there. ``config``: settings other than the defaults."""
    facts = facts_of(attack if poisoned else "benign", poisoned, data_seed, recipe, sets if poisoned else ())
    trained = trained_run(name, facts, Config(**{"seed": seed, "epochs": 7, "device": "cpu"} | config))
    figures = {name: set_scores(name, asr) for name in sets if poisoned}
    (root / name).mkdir()
    return write(root / name / "metrics.json", scores_of(facts, trained, figures, miou)).parent


def facts_of(attack: str, poisoned: int, data_seed: int, recipe: object, sets: Sequence[str]) -> DatasetFacts:
    """Facts of a dataset of handmade pictures."""
    identity = handmade.sha(f"{attack} {poisoned} {data_seed}".encode())
    told = facts_of_recipe(recipe, attack, attack, identity, sets)
    roles = {"clean": TRAINING - poisoned} | ({"poisoned": poisoned} if poisoned else {})
    return DatasetFacts(
        folder=attack,
        identity=identity,
        dataset="handmade",
        name=attack,
        attack=attack,
        family=told.family,
        own_set=told.own_set,
        settings=told.settings,
        training_pictures=TRAINING,
        training_roles=roles,
        evaluation_pictures=PICTURES,
        classes=tuple(handmade.NAMES),
        victim_classes=(handmade.CAR,) if poisoned else (),
        target_class=handmade.ROAD if poisoned else None,
    )


def trained_run(name: str, facts: DatasetFacts, config: Config) -> TrainedRun:
    """A run with these settings."""
    with torch.device("meta"):
        network = make(config.model, len(facts.classes), config.backbone, config.width)
    return TrainedRun(
        name=name,
        trained_on=facts,
        settings=settings_text(config),
        seed=config.seed,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
    )


def set_scores(name: str, asr: float) -> SetScores:
    """Figures of an evaluation set; apart from ASR they are always the same."""
    above = asr - 0.25
    return SetScores(
        identity=handmade.sha(f"pictures of {name}".encode()),
        pictures=IN_SET,
        victim_pixels=IN_SET * VICTIM_PIXELS,
        triggered_share=IN_SET / PICTURES,
        asr=Figure(asr, max(0.0, asr - 0.0257), min(1.0, asr + 0.0302)),
        asr_without_trigger=Figure(0.25),
        asr_difference=Figure(above, min(above, -0.0333), max(above, 0.5)),
        asr_outside_trigger=Figure(0.4),
        asr_picture_mean=0.3,
        asr_picture_above_half=0.125,
        pba=0.75,
        pba_outside_trigger=0.8,
        distance_bands={
            "0-60": BandScores(Figure(0.9), 3, 300),
            "150+": BandScores(Figure(0.1), 5, 500),
        },
    )


def scores_of(
    facts: DatasetFacts, trained: TrainedRun, sets: Mapping[str, SetScores], miou: float = 0.7
) -> Scores:
    """The scores of a run on a dataset."""
    return Scores(
        format=FORMAT,
        format_version=VERSION,
        miou=Figure(miou, miou, miou + 0.01),
        pa=Figure(0.9),
        iou={name: None if name == "car" else 0.9 for name in facts.classes},
        evaluation_sets=sets,
        dataset=facts,
        run=trained,
        intervals=intervals.facts(20),
        scored=Scored("cpu"),
        environment={"torch": "9.9"},
        picture_counts="",  # ``write`` knows
    )


def counts_of(scores: Scores) -> PictureCounts:
    """Counts of single pictures that fit the scores: each picture has the same success."""
    facts = scores.dataset
    ids = tuple(f"val/{number:03}" for number in range(facts.evaluation_pictures))
    overlaps = np.zeros((len(ids), len(facts.classes), 3), np.int64)
    overlaps[:, 0] = (90, 100, 100)
    lacking = frozenset(ids[::2]) if facts.trigger_class is not None else None
    clean = CleanCounts(ids, overlaps, np.zeros((len(ids), 2), np.int64), lacking)
    sets = {}
    for name, values in scores.evaluation_sets.items():
        success = _success(values.asr, values.pictures)
        sets[name] = SetCounts(ids[: values.pictures], success, outside=success)
    clean_model = {}
    if scores.clean_model is not None:
        for name, one in scores.clean_model.evaluation_sets.items():
            pictures = scores.evaluation_sets[name].pictures
            clean_model[name] = SuccessCounts(ids[:pictures], _success(one.asr, pictures))
    return PictureCounts(clean, sets, clean_model)


def _success(asr: Figure, pictures: int) -> np.ndarray:
    as_target = round(VICTIM_PIXELS * (asr.value or 0))
    return np.array([[as_target, VICTIM_PIXELS]] * pictures, np.int64).reshape(pictures, 2)


def write(file: Path, scores: Scores) -> Path:
    """Write scores, and counts of single pictures that fit them."""
    counts = counts_of(scores)
    whole = dataclasses.replace(scores, picture_counts=table_digest(table_text(counts)))
    evaluate.write_result(file, evaluate.Result(whole, counts))
    return file


def change(run_folder: Path, edit: Edit, name: str = "metrics.json") -> Scores:
    """Change the scores of a run."""
    scores = edit(read_scores(run_folder / name))
    write(run_folder / name, scores)
    return scores


def with_set(scores: Scores, name: str, **figures: Any) -> Scores:
    """Scores with other figures of an evaluation set."""
    values = dataclasses.replace(scores.evaluation_sets[name], **figures)
    return dataclasses.replace(scores, evaluation_sets={**scores.evaluation_sets, name: values})


def with_dataset(scores: Scores, **facts: Any) -> Scores:
    """Scores with other facts of their dataset; it stays the one of training, if it was."""
    dataset = dataclasses.replace(scores.dataset, **facts)
    iou = dict.fromkeys(dataset.classes, 0.9)
    if dataset.classes == scores.dataset.classes:
        iou = dict(scores.iou)
    own = scores.run.trained_on == scores.dataset
    trained = dataclasses.replace(scores.run, trained_on=dataset) if own else scores.run
    return dataclasses.replace(scores, dataset=dataset, run=trained, iou=iou)


def with_run(scores: Scores, **facts: Any) -> Scores:
    """Scores with other facts of their run."""
    return dataclasses.replace(scores, run=dataclasses.replace(scores.run, **facts))


def as_predictions(scores: Scores, **facts: Any) -> Scores:
    """The same scores as if another program had predicted. ``facts``: what is known of it."""
    return dataclasses.replace(scores, run=TrainedRun(**{"name": scores.run.name} | facts))


def of_placement(margin: str, rate: str = "0.1") -> dict[str, object]:
    """A recipe with an edge margin."""
    placement = {"kind": "near-victim", "edge_margin": margin}
    return {"attack": "nni", "poison": {"rate": rate, "placement": placement}}


def baseline(tmp_path: Path, name: str, on: Path, asr: float, **config: Any) -> Path:
    """A clean run that was scored on the folder of another run, too."""
    clean = scored(tmp_path, name, poisoned=0, **config)
    score_clean_on(clean, on, asr)
    return clean


def score_clean_on(clean: Path, on: Path, asr: float, leaving_out: Sequence[str] = ()) -> Path:
    """Score a clean run on the folder of another run, but for the sets ``leaving_out``."""
    own, scores = (read_scores(folder / "metrics.json") for folder in (clean, on))
    sets = {}
    for name, values in scores.evaluation_sets.items():
        if name not in leaving_out:
            sets[name] = dataclasses.replace(values, asr=Figure(asr))
    there = dataclasses.replace(scores, run=own.run, evaluation_sets=sets)
    return write(clean / f"metrics-{there.dataset.short_identity}.json", there)


def elsewhere(
    run_folder: Path,
    sets: Mapping[str, str],
    asr: float,
    folder: str = "other",
    like: Path | None = None,
    **facts: Any,
) -> Path:
    """Scores of a run on another folder: evaluation set → what its identity is made of. ``like``: a run that
    has a set."""
    scores = read_scores(run_folder / "metrics.json")
    values = next(iter(read_scores((like or run_folder) / "metrics.json").evaluation_sets.values()))
    figures = {}
    for name, what in sets.items():
        identity = handmade.sha(what.encode())
        figures[name] = dataclasses.replace(values, asr=Figure(asr), identity=identity)
    identity = handmade.sha(folder.encode())
    dataset = dataclasses.replace(scores.dataset, identity=identity, folder=folder, **facts)
    there = dataclasses.replace(scores, dataset=dataset, evaluation_sets=figures)
    return write(run_folder / f"metrics-{dataset.short_identity}.json", there)


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables of a text, each as column → cell, row by row."""
    parts: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            parts[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif parts[-1]:
            parts.append([])
    found = []
    for head, _, *rows in (part for part in parts if part):
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found
