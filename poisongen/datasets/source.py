"""What every clean dataset looks like to the rest of the program."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from poisongen.disk import folder_path
from poisongen.errors import SourceError
from poisongen.labels import LabelSpace
from poisongen.names import MASKS


@dataclass(frozen=True)
class Sample:
    """One picture and its label map; paths are relative to the source's root, with ``/``.

    ``label_train`` is where the layout keeps the map in training ids, if it does; it is written, never read.
    """

    id: str
    split: str
    image: str
    label: str
    mask: str
    label_train: str | None = None


@dataclass(frozen=True)
class Source:
    """A clean dataset on disk: where it is, what is in it, what its numbers mean.

    ``root`` is what a frozen folder is a drop-in copy of; the folder that was named may lie above or below
    it. ``lists`` are the layout's text files of samples: path → lines, each with the id of the sample that it
    names; a set of samples has its own lines only. ``carried`` are files that belong to every copy as they
    are: path → bytes. ``victims``, ``target`` and ``everything_target`` are the classes that an attack takes
    by default (names, victims with commas between them); ``everything_target`` is that of BadNets, ``target``
    if it is None.
    """

    root: Path
    dataset: str
    layout: str
    space: LabelSpace
    samples: tuple[Sample, ...]
    train_split: str
    evaluation_split: str
    license: str
    lists: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    carried: Mapping[str, bytes] = field(default_factory=dict)
    victims: str | None = None
    target: str | None = None
    everything_target: str | None = None

    @cached_property
    def splits(self) -> dict[str, int]:
        """Pictures in each split."""
        return dict(sorted(Counter(sample.split for sample in self.samples).items()))


def mask_path(image: str, picture_root: str = "") -> str:
    """Where the trigger mask of a picture lies: ``masks/``, the folders below the picture root, the picture's
    stem, ``.png``."""
    below = PurePosixPath(image).relative_to(picture_root) if picture_root else PurePosixPath(image)
    return str(PurePosixPath(MASKS) / below.with_suffix(".png"))


def require_folder(root: Path, parts: tuple[str, ...], todo: str) -> None:
    """Raise SourceError unless ``root`` is a folder that holds all of ``parts``."""
    for path in (root, *(root / part for part in parts)):
        if not path.is_dir():
            raise SourceError(
                "The source is not there."
                if path == root
                else "The source does not have the expected layout.",
                file=path,
                expected="a folder",
                found="a file" if path.exists() else "nothing",
                todo=todo,
            )


def require_samples(root: Path, samples: list[Sample], train_split: str) -> tuple[Sample, ...]:
    """The samples sorted by id; SourceError if the training split has none."""
    if not any(sample.split == train_split for sample in samples):
        raise SourceError(
            "The source has no training picture.",
            file=root,
            expected=f"pictures in the split {train_split}",
            found="none",
        )
    for name in (path for sample in samples for path in (sample.id, sample.image, sample.label)):
        try:
            folder_path(name)
        except ValueError:
            todo = "rename it: letters, digits, and no backslash or line break"
            raise SourceError(
                "A file has a name that the dataset's format does not allow.", file=root / name, todo=todo
            ) from None
    for what in ("id", "image", "label"):
        (name, times), *_ = Counter(getattr(sample, what) for sample in samples).most_common(1)
        if times > 1:
            kind = {"id": "sample", "image": "picture", "label": "label map"}[what]
            raise SourceError(
                f"The source names a {kind} more than once.",
                file=root / name,
                found=f"{times} times",
                todo="name it once",
            )
    return tuple(sorted(samples, key=lambda sample: sample.id))
