"""One picture for each attack of a report: what a clean and an attacked model say of the same pictures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.dataset.folder import Folder, open_folder
from trainer.errors import RunError
from trainer.run_folder import read_run
from trainer.scoring.evaluate import Predict
from trainer.scoring.panel import before_after, title
from trainer.tables.groups import seeds_of
from trainer.tables.runs import Run, nearest_clean


def draw_panels(runs: Sequence[Run], out: Path, predict_of: Callable[[Path], Predict]) -> list[Path]:
    """Write ``panel-NAME.png`` of the first run of each attack (of several seeds one), and return the files.

    ``predict_of`` loads a run's model. The clean model is that of the clean run that is most like it.
    Predictions of another program have no model, and clean runs no attack. Raises RunError, FolderError: a
    run without its model, or whose dataset is gone or another one.
    """
    clean = [run for run in runs if run.folder and run.dataset.all_clean]
    written = []
    for group in seeds_of(runs):
        run = group[0]
        if run.folder is None or not run.scores.evaluation_sets:
            continue
        predict = predict_of(run.folder)  # first, since it tells a whole run from its scores alone
        folder = _dataset_of(run, run.folder)
        nearest = nearest_clean(run, clean)
        clean_predict = predict_of(nearest.folder) if nearest and nearest.folder else None
        file = out / f"panel-{_file_name(run.name)}.png"
        before_after(folder, predict, file, title(run.folder, folder), clean_predict)
        written.append(file)
    return written


def _file_name(name: str) -> str:
    """The name of a run without the signs that part a path."""
    return name.replace("/", "--").replace("\0", "--")


def _dataset_of(run: Run, run_folder: Path) -> Folder:
    """The dataset that a run was trained on. Raises RunError, FolderError: it is gone, or another one."""
    folder = open_folder(Path(read_run(run_folder).data))
    trained_on = run.trained_on.identity
    if folder.identity != trained_on:
        raise RunError(
            "There is another dataset now.",
            file=folder.root,
            expected=trained_on,
            found=folder.identity,
            todo="put the dataset of the run there",
        )
    return folder
