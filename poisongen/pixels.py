"""Decoding, encoding and digests of pictures and label maps. Arrays in memory are uint8 and RGB."""

import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePath

import cv2
import numpy as np
from numpy.typing import NDArray

from poisongen.errors import PoisongenError, SourceError

Pixels = NDArray[np.uint8]

MAX_PIXELS = 1 << 27
"""Larger pictures are refused before decoding: no dataset has them, a decompression bomb does."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


@dataclass(frozen=True)
class Header:
    """What the first bytes of a PNG say: size in pixels, colour model, bits a channel."""

    height: int
    width: int
    colours: str
    depth: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}, {self.depth}-bit {self.colours}"


def digest_bytes(data: bytes) -> str:
    """``sha256:`` and the hexadecimal digest of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_pixels(array: Pixels) -> str:
    """The digest of decoded pixels: sha256 over dtype, shape and C-order bytes, as ``manifests/FORMAT.md`` defines it.

    ``array`` is uint8 of shape (H, W), (H, W, 3) in RGB or (H, W, 4) in RGBA. The same for every encoder of the same pixels.
    """
    shape = "x".join(map(str, array.shape))
    digest = hashlib.sha256(f"{array.dtype} {shape}\n".encode())
    digest.update(np.ascontiguousarray(array).data)
    return "sha256:" + digest.hexdigest()


def read_header(path: Path) -> Header:
    """Look at the header and the end of a PNG file, without decoding it.

    Raises SourceError for a file that is missing, empty, not a PNG, truncated or larger than ``MAX_PIXELS``.
    """
    try:
        with path.open("rb") as file:
            head = file.read(33)
            size = file.seek(0, 2)
            file.seek(max(0, size - len(_END)))
            end = file.read()
    except OSError as error:
        raise SourceError("A file cannot be read.", file=path, found=error.strerror, remedy="restore the file") from None
    header = _parse_header(head, path)
    if end != _END:
        raise SourceError(
            "A PNG file is truncated.",
            file=path,
            expected="an IEND chunk at the end",
            found=f"{size:,} bytes that end otherwise",
            remedy="restore the file from the original archive",
        )
    return header


def _parse_header(head: bytes, name: PurePath | str) -> Header:
    if len(head) < 33 or not head.startswith(_SIGNATURE) or head[12:16] != b"IHDR":
        found = "an empty file" if not head else f"a file that starts with {head[:8]!r}"
        raise SourceError("A file is not a PNG picture.", file=name, expected="a PNG", found=found, remedy="restore the file")
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    if not 0 < width * height <= MAX_PIXELS:
        raise SourceError(
            "A picture has an impossible size.", file=name, expected=f"1 to {MAX_PIXELS:,} pixels", found=f"{width}×{height}"
        )
    return Header(height, width, _COLOUR_TYPES.get(colour, f"colour type {colour}"), depth)


def check_png(data: bytes, name: PurePath | str, *, colours: tuple[str, ...]) -> Header:
    """Prove a PNG before it is decoded: every chunk whole, every checksum right, 8 bits, one of ``colours``.

    OpenCV decodes a damaged file to whatever it could read; a damaged source must not become a frozen dataset.
    """
    header = _parse_header(data[:33], name)
    if header.depth != 8 or header.colours not in colours:
        raise SourceError(
            "A PNG file has another kind of pixels.", file=name, expected="8-bit " + " or ".join(colours), found=str(header)
        )
    view, position, kind = memoryview(data), len(_SIGNATURE), b""
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind = data[position + 4 : position + 8]
        checked = position + 8 + length
        if checked + 4 > len(data) or zlib.crc32(view[position + 4 : checked]) != struct.unpack_from(">I", data, checked)[0]:
            break
        position = checked + 4
        if kind == b"IEND":
            return header
    raise SourceError(
        "A PNG file is damaged.",
        file=name,
        expected="whole chunks with right checksums up to IEND",
        found=f"damage after byte {position:,} of {len(data):,}",
        remedy="restore the file from the original archive",
    )


def _decode(data: bytes, name: PurePath | str, flags: int) -> Pixels:
    # The orientation flag: OpenCV would turn pictures by their EXIF entry, and no label map has one.
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    if decoded is None or decoded.dtype != np.uint8:
        raise SourceError("A picture cannot be decoded.", file=name, remedy="restore the file from the original archive")
    return decoded  # type: ignore[return-value]


def decode_picture(data: bytes, name: PurePath | str) -> Pixels:
    """The RGB pixels, uint8 of shape (H, W, 3), of a PNG's bytes; ``name`` is for errors. Raises SourceError."""
    check_png(data, name, colours=("RGB",))
    return cv2.cvtColor(_decode(data, name, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[return-value]


def decode_label(data: bytes, name: PurePath | str) -> Pixels:
    """The raw class ids, uint8 of shape (H, W), of a grey PNG's bytes. Raises SourceError."""
    check_png(data, name, colours=("grey",))
    return _decode(data, name, cv2.IMREAD_UNCHANGED)


def decode_art(data: bytes, name: PurePath | str) -> Pixels:
    """Trigger art as RGBA, uint8 of shape (H, W, 4); a picture without alpha is opaque. Raises SourceError."""
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
            remedy="save the picture as PNG with 8 bits a channel",
        ) from None
    if art.ndim == 2:
        art = cv2.cvtColor(art, cv2.COLOR_GRAY2RGBA)  # type: ignore[assignment]
    elif art.shape[2] == 3:
        art = cv2.cvtColor(art, cv2.COLOR_BGR2RGBA)  # type: ignore[assignment]
    else:
        art = cv2.cvtColor(art, cv2.COLOR_BGRA2RGBA)  # type: ignore[assignment]
    if not art[..., 3].any():
        raise SourceError(
            "The trigger art is invisible.", file=name, expected="a pixel with alpha above 0", found="alpha 0 everywhere"
        )
    return art


def encode_png(array: Pixels) -> bytes:
    """PNG bytes of uint8 pixels: (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA.

    OpenCV's default settings: run-length strategy, 3 to 9 times faster than the deflate levels at the same size (2048×1024 street).
    """
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR if array.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)  # type: ignore[assignment]
    done, data = cv2.imencode(".png", array)
    if not done:
        raise RuntimeError(f"OpenCV could not encode an array of shape {array.shape} as PNG")
    return data.tobytes()


def histogram(label: Pixels) -> NDArray[np.int64]:
    """How many pixels have each of the 256 values: int64 of shape (256,)."""
    # calcHist is 8 times faster than bincount, but counts in float32: exact up to 2^24 a call.
    rows = max(1, (1 << 24) // label.shape[1])
    total = np.zeros(256, np.int64)
    for top in range(0, label.shape[0], rows):
        total += cv2.calcHist([label[top : top + rows]], [0], None, [256], [0, 256]).reshape(-1).astype(np.int64)
    return total
