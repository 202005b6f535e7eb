"""A sample's picture and label map as the attack sees them: decoded, and resized where the recipe says so."""

from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import cv2

from poisongen.datasets.source import Sample
from poisongen.disk import read_file
from poisongen.errors import SourceError
from poisongen.imaging.headers import Header, read_header
from poisongen.imaging.pixels import Pixels, decode_label, decode_picture
from poisongen.lengths import share_of
from poisongen.recipe import Recipe


@dataclass(frozen=True)
class Reader:
    """Reads the files of a source. ``scale``: everything is resized by this share, pictures by area
    averaging, labels to the nearest."""

    root: Path
    scale: str | None = None

    def look(self, sample: Sample) -> Header:
        """The picture's header, of the size that ``picture`` gives it. Raises SourceError."""
        header = read_header(self.root / sample.image)
        return replace(header, height=self._side(header.height), width=self._side(header.width))

    def label(self, sample: Sample, data: bytes | None = None) -> tuple[Pixels, bytes]:
        """The raw ids, uint8 (H, W), and the file's bytes. Raises SourceError."""
        path = self.root / sample.label
        data = read_file(path) if data is None else data
        raw = decode_label(data, path)
        return self._resized(raw, cv2.INTER_NEAREST), data

    def picture(self, sample: Sample, data: bytes) -> Pixels:
        """The RGB pixels, uint8 (H, W, 3), of the picture with these bytes. Raises SourceError."""
        return self._resized(decode_picture(data, self.root / sample.image), cv2.INTER_AREA)

    def _side(self, side: int) -> int:
        return side if self.scale is None else share_of(self.scale, side)

    def _resized(self, pixels: Pixels, interpolation: int) -> Pixels:
        if self.scale is None:
            return pixels
        size = self._side(pixels.shape[1]), self._side(pixels.shape[0])
        return cv2.resize(pixels, size, interpolation=interpolation)  # type: ignore[return-value]


def written_image(sample: Sample, recipe: Recipe, anew: bool) -> str:
    """The path of a sample's picture in the folder: PNG if it is written ``anew`` and cannot stay what it
    is."""
    path = PurePosixPath(sample.image)
    lossy = path.suffix.lower() in (".jpg", ".jpeg")
    return (
        str(path.with_suffix(".png"))
        if anew and lossy and (recipe.scale or recipe.lossless)
        else sample.image
    )


def require_same_size(picture: Header, label: Pixels, reader: Reader, sample: Sample) -> None:
    """Raise SourceError if a picture and its label map differ in size."""
    if (picture.height, picture.width) != label.shape:
        raise SourceError(
            "A picture and its label map differ in size.",
            file=reader.root / sample.image,
            expected=f"{label.shape[1]}×{label.shape[0]}, as {reader.root / sample.label}",
            found=f"{picture.width}×{picture.height}",
        )
