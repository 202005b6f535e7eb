"""The kinds of steps that a table is made of, each a class: what it needs, what its key is made of, which
command makes it, and which file says that it is made.

::

    OUT/data/NAME/    a dataset; beside it NAME.json, the recipe that it was built of
    OUT/runs/NAME/    a run, and its scores on other datasets
    OUT/table/NAME/   a table: table.md, .csv, .tex, plots and panels
    OUT/outdated/     runs whose settings or dataset have changed since; nothing trained is deleted

Another kind, such as a repair of a run, is one more class here, and one more mapping of ``Steps``.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import FolderError, RunError, SettingError
from trainer.run_folder import CHECKPOINT, LOG, METRICS, MODEL, read_run
from trainer.scoring.picture_counts import table_beside
from trainer.scoring.scores import is_of_this_version
from trainer.tables import definition, steps
from trainer.tables.definition import Table
from trainer.tables.steps import Key, Record, Step, Tools

MANIFEST = "manifest.json"
DATASET = "dataset"  # among the inputs of a step: the identity of the dataset that it sees


@dataclass(frozen=True, eq=False)
class Dataset(Step):
    """A dataset, built of a recipe."""

    recipe: Path
    kind = "dataset"

    @property
    def built_of(self) -> Path:
        """The copy of the recipe that it is built of."""
        return self.folder.with_name(f"{self.folder.name}.json")

    @property
    def doing(self) -> str:
        return f"building the dataset {self.name}"

    def settings(self) -> Mapping[str, str]:
        return _recipe(self.recipe)

    def former_record(self) -> Record | None:
        if not self.built_of.is_file():
            return None
        return Record.begun(self.name, Key(self.kind, _recipe(self.built_of), {}), "")

    def is_made(self, record: Record | None) -> bool:
        return (self.folder / MANIFEST).is_file()

    def identity(self) -> str:
        """The dataset's identity. Raises FolderError."""
        file = self.folder / MANIFEST
        try:
            return str(json.loads(file.read_text("utf-8"))["identity"])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise FolderError("A manifest cannot be read.", file=file, found=error) from None

    def progress(self) -> str:
        return "begun" if self._partial.is_dir() else ""

    @property
    def _partial(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.partial")

    def put_aside(self, stamp: str) -> None:
        (self.folder / MANIFEST).unlink(missing_ok=True)  # first, so that half of it is never taken for all
        for folder in (self.folder, self._partial):
            if folder.exists():
                shutil.rmtree(folder)

    def prepare(self) -> None:
        super().prepare()
        shutil.copyfile(self.recipe, self.built_of)

    def command(self, tools: Tools, device: str | None) -> list[str]:
        source = ["--source", str(tools.source)] if tools.source else []
        machine = ["--jobs", str(tools.build_jobs), "--link", tools.link]
        return [*steps.POISONGEN, "build", str(self.built_of), *source, "--out", str(self.folder), *machine]


@dataclass(frozen=True, eq=False)
class Run(Step):
    """A training on a dataset, and its scores there."""

    dataset: Dataset
    wanted: definition.Run
    kind = "run"
    adopts = False

    @property
    def doing(self) -> str:
        return f"scoring {self.name}" if self._is_trained() else f"training {self.name}"

    @property
    def needs(self) -> Sequence[Step]:
        return (self.dataset,)

    def settings(self) -> Mapping[str, str]:
        preset = {} if self.wanted.preset is None else {"preset": self.wanted.preset}
        return {**preset, **self.wanted.settings}

    def inputs(self) -> Mapping[str, str]:
        return {DATASET: self.dataset.identity()}

    def former_record(self) -> Record | None:
        """``NAME.begun``: a line for each word of ``Run.arguments``, then the line of the manifest with the
        identity."""
        file = self.folder.with_name(f"{self.name}.begun")
        if not file.is_file():
            return None
        *words, identity = file.read_text("utf-8").splitlines() or [""]
        pairs = dict(pair.partition("=")[::2] for option, pair in _pairs(words) if option == "--set")
        if words[:1] == ["--preset"]:
            pairs["preset"] = words[1]
        inputs = {DATASET: identity.partition(":")[2].strip(' ",')}
        return Record.begun(self.name, Key(self.kind, pairs, inputs), "")

    def is_made(self, record: Record | None) -> bool:
        return is_of_this_version(self.folder / METRICS)

    def _is_trained(self) -> bool:
        return (self.folder / MODEL).is_file()

    def _has_checkpoint(self) -> bool:
        return (self.folder / CHECKPOINT).is_file()

    def progress(self) -> str:
        if self._is_trained():
            has_scores = (self.folder / METRICS).is_file()
            return "trained, scores of another version" if has_scores else "trained, not scored"
        if self._has_checkpoint():
            return f"trained up to epoch {len(self._epochs())}"
        return "begun" if self.folder.is_dir() else ""

    def put_aside(self, stamp: str) -> None:
        if not self.folder.exists():
            return
        aside = self.folder.parents[1] / "outdated" / f"{self.name}-{stamp}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while aside.exists():
            number += 1
            aside = aside.with_name(f"{self.name}-{stamp}-{number}")
        self.folder.rename(aside)
        if self.record_file.is_file():
            shutil.copyfile(self.record_file, aside / "step.json")

    def command(self, tools: Tools, device: str | None) -> list[str]:
        given = ["--device", device] if device else []
        if self._is_trained():
            return [*steps.TRAINER, "eval", str(self.folder), "--data", str(self.dataset.folder), *given]
        threads = [] if tools.threads is None else ["--threads", str(tools.threads)]
        machine = [*self.wanted.machine_arguments, *threads, *given]
        if self._has_checkpoint():
            machine = []  # it goes on as it was begun
        train = ["train", str(self.dataset.folder), "--out", str(self.folder)]
        return [*steps.TRAINER, *train, *self.wanted.arguments, *machine]

    def tidy(self) -> None:
        (self.folder / CHECKPOINT).unlink(missing_ok=True)

    def begun_on(self) -> str | None:
        if not self._has_checkpoint():
            return None
        try:
            return read_run(self.folder).config.device
        except RunError:
            return None  # training says itself what is wrong with the run

    def _epochs(self) -> list[float]:
        """The seconds of each epoch in ``log.jsonl``; a line that cannot be read is none."""
        file = self.folder / LOG
        text = file.read_text("utf-8", "replace") if file.is_file() else ""
        found = []
        for line in text.splitlines():
            with suppress(ValueError, LookupError, TypeError, RecursionError):
                found.append(float(json.loads(line)["timing"]["seconds"]))
        return found

    @property
    def parts(self) -> int:
        return self.wanted.epochs

    def parts_done(self) -> int:
        return min(self.parts, len(self._epochs()))

    def pace(self) -> float | None:
        seconds = self._epochs()
        return sum(seconds) / len(seconds) if seconds else None


@dataclass(frozen=True, eq=False)
class Score(Step):
    """The scores of a run on another dataset; ``folder`` is the run's."""

    run: Run
    dataset: Dataset
    kind = "score"

    @property
    def record_file(self) -> Path:
        return self.folder / f"{self.dataset.name}.step.json"

    @property
    def log(self) -> Path:
        return self.folder / f"{self.dataset.name}.score.log"

    @property
    def doing(self) -> str:
        return f"scoring {self.name}"

    @property
    def needs(self) -> Sequence[Step]:
        return (self.run, self.dataset)

    def settings(self) -> Mapping[str, str]:
        return {}

    def inputs(self) -> Mapping[str, str]:
        return {"run": self.run.key().digest, DATASET: self.dataset.identity()}

    def scores(self) -> Path:
        """The file, which is named by the dataset's identity."""
        return self._scores_on(self.dataset.identity())

    def _scores_on(self, identity: str) -> Path:
        if identity == self.run.dataset.identity():
            return self.folder / METRICS
        return self.folder / f"metrics-{identity.removeprefix('sha256:')[:12]}.json"

    def put_aside(self, stamp: str) -> None:
        """Remove the scores on the dataset of this name that was there before: no table may show them."""
        record = self.record()
        former = record.inputs.get(DATASET) if record else None
        if former is None or former in (self.dataset.identity(), self.run.dataset.identity()):
            return
        file = self._scores_on(former)
        file.unlink(missing_ok=True)
        table_beside(file).unlink(missing_ok=True)

    def is_made(self, record: Record | None) -> bool:
        return is_of_this_version(self.scores())

    def command(self, tools: Tools, device: str | None) -> list[str]:
        given = ["--device", device] if device else []
        return [*steps.TRAINER, "eval", str(self.folder), "--data", str(self.dataset.folder), *given]


@dataclass(frozen=True, eq=False)
class Report(Step):
    """A table of runs. ``words``: what ``trainer report`` is told besides them."""

    rows: Sequence[Run]
    scores: Sequence[Score]
    words: Sequence[str]
    kind = "table"

    @property
    def doing(self) -> str:
        return f"writing the table {self.name}"

    @property
    def needs(self) -> Sequence[Step]:
        return (*self.rows, *self.scores)

    def settings(self) -> Mapping[str, str]:
        return {"rows": " ".join(run.name for run in self.rows), "options": " ".join(self.words)}

    def inputs(self) -> Mapping[str, str]:
        own = {run.label: _digest(run.folder / METRICS) for run in self.rows}
        return own | {score.label: _digest(score.scores()) for score in self.scores}

    def is_made(self, record: Record | None) -> bool:
        return record is not None and record.finished and (self.folder / "table.md").is_file()

    def prepare(self) -> None:
        """Clear the table's folder: not every file of the former table is written again."""
        super().prepare()
        for file in self.folder.glob("*"):
            if file.is_file() and file.suffix in (".md", ".csv", ".tex", ".png"):
                file.unlink()

    def command(self, tools: Tools, device: str | None) -> list[str]:
        runs = [str(run.folder) for run in self.rows]
        return [*steps.TRAINER, "report", *runs, "--out", str(self.folder), *self.words]


@dataclass(frozen=True)
class Steps:
    """The steps of a table, by the names that ``table.toml`` gives them. ``scores``: those of each run."""

    datasets: Mapping[str, Dataset]
    runs: Mapping[str, Run]
    scores: Mapping[str, Sequence[Score]]
    reports: Mapping[str, Report]

    def wanted(self) -> list[Step]:
        """Every table and what it needs, each once, after what it needs itself. A run in no table is not
        made."""
        found: dict[str, Step] = {}
        for report in self.reports.values():
            for run in report.rows:
                for step in (run, *self.scores[run.name]):
                    found |= {need.label: need for need in step.needs} | {step.label: step}
        return [*found.values(), *self.reports.values()]


def steps_of(table: Table, out: Path, report_words: Sequence[str] = ()) -> Steps:
    """What has to be made of a table, below ``out``."""
    datasets = {name: Dataset(name, out / "data" / name, table.recipe(name)) for name in table.datasets}
    runs: dict[str, Run] = {}
    scores: dict[str, tuple[Score, ...]] = {}
    for name, wanted in table.runs.items():
        run = Run(name, out / "runs" / name, datasets[wanted.data], wanted)
        others = [datasets[other] for other in wanted.score]
        runs[name] = run
        scores[name] = tuple(Score(f"{name} on {other.name}", run.folder, run, other) for other in others)
    words: list[str] = []
    for subset, pattern in table.subsets.items():
        words += ["--subset", f"{subset}={pattern}"]
    words += report_words
    reports: dict[str, Report] = {}
    for name, names in table.tables.items():
        rows = [runs[row] for row in names]
        beside = [score for row in names for score in scores[row]]
        reports[name] = Report(name, out / "table" / name, rows, beside, words)
    return Steps(datasets, runs, scores, reports)


def _recipe(file: Path) -> dict[str, str]:
    """What a recipe says, each value with the path of keys to it. Raises SettingError."""
    try:
        return dict(_leaves(json.loads(file.read_text("utf-8")), ""))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingError("A recipe cannot be read.", file=file, found=error) from None


def _leaves(value: Any, path: str) -> Iterable[tuple[str, str]]:
    if not isinstance(value, dict):
        yield path, json.dumps(value, ensure_ascii=False, sort_keys=True)
        return
    for key, part in value.items():
        yield from _leaves(part, f"{path}.{key}" if path else key)


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(words[0::2], words[1::2], strict=False))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
