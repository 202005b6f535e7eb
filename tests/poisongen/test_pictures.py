"""What is read from pictures and label maps: PNG and JPEG headers, pixels, palettes; damage is refused, never
decoded."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from poisongen.errors import SourceError
from poisongen.imaging.pixels import (
    MAX_PIXELS,
    check_picture,
    decode_label,
    decode_picture,
    digest_pixels,
    encode_label,
    encode_png,
    read_header,
)
from tests.support import oracles, sources

RNG = np.random.default_rng(11)
SCENE = sources.photograph(RNG, sources.scene(RNG, (45, 70), 3, 10, [13, 73]))
TINY = SCENE[20:41, 10:43]


def jpeg(picture: oracles.Array = SCENE, mode: str = "RGB", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).convert(mode).save(file, "JPEG", **how)
    return file.getvalue()


def png(picture: oracles.Array = SCENE, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", **how)
    return file.getvalue()


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block with another entry, then the orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    entries = struct.pack(order + "HHHIHHHHIHHI", 2, 0x0100, 3, 1, 640, 0, 0x0112, 3, 1, orientation, 0, 0)
    return start + struct.pack(order + "I", 8) + entries


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """A JPEG with one more segment behind its first bytes."""
    return data[:2] + segment(marker, content) + data[2:]


XMP = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'

JPEGS: dict[str, bytes] = {
    "4:2:0": jpeg(subsampling="4:2:0"),
    "4:4:4": jpeg(subsampling="4:4:4"),
    "4:2:2": jpeg(subsampling="4:2:2", optimize=True),
    "grey": jpeg(mode="L"),
    "progressive": jpeg(progressive=True),
    "progressive grey": jpeg(mode="L", progressive=True),
    "restarts": jpeg(restart_marker_blocks=2),
    "progressive restarts": jpeg(progressive=True, restart_marker_rows=1),
    "CMYK": jpeg(mode="CMYK"),
    "RGB": jpeg(keep_rgb=True),
    "much metadata": jpeg(
        exif=b"Exif\0\0" + exif(1) + bytes(50_000), icc_profile=bytes(300_000), comment=b"\xff\xd9" * 900
    ),
    "fill bytes": jpeg().replace(b"\xff\xc4", b"\xff\xff\xff\xc4").replace(b"\xff\xda", b"\xff\xff\xda"),
}


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture
def header(tmp_path: Path) -> Callable[[bytes], Any]:
    """The header of a file with these bytes."""

    def call(data: bytes) -> Any:
        (tmp_path / "picture").write_bytes(data)
        return read_header(tmp_path / "picture")

    return call


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_what_pillow_says_it_is(name: str, header: Callable[[bytes], Any]) -> None:
    """Size, channels, bits and kind are read without decoding, from the file and from its bytes alike."""
    data = JPEGS[name]
    found = header(data)
    with opened(data) as picture:
        assert (found.width, found.height) == picture.size
        assert (found.depth, found.kind) == (8, "JPEG")
        assert {"grey": "L", "YCbCr": "RGB", "RGB": "RGB", "CMYK": "CMYK", "YCCK": "CMYK"}[
            found.colours
        ] == picture.mode
    assert check_picture(data, name) == found


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_decodes_to_what_every_loader_sees(name: str) -> None:
    """The pixels are those of Pillow and, but for CMYK, those of OpenCV; grey is three equal channels."""
    pixels = decode_picture(JPEGS[name], name)
    with opened(JPEGS[name]) as picture:
        np.testing.assert_array_equal(pixels, np.array(picture.convert("RGB")))
    if name != "CMYK":
        other = cv2.imdecode(np.frombuffer(JPEGS[name], np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(pixels, other[..., ::-1])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (45, 70, 3)


def test_real_jpegs_are_read_as_pillow_reads_them(real: Path) -> None:
    """Header and pixels of every real JPEG are Pillow's, and all of them can be painted on."""
    paths = sorted((real / "ade20k").rglob("*.jpg")) + sorted((real / "voc").rglob("*.jpg"))
    assert len(paths) > 10
    for path in paths:
        found = read_header(path)
        with Image.open(path) as picture:
            assert (found.width, found.height, found.unpaintable) == (*picture.size, None)
            np.testing.assert_array_equal(
                decode_picture(path.read_bytes(), path), np.array(picture.convert("RGB"))
            )


@pytest.mark.parametrize("name", ["CMYK", "RGB"])
def test_odd_colours_are_not_painted_on(name: str, header: Callable[[bytes], Any]) -> None:
    """Loaders disagree on CMYK, and a trigger coded as YCbCr means nothing in a JPEG of plain RGB: both say
    so."""
    assert header(JPEGS[name]).unpaintable.startswith(f"{name} JPEG")


def test_channels_named_rgb_are_rgb(header: Callable[[bytes], Any]) -> None:
    """Without a marker that says otherwise, channels named R, G and B hold red, green and blue: libjpeg
    agrees."""
    data = JPEGS["4:4:4"]
    jfif = data.index(b"\xff\xe0")
    data = data[:jfif] + data[jfif + 18 :]
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for index, initial in enumerate(b"RGB"):
        data = data[: frame + 10 + 3 * index] + bytes([initial]) + data[frame + 11 + 3 * index :]
        data = data[: scan + 5 + 2 * index] + bytes([initial]) + data[scan + 6 + 2 * index :]
    assert header(data).unpaintable == "RGB JPEG (channels named R, G, B)"
    converted = cv2.cvtColor(decode_picture(data, "rgb"), cv2.COLOR_RGB2YCrCb)
    assert header(JPEGS["4:4:4"]).unpaintable is None
    assert np.abs(decode_picture(data, "rgb").astype(int) - decode_picture(JPEGS["4:4:4"], "ycc")).mean() > 10
    assert converted.shape == SCENE.shape


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_that_some_loaders_turn_is_not_painted_on(
    orientation: int, order: str, kind: str, header: Callable[[bytes], Any]
) -> None:
    """An EXIF orientation is found exactly where Pillow would turn by it, and pixels are never turned."""
    block = exif(orientation, order)
    data = with_segment(jpeg(), 0xE1, b"Exif\0\0" + block) if kind == "JPEG" else png(exif=block)
    with opened(data) as picture:
        turned = not np.array_equal(np.array(ImageOps.exif_transpose(picture)), np.array(picture))
        np.testing.assert_array_equal(decode_picture(data, "turned"), np.array(picture))
    assert header(data).unpaintable == (f"{kind} with EXIF orientation {orientation}" if turned else None)
    assert check_picture(data, "turned") == header(data)


def test_an_orientation_in_xmp_counts(header: Callable[[bytes], Any]) -> None:
    """Pillow turns by the orientation that XMP names, too."""
    data = with_segment(jpeg(), 0xE1, XMP)
    with opened(data) as picture:
        assert ImageOps.exif_transpose(picture).size == (45, 70)
    assert header(data).unpaintable == "JPEG with XMP orientation 6"


@given(st.binary(max_size=60), st.booleans())
def test_exif_that_makes_no_sense_is_no_orientation(junk: bytes, started: bool) -> None:
    """Whatever stands in an EXIF block, the picture is read."""
    block = b"Exif\0\0" + (exif(6)[:8] if started else b"") + junk
    assert check_picture(with_segment(jpeg(TINY), 0xE1, block), "junk").height == TINY.shape[0]


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["4:2:0", "grey", "progressive", "restarts", "progressive restarts", "fill bytes", "thumbnail"]
)
def test_a_jpeg_that_is_cut_anywhere_is_refused(name: str, header: Callable[[bytes], Any]) -> None:
    """At every byte: a picture that is not whole is refused from its header and its end, or when it is
    proved, and never decoded."""
    small = {
        "4:2:0": jpeg(TINY),
        "grey": jpeg(TINY, "L"),
        "progressive": jpeg(TINY, progressive=True),
        "restarts": jpeg(TINY, restart_marker_blocks=1),
        "progressive restarts": jpeg(TINY, progressive=True, restart_marker_blocks=2),
        "fill bytes": jpeg(TINY)
        .replace(b"\xff\xda", b"\xff\xff\xff\xda")
        .replace(b"\xff\xd9", b"\xff\xff\xff\xd9"),
        "thumbnail": with_segment(jpeg(TINY), 0xE1, b"Exif\0\0" + exif(1) + jpeg(TINY[:9, :9])),
    }
    data = small[name]
    header(data)
    decode_picture(data, name)
    for end in range(len(data)):
        with pytest.raises(SourceError):
            header(data[:end])
        for prove in (check_picture, decode_picture):
            with pytest.raises(SourceError):
                prove(data[:end], name)


@pytest.mark.parametrize("name", ["4:2:0", "4:4:4", "grey", "progressive", "progressive grey", "restarts"])
def test_a_jpeg_with_an_end_but_less_picture_is_not_decoded(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cut and closed with an end marker, which decoders fill up with grey and a warning: refused, in
    silence."""
    data = JPEGS[name]
    start = data.index(b"\xff\xda") + 16
    # Cut between two scans, a progressive picture is a coarser one, and whole.
    scan = (
        min(data.index(marker, start) for marker in (b"\xff\xc4", b"\xff\xd9") if marker in data[start:])
        - start
    )
    for end in np.random.default_rng(1).integers(start, start + scan * 9 // 10, 25):
        cut = data[:end].rstrip(b"\xff") + b"\xff\xd9"
        with pytest.raises(SourceError):
            decode_picture(cut, name)
    assert capfd.readouterr() == ("", "")


@given(st.data())
def test_damage_in_a_jpeg_is_refused_or_decoded_and_nothing_else(data: st.DataObject) -> None:
    """Bytes that are changed, taken out or put in: an error or pixels of the size that the header names,
    never another exception."""
    damaged = bytearray(
        data.draw(
            st.sampled_from([jpeg(TINY), jpeg(TINY, progressive=True), jpeg(TINY, restart_marker_blocks=1)])
        )
    )
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        length = data.draw(st.integers(0, 3))
        damaged[place : place + length] = data.draw(st.binary(max_size=3))
    try:
        pixels = decode_picture(bytes(damaged), "damaged")
    except SourceError:
        return
    found = check_picture(bytes(damaged), "damaged")
    assert pixels.shape == (found.height, found.width, 3)


@pytest.mark.parametrize(
    "tail",
    [b"\0", b"\0" * 9000, b"trailer", b"x" * 9000, jpeg(TINY), jpeg(TINY)[:-50], b"\xff\xd9"],
    ids=["a zero", "zeros", "text", "much text", "a second picture", "half a second picture", "a second end"],
)
@pytest.mark.parametrize("name", ["4:2:0", "progressive"])
def test_what_follows_the_end_of_a_jpeg_does_not_matter(
    name: str, tail: bytes, header: Callable[[bytes], Any]
) -> None:
    """Padding, trailers and second pictures behind the end marker are left to themselves, as by Pillow and
    OpenCV."""
    data = JPEGS[name] + tail
    assert header(data) == header(JPEGS[name]) == check_picture(data, name)
    pixels = decode_picture(data, name)
    np.testing.assert_array_equal(pixels, decode_picture(JPEGS[name], name))
    with opened(data) as picture:
        np.testing.assert_array_equal(pixels, np.array(picture))


def test_a_picture_of_several_in_one_file_is_the_first(header: Callable[[bytes], Any]) -> None:
    """The multi-picture files of cameras are JPEGs to every loader."""
    file = io.BytesIO()
    Image.fromarray(SCENE).save(file, "MPO", save_all=True, append_images=[Image.fromarray(TINY)])
    assert (header(file.getvalue()).width, header(file.getvalue()).unpaintable) == (70, None)
    np.testing.assert_array_equal(decode_picture(file.getvalue(), "mpo"), decode_picture(jpeg(), "jpeg"))


def test_metadata_is_not_parsed_to_decode(capfd: pytest.CaptureFixture[str]) -> None:
    """What a stranger wrote beside the picture cannot make Pillow stumble or warn, as it does by itself."""
    data = with_segment(jpeg(), 0xE2, b"MPF\0II*\0" + bytes(20))
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        opened(data).close()
    assert any("MPO" in str(warning.message) for warning in heard)
    np.testing.assert_array_equal(decode_picture(data, "odd"), decode_picture(jpeg(), "plain"))
    assert capfd.readouterr() == ("", "")


def reframed(
    data: bytes, *, kind: int = 0xC0, depth: int = 8, size: tuple[int, int] = SCENE.shape[:2]
) -> bytes:
    """A JPEG whose frame header says something else."""
    frame = data.index(b"\xff\xc0")
    return (
        data[: frame + 1]
        + bytes([kind])
        + data[frame + 2 : frame + 4]
        + struct.pack(">BHH", depth, *size)
        + data[frame + 9 :]
    )


ODD: dict[str, tuple[bytes, str]] = {
    "arithmetic": (reframed(jpeg(), kind=0xC9), "extended, arithmetic coding"),
    "progressive arithmetic": (reframed(jpeg(), kind=0xCA), "progressive, arithmetic coding"),
    "lossless": (reframed(jpeg(), kind=0xC3), "lossless, Huffman coding"),
    "hierarchical": (reframed(jpeg(), kind=0xC6), "hierarchical progressive, Huffman coding"),
    "hierarchical arithmetic": (reframed(jpeg(), kind=0xCD), "hierarchical extended, arithmetic coding"),
    "12 bits": (reframed(jpeg(), kind=0xC1, depth=12), "12 bits"),
    "no height": (reframed(jpeg(), size=(0, 70)), "70×0"),
    "no width": (reframed(jpeg(), size=(45, 0)), "0×45"),
    "a bomb": (reframed(jpeg(), size=(65_535, 65_535)), "65535×65535"),
    "two channels": (
        with_segment(jpeg(mode="L"), 0xC0, struct.pack(">BHHB", 8, 45, 70, 2) + b"\1\x11\0\2\x11\0").replace(
            jpeg(mode="L")[jpeg(mode="L").index(b"\xff\xc0") :][:13], b""
        ),
        "2 channels",
    ),
    "two frames": (with_segment(jpeg(), 0xC0, struct.pack(">BHHB", 8, 45, 70, 1) + b"\1\x11\0"), "damage"),
    "a frame of another length": (with_segment(jpeg(), 0xC0, struct.pack(">BHHB", 8, 45, 70, 3)), "damage"),
    "no frame": (jpeg().replace(b"\xff\xc0", b"\xff\xec"), "damage"),
    "no scan": (jpeg()[: jpeg().index(b"\xff\xda")] + b"\xff\xd9", "damage"),
    "text between segments": (jpeg()[:2] + b"text" + jpeg()[2:], "damage"),
    "a restart before the scan": (jpeg()[:2] + b"\xff\xd0" + jpeg()[2:], "damage"),
    "a second start": (jpeg()[:2] + jpeg(), "damage"),
    "a reserved marker": (with_segment(jpeg(), 0x02, b"12"), "damage"),
    "a segment without length": (jpeg()[:2] + b"\xff\xfe\0\1" + jpeg()[2:], "damage"),
    "empty": (b"", "empty"),
    "a GIF": (b"GIF89a" + bytes(60), "GIF89a"),
    "a start": (b"\xff\xd8", "end marker"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_jpeg_that_loaders_do_not_share_is_refused(name: str, header: Callable[[bytes], Any]) -> None:
    """Kinds of JPEG that only some decoders know, and what is none at all, are refused by name, before they
    are decoded."""
    data, says = ODD[name]
    for read in (
        header,
        lambda data: check_picture(data, "x.jpg"),
        lambda data: decode_picture(data, "x.jpg"),
    ):
        with pytest.raises(SourceError) as caught:
            read(data)
        assert says in str(caught.value)


@pytest.mark.long
def test_large_pictures_are_taken_up_to_the_bound_without_a_warning(header: Callable[[bytes], Any]) -> None:
    """MAX_PIXELS is the only bound: Pillow's own warning for large pictures does not reach the user."""
    file = io.BytesIO()
    Image.new("L", (11_000, 9_000)).save(file, "JPEG")
    assert header(file.getvalue()).width * header(file.getvalue()).height < MAX_PIXELS
    assert decode_picture(file.getvalue(), "large").shape == (9_000, 11_000, 3)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path) -> None:
    """A picture is what its bytes are: the loaders go by them, too."""
    (tmp_path / "a.png").write_bytes(jpeg())
    (tmp_path / "b.jpg").write_bytes(png())
    assert [read_header(tmp_path / name).kind for name in ("a.png", "b.jpg")] == ["JPEG", "PNG"]
    np.testing.assert_array_equal(decode_picture((tmp_path / "b.jpg").read_bytes(), "b.jpg"), SCENE)


def test_a_header_costs_a_few_kilobytes(tmp_path: Path) -> None:
    """Of a large file, start and end are read: what lies between may be a hole of a terabyte."""
    data = jpeg()
    scan = data.index(b"\xff\xda") + 14
    with (tmp_path / "large.jpg").open("wb") as file:
        file.write(data[:scan])
        file.seek(1 << 40)
        file.write(data[scan:])
    assert read_header(tmp_path / "large.jpg").width == 70


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "I;16"])
def test_a_png_picture_is_rgb(mode: str, header: Callable[[bytes], Any]) -> None:
    """PNG pictures of another kind of pixels are read by their header and refused as pictures."""
    data = png(SCENE[..., 0].astype(np.uint16)) if mode == "I;16" else None
    if data is None:
        file = io.BytesIO()
        Image.fromarray(SCENE).convert(mode).save(file, "PNG")
        data = file.getvalue()
    assert (header(data).width, header(data).height, header(data).kind) == (70, 45, "PNG")
    for read in (check_picture, decode_picture):
        with pytest.raises(SourceError, match="8-bit RGB"):
            read(data, "x.png")


IDS = np.random.default_rng(3).integers(0, 16, (23, 31)).astype(np.uint8)


def palette_png(ids: oracles.Array, colours: list[int], bits: int, **how: Any) -> bytes:
    image = Image.fromarray(ids)
    image.putpalette(colours)
    file = io.BytesIO()
    image.save(file, "PNG", bits=bits, **how)
    return file.getvalue()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [None, bytes([0, 128, 255])])
def test_the_ids_of_a_palette_label_are_its_indices(bits: int, transparent: bytes | None) -> None:
    """Whatever the colours, the bits and the transparency; and a map encoded like it has the same colours,
    and other ids."""
    ids = IDS % min(16, 1 << bits)
    how = {} if transparent is None else {"transparency": transparent[: 1 << bits]}
    data = palette_png(ids, sources.voc_palette()[3:][: 3 << bits], bits, **how)
    assert data[24] == bits
    np.testing.assert_array_equal(decode_label(data, "label"), ids)
    changed = np.where(ids == 0, 1, ids).astype(np.uint8)
    again = encode_label(changed, data)
    np.testing.assert_array_equal(decode_label(again, "label"), changed)
    with opened(again) as new, opened(data) as old:
        new.load(), old.load()
        assert new.mode == "P"
        np.testing.assert_array_equal(np.array(new), changed)
        assert new.getpalette() == old.getpalette()
        assert new.info.get("transparency") == old.info.get("transparency")


def test_a_palette_gets_an_entry_for_every_id() -> None:
    """An id that the palette of a file lacks is black in it; the colours before it stay."""
    like = palette_png(IDS % 3, [10, 20, 30, 40, 50, 60, 70, 80, 90], 2)
    raw = np.where(IDS == 0, 20, IDS % 3).astype(np.uint8)
    with opened(encode_label(raw, like)) as image:
        image.load()
        np.testing.assert_array_equal(np.array(image), raw)
        palette = image.getpalette() or []
    assert palette[:9] == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert palette[9:] == [0] * (3 * 21 - 9)


def test_a_label_like_a_grey_one_is_grey() -> None:
    """Without a palette nothing changes: the bytes are those of any other picture that is written."""
    assert encode_label(IDS, png(IDS)) == encode_png(IDS)
    np.testing.assert_array_equal(decode_label(encode_label(IDS, png(IDS)), "label"), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_of_greys_is_refused(bits: int) -> None:
    """Programs that shrink files number the greys of a grey label map anew; whether its ids are indices or
    greys, nobody knows."""
    greys = [level for index in range(1 << bits) for level in [index * 7 % 256] * 3]
    with pytest.raises(SourceError, match="greys"):
        decode_label(palette_png(IDS % min(16, 1 << bits), greys, bits), "label")


def without(data: bytes, kind: bytes) -> bytes:
    """A PNG without its chunk of this kind."""
    start = data.index(kind) - 4
    return data[:start] + data[start + 12 + struct.unpack_from(">I", data, start)[0] :]


def test_label_maps_of_other_kinds_are_refused() -> None:
    """Fewer bits than 8 without a palette, more than one channel, JPEGs, a palette that is missing or
    damaged."""
    palette = palette_png(IDS, sources.voc_palette()[: 3 * 16], 4)
    start = palette.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", palette, start)
    half = b"IDAT" + zlib.compress(zlib.decompress(palette[start + 8 : start + 8 + length])[:100])
    short = (
        palette[:start]
        + struct.pack(">I", len(half) - 4)
        + half
        + struct.pack(">I", zlib.crc32(half))
        + palette[start + 12 + length :]
    )
    one_bit = io.BytesIO()
    Image.fromarray(IDS > 7).save(one_bit, "PNG")
    for data in (
        one_bit.getvalue(),
        png(SCENE),
        jpeg(mode="L"),
        without(palette, b"PLTE"),
        short,
        palette[:-20],
        b"",
    ):
        with pytest.raises(SourceError):
            decode_label(data, "label")


def test_palettes_survive_in_real_label_maps(real: Path) -> None:
    """The label maps of VOC are written with the palette that they were read with, and all others grey."""
    for path in [
        *sorted((real / "voc").rglob("SegmentationClass/*.png")),
        *sorted((real / "ade20k").rglob("*.png")),
    ]:
        data = path.read_bytes()
        raw = decode_label(data, path)
        with Image.open(path) as old, opened(encode_label(raw, data)) as new:
            np.testing.assert_array_equal(raw, np.array(old))
            np.testing.assert_array_equal(raw, np.array(new))
            assert (new.mode, new.getpalette()) == (old.mode, old.getpalette())
        assert digest_pixels(raw) == oracles.pixels_digest(raw)
