"""Frozen, verifiable, rebuildable poisoned datasets for the study of backdoors in semantic segmentation.

A frozen poisoned dataset is a *plan* applied to a *source*. The plan is small, exact and free to share; the
source is licensed and stays where it is::

    from poisongen import LAYOUTS, Workers, build, make_plan

    source = LAYOUTS["cityscapes"].open(path)
    with Workers(jobs=4) as workers:
        plan = make_plan(recipe, source, art, workers)
        built = build(plan, source, art, out, workers)
    built.manifest.identity

An attack is three choices: a trigger, a placement and a relabel. ``CONTRIBUTING.md`` adds one of each.
A name is imported when it is first used: a command that prints its version needs none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from poisongen.version import __version__

if TYPE_CHECKING:
    from poisongen.attacks import ATTACKS, Attack
    from poisongen.datasets import LAYOUTS, Layout
    from poisongen.datasets.source import Sample, Source
    from poisongen.engine.workers import Workers
    from poisongen.errors import (
        ManifestError,
        OutputError,
        PoisongenError,
        RecipeError,
        Shortfall,
        SourceError,
        SourceMismatch,
        VerifyError,
    )
    from poisongen.format.manifest import Manifest, Row
    from poisongen.format.read import read
    from poisongen.freeze.apply import Built, build
    from poisongen.freeze.plan import Plan, make_plan
    from poisongen.freeze.plan_from_manifest import plan_from_manifest
    from poisongen.freeze.verify import verify
    from poisongen.placement import Fixed, NearVictim, OneSurface, Placement
    from poisongen.recipe import EvaluationSet, Poison, Recipe
    from poisongen.relabel import Everything, RandomPixels, Relabel, VictimToTarget
    from poisongen.triggers import (
        Art,
        Blend,
        Checkerboard,
        Frame,
        Line,
        Painted,
        Patch,
        PatchFolder,
        Semantic,
        Stripes,
        Trigger,
    )

_MODULES = {
    "poisongen.attacks": ("ATTACKS", "Attack"),
    "poisongen.datasets": ("LAYOUTS", "Layout"),
    "poisongen.datasets.source": ("Sample", "Source"),
    "poisongen.engine.workers": ("Workers",),
    "poisongen.errors": (
        "ManifestError",
        "OutputError",
        "PoisongenError",
        "RecipeError",
        "Shortfall",
        "SourceError",
        "SourceMismatch",
        "VerifyError",
    ),
    "poisongen.format.manifest": ("Manifest", "Row"),
    "poisongen.format.read": ("read",),
    "poisongen.freeze.apply": ("Built", "build"),
    "poisongen.freeze.plan": ("Plan", "make_plan"),
    "poisongen.freeze.plan_from_manifest": ("plan_from_manifest",),
    "poisongen.freeze.verify": ("verify",),
    "poisongen.placement": ("Fixed", "NearVictim", "OneSurface", "Placement"),
    "poisongen.recipe": ("EvaluationSet", "Poison", "Recipe"),
    "poisongen.relabel": ("Everything", "RandomPixels", "Relabel", "VictimToTarget"),
    "poisongen.triggers": (
        "Art",
        "Blend",
        "Checkerboard",
        "Frame",
        "Line",
        "Painted",
        "Patch",
        "PatchFolder",
        "Semantic",
        "Stripes",
        "Trigger",
    ),
}
"""Where the names come from: as above, where type checkers and editors see them."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ATTACKS",
    "LAYOUTS",
    "Art",
    "Attack",
    "Blend",
    "Built",
    "Checkerboard",
    "EvaluationSet",
    "Everything",
    "Fixed",
    "Frame",
    "Layout",
    "Line",
    "Manifest",
    "ManifestError",
    "NearVictim",
    "OneSurface",
    "OutputError",
    "Painted",
    "Patch",
    "PatchFolder",
    "Placement",
    "Plan",
    "Poison",
    "PoisongenError",
    "RandomPixels",
    "Recipe",
    "RecipeError",
    "Relabel",
    "Row",
    "Sample",
    "Semantic",
    "Shortfall",
    "Source",
    "SourceError",
    "SourceMismatch",
    "Stripes",
    "Trigger",
    "VerifyError",
    "VictimToTarget",
    "Workers",
    "__version__",
    "build",
    "make_plan",
    "plan_from_manifest",
    "read",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'poisongen' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
