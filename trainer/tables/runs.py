"""Scores of runs, beside those of a clean model: which there are, what their datasets are, and what runs
differ in."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.config import NO_RESULT, Config
from trainer.dataset import placements
from trainer.dataset.folder import CONTROLS
from trainer.dataset.placements import own_set_of
from trainer.networks.models import MODELS
from trainer.run_folder import METRICS, RUN, read_json
from trainer.scoring.figures import restricted, success_among

Scores = Mapping[str, Any]
"""What ``metrics.json`` holds."""

NO_OTHER_RUN = ("seed", "device", "threads", *NO_RESULT)  # settings in which seeds of one run may differ
SIZE = ("model", "backbone", "width", "loss")  # settings of a network; each model has its own loss
MEASURED = ("victim_classes", "target_class", "trigger_class", "classes")  # of what a success is measured
PICTURE_EACH = (
    "patch-folder"  # kind of trigger: a picture for each sample, which the rows name and the recipe does not
)
SAID_ELSEWHERE = ("attack", "rate", "coverage")  # keys of a recipe that the columns attack and PR stand for


def short(identity: str) -> str:
    """The first digits of a dataset's identity, for names of files."""
    return identity.removeprefix("sha256:")[:12]


@dataclass(frozen=True)
class Scored:
    """A run's scores, and for each evaluation set those of a clean model on the same triggered pictures,
    where there is one.

    ``elsewhere``: a clean run's scores on other folders. ``more``: of another run, evaluation sets that its
    own folder has not, as the scores on their folder and the name there. ``folder``: that of the run, None of
    predictions. ``beside``: for each of these sets the scores of the clean run that they are from, as far as
    it is a run.
    """

    metrics: Scores
    baseline: Scores
    beside: Mapping[str, Scores] = field(default_factory=dict)
    elsewhere: Sequence[Scores] = ()
    more: Mapping[str, tuple[Scores, str]] = field(default_factory=dict)
    folder: Path | None = None
    exactness: Scores = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the run is called."""
        return str(self.metrics["run"]["name"])

    @property
    def sets(self) -> dict[str, Scores]:
        """The evaluation sets, those of other folders last; what is said of pictures that sets of one folder
        share is not of theirs."""
        others = {label: scores["evaluation_sets"][name] for label, (scores, name) in self.more.items()}
        plain = {
            label: {key: one for key, one in values.items() if "shared" not in key}
            for label, values in others.items()
        }
        return {**self.metrics["evaluation_sets"], **plain}

    @property
    def dataset(self) -> Scores:
        """The facts of the dataset it is scored on."""
        return self.metrics["dataset"]  # type: ignore[no-any-return]

    @property
    def trained(self) -> Scores:
        """The facts of the dataset it was trained on."""
        return trained_on(self.metrics)

    def unlike_clean(self, name: str) -> bool:
        """Is the clean model beside an evaluation set of other settings, such as the network, or of another
        seed?"""
        return name in self.beside and any(_unlike(self.beside[name], self.metrics))

    def clean_run(self, name: str) -> str:
        """What is the same for the figures of one clean model on an evaluation set."""
        if name in self.beside:
            return same_training(self.beside[name])
        return json.dumps(
            [self.metrics.get("clean_model", {}).get("name"), self.baseline.get(name, {})], sort_keys=True
        )


def loss_of(metrics: Scores) -> str:
    """The loss that a run was trained with."""
    config = metrics["run"]["config"] or {}
    loss = str(config.get("loss", "auto"))
    return MODELS[config.get("model", "swiftnet")].loss if loss == "auto" else loss


def trained_on(metrics: Scores) -> Scores:
    """The facts of the dataset that a model was trained on; where nobody knows, of the one that it is scored
    on."""
    dataset: Scores = metrics["dataset"]
    trained: Scores = metrics["run"].get("trained_on") or dataset
    return dataset if trained["identity"] == dataset["identity"] else trained


def same_training(metrics: Scores) -> str:
    """What is the same for scores of one training: dataset, settings and seed."""
    return json.dumps([trained_on(metrics)["identity"], _settings(metrics), seed_of(metrics)], sort_keys=True)


def read_runs(runs: Sequence[Path]) -> list[Scored]:
    """The scores of runs, which are folders, or files that ``score`` wrote. Raises RunError.

    The clean model's success on an evaluation set is looked for in the runs on folders where no training
    picture is other than clean: ``eval RUN --data`` puts it there. It may be of another folder whose set has
    the same pictures. Of several such runs, one with the same settings is taken, then one with the same seed,
    else the first. Scores may also have their own. What ``eval`` has put into another run are more evaluation
    sets of it, if its own folder has not the same.
    """
    scored = {run: read_json(run if run.is_file() else run / METRICS) for run in runs}
    others = {
        run: [read_json(file) for file in sorted(run.glob("metrics-*.json"))] for run in runs if run.is_dir()
    }
    trained_clean = {run for run in others if _trained_clean(scored[run])}
    clean = [metrics for run in runs if run in trained_clean for metrics in others[run]]
    found = []
    for run, metrics in zip(scored, _told_apart(scored), strict=True):
        facts = read_json(run / RUN) if (run / RUN).is_file() else {}
        exactness = metrics.get("exactness") or facts.get("exactness") or {}
        if exactness and "environment" in facts:
            exactness = {
                **exactness,
                "torch": facts["environment"]["torch"],
            }  # of the training; the scores may be of another
        more = {} if run in trained_clean else _more(metrics, others.get(run, ()))
        one = with_baseline(metrics, clean, more)
        elsewhere, folder = others[run] if run in trained_clean else (), run if run.is_dir() else None
        found.append(dataclasses.replace(one, elsewhere=elsewhere, folder=folder, exactness=exactness))
    return found


def _more(metrics: Scores, others: Sequence[Scores]) -> dict[str, tuple[Scores, str]]:
    """``Scored.more``: sets of the same evaluation split, victims and target, with intervals from the same
    blocks.

    Where the run's own folder measures no victims, as in random labels alone, they are those of the first of
    the others.
    """
    own, measure = metrics["evaluation_sets"], metrics["dataset"]
    met = {values["identity"] for values in own.values() if "identity" in values}
    found: dict[str, tuple[Scores, str]] = {}
    for scores in others:
        if measure.get("target_class") is None:
            measure = {**measure, **{key: scores["dataset"].get(key) for key in MEASURED if key != "classes"}}
        same = all(
            scores["dataset"].get(key) == measure.get(key)
            for key in ("dataset", "evaluation_pictures", *MEASURED)
        )
        if not same or scores.get("intervals") != metrics.get("intervals"):
            continue
        for name, values in scores["evaluation_sets"].items():
            if values.get("identity", "") not in ("", *met):
                met.add(values["identity"])
                label = (
                    name
                    if name not in (*own, *found)
                    else f"{name} of {scores['dataset'].get('folder', 'another folder')}"
                )
                found[label] = scores, name
    return found


def _told_apart(scored: Mapping[Path, Scores]) -> list[Scores]:
    """Scores of runs and files; those of the same name are called by as much of the end of their paths as
    makes all names different."""
    names = [str(metrics["run"]["name"]) for metrics in scored.values()]
    paths = [(path.parent / path.stem if path.is_file() else path).absolute().parts for path in scored]
    lengths, told = [0] * len(paths), names
    while clashing := [
        n for n, name in enumerate(told) if told.count(name) > 1 and lengths[n] < len(paths[n])
    ]:
        lengths = [length + (n in clashing) for n, length in enumerate(lengths)]
        told = [
            "/".join(path[-n:]) if n else name for path, n, name in zip(paths, lengths, names, strict=True)
        ]
    return [
        {**metrics, "run": {**metrics["run"], "name": name}}
        for metrics, name in zip(scored.values(), told, strict=True)
    ]


def with_baseline(
    metrics: Scores, clean: Sequence[Scores], more: Mapping[str, tuple[Scores, str]] | None = None
) -> Scored:
    """Scores beside those of a clean model: the one that they name, or the best of ``clean``, scores of clean
    runs on other folders.

    ``more``: ``Scored.more``.
    """
    more = more or {}
    if "clean_model" in metrics:
        return Scored(metrics, metrics["clean_model"]["evaluation_sets"], more=more)
    ordered = sorted(clean, key=lambda one: _unlike(one, metrics))
    found: dict[str, Any] = {}
    beside: dict[str, Scores] = {}
    for label, (scores, name) in (
        {name: (metrics, name) for name in metrics["evaluation_sets"]} | dict(more)
    ).items():
        same = ((one, _same_set(name, scores["evaluation_sets"][name], scores, one)) for one in ordered)
        if first := next(((one, key) for one, key in same if key is not None), None):
            found[label], beside[label] = first[0]["evaluation_sets"][first[1]], first[0]
    return Scored(metrics, found, beside, more=more)


def among(run: Scored, pattern: str) -> Scored:
    """The same of those evaluation pictures alone whose id matches ``pattern``. Raises RunError."""
    metrics, block = restricted(run.metrics, pattern), run.metrics["intervals"]["block"]
    more = {label: (restricted(scores, pattern), name) for label, (scores, name) in run.more.items()}
    sets = dataclasses.replace(run, metrics=metrics, more=more).sets
    baseline = {
        name: success_among(values, frozenset(sets[name]["per_picture"]["id"]), block)
        for name, values in run.baseline.items()
    }
    elsewhere = [restricted(scores, pattern) for scores in run.elsewhere]
    return dataclasses.replace(run, metrics=metrics, baseline=baseline, elsewhere=elsewhere, more=more)


def nearest_clean(run: Scored, clean: Sequence[Scored]) -> Scored | None:
    """Of clean runs on the same dataset the one that is most like a run: the same settings, then the same
    seed, else the first.

    None if there is none.
    """
    same = [
        one
        for one in clean
        if all(one.dataset.get(key) == run.dataset.get(key) for key in ("dataset", "classes"))
    ]
    return min(same, key=lambda one: _unlike(one.metrics, run.metrics), default=None)


def _unlike(one: Scores, metrics: Scores) -> tuple[bool, bool]:
    return _settings(one) != _settings(metrics), seed_of(one) != seed_of(metrics)


def _same_set(name: str, values: Scores, metrics: Scores, other: Scores) -> str | None:
    """The name of the evaluation set of ``other`` scores that is this set of ``metrics``: of the same folder,
    or of the same pictures."""
    sets = other["evaluation_sets"]
    if other["dataset"]["identity"] == metrics["dataset"]["identity"]:
        return name if name in sets else None
    if any(other["dataset"][key] != metrics["dataset"][key] for key in MEASURED):
        return None
    return next(
        (
            key
            for key, one in sets.items()
            if "identity" in values and one.get("identity") == values["identity"]
        ),
        None,
    )


def roles(dataset: Scores) -> dict[str, int]:
    """How many training pictures have each role, as far as the scores say."""
    return dataset.get("training_roles", {"poisoned": dataset["poisoned_pictures"]})  # type: ignore[no-any-return]


def seed_of(metrics: Scores) -> int | None:
    """The seed of training; of predictions that another program made, the one that was said, else None."""
    config = metrics["run"]["config"]
    seed: int | None = metrics["run"].get("seed") if config is None else config["seed"]
    return seed


def _trained_clean(metrics: Scores) -> bool:
    return metrics["run"]["config"] is not None and all_clean(trained_on(metrics))


def all_clean(dataset: Scores) -> bool:
    """Is no training picture other than clean?"""
    return not any(count for role, count in roles(dataset).items() if role != "clean")


def rate_of(run: Scored) -> float | None:
    """The share of training pictures that carry the attack, or in a control the half of it; None if no
    picture does."""
    carriers = sum(roles(run.trained).get(role, 0) for role in ("poisoned", *CONTROLS))
    return carriers / run.trained["training_pictures"] if carriers else None


def attack_of(run: Scored) -> str:
    """What a table calls the attack."""
    return name_of(run.trained)


def name_of(dataset: Scores) -> str:
    """What a table calls the attack of a dataset."""
    return str(dataset.get("name", dataset["attack"]))


def own_set(metrics: Scores) -> str | None:
    """``own_set_of`` the sets and the attack of the folder that was scored, and the recipe of training."""
    filled = [name for name, values in metrics["evaluation_sets"].items() if values["pictures"]]
    return own_set_of(filled, metrics["dataset"]["attack"], trained_on(metrics).get("recipe"))


def margin_of(metrics: Scores) -> str | None:
    """The edge margin that a run was trained with; None of one without, or where the scores do not say it."""
    return placements.margin_of(trained_on(metrics).get("recipe"))


def lacks_margin(metrics: Scores) -> bool:
    """Was a run trained with an edge margin that the evaluation set which stands for it does not have?"""
    own, margin = own_set(metrics), margin_of(metrics)
    return None not in (own, margin) and not (
        margin == placements.SETS_MARGIN and str(own).endswith("-margin")
    )


def seeds_of(runs: Sequence[Scored], leaving_out: Sequence[str] = ()) -> list[list[Scored]]:
    """Runs in groups that differ in seeds only, of the dataset or of training; the same dataset and seed
    once. In the order of ``runs``.

    ``leaving_out``: settings in which they may differ, too. Where the scores name no recipe, the attack's
    name and rate stand for it. Of predictions that another program made, nobody knows what they differ in,
    unless ``score --method`` said it: else each is alone. So is the second of one method on the same dataset
    if no seed was said.
    """
    groups: dict[str, dict[str, Scored]] = {}
    for number, run in enumerate(runs):
        dataset, trained, settings = run.dataset, run.trained, _settings(run.metrics)
        if settings is None:
            settings = (
                {"method": run.metrics["run"]["method"]}
                if run.metrics["run"].get("method")
                else {"run": number}
            )
        settings = {key: value for key, value in settings.items() if key not in leaving_out}
        key = json.dumps([*(_what(facts) for facts in (trained, dataset)), settings], sort_keys=True)
        size = json.dumps([(run.metrics["run"]["config"] or {}).get(key) for key in leaving_out])
        one = f"{trained['identity']} {seed_of(run.metrics)} {size}"
        if seed_of(run.metrics) is None and one in groups.get(key, {}):
            key += f" {number}"
        groups.setdefault(key, {}).setdefault(one, run)
    return [list(group.values()) for group in groups.values()]


def _what(dataset: Scores) -> list[Any]:
    """What is the same for a dataset of another seed. Where a recipe does not name the trigger's pictures,
    nobody knows: only itself."""
    recipe = dataset.get("recipe") or {}
    what: Any = recipe or [name_of(dataset), dataset["attack"]]
    if ("trigger", PICTURE_EACH) in _leaves(recipe):
        what = dataset["identity"]
    return [dataset.get("dataset"), what, roles(dataset), dataset["training_pictures"]]


def _settings(metrics: Scores) -> dict[str, Any] | None:
    """The settings that make another run, with the defaults of those that the run is too old to name; None of
    predictions."""
    config = metrics["run"]["config"]
    if config is None:
        return None
    every = json.loads(json.dumps(dataclasses.asdict(Config()))) | config
    every["loss"] = "auto" if every["loss"] == MODELS[every["model"]].loss else every["loss"]
    if metrics["run"].get("initial_weights"):  # what is in a file, whatever it is called
        every["init"] = metrics["run"]["initial_weights"] if every["init"] != "imagenet" else "imagenet"
    return {key: value for key, value in every.items() if key not in NO_OTHER_RUN}


def differences(
    runs: Sequence[Scored], over_rates: bool = False, leaving_out: Sequence[str] = ()
) -> dict[int, str]:
    """What tells runs apart that a table calls the same: number of the run → words, such as ``edge margin
    39%, width 2``.

    Settings are compared among all runs that were trained, recipes among those of one attack and rate, or
    ``over_rates`` of one attack. Seeds are not named, nor settings that are left out, but a folder is on
    which a run was scored and not trained.
    """
    settings = [
        {key: value for key, value in (_settings(run.metrics) or {}).items() if key not in leaving_out}
        for run in runs
    ]
    datasets = [{"dataset": run.trained.get("dataset")} for run in runs]
    recipes = [dict(_leaves(run.trained.get("recipe") or {})) for run in runs]
    called = [
        (attack_of(run), None if over_rates else rate_of(run), bool(recipe))
        for run, recipe in zip(runs, recipes, strict=True)
    ]
    words: dict[int, str] = {}
    for number in range(len(runs)):
        trained = [one for one in settings if one] if settings[number] else []
        alike = [recipe for recipe, name in zip(recipes, called, strict=True) if name == called[number]]
        parts = [str(datasets[number]["dataset"])] if _varies("dataset", datasets) else []
        parts += [
            _said(key, value)
            for key, value in recipes[number].items()
            if _varies(key, alike) and key not in SAID_ELSEWHERE
        ]
        parts += [_said(key, value) for key, value in settings[number].items() if _varies(key, trained)]
        if runs[number].dataset["identity"] != runs[number].trained["identity"]:
            parts += [f"scored on {runs[number].dataset.get('folder', name_of(runs[number].dataset))}"]
        if parts:
            words[number] = ", ".join(parts)
    return words


def _varies(key: str, among_these: Sequence[Scores]) -> bool:
    return any(one.get(key) != among_these[0].get(key) for one in among_these)


def _said(key: str, value: Any) -> str:
    value = short(value) if str(value).startswith("sha256:") else value
    if isinstance(value, bool):
        return key.replace("_", " ") if value else f"no {key.replace('_', ' ')}"
    shown = (
        "×".join(map(str, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else value
    )
    return f"{key.replace('_', ' ')} {shown}"


def _leaves(value: Scores) -> list[tuple[str, Any]]:
    """The values of a recipe by their own names, at whatever depth they are; ``kind`` by the name of what it
    is the kind of."""
    found: list[tuple[str, Any]] = []
    for key, part in value.items():
        if isinstance(part, dict):
            found += [(key if name == "kind" else name, leaf) for name, leaf in _leaves(part)]
        else:
            found.append((key, part))
    return found
