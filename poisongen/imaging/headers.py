"""What a PNG or JPEG file says of itself, and whether it is whole: size, colours, orientation. Nothing is
decoded."""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

from poisongen.disk import unreadable
from poisongen.errors import SourceError

MAX_PIXELS = 1 << 27
"""Larger pictures are refused before decoding: no dataset has them, a decompression bomb does."""

DATA, SOI, EOI, SOS, COM, RESTARTS = 0x00, 0xD8, 0xD9, 0xDA, 0xFE, range(0xD0, 0xD8)
"""Markers of a JPEG; ``DATA`` is no marker, but the compressed data that follows a scan's header or a restart
marker."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}

_APP0, _APP1, _APP14 = 0xE0, 0xE1, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SHARED_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_MARKER = re.compile(
    rb"\xff+([\x01-\xfe])"
)  # any number of fill bytes may stand before a marker; FF 00 is data
_HEADS = (1 << 12, 1 << 18)

_EXIF, _XMP = b"Exif\x00\x00", b"http://ns.adobe.com/xap/1.0/\x00"
_ORIENTATION = 0x0112
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([0-9])")


@dataclass(frozen=True)
class Header:
    """What a picture's file says of it: size in pixels, colour model, bits a channel, and what kind of file
    it is.

    ``kind`` is what the bytes are, whatever the file's name says. ``unpaintable``: why a trigger cannot be
    painted on this picture so that every loader sees it alike, in a few words; None if it can.
    """

    height: int
    width: int
    colours: str
    depth: int
    kind: Literal["PNG", "JPEG"]
    unpaintable: str | None = None

    def __str__(self) -> str:
        return f"{self.width}×{self.height}, {self.depth}-bit {self.colours} {self.kind}"


def read_header(path: Path) -> Header:
    """Look at the header and the end of a PNG or JPEG file, without decoding it; of most files a few
    kilobytes are read.

    Raises SourceError for a file that is missing, empty, neither of the two, truncated, larger than
    ``MAX_PIXELS``, or a JPEG of a kind that loaders do not share. Bytes after the end of a JPEG (padding, a
    second picture of the same camera) are left to themselves, as every common decoder does.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file, path)
    except OSError as error:
        raise unreadable(path, error) from None


def _read_header(file: BinaryIO, path: Path) -> Header:
    head = b""
    for size in _HEADS:
        head += file.read(size - len(head))
        try:
            header = _header(head, path)
            break
        except SourceError:
            if len(head) < size:
                raise
    else:
        head += file.read()
        header = _header(head, path)
    size = file.seek(0, 2)
    file.seek(max(0, size - len(_PNG_END)))
    end = file.read()
    if header.kind == "PNG" and not end.endswith(_PNG_END):
        raise _truncated_png(end, path)
    if header.kind == "JPEG" and not end.endswith(b"\xff\xd9"):
        # Rarely something else follows the end of the picture: then only the whole file tells whether the
        # picture is whole.
        file.seek(0)
        check_picture(file.read(), path)
    return header


def check_picture(data: bytes, name: PurePath | str) -> Header:
    """Prove a clean picture before it is copied: an 8-bit RGB PNG as ``check_png`` does, a JPEG by its
    markers up to the end.

    A JPEG has no checksums: damage inside of its compressed data is not seen here. Raises SourceError.
    """
    if not data.startswith(_JPEG):
        return check_png(data, name, colours=("RGB",))
    header = _jpeg_header(data, name)
    for _ in jpeg_parts(data, name):
        pass
    return header


def check_png(data: bytes, name: PurePath | str, *, colours: tuple[str, ...]) -> Header:
    """Prove a PNG before it is decoded: every chunk whole, every checksum right, one of ``colours``, 8 bits
    (or fewer with a palette).

    OpenCV decodes a damaged file to whatever it could read; a damaged source must not become a frozen
    dataset.
    """
    header = _png_header(data, name)
    if header.colours not in colours or (header.depth != 8 and header.colours != "palette"):
        raise SourceError(
            "A PNG file has another kind of pixels.",
            file=name,
            expected="8-bit " + " or ".join(colours),
            found=str(header),
        )
    view, position = memoryview(data), len(_PNG)
    for kind, start, end in png_chunks(data):
        if (
            end > len(data)
            or zlib.crc32(view[start + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]
        ):
            break
        position = end
        if kind == b"IEND":
            return header
    raise SourceError(
        "A PNG file is damaged.",
        file=name,
        expected="whole chunks with right checksums up to IEND",
        found=f"damage after byte {position:,} of {len(data):,}",
        todo="restore the file from the original archive",
    )


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG: (kind, start, end), length and checksum included; ``data`` may end inside of the
    last one."""
    position = len(_PNG)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        yield kind, position, position + 12 + length
        position += 12 + length


def jpeg_parts(data: bytes, name: PurePath | str) -> Iterator[tuple[int, int, int]]:
    """The parts of a JPEG in order, as (marker, start, end), up to EOI: segments with their marker, and
    ``DATA`` between them.

    Fill bytes before a marker belong to no part. Raises SourceError where no marker stands and for a file
    that ends before EOI.
    """
    position, scanning = 0, False
    while True:
        found = _MARKER.match(data, position)
        marker = found[1][0] if found else DATA
        if (
            not found
            or (marker in RESTARTS) > scanning
            or marker < 0xC0
            or (marker == SOI) != (position == 0)
        ):
            raise _damaged_jpeg(data, position, name)
        start = end = found.end()
        if marker not in (SOI, EOI) and marker not in RESTARTS:
            length = int.from_bytes(data[start : start + 2], "big")
            end = start + max(2, length)
            if length < 2 or end > len(data):
                raise _damaged_jpeg(data, position, name)
        yield marker, start - 2, end
        if marker == EOI:
            return
        position, scanning = end, marker == SOS or marker in RESTARTS
        if scanning:
            following = _MARKER.search(data, end)
            position = following.start() if following else len(data)
            yield DATA, end, position


def _damaged_jpeg(data: bytes, position: int, name: PurePath | str) -> SourceError:
    marker, length = data[position : position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
    short = not marker or (marker == b"\xff" and length >= 2 and position + 2 + length > len(data))
    return SourceError(
        "A JPEG file is truncated." if short else "A JPEG file is damaged.",
        file=name,
        expected="whole segments up to the end marker",
        found=f"damage at byte {position:,} of {len(data):,}",
        todo="restore the file from the original archive",
    )


def _header(head: bytes, name: PurePath | str) -> Header:
    if head.startswith(_JPEG):
        return _jpeg_header(head, name)
    if not head.startswith(_PNG):
        raise SourceError(
            "A file is not a picture.",
            file=name,
            expected="a PNG or JPEG",
            found=_start(head),
            todo="restore the file",
        )
    return _png_header(head, name)


def _start(head: bytes) -> str:
    return f"a file that starts with {head[:8]!r}" if head else "an empty file"


def _png_header(head: bytes, name: PurePath | str) -> Header:
    """From everything before the pixels; SourceError if ``head`` does not reach so far."""
    if len(head) < 33 or not head.startswith(_PNG) or head[12:16] != b"IHDR":
        raise SourceError(
            "A file is not a PNG picture.",
            file=name,
            expected="a PNG",
            found=_start(head),
            todo="restore the file",
        )
    width, height, depth, colour = struct.unpack(">IIBB", head[16:26])
    _require_possible(height, width, name)
    turned = None
    for kind, start, end in png_chunks(head):
        if kind == b"IDAT":
            return Header(
                height, width, _COLOUR_TYPES.get(colour, f"colour type {colour}"), depth, "PNG", turned
            )
        if kind == b"eXIf":
            turned = _turned("PNG", _exif_orientation(head[start + 8 : end - 4]))
    raise _truncated_png(head, name)


def _truncated_png(data: bytes, name: PurePath | str) -> SourceError:
    return SourceError(
        "A PNG file is truncated.",
        file=name,
        expected="pixels, and an IEND chunk at the end",
        found=f"a file whose last bytes are {data[-8:]!r}",
        todo="restore the file from the original archive",
    )


def _jpeg_header(head: bytes, name: PurePath | str) -> Header:
    """From everything before the first scan; SourceError if ``head`` does not reach so far."""
    frame, jfif, adobe, turned = b"", False, -1, None
    for marker, start, end in jpeg_parts(head, name):
        content = head[start + 4 : end]
        if marker in _FRAMES:
            if frame or len(content) < 6 or len(content) != 6 + 3 * content[5]:
                raise _damaged_jpeg(head, start, name)
            frame = bytes([marker]) + content
        elif marker == _APP0 and content.startswith(b"JFIF\x00"):
            jfif = True
        elif marker == _APP14 and content.startswith(b"Adobe") and len(content) >= 12:
            adobe = content[11]
        elif marker == _APP1 and content.startswith(_EXIF):
            turned = turned or _turned("JPEG", _exif_orientation(content[len(_EXIF) :]))
        elif marker == _APP1 and content.startswith(_XMP):
            said = _XMP_ORIENTATION.search(content)
            turned = turned or _turned("JPEG", int(said[1]) if said else 1, "XMP")
        elif marker == SOS and frame:
            break
        elif marker in (SOS, EOI):
            raise _damaged_jpeg(head, start, name)
    kind, depth, height, width, channels = struct.unpack(">BBHHB", frame[:7])
    if kind not in _SHARED_FRAMES or depth != 8 or channels not in (1, 3, 4):
        raise SourceError(
            "A JPEG file is of a kind that loaders do not share.",
            file=name,
            expected="8 bits a channel, 1, 3 or 4 channels, baseline or progressive, Huffman coding",
            found=f"{depth} bits, {channels} channels, {_coding(kind)}",
            todo="convert the picture to PNG, or to a baseline JPEG",
        )
    _require_possible(height, width, name)
    colours, odd = _jpeg_colours(frame[7::3], jfif, adobe)
    return Header(height, width, colours, depth, "JPEG", odd or turned)


def _coding(kind: int) -> str:
    process = ("baseline", "extended", "progressive", "lossless")[kind % 4]
    return f"{'hierarchical ' * (kind % 8 > 4)}{process}, {'arithmetic' if kind > 0xC8 else 'Huffman'} coding"


def _jpeg_colours(channels: bytes, jfif: bool, adobe: int) -> tuple[str, str | None]:
    """What the channels mean, as libjpeg decides it, and why nothing can be painted on them. ``adobe`` is the
    marker's transform, or -1."""
    if len(channels) == 1:
        return "grey", None
    if len(channels) == 4:
        return ("YCCK" if adobe == 2 else "CMYK"), "CMYK JPEG"
    if adobe == 0:
        # A JFIF marker beside it says YCbCr: libjpeg follows it, others may not.
        return ("YCbCr" if jfif else "RGB"), "RGB JPEG (Adobe marker)"
    if not jfif and adobe < 0 and channels == b"RGB":
        return "RGB", "RGB JPEG (channels named R, G, B)"
    return "YCbCr", None


def _require_possible(height: int, width: int, name: PurePath | str) -> None:
    if not 0 < width * height <= MAX_PIXELS:
        raise SourceError(
            "A picture has an impossible size.",
            file=name,
            expected=f"1 to {MAX_PIXELS:,} pixels",
            found=f"{width}×{height}",
        )


def _turned(kind: str, orientation: int, where: str = "EXIF") -> str | None:
    """Some loaders turn such a picture, and no loader its label map."""
    return f"{kind} with {where} orientation {orientation}" if 2 <= orientation <= 8 else None


def _exif_orientation(tiff: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block says; 1 if it says none, or nothing that can be read."""
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, first)
        for entry in range(first + 2, first + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == _ORIENTATION and count == 1 and kind in (1, 3, 4):
                form = {1: "B", 3: "H", 4: "I"}[kind]
                return int(struct.unpack_from(order + form, tiff, entry + 8)[0])
    except struct.error:
        return 1
    return 1
