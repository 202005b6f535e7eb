"""Copies what may be shared of a table's work into its folder: text, trigger art and plots.

Never a picture of the dataset, and no path of this machine.
"""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from trainer.errors import FolderError
from trainer.run_folder import LOG, METRICS, RUN, write_text
from trainer.tables.decisions import Verdict, survey
from trainer.tables.definition import Table
from trainer.tables.kinds import MANIFEST, Report, Run, Steps, steps_of
from trainer.tables.steps import Step

SHARED = (MANIFEST, "samples.jsonl", "trigger.png", "decoy.png")
"""Of a dataset: what ``poisongen rebuild`` needs, beside the folder ``triggers``."""
TEXTS = (".md", ".csv", ".tex")  # of a table
STRING = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?')  # of JSON, and the colon if it is a key
PLOTS = ("rates.png", "distance.png", "capacity.png")  # of a table; its panels show pictures of the dataset


def finished_runs(steps: Steps) -> dict[str, Run]:
    """The runs that are scored, and made of the settings and the dataset that the table gives them now."""
    every: list[Step] = [*steps.datasets.values(), *steps.runs.values()]
    decisions = survey(every)
    found = {}
    for name, run in steps.runs.items():
        if decisions[run.label].verdict is Verdict.MADE:
            found[name] = run
    return found


def publish(table: Table, out: Path) -> list[str]:
    """Copy what may be shared of OUT into the table's folder. Returns what is not finished, which stays as it
    is there.

    A run is not finished either if the table has changed since, nor is a table one of whose runs is not. Of a
    dataset what ``poisongen rebuild`` needs is copied; of a run its scores, settings and log.
    """
    steps = steps_of(table, out)
    missing = []
    for name, dataset in steps.datasets.items():
        if (dataset.folder / MANIFEST).is_file():
            _publish_dataset(dataset.folder, table.folder / "data" / name)
        else:
            missing.append(f"data/{name}")
    finished = finished_runs(steps)
    for name in steps.runs:
        if name in finished:
            _publish_run(finished[name].folder, table.folder / "runs" / name)
        else:
            missing.append(f"runs/{name}")
    for name, report in steps.reports.items():
        if is_current(report) and all(run.name in finished for run in report.rows):
            texts = [file.name for file in sorted(report.folder.iterdir()) if file.suffix in TEXTS]
            _copy(report.folder, table.folder / "table" / name, [*texts, *PLOTS])
        else:
            missing.append(f"table/{name}")
    return missing


def is_current(report: Report) -> bool:
    """Is a table written, of these runs and of the scores that they have now?"""
    record = report.record()
    if record is None or not report.is_made(record):
        return False
    try:
        inputs = report.inputs()
    except (OSError, FolderError):  # a run or a dataset of it is not there
        return False
    return record.inputs == inputs and record.settings.get("rows") == report.settings()["rows"]


def _publish_dataset(dataset: Path, shared: Path) -> None:
    _copy(dataset, shared, SHARED)
    if (dataset / "triggers").is_dir():
        shutil.copytree(dataset / "triggers", shared / "triggers", dirs_exist_ok=True)


def _publish_run(run: Path, shared: Path) -> None:
    _clear(shared)
    for file in (run / RUN, run / LOG, *sorted(run.glob(f"{Path(METRICS).stem}*"))):
        if file.suffix == ".json":
            write_text(shared / file.name, without_paths(file.read_text("utf-8")))
        else:
            shutil.copyfile(file, shared / file.name)


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


def without_paths(text: str) -> str:
    """A text of JSON in which each path of this machine is its last part only; all else is as it was."""

    def last_part(found: re.Match[str]) -> str:
        text, colon = found.groups()
        path = Path(json.loads(text))
        return found[0] if colon or not path.is_absolute() else json.dumps(path.name, ensure_ascii=False)

    return STRING.sub(last_part, text)
