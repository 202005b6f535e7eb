"""The command table."""

import dataclasses
import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trainer.cli.options import FOLDER
from trainer.cli.output import say
from trainer.errors import Interrupted, RunError

if TYPE_CHECKING:
    from trainer.tables.decisions import Decision
    from trainer.tables.kinds import Report, Steps
    from trainer.tables.runner import Outcome
    from trainer.tables.steps import Step

OUT_OF_TIME = 75  # EX_TEMPFAIL of sysexits.h: give the same command again


class OutOfTime(Interrupted):
    """The time of --until is up."""

    exit_code = OUT_OF_TIME


@dataclass(frozen=True)
class Asked:
    """The words of the command line."""

    table: Path
    source: Path | None
    out: Path | None
    jobs: int | None
    keep_going: bool
    threads: int | None
    devices: str
    build_jobs: int
    link: str
    until: int | None
    report_args: str
    only_list: bool
    now: bool
    publish: bool

    @property
    def folder(self) -> Path:
        """Where all is made."""
        return self.out or Path("work") / self.table.resolve().name

    @property
    def device_names(self) -> tuple[str, ...]:
        """The devices, taken apart. Raises click.BadParameter."""
        names = tuple(name.strip() for name in self.devices.split(",") if name.strip())
        for name in names:
            if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", name):
                raise click.BadParameter(f"{name} is no device such as cpu, cuda or cuda:1.")
        return names

    @property
    def number_of_jobs(self) -> int:
        """How many steps at a time."""
        if self.jobs is None:
            return max(1, len(self.device_names))
        return self.jobs or len(os.sched_getaffinity(0))


@click.command()
@click.argument("table", type=FOLDER)
@click.option("--source", type=FOLDER, metavar="DIR", help="The clean dataset, for poisongen build.")
@click.option("--out", type=FOLDER, metavar="DIR", help="Where all is made. [default: work/TABLE]")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(0),
    metavar="N",
    help="Steps at a time; 0: one for each core. [default: one for each device]",
)
@click.option("-k", "--keep-going", is_flag=True, help="After a failure, make what does not depend on it.")
@click.option("--threads", type=click.IntRange(0), metavar="N", help="Of a training. [default: the table's]")
@click.option(
    "--devices",
    default="",
    metavar="NAMES",
    help="Such as cpu or cuda:0,cuda:1: each step takes the least busy. "
    "[default: the table's, or a GPU, if any]",
)
@click.option(
    "--build-jobs", type=click.IntRange(1), default=1, metavar="N", help="Processes of a build. [default: 1]"
)
@click.option(
    "--link",
    type=click.Choice(["symlink", "hard", "copy"]),
    default="symlink",
    help="How datasets hold clean files, as in poisongen build. [default: symlink]",
)
@click.option(
    "--until",
    type=click.IntRange(0),
    metavar="SECONDS",
    help=f"Interrupt all then, with exit code {OUT_OF_TIME}; the same command goes on.",
)
@click.option(
    "--report-args", default="", metavar="WORDS", help='For report, such as "--intervals --panels".'
)
@click.option("--list", "only_list", is_flag=True, help="Say what would be made, and why; make nothing.")
@click.option("--now", is_flag=True, help="Only write the tables of those runs that are finished.")
@click.option("--publish", is_flag=True, help="Only copy what may be shared of DIR into TABLE.")
def table(**words: Any) -> None:
    """Make the tables of the folder TABLE: datasets, runs, scores, tables.

    TABLE holds recipes/*.json and table.toml. Only what is missing is made,
    and what has changed with a recipe or a setting; runs of other settings are
    put aside in DIR/outdated. Interrupted or killed, the same command goes on.
    A file NAME.step.json beside each result says what it was made of.

    Exit code 1: a step failed; 75: the time is up; 130: interrupted.

    \b
    Example:
      python -m trainer table manifests/camvid --source CamVid -j 4 --list
    """
    asked = Asked(**words)
    if asked.only_list + asked.now + asked.publish > 1:
        raise click.UsageError("--list, --now and --publish are three ways to call it: give one of them.")
    devices, jobs = asked.device_names, asked.number_of_jobs
    try:
        report_words = shlex.split(asked.report_args)
    except ValueError as error:
        raise click.BadParameter(f"--report-args {asked.report_args}: {error}") from None

    from trainer.tables.definition import read_table
    from trainer.tables.kinds import steps_of
    from trainer.tables.publish import publish
    from trainer.tables.runner import Limits, Runner
    from trainer.tables.steps import Tools

    definition, out = read_table(asked.table), asked.folder
    steps = steps_of(definition, out, report_words)
    tools = Tools(asked.source, asked.build_jobs, asked.link, asked.threads)
    limits = Limits(jobs, devices, asked.until, asked.keep_going)
    if asked.publish:
        missing = publish(definition, out)
        if missing:
            say(f"not there yet: {', '.join(missing)}")
        say(f"manifests, scores and tables are in {asked.table}")
        return
    if asked.now:
        reports = reports_now(steps)
        runner = Runner(reports, tools, limits, say)
        runner.made |= {need.label for report in reports for need in report.needs}
        require_success(runner.run(out / "table"))
        return
    wanted = steps.wanted()
    preview(wanted, jobs, asked.only_list)
    if asked.only_list:
        return
    require_success(Runner(wanted, tools, limits, say).run(out))
    say(f"the tables are in {out / 'table'}")


def preview(steps: "Sequence[Step]", jobs: int, with_reasons: bool) -> None:
    """Say what would be made, why if that is asked for, and how long it will take."""
    from trainer.tables.decisions import Verdict, made_by_other_code, survey
    from trainer.tables.runner import commit

    decisions = survey(steps)
    pending = [step for step in steps if decisions[step.label].verdict is not Verdict.MADE]
    if with_reasons:
        width = max((len(step.label) for step in pending), default=0)
        for step in pending:
            decision = decisions[step.label]
            click.echo(f"{step.label:<{width}}  {decision.verdict.value}: {decision.why}")
    others = made_by_other_code(steps, commit())
    if others:
        say(f"begun with other code than this, and not made anew for it: {', '.join(others)}")
    kinds = Counter(step.kind for step in pending)
    parts = [f"{number} {kind}{'s' * (number > 1)}" for kind, number in kinds.items()]
    made = len(steps) - len(pending)
    say(f"to make: {', '.join(parts) or 'nothing'}; made: {made} of {len(steps)} steps")
    if pending:
        say(estimate_text(steps, decisions, jobs))


def estimate_text(steps: "Sequence[Step]", decisions: "Mapping[str, Decision]", jobs: int) -> str:
    """How long it will take, for people."""
    from trainer.tables.estimate import estimate
    from trainer.training.log import minutes

    expected = estimate(steps, decisions, jobs)
    if not expected.known:
        return "no estimate: nothing like it has run here yet"
    unknown = (
        f", and {expected.unknown} steps the like of which have not run here" if expected.unknown else ""
    )
    return f"about {minutes(expected.seconds)} with {jobs} at a time, by what has run here{unknown}"


def reports_now(steps: "Steps") -> "list[Report]":
    """The tables of those runs that are finished, with such scores on other datasets as there are."""
    from trainer.tables.decisions import Verdict, survey
    from trainer.tables.publish import finished_runs

    finished = finished_runs(steps)
    every = [
        *steps.datasets.values(),
        *steps.runs.values(),
        *(one for of in steps.scores.values() for one in of),
    ]
    decisions = survey(every)
    found = []
    for name, report in steps.reports.items():
        rows = [run for run in report.rows if run.name in finished]
        scores = [score for score in report.scores if decisions[score.label].verdict is Verdict.MADE]
        if rows:
            found.append(dataclasses.replace(report, rows=rows, scores=scores))
        else:
            say(f"no run of {name} is finished")
    return found


def require_success(outcome: "Outcome") -> None:
    """Raises Interrupted, OutOfTime, RunError: not all is made."""
    left = f"{len(outcome.not_made)} steps are not finished"
    todo = "give the same command again: it goes on"
    if outcome.interrupted:
        raise Interrupted("Interrupted.", found=left, todo=todo)
    if outcome.out_of_time:
        raise OutOfTime("The time is up.", found=left, todo=todo)
    if outcome.failed:
        failed = f"failed: {', '.join(outcome.failed)}"
        not_made = f"; not made: {', '.join(outcome.not_made)}" if outcome.not_made else ""
        raise RunError("Not all is made.", found=failed + not_made, todo="see the logs; " + todo)
