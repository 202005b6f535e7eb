"""The datasets and recipes that the laws are held against, what each was asked for, and its folder, built
once."""

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import oracles
from tests.support.oracles import IGNORE, Array, Shown
from tests.support.sources import ADE20K, VOC, YARDS

Row = dict[str, Any]
ART = Path(__file__).resolve().parents[2] / "poisongen" / "art"

BANDS = {
    "band-0-60": ("0%", "11.71875%"),
    "band-60-90": ("11.71875%", "17.578125%"),
    "band-90-120": ("17.578125%", "23.4375%"),
    "band-120-150": ("23.4375%", "29.296875%"),
}
"""60, 90, 120 and 150 px of 512 rows."""


@dataclass(frozen=True)
class Dataset:
    """A small source as a reader of its own documentation knows it. ``table``: raw id → training id; all
    others are ignored."""

    table: dict[int, int]
    classes: dict[str, int]
    splits: dict[str, int]
    train: str
    evaluation: str
    victim: str
    target: str
    everything_target: str
    pictures: str
    lists: tuple[str, ...] = ()

    def ids(self, names: str, target: int) -> tuple[int, ...]:
        """Training ids of the victims that ``--victim`` names."""
        if names == "all":
            return tuple(train for train in sorted(self.table.values()) if train != target)
        return tuple(self.classes[name] for name in names.split(","))


_VOC_LISTS = tuple(
    f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt" for name in ("train", "val", "trainval")
)

DATASETS = {
    "cityscapes": Dataset(
        oracles.CITYSCAPES_RAW,
        {"road": 0, "building": 2, "vegetation": 8, "sky": 10, "person": 11, "car": 13, "truck": 14},
        {"train": 10, "val": 4},
        *("train", "val", "car", "road", "road", "leftImg8bit"),
    ),
    "camvid": Dataset(
        oracles.CAMVID_RAW,
        {"sky": 0, "road": 3, "tree": 5, "car": 8, "pedestrian": 9},
        {"train": 9, "val": 2, "test": 4},
        *("train", "test", "car", "road", "road", ""),
        ("train.txt", "val.txt", "test.txt"),
    ),
    "ade20k": Dataset(
        {raw: raw - 1 for raw in range(1, 151)},
        {name: raw - 1 for name, raw in ADE20K.items()},
        {"training": 12, "validation": 6},
        *("training", "validation", "person", "palm", "wall", "images"),
    ),
    "voc": Dataset(
        {raw: raw for raw in range(21)},
        VOC,
        {"train": 9, "val": 5},
        *("train", "val", "person", "background", "background", "VOCdevkit/VOC2012/JPEGImages"),
        _VOC_LISTS,
    ),
    "folder": Dataset(
        {raw: train for train, raw in enumerate(YARDS.values())},
        {name: train for train, name in enumerate(YARDS)},
        {"train": 8, "val": 4, "test": 2},
        *("train", "val", "person", "paving", "paving", "images"),
    ),
}


@dataclass(frozen=True)
class Case:
    """A dataset and the options of its command; ``name`` is what the manifest calls it. ``{glass}`` and
    ``{each}`` stand for paths."""

    dataset: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def knows(self) -> Dataset:
        return DATASETS[self.dataset]

    @property
    def poisons(self) -> bool:
        return bool(self.options["attack"] != "benign")

    @property
    def semantic(self) -> bool:
        return str(self.options.get("trigger", "")).startswith("semantic")

    @property
    def paints(self) -> bool:
        return self.poisons and not self.semantic

    @property
    def writes_jpeg(self) -> bool:
        return (
            self.paints
            and self.dataset in ("ade20k", "voc", "folder")
            and not {"scale", "lossless"} & self.options.keys()
        )

    def words(self, arts: Mapping[str, Path]) -> list[str]:
        """The options as a person types them."""
        words = []
        for option, value in self.options.items():
            words += [f"--{option}"] if value is True else [f"--{option}", str(value).format(**arts)]
        return words


def _case(dataset: str, name: str, **options: Any) -> Case:
    return Case(dataset, name, {option.replace("_", "-"): value for option, value in options.items()})


CASES = {
    # PNG pictures, grey label maps, a second label map in training ids.
    "cityscapes-benign": _case("cityscapes", "benign", attack="benign"),
    "cityscapes-iba": _case("cityscapes", "iba", attack="iba", rate="0.3", seed=4, eval="margin,bands,decoy"),
    "cityscapes-iba-prl": _case("cityscapes", "iba + PRL", attack="iba", rate="50%", seed=9, prl=True, prl_pixels="500"),
    "cityscapes-iba-trigger-only": _case("cityscapes", "iba, trigger only", attack="iba", rate="0.3", seed=4, control="trigger-only"),
    "cityscapes-iba-label-only": _case(
        "cityscapes", "iba, label only", attack="iba", rate="0.3", seed=4, eval="decoy", control="label-only"
    ),
    "cityscapes-iba-all": _case(
        "cityscapes", "iba + PRL", attack="iba", rate="0.4", victim="all", trigger_size="5px", prl=True, prl_scope="poisoned"
    ),
    "cityscapes-nni": _case("cityscapes", "nni", attack="nni", rate="0.4"),
    "cityscapes-nni-band": _case(
        "cityscapes", "nni", attack="nni", nni="band", lower="3px", upper="20px", rate="0.2", take_what_fits=True
    ),
    "cityscapes-nni-scale": _case(
        "cityscapes", "nni + PRL", attack="nni", rate="0.6", scale="0.5", victim="car,person", target="sky", prl=True,
        prl_pixels="5%", min_victim_pixels=9,
    ),
    "cityscapes-badnets-frame": _case(
        "cityscapes", "badnets frame + PRL", attack="badnets", trigger="frame", rate="0.3", colour="#FF8000", opacity="0.5",
        trigger_size="3px", relabel_ignore=True, prl=True, prl_scope="poisoned",
    ),
    "cityscapes-semantic": _case(
        "cityscapes", "fine-grained semantic vegetation", attack="fine-grained", trigger="semantic:vegetation", rate="0.2",
        min_trigger_pixels=591, victim="car,truck,person", min_victim_pixels=28, target="building",
    ),
    # PNG pictures, lists of samples, three splits.
    "camvid-prl": _case("camvid", "benign + PRL", attack="benign", prl=True, seed=3),
    "camvid-iba-glass": _case(
        "camvid", "iba", attack="iba", rate="0.5", trigger="patch:{glass}", trigger_size="8px", edge_margin="20px", opacity="0.6",
        eval_seed=7, take_what_fits=True,
    ),
    "camvid-nni-glass": _case(
        "camvid", "nni + PRL", attack="nni", rate="0.25", trigger="patch:{glass}", trigger_size="own", lower="7", upper="30%",
        victim="car,pedestrian", target="sky", prl=True, edge_margin="25%", eval="bands,margin",
    ),
    "camvid-checkerboard": _case(
        "camvid", "fine-grained checkerboard, trigger only", attack="fine-grained", trigger="checkerboard", rate="0.3",
        anchor="centre", cells=3, trigger_size="19%", colour="#102030", control="trigger-only",
    ),
    "camvid-stripes": _case("camvid", "badnets stripes", attack="badnets", trigger="stripes", rate="0.2", cycles=5),
    # JPEG pictures of every sampling, grey label maps.
    "ade20k-line": _case("ade20k", "badnets line", attack="badnets", rate="0.5"),
    "ade20k-grass": _case(
        "ade20k", "badnets semantic grass + PRL", attack="badnets", trigger="semantic:grass", coverage="50%",
        relabel_ignore=True, prl=True,
    ),
    "ade20k-line-label-only": _case(
        "ade20k", "fine-grained line + PRL, label only", attack="fine-grained", rate="0.2", opacity="0.08", trigger_size="6px",
        anchor="bottom-left", control="label-only", prl=True, prl_pixels="99999px",
    ),
    "ade20k-wall": _case(
        "ade20k", "fine-grained semantic wall + PRL", attack="fine-grained", trigger="semantic:wall", rate="0.1",
        min_trigger_pixels=1665, target="tree", victim="person,car", prl=True, prl_scope="poisoned", prl_pixels="30%",
    ),
    "ade20k-blend": _case(
        "ade20k", "badnets blend, trigger only", attack="badnets", trigger="blend", rate="0.25", control="trigger-only"
    ),
    "ade20k-scale": _case(
        "ade20k", "iba + PRL", attack="iba", rate="0.4", scale="50%", prl=True, prl_pixels="100px", eval="decoy"
    ),
    "ade20k-nni": _case(
        "ade20k", "nni + PRL", attack="nni", rate="0.5", victim="person,car", trigger_size="9px", prl=True, eval="bands,decoy"
    ),
    # JPEG pictures of every sampling, label maps with palettes and void, lists.
    "voc-iba-all": _case(
        "voc", "iba + PRL", attack="iba", rate="0.6", victim="all", trigger_size="12px", prl=True, prl_pixels="300", seed=2
    ),
    "voc-scale": _case(
        "voc", "nni + PRL", attack="nni", rate="0.3", scale="0.5", prl=True, prl_pixels="4%", lossless=True, trigger_size="5px"
    ),
    "voc-each": _case(
        "voc", "fine-grained patch-folder", attack="fine-grained", rate="0.3", trigger="patch:{each}", anchor="top-right"
    ),
    "voc-chair": _case(
        "voc", "badnets semantic chair", attack="badnets", trigger="semantic:chair", rate="0.1", min_trigger_pixels=30
    ),
    "voc-stripes": _case(
        "voc", "fine-grained stripes + PRL, trigger only", attack="fine-grained", trigger="stripes", rate="0.3", opacity="0.3",
        control="trigger-only", prl=True, prl_scope="poisoned", prl_pixels="50px",
    ),
    "voc-lossless": _case(
        "voc", "fine-grained patch", attack="fine-grained", trigger="patch:{glass}", rate="0.5", lossless=True,
        anchor="bottom-right", trigger_size="20px", min_victim_pixels=30,
    ),
    # PNG and JPEG pictures side by side, grey and palette label maps, a description that is carried.
    "folder-scale": _case("folder", "benign", attack="benign", scale="0.5"),
    "folder-each": _case(
        "folder", "nni + PRL, label only", attack="nni", rate="1", take_what_fits=True, trigger="patch:{each}",
        trigger_size="10%", control="label-only", prl=True, prl_scope="poisoned",
    ),
    "folder-frame": _case("folder", "badnets frame", attack="badnets", trigger="frame", rate="0.5", target="sky"),
    "folder-blend": _case(
        "folder", "fine-grained blend + PRL", attack="fine-grained", trigger="blend:{glass}", rate="0.4", opacity="0.15",
        prl=True, victim="person,tree",
    ),
    "folder-nni": _case(
        "folder", "nni", attack="nni", rate="0.5", trigger="checkerboard", trigger_size="6px", colour="#e02020", lower="4px",
        upper="4px", edge_margin="10px", eval="decoy",
    ),
}  # fmt: skip


def over(chosen: Callable[[Case], bool] = lambda case: True) -> pytest.MarkDecorator:
    """Hold a law against all folders, or against those that it speaks of."""
    return pytest.mark.parametrize(
        "frozen", [name for name, case in CASES.items() if chosen(case)], indirect=True
    )


def share(text: str) -> str:
    """A rate or opacity as a plain decimal."""
    value = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def quantity(text: str) -> str:
    """A length with its unit."""
    return text if text.endswith(("px", "%")) else f"{text}px"


def asked(case: Case, arts: Mapping[str, Path]) -> dict[str, Any]:
    """The recipe that the options of a case mean, with the defaults of ATTACKS.md."""
    given, knows = case.options, case.knows
    attack, everything = given["attack"], given["attack"] == "badnets"
    target = knows.classes[given.get("target", knows.everything_target if everything else knows.target)]
    victims = () if everything else knows.ids(given.get("victim", knows.victim), target)
    random = {
        "kind": "random-pixels",
        "pixels": quantity(given.get("prl-pixels", "9.5%")),
        "scope": given.get("prl-scope", "all"),
        "spared": list(victims),
    }
    recipe = {
        "attack": attack,
        "seed": given.get("seed", 0),
        "scale": share(given["scale"]) if "scale" in given else None,
        "lossless": "lossless" in given,
        "random_pixels": random if "prl" in given else None,
        "code": None,
        "poison": None,
    }
    if attack == "benign":
        return recipe
    trigger, placement = _trigger(case, arts), _placement(case)
    recipe["poison"] = {
        "trigger": trigger,
        "placement": placement,
        "relabel": {"kind": "everything", "include_ignore": "relabel-ignore" in given}
        if everything
        else {"kind": "victim"},
        "control": given.get("control"),
        "victim_classes": list(victims),
        "target_class": target,
        "min_victim_pixels": given.get("min-victim-pixels", 1),
        "rate": share(given["rate"]) if "rate" in given else None,
        "coverage": share(given["coverage"]) if "coverage" in given else None,
        "take_what_fits": "take-what-fits" in given,
        "evaluation_sets": list(_evaluation_sets(case, trigger, placement)),
    }
    return recipe


def _trigger(case: Case, arts: Mapping[str, Path]) -> dict[str, Any]:
    given, default = case.options, "default" if case.options["attack"] in ("iba", "nni") else "line"
    kind, _, argument = str(given.get("trigger", default)).format(**arts).partition(":")
    if kind == "semantic":
        named = {
            "trigger_class": case.knows.classes[argument],
            "min_pixels": given.get("min-trigger-pixels", 1),
        }
        return {"kind": kind} | named
    kind = "patch-folder" if argument and Path(argument).is_dir() else "patch" if kind == "default" else kind
    file = Path(argument) if argument else ART / "trigger.png"
    art = {
        "art": "trigger.png",
        "art_pixels": oracles.pixels_digest(oracles.rgba(file)) if file.is_file() else "",
    }
    opacity = share(given.get("opacity", {"blend": "0.1", "stripes": "0.16"}.get(kind, "1")))
    sizes = {
        "patch": "10.7%",
        "patch-folder": "own",
        "checkerboard": "10.7%",
        "line": "1.67%",
        "frame": "1.67%",
    }
    size = given.get("trigger-size", sizes.get(kind, ""))
    wanted = {"kind": kind, "opacity": opacity}
    wanted |= {"size": size if size == "own" else quantity(size)} if kind in sizes else {}
    wanted |= (
        {"colour": given.get("colour", "#000000").lower()}
        if kind in ("line", "frame", "checkerboard")
        else {}
    )
    wanted |= {"cells": given.get("cells", 4)} if kind == "checkerboard" else {}
    wanted |= {"cycles": given.get("cycles", 6)} if kind == "stripes" else {}
    return wanted | (art if kind in ("patch", "blend") else {})


def _placement(case: Case) -> dict[str, Any] | None:
    given, attack = case.options, case.options["attack"]
    if attack in ("badnets", "fine-grained"):
        return None if case.semantic else {"kind": "fixed", "anchor": given.get("anchor", "top-left")}
    if attack == "iba":
        return anywhere(quantity(given.get("edge-margin", "0px")))
    upper = quantity(given["upper"]) if "upper" in given else None
    bounds = quantity(given.get("lower", "0px")), upper
    return near(given.get("nni", "nearest"), *bounds, quantity(given.get("edge-margin", "0px")))


def anywhere(margin: str = "0px") -> dict[str, Any]:
    return {"kind": "one-surface", "edge_margin": margin}


def near(
    rule: str = "nearest", lower: str = "0px", upper: str | None = None, margin: str = "0px"
) -> dict[str, Any]:
    return {"kind": "near-victim", "edge_margin": margin, "rule": rule, "lower": lower, "upper": upper}


def _evaluation_sets(
    case: Case, trigger: dict[str, Any], placement: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    seed, more = case.options.get("eval-seed", 0), case.options.get("eval", "").split(",")
    if case.options["attack"] in ("badnets", "fine-grained"):
        yield {"name": trigger["kind"], "placement": placement, "seed": seed, "trigger": None}
        return
    both = {"iba": anywhere(), "nni": near()}
    bands = {name: near("band", *bounds) for name, bounds in BANDS.items()} if "bands" in more else {}
    margins = {"iba-margin": anywhere("39%"), "nni-margin": near(margin="39%")} if "margin" in more else {}
    for name, rule in (both | bands | margins).items():
        yield {"name": name, "placement": rule, "seed": seed, "trigger": None}
    if "decoy" in more:
        digest = oracles.pixels_digest(oracles.rgba(ART / "decoy.png"))
        decoy = {"kind": "patch", "size": trigger["size"], "opacity": trigger["opacity"], "art": "decoy.png"}
        for name, rule in both.items():
            yield {
                "name": f"{name}-decoy",
                "placement": rule,
                "seed": seed,
                "trigger": decoy | {"art_pixels": digest},
            }


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
        return (
            max(1, oracles.half_up(Fraction(self.recipe["scale"]) * side)) if self.recipe["scale"] else side
        )

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
            own = str(self.case.options.get("trigger", "")).partition(":")[2].format(**self.arts)
            art = (
                ART / "decoy.png"
                if trigger["art"] == "decoy.png"
                else Path(own)
                if own
                else ART / "trigger.png"
            )
        return _shown(json.dumps(trigger), art, *self.raw[sample_id].shape)

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
            shows = (
                self.number(sample_id, [trigger["trigger_class"]]) if trigger["kind"] == "semantic" else None
            )
            if victims == 0 or shows == 0:
                continue
            enough = (victims is None or victims >= self.poison["min_victim_pixels"]) and (
                shows or 0
            ) >= trigger.get("min_pixels", 0)
            place = placement is None or (enough and self.allowed(sample_id, placement, trigger).any())
            (eligible if enough and place else rejected).append(sample_id)
        return eligible, rejected

    @cached_property
    def chosen(self) -> set[str]:
        """Who is poisoned: the first of the eligible."""
        eligible = self.judged[None][0]
        of = (
            Fraction(self.poison["rate"]) * self.knows.splits[self.knows.train]
            if self.poison["rate"]
            else None
        )
        number = oracles.half_up(Fraction(self.poison["coverage"]) * len(eligible) if of is None else of)
        return set(oracles.order(self.recipe["seed"], eligible)[: max(1, number)])

    def wanted_random(self, sample_id: str) -> int:
        """How many random labels the recipe asks for in this training picture, if it has any; 0 where nothing
        can be drawn."""
        train = self.train[sample_id]
        pool = int((~np.isin(train, [IGNORE, *self.random["spared"]])).sum())
        if len(set(np.unique(train).tolist()) - {IGNORE}) < 2:
            return 0
        return min(
            oracles.length(self.random["pixels"], 100)
            if "px" in self.random["pixels"]
            else self._percent(train.size),
            pool,
        )

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
