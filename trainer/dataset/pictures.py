"""Pictures, label maps and masks of a dataset folder: one file each, checked, decoded and held against its
digest.

Files are PNG or JPEG. Pictures are uint8 RGB, label maps uint8 training ids. The size that a file's header
claims must be its row's before anything is decoded.
"""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.dataset.folder import Folder, Row, digest_bytes, read_bytes
from trainer.errors import FolderError

Pixels = NDArray[np.uint8]

PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PALETTE = 3  # PNG's colour type


def read_picture(row: Row, check: bool) -> Pixels:
    """Decode the picture of a row: uint8 (H, W, 3) RGB. ``check``: also hold it against its digest. Raises
    FolderError."""
    return _read(row, "image", row.image, check)


def read_label(row: Row, folder: Folder, check: bool) -> Pixels:
    """Decode the label map of a row to training ids, uint8 (H, W) with IGNORE. Raises FolderError, also for
    an unknown raw id."""
    raw = _read(row, "label", row.label, check)
    known = folder.known[raw]
    if not known.all():
        unknown = np.unique(raw[~known])
        expected = "the ids of label_space.raw_to_train in manifest.json"
        found = ", ".join(f"id {number}" for number in unknown[:5])
        raise FolderError("A label map has an unknown class.", file=row.label, expected=expected, found=found)
    return folder.lookup[raw]


def read_mask(row: Row, check: bool) -> NDArray[np.bool_]:
    """Decode the trigger mask of a row: bool (H, W), True under the trigger; all False for a row without one.
    Raises FolderError."""
    if row.mask is None:
        return np.zeros((row.height, row.width), bool)
    return _read(row, "mask", row.mask, check) > 0


def digest_pixels(pixels: Pixels) -> str:
    """The digest of decoded pixels, (H, W) or (H, W, 3) RGB: dtype and shape in a line of text, then the
    pixels."""
    shape = "x".join(map(str, pixels.shape))
    return digest_bytes(f"{pixels.dtype} {shape}\n".encode() + pixels.tobytes())


def _read(row: Row, what: str, file: Path, check: bool) -> Pixels:
    """One file of a row: (H, W, 3) for ``what`` = image, else the (H, W) numbers that the file holds."""
    data = read_bytes(file)
    _check_header(data, file, row, what)
    kind = next((kind for kind in ("bytes", "sums") if f"{what}_{kind}" in row.digests), "pixels")
    if check and kind != "pixels":
        _compare(row, what, kind, file, digest_bytes(data))
    pixels = _decode(data, file, what)
    if pixels.shape[:2] != (row.height, row.width):
        raise _wrong_size(file, row, pixels.shape[0], pixels.shape[1])
    if check and kind == "pixels":
        _compare(row, what, kind, file, digest_pixels(pixels))
    return pixels


def _compare(row: Row, what: str, kind: str, file: Path, found: str) -> None:
    expected = row.digests.get(f"{what}_{kind}")
    if found != expected:
        by = "SHA256SUMS names" if kind == "sums" else f"its row names ({what}_{kind})"
        todo = "the file was changed after the dataset was frozen: restore it"
        problem = f"A file is not the one that {by}."
        raise FolderError(
            problem, file=file, expected=expected or "a digest in its row", found=found, todo=todo
        )


def _check_header(data: bytes, file: Path, row: Row, what: str) -> None:
    """Refuse, undecoded, what is no PNG or JPEG, ends early, or has another size or kind of pixels than it
    should.

    OpenCV decodes a JPEG that was cut short, too, with grey where the rest was. Damage within a file is what
    digests are for.
    """
    if data.startswith(PNG):
        size = _png_size(data)
    elif data.startswith(JPEG) and what == "image":
        size = _jpeg_size(data) if data.endswith(JPEG_END) else (0, 0)
    else:
        expected = "a PNG or JPEG" if what == "image" else "a PNG"
        raise FolderError(
            "A file holds no picture.",
            file=file,
            expected=expected,
            found=f"{len(data):,} bytes of something else",
        )
    if size == (0, 0):
        raise _damaged(file, data)
    if size != (row.height, row.width):
        raise _wrong_size(file, row, *size)
    if what != "image" and data[24] != 8 and (data[24] > 8 or data[25] != PALETTE):
        found = f"{data[24]} bits"
        raise FolderError(
            "A label map or mask has another kind of pixels.",
            file=file,
            expected="8-bit, one channel",
            found=found,
        )


def _png_size(data: bytes) -> tuple[int, int]:
    """Height and width by the header of a whole PNG; zeros if it is cut short."""
    if len(data) <= 45 or not data.endswith(PNG_END):
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width by the frame header of a JPEG; zeros if there is none."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # these define tables
            height, width = struct.unpack(">HH", data[position + 5 : position + 9])
            return height, width
        if marker == 0xFF:  # a byte of filling
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # a marker without a length
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return 0, 0


def _decode(data: bytes, file: Path, what: str) -> Pixels:
    """Decode a picture as it lies in the file: no rotation by its EXIF entry, which no label map has."""
    palette = what == "label" and data[25] == PALETTE
    flags = (cv2.IMREAD_COLOR if what == "image" else cv2.IMREAD_UNCHANGED) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(_numbered(data) if palette else data, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _damaged(file, data)
    if what == "image":
        return np.ascontiguousarray(pixels[:, :, ::-1])  # OpenCV decodes to B, G, R
    if palette:
        return np.ascontiguousarray(pixels[:, :, 0])
    if pixels.dtype != np.uint8 or pixels.ndim != 2:
        found = f"{pixels.dtype} of shape {pixels.shape}"
        raise FolderError(
            "A label map or mask has another kind of pixels.",
            file=file,
            expected="8-bit, one channel",
            found=found,
        )
    return pixels  # type: ignore[return-value]


def _numbered(data: bytes) -> bytes:
    """A palette PNG of 1, 2, 4 or 8 bits with a palette of its numbers, which are the class ids: colour i is
    (i, i, i), all opaque."""
    colours = 1 << data[24]
    palette = bytes(number for i in range(colours) for number in (i, i, i))
    checksum = struct.pack(">I", zlib.crc32(b"PLTE" + palette))
    out = data[:33] + struct.pack(">I", len(palette)) + b"PLTE" + palette + checksum
    position = 33
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] in (b"IDAT", b"IEND"):
            out += data[position:end]
        position = end
    return out


def _damaged(file: Path, data: bytes) -> FolderError:
    found = f"{len(data):,} bytes, damaged or cut short"
    return FolderError("A picture cannot be decoded.", file=file, found=found, todo="restore it")


def _wrong_size(file: Path, row: Row, height: int, width: int) -> FolderError:
    expected, found = f"{row.width}×{row.height}, as in its row", f"{width}×{height}"
    return FolderError("A picture has another size.", file=file, expected=expected, found=found)
