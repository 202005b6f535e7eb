"""What a reader of runs and scores must know of a dataset folder, once the folder itself is elsewhere.

``facts_of_recipe`` is the only place where the trainer reads how a dataset was made. It finds out what a
table needs: which evaluation set stands for the attack, which datasets differ in their seeds only, and what
to call differences.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from trainer.dataset.folder import CONTROLS, Folder
from trainer.typed_json import Count, Range

TrainingId = Annotated[int, Range(0, 254)]

SETS_MARGIN = "39%"  # edge margin of the evaluation sets whose names end in -margin
NO_FAMILY = (
    "seed",
    "evaluation_sets",
)  # keys in which datasets of one family may differ, wherever they stand
SAID_ELSEWHERE = ("attack", "rate", "coverage")  # what the columns attack and PR of a table stand for
PICTURE_EACH = "patch-folder"  # kind of trigger: a picture for each sample, which no recipe names


@dataclass(frozen=True)
class RecipeFacts:
    """What is told by a recipe; the names are those of ``DatasetFacts``."""

    own_set: str | None
    family: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class DatasetFacts:
    """Facts of a dataset folder.

    ``training_roles``: role → number of training pictures. ``family``: the same for datasets of one recipe
    that differ in their seeds only. ``settings``: what a table prints where datasets of one attack and rate
    differ, name → text. ``own_set``: the evaluation set that stands for the attack. ``victim_classes`` is
    empty and ``target_class`` None where nothing but segmentation is measured; ``trigger_class``: the class
    whose presence is the trigger.
    """

    folder: str
    identity: str
    dataset: str
    name: str
    attack: str
    family: str
    own_set: str | None
    settings: Mapping[str, str]
    training_pictures: Count
    training_roles: Mapping[str, Count]
    evaluation_pictures: Count
    classes: tuple[str, ...]
    victim_classes: tuple[TrainingId, ...]
    target_class: TrainingId | None
    trigger_class: TrainingId | None = None
    min_trigger_pixels: Count | None = None

    @property
    def short_identity(self) -> str:
        """The first digits of the identity, for names of files and columns of tables."""
        return self.identity.removeprefix("sha256:")[:12]

    @property
    def all_clean(self) -> bool:
        """Is no training picture other than clean?"""
        return not any(count for role, count in self.training_roles.items() if role != "clean")

    @property
    def poisoning_rate(self) -> float | None:
        """The share of training pictures that carry the attack, or in a control the half of it; None if none
        does."""
        carriers = sum(self.training_roles.get(role, 0) for role in ("poisoned", *CONTROLS))
        return carriers / self.training_pictures if carriers else None

    @property
    def edge_margin(self) -> str | None:
        """The edge margin of the training pictures' triggers; None without one, and where nobody says it."""
        margin = self.settings.get("edge margin")
        return None if margin in (None, "0px", "0%") else margin


def dataset_facts(folder: Folder) -> DatasetFacts:
    """The facts of a folder."""
    filled = [name for name, rows in folder.triggered.items() if rows]
    told = facts_of_recipe(folder.recipe, folder.name, folder.attack, folder.identity, filled)
    return DatasetFacts(
        folder=folder.root.name,
        identity=folder.identity,
        dataset=folder.dataset,
        name=folder.name,
        attack=folder.attack,
        family=told.family,
        own_set=told.own_set,
        settings=told.settings,
        training_pictures=len(folder.training),
        training_roles=folder.roles,
        evaluation_pictures=len(folder.evaluation),
        classes=folder.names,
        victim_classes=folder.victims,
        target_class=folder.target,
        trigger_class=folder.trigger_class,
        min_trigger_pixels=folder.min_trigger_pixels if folder.trigger_class is not None else None,
    )


def facts_of_recipe(
    recipe: object, name: str, attack: str, identity: str, filled_sets: Sequence[str]
) -> RecipeFacts:
    """What a manifest's recipe tells, in whatever words of JSON.

    ``name``, ``attack``, ``identity``: of the dataset, for where the recipe does not say enough.
    ``filled_sets``: the evaluation sets that have a picture.
    """
    words = _without_seeds(recipe) if isinstance(recipe, dict) and len(recipe) > 1 else {}
    leaves = dict(_leaves(words))
    settings = {
        key.replace("_", " "): _text(value) for key, value in leaves.items() if key not in SAID_ELSEWHERE
    }
    same: object = words or [name, attack]
    if leaves.get("trigger") == PICTURE_EACH:
        same = (
            identity  # the recipe does not name the pictures: no other dataset is known to be of this family
        )
    digest = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()
    own_set = own_set_of(filled_sets, attack, settings.get("edge margin"))
    return RecipeFacts(own_set, f"sha256:{digest}", settings)


def own_set_of(filled: Sequence[str], attack: str, margin: str | None) -> str | None:
    """The set of the attack's name, else the first; with an edge margin that sets have, first of all that
    with it."""
    wanted = [f"{attack}-margin", attack] if margin == SETS_MARGIN else [attack]
    for name in wanted:
        if name in filled:
            return name
    return filled[0] if filled else None


def _without_seeds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seeds(part) for key, part in value.items() if key not in NO_FAMILY}
    if isinstance(value, list):
        return [_without_seeds(part) for part in value]
    return value


def _leaves(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of a recipe by their own names, at any depth; ``kind`` by the name of what it is the kind
    of."""
    for key, part in value.items():
        if not isinstance(part, dict):
            yield key, part
            continue
        for name, leaf in _leaves(part):
            yield (key if name == "kind" else name), leaf


def _text(value: object) -> str:
    """A value as a table prints it: ``yes`` and ``no`` for booleans, lists with ``×``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "×".join(_text(part) for part in value)
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)
