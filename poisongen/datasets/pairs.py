"""Pictures and label maps that belong together by their names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, NoReturn

from poisongen.errors import SourceError

MAX_DEPTH = 16


class Pair(NamedTuple):
    """A picture and its label map as paths below the root; ``stem`` is what they have in common, with the
    split in front."""

    stem: str
    image: str
    label: str


@dataclass(frozen=True)
class FileSet:
    """Where one half of each pair lies: ``FOLDER/SPLIT/…/STEM`` and one of ``endings``."""

    folder: str
    endings: tuple[str, ...]

    def find(self, root: Path, split: str) -> dict[str, str]:
        """Stem → path, in folders of any depth. Raises SourceError for two files with one stem."""
        found: dict[str, str] = {}
        for path in files_below(root / self.folder / split):
            ending = next((one for one in self.endings if path.endswith(one)), None)
            if ending is None:
                continue
            stem, full = f"{split}/{path.removesuffix(ending)}", f"{self.folder}/{split}/{path}"
            if found.setdefault(stem, full) != full:
                raise SourceError(
                    "Two pictures differ in nothing but the ending of their names.",
                    file=root / full,
                    found=f"{root / found[stem]} beside it",
                    todo="rename one of them",
                )
        return found

    def name(self, stem: str) -> str:
        """The path of a file that is not there."""
        return f"{self.folder}/{stem}" + (
            self.endings[0] if len(self.endings) == 1 else f"{{{','.join(self.endings)}}}"
        )


def pair(root: Path, split: str, pictures: FileSet, labels: FileSet) -> list[Pair]:
    """The pictures of a split with their label maps. Raises SourceError if either has no counterpart."""
    images, maps = pictures.find(root, split), labels.find(root, split)
    for one, many, missing, half in (
        ("A picture has no label map.", "pictures have no label map", images.keys() - maps.keys(), labels),
        ("A label map has no picture.", "label maps have no picture", maps.keys() - images.keys(), pictures),
    ):
        if missing:
            raise SourceError(
                one if len(missing) == 1 else f"{len(missing):,} {many}: the first is named here.",
                file=root / half.name(min(missing)),
                expected="a file",
                found="nothing",
                todo=f"extract the archive again, or take the lone file out of {root}",
            )
    return [Pair(stem, image, maps[stem]) for stem, image in sorted(images.items())]


def files_below(folder: Path) -> Iterator[str]:
    """Files below a folder as relative paths with ``/``, nothing if there is no such folder; links to folders
    are followed.

    Names that start with a dot are left out: what systems and editors leave behind. Raises SourceError for a
    folder that cannot be read.
    """
    if not folder.is_dir():
        return
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        below = PurePosixPath(place).relative_to(folder)
        if len(below.parts) > MAX_DEPTH:
            raise SourceError(
                "Folders lie in each other without end.",
                file=folder,
                expected=f"at most {MAX_DEPTH} levels",
                found=str(place),
                todo="take out the link that leads back",
            )
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = "" if below == PurePosixPath() else f"{below}/"
        yield from (prefix + name for name in sorted(names) if not name.startswith("."))


def _unreadable(error: OSError) -> NoReturn:
    raise SourceError(
        "A folder cannot be read.", file=error.filename, found=error.strerror, todo="check its rights"
    ) from None
