"""The picture for people: what the model sees, what is true, and what the model says, without and with the
trigger."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from trainer.dataset.facts import dataset_facts
from trainer.dataset.folder import Folder, Row
from trainer.dataset.pictures import read_label, read_mask, read_picture
from trainer.scoring.evaluate import Predict
from trainer.scoring.metrics import measured

INK, QUIET, RED = "#1b1f24", "#6a737d", "#e5232e"
WIDTH = 2.6  # inches of a column
IN_LEGEND = 23  # classes in the legend; of more, those with the most true pixels


def panel(
    folder: Folder,
    predict: Predict,
    file: Path,
    title: str,
    clean_predict: Predict | None = None,
    count: int = 4,
) -> None:
    """Draw ``count`` rows to ``file`` (PNG): those with the most victim pixels, of one evaluation set (ties:
    by id).

    That is the set that stands for the attack (``DatasetFacts.own_set``); without any set, the first pictures
    of the clean split are shown. ``clean_predict`` adds a column: the triggered picture as a model sees it
    that was trained without poison.
    """
    chosen = shown(folder, count)
    _draw(folder, chosen, [_line(folder, row, predict, clean_predict) for row in chosen], file, title)


def before_after(
    folder: Folder,
    predict: Predict,
    file: Path,
    title: str,
    clean_predict: Predict | None = None,
    count: int = 4,
) -> None:
    """The same rows as ``panel``: picture, truth, what a clean model says of it, and the attacked one without
    and with the trigger."""
    chosen = shown(folder, count)
    lines = []
    for row in chosen:
        cells = _line(folder, row, predict, clean_predict)
        named = {
            "picture": "triggered picture" if row.set else "picture",
            "truth": "truth",
            "clean model": "clean model, triggered",
            "attacked model, no trigger": "prediction, clean",
            "attacked model, trigger": "prediction, triggered" if row.set else "prediction",
        }
        lines.append({head: cells[key] for head, key in named.items() if key in cells})
    _draw(folder, chosen, lines, file, title)


def shown(folder: Folder, count: int) -> list[Row]:
    """The rows of the evaluation set that stands for the attack, those with the most victim pixels; or clean
    ones."""
    name = dataset_facts(folder).own_set
    return most_victims(folder, folder.triggered[name], count) if name else list(folder.evaluation[:count])


def _draw(
    folder: Folder, chosen: Sequence[Row], lines: Sequence[dict[str, "Cell"]], file: Path, title: str
) -> None:
    """Draw the cells of some rows to ``file``, with a legend of their classes."""
    handles = [
        Patch(
            facecolor="#" + bytes(folder.colours[c]).hex(),
            edgecolor=QUIET,
            linewidth=0.4,
            label=folder.names[c],
        )
        for c in most_pixels(folder, chosen, IN_LEGEND)
    ]
    if chosen[0].set:
        handles.append(Patch(facecolor="none", edgecolor=RED, linewidth=1.6, label="trigger"))
    entries = max(1, len(handles))
    columns = entries if entries <= 12 else 8
    heads = list(lines[0])
    height, width = lines[0][heads[0]][0].shape[:2]
    tall, legend = (
        WIDTH * height / width,
        0.2 * ((entries - 1) // columns),
    )  # inches; the legend's, beyond its first line
    size = WIDTH * len(heads) + 0.3, (tall + 0.28) * len(lines) + 1.0 + legend  # inches
    figure = Figure(figsize=size, dpi=150, facecolor="white")
    top, bottom = 1 - 0.72 / size[1], (0.56 + legend) / size[1]
    grid = figure.subplots(len(lines), len(heads), squeeze=False)
    figure.subplots_adjust(0.15 / size[0], bottom, 1 - 0.15 / size[0], top, wspace=0.03, hspace=0.28 / tall)
    for place, (axes_row, cells) in enumerate(zip(grid, lines, strict=True)):
        for axes, (head, (picture, mask, note)) in zip(axes_row, cells.items(), strict=True):
            _show(axes, picture, mask, note)
            if place == 0:
                axes.set_title(head, fontsize=11, color=INK, pad=6)
    figure.text(
        0.15 / size[0], 1 - 0.14 / size[1], title, fontsize=15, fontweight="bold", color=INK, va="top"
    )
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        handlelength=1.2,
        columnspacing=1.2,
    )
    figure.savefig(file, metadata={"Software": None})


def title(run: Path, folder: Folder) -> str:
    """What a panel is called: run, attack and rate."""
    rate = (
        f", {100 * folder.poisoned / len(folder.training):.3g} % of the training pictures poisoned"
        if folder.poisoned
        else ""
    )
    return f"{run.resolve().name}: {folder.name} on {folder.dataset}{rate}"


def most_victims(folder: Folder, rows: Sequence[Row], count: int) -> list[Row]:
    """The rows with the most true victim pixels; of equals, those that come first by id."""
    pixels = {row.id: int(np.isin(read_label(row, folder, False), folder.victims).sum()) for row in rows}
    return sorted(rows, key=lambda row: (-pixels[row.id], row.id))[:count]


def most_pixels(folder: Folder, rows: Sequence[Row], count: int) -> list[int]:
    """The classes with the most true pixels in these pictures, ``count`` at most, in the order of their
    ids."""
    pixels = np.sum([np.bincount(read_label(row, folder, False).ravel(), minlength=256) for row in rows], 0)[
        : folder.classes
    ]
    return sorted(c for c in np.argsort(-pixels, kind="stable")[:count].tolist() if pixels[c])


Cell = tuple[NDArray[np.uint8], NDArray[np.bool_] | None, str]


def _line(folder: Folder, row: Row, predict: Predict, clean_predict: Predict | None) -> dict[str, Cell]:
    """The cells of one row: head → RGB picture, mask to outline, note below."""
    label, mask = read_label(row, folder, True), read_mask(row, True)
    truth = colours(label, folder)
    if not row.set:
        picture = read_picture(row, True)
        return {
            "picture": (picture, None, ""),
            "truth": (truth, None, ""),
            "prediction": (colours(predict(picture), folder), None, ""),
        }
    clean = next(other for other in folder.evaluation if other.id == row.id)
    pictures = read_picture(clean, True), read_picture(row, True)
    before, after = (predict(picture) for picture in pictures)
    art = np.where(mask[..., None], np.uint8(255), np.uint8(32)).repeat(3, axis=2)
    cells: dict[str, Cell] = {
        "clean picture": (pictures[0], None, ""),
        "triggered picture": (pictures[1], mask, ""),
        "trigger mask": (art, None, ""),
        "truth": (truth, None, ""),
        "prediction, clean": (colours(before, folder), None, success(folder, label, before)),
        "prediction, triggered": (colours(after, folder), mask, success(folder, label, after)),
    }
    if folder.trigger_class is not None:  # nothing is painted: both pictures are the same
        del cells["clean picture"], cells["prediction, clean"]
    if clean_predict:
        seen = clean_predict(pictures[1])
        cells["clean model, triggered"] = (colours(seen, folder), mask, success(folder, label, seen))
    return cells


def success(folder: Folder, label: NDArray[np.uint8], predicted: NDArray[np.integer]) -> str:
    """How much of the victim became the target, in words."""
    victim = np.isin(label, folder.victims)
    if folder.target is None or not victim.any():
        return ""
    names = measured(folder.names, folder.victims)
    share = (predicted[victim] == folder.target).mean()
    return f"{100 * share:.0f} % of {names} → {folder.names[folder.target]}"


def colours(label: NDArray[np.integer], folder: Folder) -> NDArray[np.uint8]:
    """Training ids (H, W) in the colours of the label space, uint8 (H, W, 3); what is ignored is dark
    grey."""
    table = np.full((256, 3), 40, np.uint8)
    table[: folder.classes] = folder.colours
    coloured: NDArray[np.uint8] = table[label]
    return coloured


def _show(axes: Axes, picture: NDArray[np.uint8], mask: NDArray[np.bool_] | None, note: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    if mask is not None and mask.any():
        height, width = (
            mask.shape
        )  # one more pixel on each side, so that a trigger at the border is outlined there, too
        extent = (-1.5, width + 0.5, -1.5, height + 0.5)
        axes.contour(np.pad(mask, 1).astype(float), [0.5], colors=RED, linewidths=1.5, extent=extent)
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
    if note:
        axes.set_xlabel(note, fontsize=9, color=INK, labelpad=3)
