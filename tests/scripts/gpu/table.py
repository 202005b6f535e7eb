"""As many runs of a table as fit: its datasets are built here from their recipes, several runs at a time."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

from tests.scripts.gpu.environment import ROOT
from tests.scripts.gpu.results import Findings, RunMade, TableMade
from tests.scripts.gpu.stages import Report, Request

FOR_RUNS = 0.85  # of the time; in the rest the tables of what is finished are written, and packed
ARCHIVE = "table.tar.gz"


def table(request: Request, report: Report) -> None:
    """Make runs until most of the time is over, report those that are finished, and pack what may be
    published.

    Raises RuntimeError: nothing was finished.
    """
    assert request.table is not None
    out, until = request.scratch / "table", request.seconds * FOR_RUNS
    jobs = request.jobs or max(1, len(os.sched_getaffinity(0)) // 2)
    options = ["--jobs", jobs, "--threads", 1, "--devices", request.device, "--until", round(until), "-k"]
    if request.source:
        options += ["--source", request.source]
    code = runner(request.table, out, *options)
    finished = [metrics.parent for metrics in sorted(out.glob("runs/*/metrics.json"))]
    wanted = tomllib.loads((request.table / "table.toml").read_text("utf-8"))["runs"]
    report(Findings(table=(TableMade(len(wanted), len(finished), jobs, code),)))
    for run in finished:
        rows = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
        seconds = sum(row["timing"]["seconds"] for row in rows)
        report(Findings(runs=(RunMade(run.name, len(rows), seconds),)))
    if not finished:
        raise RuntimeError(f"no run was finished in {until:.0f} s")
    runner(request.table, out, "--now")
    pack(request.table, out, request.out / ARCHIVE)


def runner(table: Path, out: Path, *options: object) -> int:
    """Call the runner of tables. Returns its exit code; what it prints goes to the log."""
    command = [sys.executable, "-m", "trainer", "table", table, "--out", out, *options]
    done = subprocess.run([str(word) for word in command], cwd=ROOT, stdin=subprocess.DEVNULL, check=False)
    return done.returncode


def pack(table: Path, out: Path, archive: Path) -> None:
    """Publish into a copy of the table's folder, and pack ``runs`` and ``table`` from there."""
    copy = out / "published" / table.name
    shutil.copytree(table, copy, ignore=shutil.ignore_patterns("data", "runs", "table"))
    runner(copy, out, "--publish")
    part = archive.with_name(f"{archive.name}.part")
    with tarfile.open(part, "w:gz") as opened:
        for name in ("runs", "table"):
            if (copy / name).is_dir():
                opened.add(copy / name, name)
    part.replace(archive)
