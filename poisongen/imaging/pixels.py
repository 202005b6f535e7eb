"""Decoding, encoding and digests of pictures and label maps. Arrays in memory are uint8 and RGB."""

import hashlib
import io
import struct
import warnings
import zlib
from itertools import pairwise
from pathlib import PurePath

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from poisongen.errors import PoisongenError, SourceError
from poisongen.imaging.headers import (
    COM,
    DATA,
    MAX_PIXELS,
    RESTARTS,
    SOS,
    Header,
    check_picture,
    check_png,
    jpeg_parts,
    png_chunks,
    read_header,
)

__all__ = [
    "MAX_PIXELS",
    "Box",
    "Header",
    "Pixels",
    "check_picture",
    "check_png",
    "decode_art",
    "decode_label",
    "decode_picture",
    "digest_bytes",
    "digest_pixels",
    "encode_label",
    "encode_png",
    "histogram",
    "read_header",
]

Pixels = NDArray[np.uint8]

Box = tuple[int, int, int, int]
"""A rectangle of a picture in pixels: top, left, rows, columns."""

_JFIF, _ADOBE = 0xE0, 0xEE
_METADATA = frozenset({COM, *range(0xE0, 0xF0)}) - {_JFIF, _ADOBE}
_JUNK = bytes(range(1, 200, 7))


def digest_bytes(data: bytes) -> str:
    """``sha256:`` and the hexadecimal digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_pixels(array: Pixels) -> str:
    """The digest of decoded pixels: sha256 over dtype, shape and C-order bytes, as ``manifests/FORMAT.md``
    defines it.

    ``array`` is uint8 of shape (H, W), (H, W, 3) in RGB or (H, W, 4) in RGBA. The same for every encoder of
    the same pixels.
    """
    shape = "x".join(map(str, array.shape))
    digest = hashlib.sha256(f"{array.dtype} {shape}\n".encode())
    digest.update(np.ascontiguousarray(array).data)
    return "sha256:" + digest.hexdigest()


def _decode(data: bytes, name: PurePath | str, flags: int) -> Pixels:
    # The orientation flag: OpenCV would turn pictures by their EXIF entry, and no label map has one.
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.dtype != np.uint8:
        raise SourceError(
            "A picture cannot be decoded.", file=name, todo="restore the file from the original archive"
        )
    return decoded  # type: ignore[return-value]


def decode_picture(data: bytes, name: PurePath | str) -> Pixels:
    """The RGB pixels, uint8 of shape (H, W, 3), of a PNG's or JPEG's bytes; ``name`` is for errors. Raises
    SourceError.

    Grey JPEGs give three equal channels. No orientation is applied: label maps have none. PNGs are decoded by
    OpenCV, JPEGs by Pillow with libjpeg-turbo's defaults: the pixels that OpenCV gives, and the same in every
    version tried (Pillow 9.3 to 13, OpenCV 4.5 to 5.0).
    """
    header = check_picture(data, name)
    if header.kind == "JPEG":
        return _decode_jpeg(data, name)
    return cv2.cvtColor(_decode(data, name, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def _decode_jpeg(data: bytes, name: PurePath | str) -> Pixels:
    """libjpeg paints grey where compressed data runs out, with a warning that neither Pillow nor OpenCV
    passes on.

    So it decodes twice, the second time with junk behind each run of compressed data, and another run of junk
    behind a scan: a whole picture does not change. Other damage inside of that data cannot be told: a JPEG
    has no checksums. Metadata is left out: EXIF from a stranger need not be parsed.
    """
    plain, padded, restarts = bytearray(), bytearray(), 0
    parts = list(jpeg_parts(data, name))
    for (marker, start, end), (following, _, _) in pairwise([*parts, parts[-1]]):
        if marker not in _METADATA:
            plain += data[start:end]
            padded += data[start:end]
        restarts = 0 if marker == SOS else restarts + (marker in RESTARTS)
        if marker == DATA:
            padded += (
                _JUNK if following in RESTARTS else _JUNK + bytes([0xFF, RESTARTS[restarts % 8]]) + _JUNK
            )
    pixels = _pillow(bytes(plain), "JPEG", name)
    if not np.array_equal(pixels, _pillow(bytes(padded), "JPEG", name)):
        raise SourceError(
            "A JPEG file is damaged.",
            file=name,
            expected="compressed data for the whole picture",
            found="less of it",
            todo="restore the file from the original archive",
        )
    return pixels


def _pillow(data: bytes, kind: str, name: PurePath | str) -> Pixels:
    """The pixels as Pillow decodes them: palette indices of shape (H, W), or RGB of shape (H, W, 3)."""
    try:
        # The size is checked already, by a bound of our own.
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(io.BytesIO(data), formats=(kind,)) as picture,
        ):
            return np.array(picture if picture.mode in ("P", "RGB") else picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise SourceError(
            "A picture cannot be decoded.",
            file=name,
            found=str(error),
            todo="restore the file from the original archive",
        ) from None


def decode_label(data: bytes, name: PurePath | str) -> Pixels:
    """The raw class ids, uint8 of shape (H, W), of an 8-bit grey PNG, or of a palette PNG (ids are the
    indices). Raises SourceError."""
    header = check_png(data, name, colours=("grey", "palette"))
    if header.colours == "grey":
        return _decode(data, name, cv2.IMREAD_UNCHANGED)
    colours = np.frombuffer(_chunk(data, b"PLTE")[: 3 << header.depth], np.uint8)
    if colours.size % 3 or (colours.reshape(-1, 3) == colours.reshape(-1, 3)[:, :1]).all():
        # Programs that shrink PNGs turn grey ids into a palette of greys, with other numbers for indices.
        raise SourceError(
            "A label map has a palette of greys alone: are its ids the indices, or the greys?",
            file=name,
            expected="8-bit grey, or a palette with colours",
            found=str(header),
            todo="save it as 8-bit grey, with the ids as greys",
        )
    return _pillow(data, "PNG", name)


def decode_art(data: bytes, name: PurePath | str) -> Pixels:
    """Trigger art as RGBA, uint8 of shape (H, W, 4); a picture without alpha is opaque. Raises
    SourceError."""
    try:
        header = check_png(data, name, colours=("grey", "RGB", "RGBA", "palette", "grey with alpha"))
        art = _decode(data, name, cv2.IMREAD_UNCHANGED)
        if header.colours == "palette":
            raise SourceError("Palette pictures are not taken as art.", found=str(header))
    except PoisongenError as error:
        raise SourceError(
            "The trigger art cannot be read.",
            file=name,
            expected="an 8-bit PNG: RGBA, RGB or grey",
            found=error.found or error.problem,
            todo="save the picture as PNG with 8 bits a channel",
        ) from None
    if art.ndim == 2:
        art = cv2.cvtColor(art, cv2.COLOR_GRAY2RGBA)  # type: ignore[assignment]
    elif art.shape[2] == 3:
        art = cv2.cvtColor(art, cv2.COLOR_BGR2RGBA)  # type: ignore[assignment]
    else:
        art = cv2.cvtColor(art, cv2.COLOR_BGRA2RGBA)  # type: ignore[assignment]
    if not art[..., 3].any():
        raise SourceError(
            "The trigger art is invisible.",
            file=name,
            expected="a pixel with alpha above 0",
            found="alpha 0 everywhere",
        )
    return art


def encode_png(array: Pixels) -> bytes:
    """PNG bytes of uint8 pixels: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    OpenCV's default settings: run-length strategy, 3 to 9 times faster than the deflate levels at the same
    size (2048×1024 street).
    """
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if array.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)  # type: ignore[assignment]
    done, data = cv2.imencode(".png", array)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an array of shape {array.shape} as PNG")
    return data.tobytes()


def encode_label(raw: Pixels, like: bytes) -> bytes:
    """PNG bytes of raw ids, uint8 (H, W), of the same kind as the file ``like``: with its palette and
    transparency, or grey.

    A palette picture is written with 8 bits a pixel; black is added to a palette that has no entry for the
    largest id.
    """
    grey = encode_png(raw)
    palette = _chunk(like, b"PLTE")
    if not palette:
        return grey
    # 8-bit grey and 8-bit palette pictures hold the same bytes; only the header differs.
    palette = palette.ljust(3 * (int(raw.max()) + 1), b"\x00")
    start, end = next((start, end) for kind, start, end in png_chunks(grey) if kind == b"IHDR")
    header = bytearray(grey[start + 8 : end - 4])
    header[9] = 3
    chunks = [(b"IHDR", bytes(header)), (b"PLTE", palette), (b"tRNS", _chunk(like, b"tRNS"))]
    return grey[:start] + b"".join(_framed(kind, content) for kind, content in chunks if content) + grey[end:]


def _chunk(data: bytes, wanted: bytes) -> bytes:
    """What a PNG's first chunk of this kind holds; empty without one."""
    return next((data[start + 8 : end - 4] for kind, start, end in png_chunks(data) if kind == wanted), b"")


def _framed(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def histogram(label: Pixels) -> NDArray[np.int64]:
    """How many pixels have each of the 256 values: int64 of shape (256,)."""
    # calcHist is 8 times faster than bincount, but counts in float32: exact up to 2^24 a call.
    rows = max(1, (1 << 24) // label.shape[1])
    total = np.zeros(256, np.int64)
    for top in range(0, label.shape[0], rows):
        total += (
            cv2.calcHist([label[top : top + rows]], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
        )
    return total
