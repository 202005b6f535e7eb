"""What is to be done about each step of a table, and why. Nothing is changed here.

What is compared is content, never times: a step is made anew if its settings, or what it is made of, are
others than those in its ``step.json``. That the code has changed is noted, and makes nothing anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from trainer.tables.steps import Key, Record, Step


class Verdict(Enum):
    """What is to be done about a step."""

    MADE = "made"
    MISSING = "make"
    CHANGED = "make anew"
    BEGUN = "go on"
    WAITS = "wait"


@dataclass(frozen=True)
class Decision:
    """A verdict, and why, for people."""

    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Found:
    """What lies on the disk of a step. ``foreign``: it is there, but nothing says what it was made of."""

    record: Record | None
    made: bool
    progress: str
    foreign: bool


def look(step: Step) -> Found:
    """What lies on the disk of a step, the steps that it needs being made."""
    record = step.record()
    foreign = record is None and not step.adopts and step.folder.exists()
    return Found(record, step.is_made(record), step.progress(), foreign)


def decide(wanted: Key, found: Found) -> Decision:
    """What is to be done about a step that should be made of ``wanted``."""
    if found.foreign:
        return Decision(Verdict.CHANGED, "nothing says what it was made of")
    if found.record and (changes := found.record.made_of.changes(wanted)):
        return Decision(Verdict.CHANGED, "; ".join(changes))
    if found.made:
        return Decision(Verdict.MADE)
    if found.progress:
        return Decision(Verdict.BEGUN, found.progress)
    return Decision(Verdict.MISSING, "missing")


def survey(steps: Sequence[Step]) -> dict[str, Decision]:
    """What would be done about each step, by its label, and why. Nothing is changed."""
    decisions: dict[str, Decision] = {}
    for step in steps:
        before = [need.label for need in step.needs if decisions[need.label].verdict is not Verdict.MADE]
        if before:
            decisions[step.label] = Decision(Verdict.WAITS, f"after {', '.join(before)}")
        else:
            decisions[step.label] = decide(step.key(), look(step))
    return decisions


def made_by_other_code(steps: Sequence[Step], commit: str) -> list[str]:
    """Labels of the steps that other code than this commit has begun."""
    records = [(step.label, step.record()) for step in steps]
    return [label for label, record in records if record and record.commit not in ("", commit)]
