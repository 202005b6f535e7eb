"""Runs that have scores, and for each evaluation set those of a clean model on the same pictures."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from trainer.dataset.facts import SETS_MARGIN, DatasetFacts, own_set_of
from trainer.run_folder import METRICS
from trainer.scoring.picture_counts import PictureCounts, SuccessCounts
from trainer.scoring.scores import Scores, SetScores
from trainer.tables.folder_scores import Baseline, FolderScores, SetOfFolder, read_folder_scores
from trainer.tables.trainings import training_of, unlike


@dataclass(frozen=True, eq=False)
class Run:
    """A run, or predictions of another program, with its scores.

    ``baseline``: by the label of an evaluation set, where there is a clean model. ``elsewhere``: of a clean
    run, its scores on other folders. ``added``: of another run, by their labels, the evaluation sets that its
    own folder does not have. ``folder``: that of the run, None of predictions.
    """

    name: str
    own: FolderScores
    baseline: Mapping[str, Baseline] = field(default_factory=dict)
    elsewhere: Sequence[FolderScores] = ()
    added: Mapping[str, SetOfFolder] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def scores(self) -> Scores:
        """Those on its own folder."""
        return self.own.scores

    @property
    def dataset(self) -> DatasetFacts:
        """The dataset that it is scored on."""
        return self.scores.dataset

    @property
    def trained_on(self) -> DatasetFacts:
        """The dataset that it was trained on; where nobody knows, the one that it is scored on."""
        return self.scores.trained_on

    @property
    def attack(self) -> str:
        """What a table calls the attack."""
        return self.trained_on.name

    @property
    def labelled_sets(self) -> dict[str, SetOfFolder]:
        """Label → evaluation set, those of other folders last."""
        own = {name: SetOfFolder(self.own, name) for name in self.scores.evaluation_sets}
        return own | dict(self.added)

    @property
    def sets(self) -> dict[str, SetScores]:
        """Label → figures; a figure of pictures that the sets of one folder share is left out of those of
        other folders."""
        added = {
            label: dataclasses.replace(one.scores, asr_on_shared_pictures=None)
            for label, one in self.added.items()
        }
        return {**self.scores.evaluation_sets, **added}

    @property
    def own_set(self) -> str | None:
        """The evaluation set that stands for the attack, of those that were scored; None if there is none."""
        filled = [name for name, values in self.scores.evaluation_sets.items() if values.pictures]
        return own_set_of(filled, self.dataset.attack, self.trained_on.edge_margin)

    @property
    def own_set_lacks_margin(self) -> bool:
        """Was it trained with an edge margin that the evaluation set which stands for it does not have?"""
        if self.own_set is None or self.trained_on.edge_margin is None:
            return False
        return self.trained_on.edge_margin != SETS_MARGIN or not self.own_set.endswith("-margin")

    @property
    def trained_here(self) -> bool:
        """Was it trained by this program?"""
        return self.scores.run.settings is not None

    def unlike_clean(self, label: str) -> bool:
        """Is the clean model of an evaluation set of other settings, such as the network, or of another
        seed?"""
        clean = self.baseline.get(label)
        return clean is not None and clean.scores is not None and any(unlike(clean.scores, self.scores))

    def among(self, pattern: str) -> "Run":
        """The same of those evaluation pictures alone whose id matches ``pattern``. Raises RunError."""
        own = self.own.among(pattern)
        folders = {id(one.folder): one.folder for one in self.added.values()}
        parts = {key: folder.among(pattern) for key, folder in folders.items()}
        added = {label: SetOfFolder(parts[id(one.folder)], one.name) for label, one in self.added.items()}
        elsewhere = [folder.among(pattern) for folder in self.elsewhere]
        part = dataclasses.replace(self, own=own, added=added, elsewhere=elsewhere)
        block = self.scores.intervals.block
        baseline = {}
        for label, one in part.labelled_sets.items():
            if label in self.baseline:
                ids = frozenset(one.success.ids)
                baseline[label] = self.baseline[label].among(ids, block)
        return dataclasses.replace(part, baseline=baseline)


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The scores of runs, which are folders, or files that ``score`` wrote. Raises RunError.

    The clean model's success on an evaluation set is looked for in the runs on folders where no training
    picture is other than clean: ``eval RUN --data`` puts it there. It may be of another folder whose set has
    the same pictures. Of several such runs, one with the same settings is taken, then one with the same seed,
    else the first. Scores may also have their own. What ``eval`` has put into another run are more evaluation
    sets of it, if its own folder has not the same.
    """
    own = {path: read_folder_scores(path if path.is_file() else path / METRICS) for path in paths}
    others = {path: _read_others(path) for path in own if path.is_dir()}
    trained_clean = {path for path in others if _trained_clean(own[path].scores)}
    clean = [scores for path in others if path in trained_clean for scores in others[path]]
    names = distinct_names(list(own), [one.scores.run.name for one in own.values()])
    runs = []
    for (path, scores), name in zip(own.items(), names, strict=True):
        folder = path if path.is_dir() else None
        if path in trained_clean:
            run = Run(name, scores, elsewhere=others[path], folder=folder)
        else:
            run = Run(name, scores, added=_added_sets(scores.scores, others.get(path, [])), folder=folder)
        runs.append(with_baseline(run, clean))
    return runs


def _read_others(run: Path) -> list[FolderScores]:
    """The scores of a run on other folders than its own."""
    return [read_folder_scores(file) for file in sorted(run.glob("metrics-*.json"))]


def _trained_clean(scores: Scores) -> bool:
    return scores.run.settings is not None and scores.trained_on.all_clean


def distinct_names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Names of runs; those of the same name are called by as much of the end of their paths as makes all
    names different."""
    parts = [_path_of_run(path).parts for path in paths]
    lengths = [0] * len(names)
    while True:
        called = [
            "/".join(path[-length:]) if length else name
            for path, length, name in zip(parts, lengths, names, strict=True)
        ]
        clashing = [
            number
            for number, name in enumerate(called)
            if called.count(name) > 1 and lengths[number] < len(parts[number])
        ]
        if not clashing:
            return called
        for number in clashing:
            lengths[number] += 1


def _path_of_run(path: Path) -> Path:
    """That of a folder; that of a file without its ending."""
    return (path.parent / path.stem if path.is_file() else path).absolute()


@dataclass(frozen=True)
class _Measure:
    """Of what success is measured."""

    victim_classes: tuple[int, ...]
    target_class: int | None
    trigger_class: int | None

    @classmethod
    def of_dataset(cls, facts: DatasetFacts) -> "_Measure":
        return cls(facts.victim_classes, facts.target_class, facts.trigger_class)


def _added_sets(own: Scores, others: Iterable[FolderScores]) -> dict[str, SetOfFolder]:
    """``Run.added``: sets of the same evaluation split, victims and target, with intervals from the same
    blocks.

    Where the run's own folder measures no victims, as in random labels alone, they are those of the first of
    the others.
    """
    measure = _Measure.of_dataset(own.dataset)
    known = {values.identity for values in own.evaluation_sets.values()}
    found: dict[str, SetOfFolder] = {}
    for other in others:
        facts = other.scores.dataset
        if measure.target_class is None:
            measure = _Measure.of_dataset(facts)
        if not _same_split(own, other.scores) or _Measure.of_dataset(facts) != measure:
            continue
        for name, values in other.scores.evaluation_sets.items():
            if values.identity in known:
                continue
            known.add(values.identity)
            taken = name in own.evaluation_sets or name in found
            found[f"{name} of {facts.folder}" if taken else name] = SetOfFolder(other, name)
    return found


def _same_split(one: Scores, other: Scores) -> bool:
    """Were both scored on as many pictures of one dataset and its classes, with intervals of one kind?"""
    mine, theirs = one.dataset, other.dataset
    same_pictures = mine.dataset == theirs.dataset and mine.evaluation_pictures == theirs.evaluation_pictures
    return same_pictures and mine.classes == theirs.classes and one.intervals == other.intervals


def run_of(name: str, scores: Scores, counts: PictureCounts) -> Run:
    """A run that was just scored, with the clean model that its scores name."""
    return with_baseline(Run(name, FolderScores(scores, lambda: counts)), [])


def with_baseline(run: Run, clean: Sequence[FolderScores]) -> Run:
    """A run with the figures of a clean model: of the one that its scores name, or for each set of the one
    that is most like the run among ``clean``, scores of clean runs on other folders."""
    if run.scores.clean_model is not None:
        return dataclasses.replace(run, baseline=_named_baseline(run.own))
    ordered = sorted(clean, key=lambda one: unlike(one.scores, run.scores))
    baseline: dict[str, Baseline] = {}
    for label, one in run.labelled_sets.items():
        for scores in ordered:
            name = _same_set(one, scores.scores)
            if name is not None:
                baseline[label] = _baseline(SetOfFolder(scores, name))
                break
    return dataclasses.replace(run, baseline=baseline)


def _baseline(clean: SetOfFolder) -> Baseline:
    scores = clean.folder.scores
    return Baseline(clean.scores.asr, training_of(scores), scores, lambda: clean.success)


def _named_baseline(own: FolderScores) -> dict[str, Baseline]:
    """The figures of the clean model that scores of predictions name."""
    model = own.scores.clean_model
    if model is None:
        return {}
    baseline = {}
    for name, clean in model.evaluation_sets.items():
        read_success = partial(_success_of_clean_model, own, name)
        baseline[name] = Baseline(clean.asr, (model.name, clean.asr), None, read_success)
    return baseline


def _success_of_clean_model(own: FolderScores, name: str) -> SuccessCounts:
    return own.successes.clean_model[name]


def _same_set(one: SetOfFolder, clean: Scores) -> str | None:
    """The name in ``clean`` of an evaluation set: of the same folder, or of the same pictures; None if it was
    not scored."""
    mine, theirs = one.folder.scores.dataset, clean.dataset
    if theirs.identity == mine.identity:
        return one.name if one.name in clean.evaluation_sets else None
    if theirs.classes != mine.classes or _Measure.of_dataset(theirs) != _Measure.of_dataset(mine):
        return None
    for name, values in clean.evaluation_sets.items():
        if values.identity == one.scores.identity:
            return name
    return None


def nearest_clean(run: Run, clean: Sequence[Run]) -> Run | None:
    """Of clean runs on the same dataset the one that is most like a run: the same settings, then the same
    seed, else the first.

    None if there is none.
    """
    same = [
        one
        for one in clean
        if one.dataset.dataset == run.dataset.dataset and one.dataset.classes == run.dataset.classes
    ]
    return min(same, key=lambda one: unlike(one.scores, run.scores), default=None)
