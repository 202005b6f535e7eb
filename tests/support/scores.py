"""Scores of runs that were never trained, for tests of what is said of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from tests.support import handmade
from trainer.cli.main import main


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def scored(
    root: Path, name: str, *, poisoned: int = 4, sets: tuple[str, ...] = ("iba", "nni"), asr: float = 0.5, miou: float = 0.7,
    seed: int = 0, data_seed: int = 0, recipe: object = None, attack: str = "iba", old: bool = False, **config: object,
) -> Path:  # fmt: skip
    """A run of which only the scores are there. ``old``: as they were before there were intervals."""
    figures: dict[str, object] = {
        "asr": asr, "asr_without_trigger": 0.25, "asr_outside_trigger": 0.4, "asr_picture_mean": 0.3, "pba": 0.75,
        "pba_outside_trigger": 0.8, "victim_pixels": 100, "pictures": 8, "triggered_share": 0.8,
    }  # fmt: skip
    if not old:
        counts = {"id": ["a", "b"], "as_target": [30, 20], "victim_pixels": [60, 40]}
        figures |= {
            "asr_interval": [asr - 0.0257, asr + 0.0302],
            "per_picture": counts,
            "asr_picture_above_half": 0.125,
        }
        figures |= {"asr_difference": asr - 0.25, "asr_difference_interval": [-0.0333, 0.5]}
        figures["distance_bands"] = {"0-60": {"asr": 0.9, "pictures": 3}, "150+": {"asr": 0.1, "pictures": 5}}
    attack = attack if poisoned else "benign"
    facts = {
        "identity": handmade.sha(f"{attack} {poisoned} {data_seed}".encode()), "dataset": "handmade", "name": attack, "attack": attack,
        "training_pictures": 40, "evaluation_pictures": 10, "poisoned_pictures": poisoned,
        "training_roles": {"clean": 40 - poisoned} | ({"poisoned": poisoned} if poisoned else {}), "classes": handmade.NAMES,
        "victim_classes": [2] if poisoned else [], "target_class": 0 if poisoned else None, "trigger_class": None,
        "min_trigger_pixels": None,
    } | ({} if recipe is None else {"recipe": recipe})  # fmt: skip
    values = {
        "miou": miou,
        "pa": 0.9,
        "iou": {"road": 0.9, "car": None},
        "evaluation_sets": {key: figures for key in sets if poisoned},
    }
    if not old:
        values |= {
            "miou_interval": [miou, miou + 0.01],
            "intervals": {"block": 20, "level": 0.95, "resamples": 1000},
        }
    (root / name).mkdir()
    values |= {
        "dataset": facts,
        "run": {"name": name, "config": {"seed": seed, "epochs": 7, "device": "cpu"} | config},
    }
    (root / name / "metrics.json").write_text(json.dumps(values))
    return root / name


def tables(text: str) -> list[list[dict[str, str]]]:
    """The Markdown tables of a text, each as column → cell, row by row."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[dict(zip(part[0], row, strict=True)) for row in part[2:]] for part in found if part]


def change(
    run_folder: Path, values: Callable[[dict[str, Any]], None], name: str = "metrics.json"
) -> dict[str, Any]:
    """Change the scores of a run."""
    scores = json.loads((run_folder / name).read_text())
    values(scores)
    (run_folder / name).write_text(json.dumps(scores))
    return dict(scores)


def of_placement(margin: str, rate: str = "0.1") -> dict[str, object]:
    """A recipe with an edge margin."""
    return {
        "attack": "nni",
        "poison": {"rate": rate, "placement": {"kind": "near-victim", "edge_margin": margin}},
    }


def baseline(tmp_path: Path, name: str, on: Path, asr: float, **config: object) -> Path:
    """A clean run, scored on the folder of another run, too."""
    clean = scored(tmp_path, name, poisoned=0, **config)  # type: ignore[arg-type]
    own, scores = (
        json.loads((clean / "metrics.json").read_text()),
        json.loads((on / "metrics.json").read_text()),
    )
    scores["run"] = own["run"] | {"trained_on": own["dataset"]}
    for values in scores["evaluation_sets"].values():
        values["asr"] = asr
    (clean / f"metrics-{scores['dataset']['identity'][7:19]}.json").write_text(json.dumps(scores))
    return clean


def elsewhere(
    run_folder: Path,
    sets: dict[str, str],
    asr: float,
    folder: str = "other",
    like: Path | None = None,
    **dataset: object,
) -> Path:
    """Scores of a run on another folder: evaluation set → what its identity is made of. ``like``: a run that
    has a set."""
    scores = json.loads((run_folder / "metrics.json").read_text())
    own = scores["dataset"]
    values = next(
        iter(json.loads(((like or run_folder) / "metrics.json").read_text())["evaluation_sets"].values())
    )
    scores["run"] |= {"trained_on": own}
    scores["dataset"] = own | {"identity": handmade.sha(folder.encode()), "folder": folder} | dataset
    scores["evaluation_sets"] = {
        name: values | {"asr": asr, "identity": handmade.sha(what.encode())} for name, what in sets.items()
    }
    file = run_folder / f"metrics-{scores['dataset']['identity'][7:19]}.json"
    file.write_text(json.dumps(scores))
    return file
