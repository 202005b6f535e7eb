"""What is printed below tables: what their columns mean, and on what the runs were trained."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from trainer.dataset.facts import DatasetFacts
from trainer.dataset.folder import CONTROLS
from trainer.errors import printable
from trainer.scoring.metrics import all_but, measured
from trainer.scoring.scores import Scores
from trainer.tables.cells import UNLIKE
from trainer.tables.runs import Run

FEW_BLOCKS = 10  # an interval of fewer is rough

CAPACITY_LEGEND = "Runs that differ in the network only. ASR: on the attack's own evaluation set.\n"

DISTANCES_LEGEND = (
    "ASR by the distance from trigger to victim (Euclidean), in pixels of a picture of 512 rows; "
    "in brackets, pictures.\n"
)

ORIGINS_LEGEND = (
    "Identity: the first digits of that of the dataset that a run was trained on; "
    "all of them, settings and package versions are in its run.json.\n"
)

CROPS_LEGEND = (
    "Trigger in crops: relabelled pixels whose training crop shows the whole trigger, "
    "each counted by its picture, over the first epochs.\n"
)

SEEDS_LEGEND = """\
Mean ± standard deviation over n seeds: the mean of the exact figures, and the standard deviation of a sample (n − 1). A clean model that
stands beside several seeds counts once.
"""  # noqa: E501

MATRIX_LEGEND = """\
Rows: what a model was trained with. Columns: where the trigger lies at test. ASR, in brackets less that of the clean model on the same
pictures.
"""  # noqa: E501

DETAILS_LEGEND = """\
ASR less …: the difference. Outside trigger: pixels under the trigger left out. ASR, mean of pictures: each picture counts the same;
pictures above 50: share of pictures of whose victim pixels more than half are predicted as the target. Could be triggered: share of the
evaluation split that is in the set.
"""  # noqa: E501

LEVELS = {
    "exact": "the same again gives the same weights, bit by bit",
    "seeded": "the same draws again, but sums in another order: other last bits",
    "mixed": "went on with other packages or processes: not exact",
}


def legend(runs: Sequence[Run], intervals: bool = False) -> str:
    """What the columns of the main table mean, and of which classes the pixels are that ASR counts."""
    lines = [
        "All figures in percent, pooled over pixels.",
        *_of_segmentation(runs),
        *_of_success(runs),
        *_of_clean_model(runs),
        *_of_margins(runs),
    ]
    if intervals:
        lines += _of_intervals(runs)
    lines += how_exact(runs)
    return "".join(f"{printable(line)}\n" for line in lines)


def _of_segmentation(runs: Sequence[Run]) -> Iterator[str]:
    control = any(role in CONTROLS for run in runs for role in run.dataset.training_roles)
    half = "; of a control: with the trigger only, or with the label only, ÷ all" if control else ""
    yield f"PR: poisoned ÷ all pictures of the training split{half}. mIoU, PA: clean evaluation split."
    presences = {_presence(run.dataset) for run in runs if run.scores.without_trigger_class is not None}
    for presence in sorted(presences):
        pictures = "those pictures of the clean evaluation split"
        yield f"mIoU, PA without trigger class: {pictures} that have {presence}."


def _presence(dataset: DatasetFacts) -> str:
    """What pictures without the trigger class have, in words."""
    if dataset.trigger_class is None:  # of the figures nobody knows of which pictures they are
        return "no trigger class"
    name, least = dataset.classes[dataset.trigger_class], dataset.min_trigger_pixels
    return f"no pixel of {name}" if least == 1 else f"fewer than {least} pixels of {name}"


def _of_success(runs: Sequence[Run]) -> Iterator[str]:
    attacks = _attacks_by_measure(runs)
    one = f" ({next(iter(attacks))})" if len(attacks) == 1 else ""
    pixels = "true victim pixels of the triggered pictures"
    yield f"ASR: {pixels} that are predicted as the target ÷ all of them{one}."
    if len(attacks) > 1:
        yield (
            "The victims differ, so the denominators do, too. "
            "Never rank an ASR of one of these lines by one of another:"
        )
        yield from (f"- {victims}: {', '.join(names)}" for victims, names in attacks.items())
    sets = [values for run in runs for values in run.sets.values()]
    if any(values.asr_on_shared_pictures is not None for values in sets):
        pictures = "those that all evaluation sets of a folder have"
        yield f"ASR on shared pictures: {pictures}. Compare its sets by this."
    if not sets or any(values.unpaired_pictures is None for values in sets):
        yield "ASR without trigger: the same pixels of the same pictures, untriggered."
    if any(values.unpaired_pictures is not None for values in sets):
        yield (
            "Unpaired: nothing is painted, so there are no untriggered pictures. "
            "ASR without trigger is that on the evaluation"
        )
        yield "split's other pictures: those that have victims and no trigger class."


def _attacks_by_measure(runs: Iterable[Run]) -> Mapping[str, Sequence[str]]:
    """Victims → target, in words, with the names of the attacks where this is measured, each once."""
    attacks: dict[str, list[str]] = {}
    for run in runs:
        dataset = run.dataset
        if dataset.target_class is None:
            continue
        victims = measured(dataset.classes, dataset.victim_classes)
        names = attacks.setdefault(f"{victims} → {dataset.classes[dataset.target_class]}", [])
        if run.attack not in names:
            names.append(run.attack)
    return attacks


def _of_clean_model(runs: Sequence[Run]) -> Iterator[str]:
    model = "a model that was trained on no poisoned picture"
    yield f"ASR of the clean model: the same triggered pictures, {model}."
    if any(run.unlike_clean(label) for run in runs for label in run.sets):
        yield f"{UNLIKE}: the clean model is of another network or seed, or differs in other settings."
    yield "PBA: mIoU of the other classes on the triggered pictures, victim pixels left out."
    if any(_no_other_class(run.dataset) for run in runs):
        yield "There is no PBA where all classes but the target are victims: no other class is left."
    if any(name.startswith("band-") for run in runs for name in run.scores.evaluation_sets):
        yield (
            "Sets band-…: by the Chebyshev distance from trigger to victim. "
            "A table by distance has the Euclidean one."
        )


def _no_other_class(dataset: DatasetFacts) -> bool:
    return all_but(dataset.victim_classes, dataset.target_class, len(dataset.classes))


def _of_margins(runs: Iterable[Run]) -> list[str]:
    """Which runs were trained with an edge margin that none of their evaluation sets has."""
    found: dict[str, list[str]] = {}
    for run in runs:
        if run.own_set_lacks_margin:
            margin = run.trained_on.edge_margin
            words = f"Trained with the edge margin {margin}, measured without: {run.own_set} is their own set"
            found.setdefault(words, []).append(run.name)
    return [f"{words} ({', '.join(names)})." for words, names in found.items()]


def _of_intervals(runs: Sequence[Run]) -> list[str]:
    """What the ends of an interval mean, and whether they are rough."""
    blocks = sorted({run.scores.intervals.block for run in runs})
    of = ", ".join(map(str, blocks))
    meaning = "95 % interval over the pictures that were measured"
    return [f"[low, high]: {meaning} (bootstrap of blocks of {of}); no seed is in it.", *roughness(runs)]


def roughness(runs: Iterable[Run]) -> list[str]:
    """A warning if there are few blocks, with the pictures of which there are fewest."""
    counts = [pair for run in runs for pair in _blocks(run.scores)]
    fewest, name = min(counts, default=(FEW_BLOCKS, ""))
    if fewest >= FEW_BLOCKS:
        return []
    few = "1 block" if fewest == 1 else f"{fewest} blocks"
    advice = "where pictures are no frames of one drive, choose eval --block 1"
    return [f"Of {few} ({name}) an interval is rough: {advice}."]


def _blocks(scores: Scores) -> Iterator[tuple[int, str]]:
    """How many blocks the intervals are drawn from, by the pictures that they are of."""
    without = scores.without_trigger_class
    counts: dict[str, int | None] = {
        "clean evaluation split": scores.dataset.evaluation_pictures,
        "pictures without trigger class": without.pictures if without else None,
        "shared pictures": scores.shared_pictures,
    }
    counts |= {name: values.pictures for name, values in scores.evaluation_sets.items()}
    for name, count in counts.items():
        if count:
            yield -(-count // scores.intervals.block), name


def how_exact(runs: Iterable[Run]) -> list[str]:
    """On what runs were trained, and whether the same would give the same weights again: a line for each way,
    with its runs if several."""
    ways: dict[str, list[str]] = {}
    for run in runs:
        words = _way(run.scores)
        if words:
            ways.setdefault(words, []).append(run.name)
    lines = []
    for words, names in ways.items():
        of = f" ({', '.join(names)})" if len(ways) > 1 else ""
        lines.append(f"Trained{of}: {words}.")
    return lines


def _way(scores: Scores) -> str:
    """How exact a run is, in words; empty of predictions of another program."""
    exact = scores.run.exactness
    if exact is None:
        return ""
    parts = [exact.device]
    if exact.threads:
        parts.append("1 thread" if exact.threads == 1 else f"{exact.threads} threads")
    if exact.processes > 1:
        parts.append(f"{exact.processes} processes")
    parts += [exact.precision, exact.memory_format]
    if exact.compiled:
        parts.append("compiled")
    version = scores.run.environment.get("torch") or scores.environment.get("torch")
    if version:
        parts.append(f"torch {version}")
    words = ", ".join(part for part in parts if part)
    return f"{words}; {exact.level}: {LEVELS[exact.level]}" if exact.level in LEVELS else words
