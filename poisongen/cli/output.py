"""What a command says: results on standard output, as text or JSON; notes on standard error."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from poisongen.freeze import summary
from poisongen.freeze.apply import Built
from poisongen.freeze.plan import Plan
from poisongen.recipe import Recipe


@dataclass
class Reporter:
    """Speaks for one command; ``as_json``: the result is one JSON object."""

    as_json: bool
    started: float = field(default_factory=time.monotonic)

    def note(self, text: str) -> None:
        """A line beside the result."""
        click.echo(text, err=True)

    def result(self, lines: list[str], values: dict[str, Any]) -> None:
        """The result."""
        click.echo(json.dumps(values, indent=1, ensure_ascii=False) if self.as_json else "\n".join(lines))

    def seconds(self) -> float:
        """Since the command began."""
        return round(time.monotonic() - self.started, 1)

    def built(self, built: Built, lines: list[str]) -> None:
        """What was written, after what was planned."""
        resumed = f", {built.resumed:,} samples were there already" if built.resumed else ""
        self.result(
            [
                *lines,
                f"wrote {built.out}: {built.files:,} files, {summary.size_text(built.bytes)} "
                f"({summary.size_text(built.copied)} copied unchanged{resumed}), {self.seconds()} s",
                f"identity {built.manifest.identity}",
            ],
            {
                "out": str(built.out),
                "identity": built.manifest.identity,
                "files": built.files,
                "bytes": built.bytes,
                "bytes_copied": built.copied,
                "samples_resumed": built.resumed,
                "seconds": self.seconds(),
                "counts": built.manifest.counts,
            },
        )


def what_and_counts(
    recipe: Recipe, names: Sequence[str], counts: Mapping[str, Mapping[str, int]]
) -> list[str]:
    """The attack in words, and its counts under every denominator."""
    return [
        summary.describe_attack(recipe, names),
        *summary.counts_table(counts),
        *summary.coverage_line(recipe, counts),
    ]


def plan_values(plan: Plan) -> dict[str, Any]:
    """A plan as JSON values."""
    return {
        "recipe": plan.recipe.model_dump(mode="json"),
        "counts": plan.counts,
        "rejected": [one.model_dump() for one in plan.rejected],
        "placements": [
            {"id": entry.examined.sample.id, "set": entry.set, **entry.location.model_dump()}
            for entry in plan.entries
            if entry.location is not None
        ],
        "warnings": list(plan.warnings),
    }
