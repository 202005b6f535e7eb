"""The commands eval and score."""

from pathlib import Path

import click

from trainer.cli.options import FILE, FOLDER, block_option, device_option
from trainer.cli.output import percent, say, with_bar, writing


@click.command()
@click.argument("run", type=FOLDER)
@click.option("--data", type=FOLDER, metavar="OTHER", help="Another dataset folder. [default: the run's own]")
@device_option
@block_option
def evaluate(run: Path, data: Path | None, device: str, block: int) -> None:
    """Score the model of RUN on a dataset folder.

    Writes RUN/metrics.json for the dataset that the run was trained on, and
    RUN/metrics-IDENTITY.json for another. Scored on a poisoned dataset, a
    benign run gives the baseline of its attack success.

    \b
    Example:
      python -m trainer eval runs/benign --data data/nni10
    """
    from trainer import run_folder
    from trainer.config import load, resolve_auto
    from trainer.dataset.folder import open_folder
    from trainer.scoring.evaluate import score_run, write_metrics
    from trainer.tables.runs import short
    from trainer.training.machine import set_determinism

    _, config, facts = run_folder.load_model(run)
    folder = open_folder(data or Path(facts["data"]))
    set_determinism(resolve_auto(load("default", {"device": device, "threads": config.threads})))
    metrics = score_run(run, folder, device, with_bar, block)
    own = metrics["run"]["trained_on"]["identity"] == folder.identity
    file = run / (run_folder.METRICS if own else f"metrics-{short(folder.identity)}.json")
    write_metrics(file, metrics)
    say(f"scores are in {file}")
    for name, values in metrics["evaluation_sets"].items():
        figures = ", ".join(f"{text} {percent(values[key])}" for text, key in (
            ("ASR", "asr"), ("without trigger", "asr_without_trigger"), ("PBA", "pba")))  # fmt: skip
        unpaired = (
            f", without trigger: {values['unpaired_pictures']} others"
            if "unpaired_pictures" in values
            else ""
        )
        click.echo(f"{name}: {figures} ({values['pictures']} pictures{unpaired})")
    miou, pa = percent(metrics["miou"]), percent(metrics["pa"])
    click.echo(f"clean: mIoU {miou}, PA {pa} ({len(folder.evaluation)} pictures)")
    if folder.trigger_class is not None:
        miou, pa = (percent(metrics[f"{key}_without_trigger_class"]) for key in ("miou", "pa"))
        count, name = metrics["pictures_without_trigger_class"], folder.names[folder.trigger_class]
        click.echo(f"clean, without {name}: mIoU {miou}, PA {pa} ({count} pictures)")


@click.command()
@click.argument("data", type=FOLDER)
@click.option("--predictions", required=True, type=FOLDER, metavar="DIR", help="Predicted label maps.")
@click.option(
    "--clean-predictions",
    type=FOLDER,
    metavar="DIR",
    help="Those of a model that was trained without poison.",
)
@click.option("--out", type=FILE, metavar="FILE", help="Also write the scores there, as JSON.")
@click.option(
    "--method",
    metavar="WORDS",
    help="What predicted: files of one method and other seeds are summed up by report.",
)
@click.option(
    "--seed", type=click.IntRange(0), metavar="N", help="Of the training that predicted, for report."
)
@click.option("--json", "as_json", is_flag=True, help="Print the scores as JSON instead of the table.")
@block_option
def score(
    data: Path,
    predictions: Path,
    clean_predictions: Path | None,
    out: Path | None,
    method: str | None,
    seed: int | None,
    as_json: bool,
    block: int,
) -> None:
    """Score label maps that any other program predicted for the folder DATA.

    A prediction is an 8-bit grey or palette PNG of training ids, 0 … K-1, as
    large as the label map. It lies under the path of its picture, ending in
    .png: DIR/leftImg8bit/val/…, DIR/triggered/iba/leftImg8bit/val/….

    The clean evaluation split must be there; an evaluation set may be left
    out as a whole. FILE can be given to report like a run.

    \b
    Example:
      python -m trainer score data/nni10 --predictions out/nni10 \\
          --clean-predictions out/benign --out scores.json
    """
    from trainer.dataset.folder import open_folder
    from trainer.scoring.evaluate import metrics_text, write_metrics
    from trainer.scoring.predictions import score_predictions
    from trainer.tables.rows import body_of
    from trainer.tables.runs import with_baseline
    from trainer.tables.text import legend, markdown

    metrics = score_predictions(open_folder(data), predictions, clean_predictions, with_bar, block)
    metrics["run"] |= {key: value for key, value in (("method", method), ("seed", seed)) if value is not None}
    for whose, key in ((predictions, "left_out"), (clean_predictions, "left_out_of_clean_model")):
        for name in metrics.get(key, []):
            say(f"the evaluation set {name} is left out: {whose} has no prediction of it")
    if out:
        with writing(out.parent):
            write_metrics(out, metrics)
        say(f"scores are in {out}")
    scored = [with_baseline(metrics, [])]
    click.echo(
        metrics_text(metrics) if as_json else f"{markdown(body_of(scored))}\n{legend(scored)}", nl=False
    )
