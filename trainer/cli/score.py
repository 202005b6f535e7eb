"""The commands eval and score."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.options import FILE, FOLDER, block_option, device_option
from trainer.cli.output import percent, say, with_bar, writing

if TYPE_CHECKING:
    from trainer.scoring.scores import Scores


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
    from trainer.scoring.evaluate import score_run, write_result
    from trainer.training.machine import set_determinism

    facts = run_folder.read_run(run)
    folder = open_folder(data or Path(facts.data))
    set_determinism(resolve_auto(load("default", {"device": device, "threads": facts.config.threads})))
    result = score_run(run, folder, device, with_bar, block)
    own = facts.dataset.identity == folder.identity
    file = run / (run_folder.METRICS if own else f"metrics-{result.scores.dataset.short_identity}.json")
    write_result(file, result)
    say(f"scores are in {file}")
    for line in summary(result.scores):
        click.echo(line)


def summary(scores: "Scores") -> Iterator[str]:
    """The main figures, a line for each evaluation set and for the clean evaluation split."""
    dataset = scores.dataset
    for name, values in scores.evaluation_sets.items():
        asr, without = percent(values.asr.value), percent(values.asr_without_trigger.value)
        pictures = f"{values.pictures} pictures"
        if values.unpaired_pictures is not None:
            pictures += f", without trigger: {values.unpaired_pictures} others"
        yield f"{name}: ASR {asr}, without trigger {without}, PBA {percent(values.pba)} ({pictures})"
    miou, pa = percent(scores.miou.value), percent(scores.pa.value)
    yield f"clean: mIoU {miou}, PA {pa} ({dataset.evaluation_pictures} pictures)"
    rest = scores.without_trigger_class
    if rest is not None and dataset.trigger_class is not None:
        name = dataset.classes[dataset.trigger_class]
        miou, pa = percent(rest.miou.value), percent(rest.pa.value)
        yield f"clean, without {name}: mIoU {miou}, PA {pa} ({rest.pictures} pictures)"


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
    from trainer.scoring.evaluate import write_result
    from trainer.scoring.predictions import score_predictions
    from trainer.scoring.scores import scores_text
    from trainer.tables.formats import markdown
    from trainer.tables.legend import legend
    from trainer.tables.rows import body_of
    from trainer.tables.runs import run_of

    folder = open_folder(data)
    result = score_predictions(folder, predictions, clean_predictions, with_bar, block, method, seed)
    scores = result.scores
    for name in scores.left_out:
        say(f"the evaluation set {name} is left out: {predictions} has no prediction of it")
    for name in scores.left_out_of_clean_model:
        say(f"the evaluation set {name} is left out: {clean_predictions} has no prediction of it")
    if out:
        with writing(out.parent):
            write_result(out, result)
        say(f"scores are in {out}")
    if as_json:
        click.echo(scores_text(scores), nl=False)
        return
    runs = [run_of(scores.run.name, scores, result.counts)]
    click.echo(f"{markdown(body_of(runs))}\n{legend(runs)}", nl=False)
