"""Which runs are seeds of one, and in what those differ that a table calls the same."""

import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from trainer.dataset.facts import DatasetFacts
from trainer.tables.runs import Run
from trainer.tables.trainings import comparable_settings

YES, NO = ("yes", "true"), ("no", "false")  # of a dataset's settings, and as --set takes it
SEVERAL_NUMBERS = re.compile(r"[0-9.e+-]+(x[0-9.e+-]+)+")  # 360x480


class _Family(NamedTuple):
    """The same for datasets that differ in their seeds only."""

    dataset: str
    family: str
    roles: tuple[tuple[str, int], ...]
    training_pictures: int

    @classmethod
    def of(cls, facts: DatasetFacts) -> "_Family":
        roles = tuple(sorted(facts.training_roles.items()))
        return cls(facts.dataset, facts.family, roles, facts.training_pictures)


class _Model(NamedTuple):
    """The same for a model that was scored several times. ``chosen``: settings that do not part groups."""

    trained_on: str
    seed: int | None
    chosen: tuple[str | None, ...]


def seeds_of(runs: Sequence[Run], leaving_out: Sequence[str] = ()) -> list[list[Run]]:
    """Runs in groups that differ in seeds only, of the dataset or of training; the same dataset and seed
    once. In the order of ``runs``.

    ``leaving_out``: settings in which they may differ, too. Of predictions that another program made, nobody
    knows what they differ in, unless ``score --method`` said it: else each is alone. So is the second of one
    method on the same dataset if no seed was given.
    """
    groups: dict[Hashable, dict[_Model, Run]] = {}
    for number, run in enumerate(runs):
        key: Hashable = (
            _Family.of(run.trained_on),
            _Family.of(run.dataset),
            _settings_key(run, number, leaving_out),
        )
        given = run.scores.run.settings or {}
        chosen = tuple(given.get(name) for name in leaving_out)
        model = _Model(run.trained_on.identity, run.scores.run.seed, chosen)
        if model.seed is None and model in groups.get(key, {}):
            key = (key, number)
        groups.setdefault(key, {}).setdefault(model, run)
    return [list(group.values()) for group in groups.values()]


def _settings_key(run: Run, number: int, leaving_out: Collection[str]) -> Hashable:
    """What is the same for runs of the same settings. ``number``: of the run, where nothing is known."""
    settings = comparable_settings(run.scores.run)
    if settings is not None:
        return tuple(sorted((key, value) for key, value in settings.items() if key not in leaving_out))
    return run.scores.run.method or number


class _Called(NamedTuple):
    """What a table calls a run. ``has_settings``: is anything known of how its dataset was made?"""

    attack: str
    rate: float | None
    has_settings: bool


def differences(
    runs: Sequence[Run], over_rates: bool = False, leaving_out: Collection[str] = ()
) -> dict[int, str]:
    """In what runs differ that a table calls the same: number of the run → words, such as ``edge margin 39%,
    width 2``.

    Settings are compared among all runs that were trained here, those of datasets among the runs of one
    attack and rate, or ``over_rates`` of one attack. Seeds are not named, nor settings in ``leaving_out``,
    but a folder is on which a run was scored and not trained.
    """
    settings = [_settings(run, leaving_out) for run in runs]
    all_settings = [one for one in settings if one]
    several_datasets = len({run.trained_on.dataset for run in runs}) > 1
    called = [_called(run, over_rates) for run in runs]
    words: dict[int, str] = {}
    for number, run in enumerate(runs):
        parts = [run.trained_on.dataset] if several_datasets else []
        alike = [
            other.trained_on.settings
            for other, name in zip(runs, called, strict=True)
            if name == called[number]
        ]
        parts += _words_of_varying(run.trained_on.settings, alike)
        parts += _words_of_varying(settings[number], all_settings)
        if run.dataset.identity != run.trained_on.identity:
            parts.append(f"scored on {run.dataset.folder}")
        if parts:
            words[number] = ", ".join(parts)
    return words


def _called(run: Run, over_rates: bool) -> _Called:
    rate = None if over_rates else run.trained_on.poisoning_rate
    return _Called(run.attack, rate, bool(run.trained_on.settings))


def _settings(run: Run, leaving_out: Collection[str]) -> dict[str, str]:
    settings = comparable_settings(run.scores.run) or {}
    return {key: value for key, value in settings.items() if key not in leaving_out}


def _words_of_varying(settings: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> Iterable[str]:
    """The settings that are not the same in all ``others``, of which these are some."""
    for name, value in settings.items():
        if any(other.get(name) != value for other in others):
            yield setting_words(name, value)


def setting_words(name: str, value: str) -> str:
    """A setting as a table names it: ``width 2``, ``crop 360×480``, ``no flip``."""
    words = name.replace("_", " ")
    if value in YES:
        return words
    if value in NO:
        return f"no {words}"
    if value.startswith("sha256:"):
        return f"{words} {value.removeprefix('sha256:')[:12]}"
    if SEVERAL_NUMBERS.fullmatch(value):
        return f"{words} {value.replace('x', '×')}"
    return f"{words} {value}"
