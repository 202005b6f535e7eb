"""How long the steps of a table will take, by what has run below the same OUT."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.tables.decisions import Decision, Verdict
from trainer.tables.steps import Step


@dataclass(frozen=True)
class Known:
    """Seconds that a part of a step took, and what that step is."""

    kind: str
    settings: Mapping[str, str]
    pace: float


@dataclass(frozen=True)
class Estimate:
    """``seconds`` that the ``known`` steps take, those like something that has run; ``unknown``: how many
    others there are."""

    seconds: float
    known: int
    unknown: int


def estimate(steps: Sequence[Step], decisions: Mapping[str, Decision], jobs: int) -> Estimate:
    """How long it takes to make what ``decisions`` would make, ``jobs`` at a time."""
    known = [Known(step.kind, step.settings(), pace) for step in steps if (pace := step.pace()) is not None]
    durations = []
    unknown = 0
    for step in steps:
        verdict = decisions[step.label].verdict
        if verdict is Verdict.MADE:
            continue
        pace = step.pace() if verdict is Verdict.BEGUN else None
        if pace is None:
            pace = pace_like(step, known)
        if pace is None:
            unknown += 1
        else:
            done = step.parts_done() if verdict is Verdict.BEGUN else 0
            durations.append(pace * (step.parts - done))
    return Estimate(max(sum(durations) / jobs, max(durations, default=0.0)), len(durations), unknown)


def pace_like(step: Step, known: Sequence[Known]) -> float | None:
    """The mean pace of those steps of its kind whose settings differ least; None if there is none."""
    wanted = step.settings()
    alike = [one for one in known if one.kind == step.kind]
    if not alike:
        return None
    distances = [_differences(one.settings, wanted) for one in alike]
    nearest = zip(alike, distances, strict=True)
    paces = [one.pace for one, distance in nearest if distance == min(distances)]
    return sum(paces) / len(paces)


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    return sum(one.get(name) != other.get(name) for name in {**one, **other})
