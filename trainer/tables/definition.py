"""A table of runs as a folder: ``recipes/*.json``, which ``poisongen build`` takes, and ``table.toml``, which lists the runs.

``make table`` is the engine (``table.mk``); this module says in make's language what depends on what, and copies what may be shared::

    python -m trainer.tables.definition rules TABLE      the rules of a table's runs, for table.mk
    python -m trainer.tables.definition finished TABLE OUT NAME  those runs of the table NAME that are scored and as the table wants them now
    python -m trainer.tables.definition publish TABLE OUT    manifests, scores, logs and tables of OUT into TABLE; never a picture of the dataset
"""

import difflib
import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config import Config, load
from trainer.errors import SettingError, TrainerError
from trainer.run_folder import LOG, METRICS, RUN, read_json, write_json

FILE, RECIPES = "table.toml", "recipes"
NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._+-]*"
)  # of runs, recipes and tables: words to make, to a shell and to a file system
OF_THE_MACHINE = (
    "threads",
    "device",
)  # settings that the command line of make may give instead: a run that was begun keeps its own
SHARED = (
    "manifest.json",
    "samples.jsonl",
    "trigger.png",
    "decoy.png",
)  # of a dataset folder: what rebuild needs
TEXTS = (".md", ".csv", ".tex")  # of a table
PLOTS = ("rates.png", "distance.png", "capacity.png")  # of a table; its panels show pictures of the dataset


@dataclass(frozen=True)
class Run:
    """A training. ``data``: the recipe whose dataset it sees. ``score``: recipes on whose datasets it is
    scored, too."""

    data: str
    settings: Mapping[str, Any]
    score: tuple[str, ...] = ()


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


def read_table(folder: Path) -> Table:
    """Read and check ``table.toml`` and the names of the recipes beside it. Raises SettingError."""
    file = folder / FILE
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError("A table cannot be read.", file=file, found=error) from None
    recipes = sorted(path.stem for path in (folder / RECIPES).glob("*.json"))
    parts = ("settings", "runs", "tables", "subsets")
    _known(values, parts, "part", file)
    for part in parts:
        _typed(values.get(part, {}), dict, part, file)
    _names([*recipes, *values.get("runs", {}), *values.get("tables", {})], file)
    common, runs = values.get("settings", {}), {}
    for name, entry in values.get("runs", {}).items():
        where = f"{file}, run {name}"
        _known(_typed(entry, dict, name, file), ("data", "settings", "score"), "key", where)
        settings = common | _typed(entry.get("settings", {}), dict, "settings", file)
        _typed(settings.get("preset", ""), str, "preset", file)
        run = Run(
            entry.get("data", name), settings, tuple(_typed(entry.get("score", []), list, "score", file))
        )
        _known((run.data, *run.score), recipes, "recipe", where)
        arguments(run, where)
        runs[name] = run
    if not runs:
        raise SettingError("A table has no run.", file=file, expected="[runs] with at least one")
    tables = {
        name: tuple(_typed(rows, list, name, file))
        for name, rows in values.get("tables", {"main": [*runs]}).items()
    }
    for name, rows in tables.items():
        _known(rows, runs, "run", f"{file}, table {name}")
    subsets = {name: _typed(pattern, str, name, file) for name, pattern in values.get("subsets", {}).items()}
    return Table(runs, tables, folder, subsets)


def checked(run: Run, where: str = "") -> tuple[Config, dict[str, str]]:
    """A run's settings as the trainer reads them, and the text of each, the preset apart. Raises
    SettingError."""
    try:
        changes = {key: _text(value) for key, value in run.settings.items() if key != "preset"}
        return load(run.settings.get("preset", "default"), changes), changes
    except SettingError as error:
        raise SettingError(
            error.problem, file=where, expected=error.expected, found=error.found, todo=error.todo
        ) from None


def arguments(run: Run, where: str = "") -> list[str]:
    """A run's settings as ``trainer train`` takes them, without those of the machine. Raises SettingError."""
    _, changes = checked(run, where)
    preset = ["--preset", run.settings["preset"]] if "preset" in run.settings else []
    given = [
        part
        for key, text in changes.items()
        if key not in OF_THE_MACHINE
        for part in ("--set", f"{key}={text}")
    ]
    return [*preset, *given]


def rules(table: Table) -> str:
    """What depends on what, for ``table.mk``: of each run its dataset and arguments, of each table its runs.
    OUT is make's variable."""
    lines = ["# Written by make from table.toml: a change here is lost."]
    for name, run in table.runs.items():
        # As the trainer reads them, not as they are written: table.mk puts these words between quotes of its
        # own.
        config, _ = checked(run)
        machine = [
            word
            for key in OF_THE_MACHINE
            if key in run.settings
            for word in (f"--{key}", str(getattr(config, key)))
        ]
        lines += [
            "",
            f"DATA.{name} := {run.data}",
            f"ARGUMENTS.{name} := {_make(arguments(run))}",
            f"MACHINE.{name} := {_make(machine)}",
            f"$(OUT)/runs/{name}.wanted: $(OUT)/data/{run.data}.identity",
        ]
        scores = (f"$(OUT)/runs/{name}/{other}.scored: $(OUT)/data/{other}.identity" for other in run.score)
        lines += [f"{line} $(OUT)/runs/{name}/{METRICS}" for line in scores]
    for name, rows in table.tables.items():
        files = [
            f"{row}/{file}"
            for row in rows
            for file in (METRICS, *(f"{other}.scored" for other in table.runs[row].score))
        ]
        lines += ["", f"ROWS.{name} := {' '.join(rows)}"]
        lines += [
            f"$(OUT)/table/{name}/table.md: $(OUT)/table/{name}.rows {' '.join(f'$(OUT)/runs/{file}' for file in files)}"
        ]
    subsets = [word for name, pattern in table.subsets.items() for word in ("--subset", f"{name}={pattern}")]
    lines += [
        "",
        f"TABLES := {' '.join(table.tables)}",
        f"DATASETS := {' '.join(table.datasets)}",
        f"SUBSETS := {_make(subsets)}",
    ]
    return "\n".join(lines) + "\n"


def finished(table: Table, out: Path, names: Iterable[str]) -> list[str]:
    """Of these runs those in OUT that are scored and were made with the settings and the dataset that the
    table gives them now.

    ``NAME.begun`` says with which a run was begun: a line for each word of ``arguments``, then that of the
    dataset's identity.
    """
    found = []
    for name in names:
        run, data = out / "runs" / name, out / "data" / table.runs[name].data
        files = (
            run.with_name(f"{name}.begun"),
            data.with_name(f"{data.name}.identity"),
            data.with_name(f"{data.name}.json"),
        )
        if not (run / METRICS).is_file() or not all(file.is_file() for file in files):
            continue
        begun, identity, built_of = (file.read_text("utf-8") for file in files)
        wanted = "".join(f"{word}\n" for word in arguments(table.runs[name]) or [""]) + identity
        if begun == wanted and built_of == (table.folder / RECIPES / f"{data.name}.json").read_text("utf-8"):
            found.append(name)
    return found


def publish(folder: Path, out: Path) -> list[str]:
    """Copy what may be shared of OUT into a table's folder: text, trigger art and plots. Returns the names of
    what is not finished.

    That stays as it is there. A run is not finished either if the table has changed since, nor is a table one
    of whose runs is not. Of a dataset what ``poisongen rebuild`` needs, of a run scores, settings and log
    without the paths of this machine.
    """
    table, missing = read_table(folder), []
    there = finished(table, out, table.runs)
    for name in table.datasets:
        if not (out / "data" / name / SHARED[0]).is_file():
            missing.append(f"data/{name}")
            continue
        _copy(out / "data" / name, folder / "data" / name, SHARED)
        if (own := out / "data" / name / "triggers").is_dir():
            shutil.copytree(own, folder / "data" / name / "triggers", dirs_exist_ok=True)
    for name in table.runs:
        run, shared = out / "runs" / name, folder / "runs" / name
        if name not in there:
            missing.append(f"runs/{name}")
            continue
        _clear(shared)
        for file in sorted(run.glob("metrics*.json")):
            write_json(shared / file.name, _without_paths(read_json(file)))
        facts = read_json(run / RUN)
        write_json(
            shared / RUN, _without_paths({key: value for key, value in facts.items() if key != "data"})
        )
        shutil.copyfile(run / LOG, shared / LOG)
    for name in table.tables:
        made = out / "table" / name
        if (made / "table.md").is_file() and set(table.tables[name]) <= set(there):
            _copy(
                made,
                folder / "table" / name,
                [*(file.name for file in sorted(made.iterdir()) if file.suffix in TEXTS), *PLOTS],
            )
        else:
            missing.append(f"table/{name}")
    return missing


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy files of these names, where they are; what was in ``target`` before is taken away."""
    _clear(target)
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()


def _without_paths(value: Any) -> Any:
    """A value of JSON in which a path of this machine is its last part only."""
    if isinstance(value, dict):
        return {key: _without_paths(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_without_paths(part) for part in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _text(value: Any) -> str:
    """A value of TOML as ``--set`` takes it, on one line. Raises SettingError for text that has several."""
    if isinstance(value, list):
        return "x".join(_text(part) for part in value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if not text.isprintable():
        raise SettingError("A value cannot be used.", expected="text on one line", found=repr(text)[:80])
    return text


def _make(words: Iterable[str]) -> str:
    """Words that a shell started by make reads as they are. Make takes backslashes before a # in pairs, and
    others as they are."""
    text = " ".join(shlex.quote(_text(word)) for word in words).replace("$", "$$")
    return re.sub(r"(\\*)#", lambda found: 2 * found[1] + r"\#", text)


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
            close = difflib.get_close_matches(str(name), names, n=1)
            todo = (
                f"did you mean {close[0]}?"
                if close
                else "choose one of: " + (", ".join(names) or "none is there")
            )
            raise SettingError(f"There is no {what} “{name}”.", file=where, todo=todo)


def _typed(value: Any, kind: type, name: str, file: Path) -> Any:
    if not isinstance(value, kind):
        raise SettingError(
            f"“{name}” cannot be this.", file=file, expected=f"a {kind.__name__}", found=repr(value)[:80]
        )
    return value


def main(words: list[str]) -> int:
    """``rules TABLE``, ``finished TABLE OUT NAME`` (the runs of a table) or ``publish TABLE OUT``; returns
    the exit code."""
    try:
        match words:
            case ["rules", folder]:
                sys.stdout.write(rules(read_table(Path(folder))))
            case ["finished", folder, out, name]:
                table = read_table(Path(folder))
                runs = finished(table, Path(out), table.tables[name])
                sys.stdout.write(" ".join(f"{out}/runs/{run}" for run in runs) + "\n")
            case ["publish", folder, out]:
                missing = publish(Path(folder), Path(out))
                sys.stderr.write(f"not there yet: {', '.join(missing)}\n" if missing else "")
            case _:
                sys.stderr.write(f"{__doc__}\n")
                return 2
    except TrainerError as error:
        sys.stderr.write(f"Error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
