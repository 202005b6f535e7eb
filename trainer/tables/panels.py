"""One picture for each attack of a report: what a clean and an attacked model say of the same pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.dataset.folder import open_folder
from trainer.errors import RunError
from trainer.run_folder import RUN, read_json
from trainer.scoring.evaluate import Predict
from trainer.scoring.panel import before_after, title
from trainer.tables.runs import Scored, all_clean, nearest_clean, seeds_of


def draw_panels(runs: Sequence[Scored], out: Path, predict_of: Callable[[Path], Predict]) -> list[Path]:
    """Write ``panel-NAME.png`` of the first run of each attack (of several seeds one), and return the files.

    ``predict_of`` loads a run's model. The clean model is that of the clean run that is most like it.
    Predictions of another program have no model, and clean runs no attack. Raises RunError, FolderError: a
    run without its model, or whose dataset is gone or another one.
    """
    clean = [run for run in runs if run.folder and all_clean(run.dataset)]
    written = []
    for group in seeds_of(runs):
        run = group[0]
        if run.folder is None or not run.metrics["evaluation_sets"]:
            continue
        predict = predict_of(run.folder)  # first, for it tells a whole run from its scores alone
        folder = open_folder(Path(read_json(run.folder / RUN)["data"]))
        if folder.identity != run.trained["identity"]:
            problem, expected, todo = (
                "There is another dataset now.",
                run.trained["identity"],
                "put the dataset of the run there",
            )
            raise RunError(problem, file=folder.root, expected=expected, found=folder.identity, todo=todo)
        beside = nearest_clean(run, clean)
        other = predict_of(beside.folder) if beside and beside.folder else None
        file = out / f"panel-{run.name.replace('/', '--')}.png"
        before_after(folder, predict, file, title(run.folder, folder), other)
        written.append(file)
    return written
