"""The clean datasets: one file for each layout on disk, all giving the same ``Source``.

A new layout is one file with a function ``read``, and one entry of ``LAYOUTS``.
"""

from collections.abc import Mapping
from types import MappingProxyType

from poisongen.datasets.layout import Layout

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "cityscapes": Layout("Cityscapes", "cityscapes", "CITYSCAPES_DATASET", victims="car", target="road"),
        "camvid": Layout("CamVid", "camvid", "CAMVID_DATASET", victims="car", target="road"),
        "ade20k": Layout(
            "ADE20K",
            "ade20k",
            "ADE20K_DATASET",
            victims="person",
            target="palm",
            everything_target="wall",
        ),
        "voc": Layout("PASCAL VOC 2012", "voc", "VOC_DATASET", victims="person", target="background"),
        "folder": Layout(
            "your own dataset",
            "folder",
            "FOLDER_DATASET",
            about="The folder holds images/train/… and images/val/…, label maps of the same names in "
            "labels/train/… and labels/val/… (8-bit PNG, class numbers), and classes.json: "
            '{"classes": ["road", "car"], "ignore": [255], "victim": "car", "target": "road"}.',
        ),
    }
)

__all__ = ["LAYOUTS", "Layout"]
