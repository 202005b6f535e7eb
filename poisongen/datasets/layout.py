"""A kind of dataset, described without importing what reads it: the command line lists them all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from poisongen.datasets.source import Source
    from poisongen.labels import LabelSpace


@dataclass(frozen=True)
class Layout:
    """What a layout is called, and the victim and targets that papers use on it.

    ``module`` of this package reads it, and is imported when a dataset is opened: it has
    ``read(root) -> Source``, which lists the dataset below its root, and may have
    ``find_root(path) -> Path``, where that is below the folder that a person names, and ``SPACE``, where all
    datasets of the layout share one label space. ``variable`` is the environment variable that names the
    folder when the command line does not; ``about`` is what a help text says of the folder.
    """

    title: str
    module: str
    variable: str
    victims: str | None = None
    target: str | None = None
    everything_target: str | None = None
    about: str = ""

    @property
    def space(self) -> LabelSpace | None:
        """The label space that all datasets of the layout share."""
        space: LabelSpace | None = getattr(self._reader(), "SPACE", None)
        return space

    def find_root(self, path: Path) -> Path:
        """The root of the dataset that a person means by this folder."""
        reader = self._reader()
        root: Path = reader.find_root(path) if hasattr(reader, "find_root") else path
        return root

    def open(self, path: Path) -> Source:
        """The dataset in this folder, with the layout's classes where it names none of its own. Raises
        SourceError."""
        source: Source = self._reader().read(self.find_root(path))
        return replace(
            source,
            victims=source.victims or self.victims,
            target=source.target or self.target,
            everything_target=source.everything_target or self.everything_target,
        )

    def _reader(self) -> ModuleType:
        return import_module(f"poisongen.datasets.{self.module}")
