"""The classes of a dataset as people read them: their names, and who is victim, target and trigger."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from poisongen.format.manifest import Manifest
from poisongen.labels import LabelSpace
from poisongen.show.text import printable


@dataclass(frozen=True)
class Classes:
    """The classes of a dataset, as training ids.

    ``victims`` is empty where every pixel becomes the target; ``present`` is the class of a semantic trigger.
    """

    space: LabelSpace
    victims: tuple[int, ...] = ()
    target: int | None = None
    present: int | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Of a manifest whose recipe was checked against its label space."""
        poison, space = manifest.recipe.poison, manifest.label_space.space()
        space = replace(space, names=tuple(map(printable, space.names)))
        if poison is None:
            return cls(space)
        present = poison.semantic.trigger_class if poison.semantic else None
        return cls(space, poison.victim_classes, poison.target_class, present)

    def name(self, train: int) -> str:
        """What a training id is called."""
        return self.space.names[train] if train < len(self.space.names) else f"class {train}"

    def names(self, trains: Iterable[int]) -> str:
        """``car``, ``car or truck``, ``4 classes``."""
        listed = [self.name(train) for train in trains]
        return " or ".join(listed) if len(listed) < 4 else f"{len(listed)} classes"

    @property
    def target_name(self) -> str:
        """What the target class is called; nothing for a clean dataset."""
        return "" if self.target is None else self.name(self.target)

    @property
    def claim(self) -> str:
        """``car → road``; ``→ road`` where every pixel becomes the target."""
        return f"{self.names(self.victims)} → {self.target_name}".strip()
