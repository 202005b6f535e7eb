"""Results are read by their fields, not by keys: one module knows the keys of each file."""

import ast
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainer.config import Config
from trainer.run_folder import RunFacts
from trainer.scoring.scores import Scores
from trainer.typed_json import INTERVAL, Figure

TRAINER = Path(__file__).parents[2] / "trainer"
ROOMS = ("scoring", "tables", "cli")
READERS = ("scoring/scores.py", "scoring/picture_counts.py")
NO_RESULTS = {
    "tables/definition.py": {"settings", "data"},  # of table.toml
    "tables/kinds.py": {"identity"},  # of a dataset's manifest
}
"""Words of other files that are words of results, too."""


def parts_of(hint: object) -> Iterator[type]:
    """The dataclasses in a type hint."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for part in typing.get_args(hint):
        yield from parts_of(part)


def keys_of(kind: type) -> set[str]:
    """The keys in the JSON of a dataclass, at any depth. Settings of a run are no results."""
    if kind in (Config, Figure):
        return set()
    keys = set()
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        keys.add(name)
        for part in parts_of(hint):
            keys |= {name + INTERVAL} if part is Figure else keys_of(part)
    return keys


KEYS = keys_of(Scores) | keys_of(RunFacts)


def looked_up(source: str) -> Iterator[tuple[int, str]]:
    """Every text that is looked up: ``x["asr"]``, ``x.get("asr")``, ``x.pop("asr")``, ``"asr" in x``."""
    for node in ast.walk(ast.parse(source)):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Subscript):
            texts = [node.slice]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            texts = node.args[:1] if node.func.attr in ("get", "pop", "setdefault") else []
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            texts = [node.left]
        for text in texts:
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield text.lineno, text.value


def lookups_of_results(source: str, allowed: set[str]) -> list[tuple[int, str]]:
    """Those that are keys of results."""
    return [(line, text) for line, text in looked_up(source) if text in KEYS - allowed]


def modules() -> Iterator[Path]:
    """The modules that see results."""
    for room in ROOMS:
        for file in sorted((TRAINER / room).rglob("*.py")):
            if file.relative_to(TRAINER).as_posix() not in READERS:
                yield file


def test_the_keys_are_known() -> None:
    """Those of figures, intervals, datasets, runs and their parts."""
    wanted = {"miou", "miou_interval", "evaluation_sets", "asr_interval", "distance_bands"}
    assert wanted | {"training_roles", "exactness", "memory_format", "trained_on", "config"} <= KEYS
    assert "batch" not in KEYS


@pytest.mark.parametrize("file", list(modules()), ids=lambda file: file.relative_to(TRAINER).as_posix())
def test_no_result_is_looked_up_by_its_key(file: Path) -> None:
    """A misspelt field is found by mypy, a misspelt key by a user."""
    allowed = NO_RESULTS.get(file.relative_to(TRAINER).as_posix(), set())
    assert lookups_of_results(file.read_text("utf-8"), allowed) == []


@pytest.mark.parametrize(
    "line",
    [
        'x["asr"]',
        'x.get("miou_interval")',
        'x["run"]["name"]',
        'del x["iou"]',
        'x["per"]["evaluation_sets"] = 1',
        'y = "asr" in x',
        'x.pop("pba", None)',
    ],
)
def test_a_lookup_would_be_found(line: str) -> None:
    """The check itself sees what it is there for, and nothing in other texts."""
    assert lookups_of_results(line, set())
    assert not lookups_of_results(f"print({line!r}); x['ASR']; x.get('other')", set())
