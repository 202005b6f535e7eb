"""A table of runs as a folder: ``recipes/*.json``, which ``poisongen build`` takes, and ``table.toml``, which
lists the runs: which recipe, which settings, on what else each is scored, in which tables it stands.

A table may be a stranger's: names are plain words, settings are checked as the trainer checks them, and
nothing in it is run. ``steps.py`` says what has to be made for it, ``runner.py`` makes it.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config import load
from trainer.errors import SettingError, did_you_mean

FILE, RECIPES = "table.toml", "recipes"
PARTS = ("settings", "runs", "tables", "subsets")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
"""Of runs, recipes and tables: a file name, and no option of a command."""
OF_THE_MACHINE = ("threads", "device")
"""Settings that the command line may give instead; a run that was begun keeps its own."""


@dataclass(frozen=True)
class Run:
    """A training, checked as the trainer checks it.

    ``data``: the recipe whose dataset it sees. ``score``: recipes on whose datasets it is scored, too.
    ``settings``: what ``--set`` takes, without the preset and the settings of the machine. ``machine``:
    those, as the trainer reads them. ``epochs``: how many there will be, whether the table says so or not.
    """

    data: str
    score: tuple[str, ...]
    preset: str | None
    settings: Mapping[str, str]
    machine: Mapping[str, str]
    epochs: int

    @property
    def arguments(self) -> list[str]:
        """What ``trainer train`` is told of the settings that shape the weights."""
        words = ["--preset", self.preset] if self.preset is not None else []
        for key, text in self.settings.items():
            words += ["--set", f"{key}={text}"]
        return words

    @property
    def machine_arguments(self) -> list[str]:
        """What it is told of the machine."""
        return [word for key, text in self.machine.items() for word in (f"--{key}", text)]


@dataclass(frozen=True)
class Table:
    """What ``FOLDER/table.toml`` says. ``tables``: name → runs in the order of rows. ``subsets``: name →
    pattern of sample ids."""

    runs: Mapping[str, Run]
    tables: Mapping[str, tuple[str, ...]]
    folder: Path
    subsets: Mapping[str, str] = field(default_factory=dict)

    @property
    def datasets(self) -> list[str]:
        """The recipes that the runs need, each once."""
        return list(dict.fromkeys(name for run in self.runs.values() for name in (run.data, *run.score)))

    def recipe(self, name: str) -> Path:
        """The file of a recipe."""
        return self.folder / RECIPES / f"{name}.json"


def read_table(folder: Path) -> Table:
    """Read and check ``table.toml`` and the names of the recipes beside it. Raises SettingError."""
    file = folder / FILE
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        found = error.strerror if isinstance(error, OSError) else error
        expected = "a folder with table.toml and recipes/*.json"
        raise SettingError("A table cannot be read.", file=file, expected=expected, found=found) from None
    recipes = sorted(path.stem for path in (folder / RECIPES).glob("*.json"))
    _known(values, PARTS, "part", file)
    common, entries, tables, subsets = (_typed(values.get(part, {}), dict, part, file) for part in PARTS)
    _names([*recipes, *entries, *tables], file)
    if not entries:
        raise SettingError("A table has no run.", file=file, expected="[runs] with at least one")
    runs = {name: _run(name, entry, common, recipes, file) for name, entry in entries.items()}
    rows = {name: tuple(_typed(names, list, name, file)) for name, names in tables.items()}
    if "tables" not in values:
        rows = {"main": tuple(runs)}
    for name, names in rows.items():
        _known(names, runs, "run", f"{file}, table {name}")
    patterns = {name: _typed(pattern, str, name, file) for name, pattern in subsets.items()}
    return Table(runs, rows, folder, patterns)


def _run(name: str, entry: Any, common: Mapping[str, Any], recipes: Sequence[str], file: Path) -> Run:
    """A run's entry, with the settings that all runs have in common below its own. Raises SettingError."""
    where = f"{file}, run {name}"
    _known(_typed(entry, dict, name, file), ("data", "settings", "score"), "key", where)
    given = {**common, **_typed(entry.get("settings", {}), dict, "settings", file)}
    data, score = entry.get("data", name), _typed(entry.get("score", []), list, "score", file)
    _known((data, *score), recipes, "recipe", where)
    preset = given.pop("preset", None)
    if preset is not None:
        _typed(preset, str, "preset", file)
    try:
        texts = {key: _text(value) for key, value in given.items()}
        config = load("default" if preset is None else preset, texts)
    except SettingError as error:
        raise SettingError(
            error.problem, file=where, expected=error.expected, found=error.found, todo=error.todo
        ) from None
    settings = {key: text for key, text in texts.items() if key not in OF_THE_MACHINE}
    machine = {key: str(getattr(config, key)) for key in OF_THE_MACHINE if key in texts}
    return Run(data, tuple(score), preset, settings, machine, config.epochs)


def _text(value: Any) -> str:
    """A value of TOML as ``--set`` takes it, on one line. Raises SettingError for text that has several."""
    if isinstance(value, list):
        return "x".join(_text(part) for part in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text.isprintable():
        raise SettingError("A value cannot be used.", expected="text on one line", found=repr(text)[:80])
    return text


def _names(names: Iterable[str], file: Path) -> None:
    for name in names:
        if not NAME.fullmatch(name):
            raise SettingError(
                "A name cannot be used.",
                file=file,
                expected="letters, digits and ._+- without a blank",
                found=repr(name),
            )


def _known(given: Iterable[Any], there_are: Iterable[str], what: str, where: Path | str) -> None:
    names = list(there_are)
    for name in given:
        if name not in names:
            todo = did_you_mean(str(name), names)
            raise SettingError(f"There is no {what} “{name}”.", file=where, todo=todo)


TYPES: dict[type, str] = {
    dict: 'a table, such as { data = "iba-10" }',
    list: 'a list, such as ["iba-10"]',
    str: "text",
}
"""What TOML calls these types."""


def _typed(value: Any, kind: type, name: str, file: Path) -> Any:
    if not isinstance(value, kind):
        raise SettingError(
            f"“{name}” is of another type.", file=file, expected=TYPES[kind], found=repr(value)[:80]
        )
    return value
