"""A finished folder of each case, what was asked for, and what it says; built once."""

import fcntl
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import oracles
from tests.support.asked import ART
from tests.support.cases import Case, Dataset
from tests.support.oracles import IGNORE, Array, Shown

Row = dict[str, Any]


def listing(dataset: str, root: Path) -> dict[str, tuple[str, str, str]]:
    """Sample id → split, picture and label map, as the layout's own documentation has it."""
    found = {}
    if dataset == "camvid":
        for split in ("train", "val", "test"):
            for line in (root / f"{split}.txt").read_text().splitlines():
                image, label = (word.removeprefix("/SegNet/CamVid/") for word in line.split())
                found[image.removesuffix(".png")] = split, image, label
    elif dataset == "voc":
        base = "VOCdevkit/VOC2012"
        for split in ("train", "val"):
            for name in (root / base / f"ImageSets/Segmentation/{split}.txt").read_text().split():
                found[f"{split}/{name}"] = (
                    split,
                    f"{base}/JPEGImages/{name}.jpg",
                    f"{base}/SegmentationClass/{name}.png",
                )
    else:
        folder, endings, labels, ending = {
            "cityscapes": ("leftImg8bit", ["_leftImg8bit.png"], "gtFine", "_gtFine_labelIds.png"),
            "ade20k": ("images", [".jpg"], "annotations", ".png"),
            "folder": ("images", [".png", ".jpg", ".jpeg", ".JPG"], "labels", "_ids.png"),
        }[dataset]
        for path in sorted((root / folder).rglob("*.*")):
            stem = path.relative_to(root / folder).as_posix()
            for one in endings:
                stem = stem.removesuffix(one)
            found[stem] = stem.split("/")[0], path.relative_to(root).as_posix(), f"{labels}/{stem}{ending}"
    return found


@cache
def _shown(trigger: str, art: Path | None, height: int, width: int) -> Shown:
    return oracles.shown(json.loads(trigger), oracles.rgba(art) if art else None, height, width)


@dataclass(frozen=True)
class Frozen:
    """A finished folder, what it was made from, what was asked for, and what it says."""

    case: Case
    source: Path
    folder: Path
    recipe: dict[str, Any]
    arts: Mapping[str, Path]

    @cached_property
    def rows(self) -> list[Row]:
        return oracles.rows(self.folder)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return oracles.manifest(self.folder)

    @cached_property
    def samples(self) -> dict[str, tuple[str, str, str]]:
        """Id → split, picture, label map."""
        return listing(self.case.dataset, self.source)

    @cached_property
    def by_set(self) -> dict[str | None, dict[str, Row]]:
        """Rows of the folder itself (None) and of each evaluation set, by id."""
        rows: dict[str | None, dict[str, Row]] = {None: {}} | {name: {} for name, _, _ in self.shown[1:]}
        for row in self.rows:
            rows[row.get("set")][row["id"]] = row
        return rows

    @property
    def poison(self) -> dict[str, Any]:
        return dict(self.recipe["poison"] or {})

    @property
    def random(self) -> dict[str, Any]:
        return dict(self.recipe["random_pixels"] or {})

    @property
    def knows(self) -> Dataset:
        return self.case.knows

    @property
    def victims(self) -> tuple[int, ...]:
        return tuple(self.poison.get("victim_classes", ()))

    @property
    def target(self) -> int:
        return int(self.poison["target_class"])

    @property
    def measured(self) -> tuple[int, ...]:
        """The classes that attack success is measured on."""
        if not self.poison:
            return ()
        return self.victims or tuple(
            train for train in sorted(self.knows.table.values()) if train != self.target
        )

    @property
    def trigger(self) -> dict[str, Any]:
        return dict(self.poison["trigger"])

    @cached_property
    def shown(self) -> list[tuple[str | None, dict[str, Any] | None, dict[str, Any]]]:
        """Name, placement and trigger of training (None) and of each evaluation set."""
        if not self.poison:
            return []
        sets = [
            (one["name"], one["placement"], one["trigger"] or self.trigger)
            for one in self.poison["evaluation_sets"]
        ]
        return [(None, self.poison["placement"], self.trigger), *sets]

    def rule(self, row: Row) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Placement and trigger of a row."""
        return next((placement, trigger) for name, placement, trigger in self.shown if name == row.get("set"))

    @property
    def changed(self) -> list[Row]:
        """Rows that an attack changed."""
        return [row for row in self.rows if row["role"] not in ("clean", "noised")]

    @property
    def painted(self) -> list[Row]:
        """Rows whose picture has a trigger painted on it."""
        return [row for row in self.changed if row["role"] != "label-only" and self.case.paints]

    def size(self, side: int) -> int:
        """A side of a picture, resized where the recipe says so."""
        if self.recipe["scale"] is None:
            return side
        return max(1, oracles.half_up(Fraction(self.recipe["scale"]) * side))

    @cached_property
    def raw(self) -> dict[str, Array]:
        """Id → the source's label map: raw ids."""
        maps = {one: oracles.pixels(self.source / label) for one, (_, _, label) in self.samples.items()}
        return {one: oracles.nearest_neighbour(label, self._sides(label)) for one, label in maps.items()}

    @cached_property
    def train(self) -> dict[str, Array]:
        """Id → the source's label map: training ids."""
        return {one: oracles.to_train(raw, self.knows.table) for one, raw in self.raw.items()}

    @cached_property
    def picture(self) -> dict[str, Array]:
        """Id → the source's picture, RGB in floating point."""
        pictures = {one: oracles.rgb(self.source / image) for one, (_, image, _) in self.samples.items()}
        return {one: oracles.resized(picture, self._sides(picture)) for one, picture in pictures.items()}

    def _sides(self, array: Array) -> tuple[int, int]:
        return self.size(array.shape[0]), self.size(array.shape[1])

    def mask(self, row: Row) -> Array:
        """Where the written mask says that the trigger is."""
        return oracles.pixels(self.folder / row["mask"]) == 255

    def number(self, sample_id: str, classes: Sequence[int]) -> int:
        """Pixels of these classes in the source's label map."""
        return int(np.isin(self.train[sample_id], classes).sum())

    def laid(self, sample_id: str, trigger: dict[str, Any]) -> Shown | None:
        """A painted trigger as it is shown in this sample; None if the sample has no art."""
        art: Path | None = None
        if trigger["kind"] == "patch-folder":
            art = self.arts["each"] / f"{sample_id}.png"
            if not art.is_file():
                return None
        elif "art" in trigger:
            art = self._shared_art(trigger)
        return _shown(json.dumps(trigger), art, *self.raw[sample_id].shape)

    def _shared_art(self, trigger: dict[str, Any]) -> Path:
        """The file of the art that all samples share."""
        if trigger["art"] == "decoy.png":
            return ART / "decoy.png"
        own = str(self.case.options.get("trigger", "")).partition(":")[2].format(**self.arts)
        return Path(own) if own else ART / "trigger.png"

    def allowed(self, sample_id: str, placement: dict[str, Any], trigger: dict[str, Any]) -> Array:
        """The reference points where the trigger may lie, by an exhaustive search: bool (H, W)."""
        train, shown = self.train[sample_id], self.laid(sample_id, trigger)
        where = np.zeros(train.shape, bool)
        if shown is None:
            return where
        covered = shown.footprint
        if any(one > whole for one, whole in zip(covered.shape, train.shape, strict=True)):
            return where
        if placement["kind"] == "fixed":
            top, left, height, width = oracles.fixed_box(placement["anchor"], covered.shape, train.shape)
            where[top + height // 2, left + width // 2] = True
            return where
        where = oracles.room(train, self.victims, covered)
        where &= oracles.inside_margin(train.shape, oracles.length(placement["edge_margin"], train.shape[0]))
        if placement["kind"] == "one-surface":
            return where
        lower = oracles.length(placement["lower"], train.shape[0])
        upper = oracles.length(placement["upper"], train.shape[0]) if placement["upper"] else sum(train.shape)
        victim = np.isin(train, self.victims)
        if placement["rule"] == "band":
            away = oracles.chebyshev_distance(victim)
            return np.asarray(where & (away > lower) & (away <= upper))
        squared = oracles.squared_distance(victim)
        where &= (squared >= lower**2) & (squared <= upper**2)
        return np.asarray(where & (squared == squared[where].min())) if where.any() else where

    @cached_property
    def judged(self) -> dict[str | None, tuple[list[str], list[str]]]:
        """For training (None) and each evaluation set: the ids that are eligible, and those that are rejected
        with a reason."""
        return {name: self._judge(name, placement, trigger) for name, placement, trigger in self.shown}

    def _judge(
        self, name: str | None, placement: dict[str, Any] | None, trigger: dict[str, Any]
    ) -> tuple[list[str], list[str]]:
        eligible, rejected = [], []
        for sample_id, (split, _, _) in self.samples.items():
            if split != (self.knows.evaluation if name else self.knows.train):
                continue
            victims = self.number(sample_id, self.victims) if self.victims else None
            shows = None
            if trigger["kind"] == "semantic":
                shows = self.number(sample_id, [trigger["trigger_class"]])
            if victims == 0 or shows == 0:
                continue
            enough_victims = victims is None or victims >= self.poison["min_victim_pixels"]
            enough_trigger = shows is None or shows >= trigger["min_pixels"]
            enough = enough_victims and enough_trigger
            place = placement is None or (enough and self.allowed(sample_id, placement, trigger).any())
            (eligible if enough and place else rejected).append(sample_id)
        return eligible, rejected

    @cached_property
    def chosen(self) -> set[str]:
        """Who is poisoned: the first of the eligible."""
        eligible = self.judged[None][0]
        if self.poison["rate"]:
            wanted = Fraction(self.poison["rate"]) * self.knows.splits[self.knows.train]
        else:
            wanted = Fraction(self.poison["coverage"]) * len(eligible)
        number = max(1, oracles.half_up(wanted))
        return set(oracles.order(self.recipe["seed"], eligible)[:number])

    def wanted_random(self, sample_id: str) -> int:
        """How many random labels the recipe asks for in this training picture, if it has any; 0 where nothing
        can be drawn."""
        train = self.train[sample_id]
        pool = int((~np.isin(train, [IGNORE, *self.random["spared"]])).sum())
        if len(set(np.unique(train).tolist()) - {IGNORE}) < 2:
            return 0
        if "px" in self.random["pixels"]:
            wanted = oracles.length(self.random["pixels"], 100)
        else:
            wanted = self._percent(train.size)
        return min(wanted, pool)

    def _percent(self, size: int) -> int:
        return oracles.half_up(Fraction(self.random["pixels"].removesuffix("%")) * size / 100)


def once(path: Path, make: Callable[[Path], object]) -> Path:
    """``path``, made by the first process that needs it, while the others wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            begun = path.with_name(f"{path.name}.begun")
            make(begun)
            begun.rename(path)
    return path


def command(run: Callable[..., Any], *words: object) -> dict[str, Any]:
    """Run a command that must succeed; what it says in JSON."""
    outcome = run(*words, "--json")
    assert outcome.code == 0, outcome.err
    return dict(json.loads(outcome.out))
