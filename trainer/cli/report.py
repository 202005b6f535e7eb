"""The commands report and panel."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from trainer.cli.options import FILE, FOLDER
from trainer.cli.output import say, writing
from trainer.errors import RunError


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--out", type=FOLDER, metavar="DIR", help="Also write tables (.md, .csv, .tex) and plots there."
)
@click.option("--intervals", is_flag=True, help="With 95 % intervals over pictures: 88.69 [86.1, 91.0].")
@click.option("--details", "with_details", is_flag=True, help="More tables: differences, distances, classes.")
@click.option(
    "--subset",
    "subsets",
    multiple=True,
    metavar="NAME=GLOB",
    help="Also of the pictures whose id matches. May be repeated.",
)
@click.option("--panels", is_flag=True, help="Also draw DIR/panel-NAME.png for each attack.")
def report(
    runs: Sequence[Path],
    out: Path | None,
    intervals: bool,
    with_details: bool,
    subsets: Sequence[str],
    panels: bool,
) -> None:
    """Print the table of RUNS as Markdown, one row for each evaluation set.

    Runs that differ in seeds only are also summed up: mean ± standard
    deviation; runs with several evaluation sets stand in a matrix; those that
    differ in the network only are compared by its size. Files that score
    wrote are runs, too.

    The figures of a subset need no prediction. A panel does, and the dataset
    of the run; it holds pictures of it: do not share them.

    \b
    Example:
      python -m trainer report runs/benign runs/iba10 runs/nni10 --out tables
      python -m trainer report runs/* --subset "Seq05VD=test/Seq05VD*"
    """
    if panels and not out:
        raise click.UsageError("--panels needs --out, the folder for them.")
    named = dict(name_and_pattern(subset) for subset in subsets)

    from trainer.cli.trained_model import trained_model
    from trainer.config import Config, resolve_auto
    from trainer.tables.panels import draw_panels
    from trainer.tables.plots import draw_plots
    from trainer.tables.runs import read_runs
    from trainer.tables.text import Report, report_text, write_report

    for run in runs:
        require_finished(run)
    scored = read_runs(runs)
    wanted = Report(scored, intervals, with_details, named)
    text = report_text(wanted)
    if out:
        with writing(out):
            write_report(wanted, out)
            draw_plots(scored, out)
    if out and panels:
        config = resolve_auto(Config())
        with writing(out):
            files = list(draw_panels(scored, out, lambda run: trained_model(run, config).predict))
        for file in files:
            say(f"a panel is in {file}")
        if not files:
            say("there is no panel: none of these is a run with a model, an attack and an evaluation set")
    click.echo(text, nl=False)


@click.command()
@click.argument("run", type=FOLDER)
@click.option(
    "--data", type=FOLDER, metavar="OTHER", help="Pictures of another folder. [default: the run's own]"
)
@click.option("--clean-run", type=FOLDER, metavar="RUN", help="A benign run, for one more column.")
@click.option(
    "--out",
    required=True,
    type=FILE,
    metavar="FILE",
    help="The PNG to write.",
)
def panel(run: Path, data: Path | None, clean_run: Path | None, out: Path) -> None:
    """Draw pictures, truth and predictions, without and with the trigger.

    \b
    Example:
      python -m trainer panel runs/nni10 --data data/nni10 \\
          --clean-run runs/benign --out panel.png
    """
    if out.suffix != ".png":
        raise click.UsageError(f"A panel is a PNG, such as {out.with_suffix('.png')}, and not {out}.")

    from trainer import run_folder
    from trainer.cli.trained_model import trained_model
    from trainer.config import Config, resolve_auto
    from trainer.dataset.folder import open_folder
    from trainer.scoring.panel import panel as draw_panel
    from trainer.scoring.panel import title

    folder = open_folder(data or Path(run_folder.read_run(run).data))
    config = resolve_auto(Config())
    model = trained_model(run, config)
    clean = trained_model(clean_run, config) if clean_run else None
    names = folder.names
    if model.class_names != names or (clean and clean.class_names != names):
        expected = ", ".join(model.class_names)
        raise RunError("Run and folder have different classes.", file=run, expected=expected)
    with writing(out.parent):
        draw_panel(folder, model.predict, out, title(run, folder), clean.predict if clean else None)
    say(f"the panel is in {out}")


def name_and_pattern(subset: str) -> tuple[str, str]:
    """The two sides of NAME=GLOB. Raises click.UsageError."""
    name, equals, pattern = subset.partition("=")
    if not equals or not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._+-]*", name):
        raise click.UsageError(f"A subset is NAME=GLOB, such as night=val/night_*, and not {subset}.")
    return name, pattern


def require_finished(run: Path) -> None:
    """Raises RunError: ``run`` is a run that has no scores yet."""
    from trainer import run_folder

    if (run / run_folder.RUN).is_file() and not (run / run_folder.METRICS).is_file():
        raise RunError(
            "The run is not finished.",
            file=run,
            expected=f"its scores, {run_folder.METRICS}",
            found="no such file",
            todo="give its train command again, or leave it out",
        )
