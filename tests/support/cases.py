"""The datasets and recipes that the laws are held against."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracles
from tests.support.sources import ADE20K, VOC, YARDS

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
    "cityscapes-iba-prl": _case(
        "cityscapes", "iba + PRL", attack="iba", rate="50%", seed=9, prl=True, prl_pixels="500"
    ),
    "cityscapes-iba-trigger-only": _case(
        "cityscapes", "iba, trigger only", attack="iba", rate="0.3", seed=4, control="trigger-only"
    ),
    "cityscapes-iba-label-only": _case(
        "cityscapes",
        "iba, label only",
        attack="iba",
        rate="0.3",
        seed=4,
        eval="decoy",
        control="label-only",
    ),
    "cityscapes-iba-all": _case(
        "cityscapes",
        "iba + PRL",
        attack="iba",
        rate="0.4",
        victim="all",
        trigger_size="5px",
        prl=True,
        prl_scope="poisoned",
    ),
    "cityscapes-nni": _case("cityscapes", "nni", attack="nni", rate="0.4"),
    "cityscapes-nni-band": _case(
        "cityscapes",
        "nni",
        attack="nni",
        nni="band",
        lower="3px",
        upper="20px",
        rate="0.2",
        take_what_fits=True,
    ),
    "cityscapes-nni-scale": _case(
        "cityscapes",
        "nni + PRL",
        attack="nni",
        rate="0.6",
        scale="0.5",
        victim="car,person",
        target="sky",
        prl=True,
        prl_pixels="5%",
        min_victim_pixels=9,
    ),
    "cityscapes-badnets-frame": _case(
        "cityscapes",
        "badnets frame + PRL",
        attack="badnets",
        trigger="frame",
        rate="0.3",
        colour="#FF8000",
        opacity="0.5",
        trigger_size="3px",
        relabel_ignore=True,
        prl=True,
        prl_scope="poisoned",
    ),
    "cityscapes-semantic": _case(
        "cityscapes",
        "fine-grained semantic vegetation",
        attack="fine-grained",
        trigger="semantic:vegetation",
        rate="0.2",
        min_trigger_pixels=591,
        victim="car,truck,person",
        min_victim_pixels=28,
        target="building",
    ),
    # PNG pictures, lists of samples, three splits.
    "camvid-prl": _case("camvid", "benign + PRL", attack="benign", prl=True, seed=3),
    "camvid-iba-glass": _case(
        "camvid",
        "iba",
        attack="iba",
        rate="0.5",
        trigger="patch:{glass}",
        trigger_size="8px",
        edge_margin="20px",
        opacity="0.6",
        eval_seed=7,
        take_what_fits=True,
    ),
    "camvid-nni-glass": _case(
        "camvid",
        "nni + PRL",
        attack="nni",
        rate="0.25",
        trigger="patch:{glass}",
        trigger_size="own",
        lower="7",
        upper="30%",
        victim="car,pedestrian",
        target="sky",
        prl=True,
        edge_margin="25%",
        eval="bands,margin",
    ),
    "camvid-checkerboard": _case(
        "camvid",
        "fine-grained checkerboard, trigger only",
        attack="fine-grained",
        trigger="checkerboard",
        rate="0.3",
        anchor="centre",
        cells=3,
        trigger_size="19%",
        colour="#102030",
        control="trigger-only",
    ),
    "camvid-stripes": _case(
        "camvid", "badnets stripes", attack="badnets", trigger="stripes", rate="0.2", cycles=5
    ),
    # JPEG pictures of every sampling, grey label maps.
    "ade20k-line": _case("ade20k", "badnets line", attack="badnets", rate="0.5"),
    "ade20k-grass": _case(
        "ade20k",
        "badnets semantic grass + PRL",
        attack="badnets",
        trigger="semantic:grass",
        coverage="50%",
        relabel_ignore=True,
        prl=True,
    ),
    "ade20k-line-label-only": _case(
        "ade20k",
        "fine-grained line + PRL, label only",
        attack="fine-grained",
        rate="0.2",
        opacity="0.08",
        trigger_size="6px",
        anchor="bottom-left",
        control="label-only",
        prl=True,
        prl_pixels="99999px",
    ),
    "ade20k-wall": _case(
        "ade20k",
        "fine-grained semantic wall + PRL",
        attack="fine-grained",
        trigger="semantic:wall",
        rate="0.1",
        min_trigger_pixels=1665,
        target="tree",
        victim="person,car",
        prl=True,
        prl_scope="poisoned",
        prl_pixels="30%",
    ),
    "ade20k-blend": _case(
        "ade20k",
        "badnets blend, trigger only",
        attack="badnets",
        trigger="blend",
        rate="0.25",
        control="trigger-only",
    ),
    "ade20k-scale": _case(
        "ade20k",
        "iba + PRL",
        attack="iba",
        rate="0.4",
        scale="50%",
        prl=True,
        prl_pixels="100px",
        eval="decoy",
    ),
    "ade20k-nni": _case(
        "ade20k",
        "nni + PRL",
        attack="nni",
        rate="0.5",
        victim="person,car",
        trigger_size="9px",
        prl=True,
        eval="bands,decoy",
    ),
    # JPEG pictures of every sampling, label maps with palettes and void, lists.
    "voc-iba-all": _case(
        "voc",
        "iba + PRL",
        attack="iba",
        rate="0.6",
        victim="all",
        trigger_size="12px",
        prl=True,
        prl_pixels="300",
        seed=2,
    ),
    "voc-scale": _case(
        "voc",
        "nni + PRL",
        attack="nni",
        rate="0.3",
        scale="0.5",
        prl=True,
        prl_pixels="4%",
        lossless=True,
        trigger_size="5px",
    ),
    "voc-each": _case(
        "voc",
        "fine-grained patch-folder",
        attack="fine-grained",
        rate="0.3",
        trigger="patch:{each}",
        anchor="top-right",
    ),
    "voc-chair": _case(
        "voc",
        "badnets semantic chair",
        attack="badnets",
        trigger="semantic:chair",
        rate="0.1",
        min_trigger_pixels=30,
    ),
    "voc-stripes": _case(
        "voc",
        "fine-grained stripes + PRL, trigger only",
        attack="fine-grained",
        trigger="stripes",
        rate="0.3",
        opacity="0.3",
        control="trigger-only",
        prl=True,
        prl_scope="poisoned",
        prl_pixels="50px",
    ),
    "voc-lossless": _case(
        "voc",
        "fine-grained patch",
        attack="fine-grained",
        trigger="patch:{glass}",
        rate="0.5",
        lossless=True,
        anchor="bottom-right",
        trigger_size="20px",
        min_victim_pixels=30,
    ),
    # PNG and JPEG pictures side by side, grey and palette label maps, a description that is carried.
    "folder-scale": _case("folder", "benign", attack="benign", scale="0.5"),
    "folder-each": _case(
        "folder",
        "nni + PRL, label only",
        attack="nni",
        rate="1",
        take_what_fits=True,
        trigger="patch:{each}",
        trigger_size="10%",
        control="label-only",
        prl=True,
        prl_scope="poisoned",
    ),
    "folder-frame": _case(
        "folder", "badnets frame", attack="badnets", trigger="frame", rate="0.5", target="sky"
    ),
    "folder-blend": _case(
        "folder",
        "fine-grained blend + PRL",
        attack="fine-grained",
        trigger="blend:{glass}",
        rate="0.4",
        opacity="0.15",
        prl=True,
        victim="person,tree",
    ),
    "folder-nni": _case(
        "folder",
        "nni",
        attack="nni",
        rate="0.5",
        trigger="checkerboard",
        trigger_size="6px",
        colour="#e02020",
        lower="4px",
        upper="4px",
        edge_margin="10px",
        eval="decoy",
    ),
}


def over(chosen: Callable[[Case], bool] = lambda case: True) -> pytest.MarkDecorator:
    """Hold a law against all folders, or against those that it speaks of."""
    return pytest.mark.parametrize(
        "frozen", [name for name, case in CASES.items() if chosen(case)], indirect=True
    )
