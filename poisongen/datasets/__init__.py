"""The clean datasets: one file for each layout on disk, all giving the same ``Source``.

A new layout is one file with an ``open`` function, and one line of ``LAYOUTS``.
"""

from collections.abc import Mapping
from types import MappingProxyType

from poisongen.datasets import ade20k, camvid, cityscapes, folder, voc
from poisongen.datasets.source import Layout, Sample, Source

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "cityscapes": cityscapes.LAYOUT,
        "camvid": camvid.LAYOUT,
        "ade20k": ade20k.LAYOUT,
        "voc": voc.LAYOUT,
        "folder": folder.LAYOUT,
    }
)

__all__ = ["LAYOUTS", "Layout", "Sample", "Source"]
