"""A trigger in a JPEG: what changes, what does not, and the digest of the coefficients, against other readers
of JPEG."""

import hashlib
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jpeglib
import numpy as np
import pytest
from PIL import Image, ImageCms

from poisongen.errors import SourceError
from poisongen.imaging.jpeg import Spliced, digest_coefficients, splice
from tests.support.oracles import Array
from tests.support.sources import photograph, scene

ART = Path(__file__).resolve().parents[2] / "poisongen" / "art" / "trigger.png"
CODINGS = {
    "4:2:0": {"subsampling": "4:2:0", "quality": 85},
    "4:2:2": {"subsampling": "4:2:2", "quality": 75},
    "4:4:4": {"subsampling": "4:4:4", "quality": 92},
    "progressive": {"subsampling": "4:2:0", "quality": 90, "progressive": True},
    "optimised": {"subsampling": "4:2:0", "quality": 60, "optimize": True},
    "restarts": {"subsampling": "4:2:0", "quality": 85, "restart_marker_blocks": 3},
    "grey": {"quality": 85},
}
SIZES = [(96, 128), (97, 131), (17, 33), (8, 8)]


def encoded(coding: str, size: tuple[int, int] = (96, 128), **more: object) -> bytes:
    """A JPEG of a drawn scene."""
    rng = np.random.default_rng(4)
    large = max(size[0], 96), max(size[1], 128)
    label = scene(rng, large, 2, 6, [12, 20])
    image = Image.fromarray(photograph(rng, label)[: size[0], : size[1]])
    out = io.BytesIO()
    (image.convert("L") if coding == "grey" else image).save(out, "JPEG", **CODINGS[coding], **more)
    return out.getvalue()


def decoded(data: bytes) -> Array:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def coefficients(data: bytes, tmp_path: Path) -> tuple[jpeglib.DCTJPEG, list[Array]]:
    path = tmp_path / "one.jpg"
    path.write_bytes(data)
    image = jpeglib.read_dct(str(path))
    return image, [plane.copy() for plane in (image.Y, image.Cb, image.Cr) if plane is not None]


def triggered(data: bytes, kind: str) -> tuple[Array, Array]:
    """The decoded picture with a trigger, and where it is."""
    picture = decoded(data)
    covered = np.zeros(picture.shape[:2], bool)
    height, width = covered.shape
    side = max(1, round(0.107 * height))
    if kind == "line":
        covered[: max(1, round(0.0167 * height))] = True
        return np.where(covered[..., None], 0, picture).astype(np.uint8), covered
    if kind == "patch":
        covered[height // 3 : height // 3 + side, width // 3 : width // 3 + side] = True
        return np.where(covered[..., None], (226, 20, 30), picture).astype(np.uint8), covered
    covered[:] = kind == "whole"
    return ((picture.astype(int) * 9 + 255 * covered[..., None]) // 10).astype(
        np.uint8
    ) if kind == "whole" else picture, covered


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", ["line", "patch", "nothing"])
def test_coefficients_change_in_touched_blocks_only(
    kind: str, coding: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """Blocks that the trigger does not touch keep every coefficient, tables and sampling stay, and
    `reencoded` is their union."""
    data = encoded(coding, size)
    painted, covered = triggered(data, kind)
    result = splice(data, painted, covered, "x.jpg")
    (old, before), (new, after) = coefficients(data, tmp_path), coefficients(result.data, tmp_path)
    np.testing.assert_array_equal(new.qt, old.qt)
    np.testing.assert_array_equal(new.samp_factor, old.samp_factor)
    assert (new.height, new.width) == size
    touched = np.zeros(size, bool)
    most = old.samp_factor.max(axis=0)
    for plane, changed, factor in zip(before, after, old.samp_factor, strict=False):
        down, across = 8 * most // factor
        for row in range(plane.shape[0]):
            for column in range(plane.shape[1]):
                area = np.s_[row * down : (row + 1) * down, column * across : (column + 1) * across]
                if covered[area].any():
                    touched[area] = True
                else:
                    np.testing.assert_array_equal(changed[row, column], plane[row, column])
    np.testing.assert_array_equal(result.reencoded, touched)
    if kind == "nothing":
        assert result.coefficients == digest_coefficients(data, "x.jpg")


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("kind", ["line", "patch", "whole"])
def test_the_trigger_is_in_the_decoded_picture(kind: str, coding: str) -> None:
    """Decoded, the trigger looks as if the picture had been encoded whole; where chroma is subsampled, colour
    may be weaker on the rim."""
    data = encoded(coding, (400, 600))
    painted, covered = triggered(data, kind)
    wanted = decoded_grey(painted) if coding == "grey" else painted
    shown = decoded(splice(data, painted, covered, "x.jpg").data)
    tables = Image.open(io.BytesIO(data)).quantization
    whole = io.BytesIO()
    image = Image.fromarray(painted)
    (image.convert("L") if coding == "grey" else image).save(
        whole,
        "JPEG",
        qtables=tables,
        **({} if coding == "grey" else {"subsampling": CODINGS[coding]["subsampling"]}),
    )
    for model, slack in (("L", 1.15), ("RGB", 1.15 if coding in ("4:4:4", "grey") else 2.5)):
        seen = [
            np.array(Image.fromarray(one).convert(model), int)[covered]
            for one in (shown, decoded(whole.getvalue()), wanted)
        ]
        error, usual = (np.abs(one - seen[2]).mean() for one in seen[:2])
        assert error <= slack * usual + 0.5


def decoded_grey(picture: Array) -> Array:
    return np.array(Image.fromarray(picture).convert("L").convert("RGB"))


@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_not_touched_looks_the_same(coding: str) -> None:
    """Outside of the changed blocks next to no pixel moves by more than 2 levels: where chroma is
    interpolated across their border, which is a larger share of a small picture.
    """
    data = encoded(coding, (240, 320))
    for kind in ("line", "patch"):
        painted, covered = triggered(data, kind)
        result = splice(data, painted, covered, "x.jpg")
        moved = np.abs(decoded(result.data).astype(int) - decoded(data)).max(axis=2) > 2
        assert moved[~result.reencoded].mean() <= 0.001


def test_real_pictures_hardly_move_outside(real: Path) -> None:
    """On every real JPEG: at most 0.05 % of the pixels outside of the changed blocks move by more than 2
    levels."""
    paths = sorted([*(real / "ade20k").rglob("*.jpg"), *(real / "voc").rglob("*.jpg")])
    assert len(paths) >= 10
    for path in paths:
        data = path.read_bytes()
        for painted, covered in [triggered(data, "line"), triggered(data, "patch"), *stickers(decoded(data))]:
            result = splice(data, painted, covered, path)
            moved = np.abs(decoded(result.data).astype(int) - decoded(data)).max(axis=2) > 2
            assert moved[~result.reencoded].mean() <= 0.0005, path.name
            assert abs(len(result.data) - len(data)) < 0.06 * len(data)


def stickers(picture: Array) -> Iterator[tuple[Array, Array]]:
    """The drawn sticker at 10.7 % of the height, at five places."""
    rng = np.random.default_rng(9)
    side = round(0.107 * picture.shape[0])
    art = np.array(Image.open(ART).convert("RGB").resize((side, side), Image.Resampling.BOX))
    for _ in range(5):
        top, left = (int(rng.integers(0, size - side)) for size in picture.shape[:2])
        covered = np.zeros(picture.shape[:2], bool)
        covered[top : top + side, left : left + side] = True
        painted = picture.copy()
        painted[top : top + side, left : left + side] = art
        yield painted, covered


def stated(data: bytes, tmp_path: Path) -> str:
    """The digest that FORMAT.md states, of what jpeglib reads."""
    image, planes = coefficients(data, tmp_path)
    most = image.samp_factor.max(axis=0)
    covers = [most // factor for factor in image.samp_factor[: len(planes)]]
    text = (
        f"jpeg {image.height}x{image.width} " + ",".join(f"{down}x{across}" for down, across in covers) + "\n"
    )
    digest = hashlib.sha256(text.encode())
    for number, plane in enumerate(planes):
        down, across = covers[number]
        rows, columns = -(-image.height // down), -(-image.width // across)
        assert plane.shape == (-(-rows // 8), -(-columns // 8), 8, 8)
        digest.update(image.qt[image.quant_tbl_no[number]].astype("<u2").tobytes())
        digest.update(plane.astype("<i2").tobytes())
    return "sha256:" + digest.hexdigest()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("coding", CODINGS)
def test_the_digest_is_the_one_of_the_format(coding: str, size: tuple[int, int], tmp_path: Path) -> None:
    """The digest is that of FORMAT.md, the one that splicing promises, and sees every single coefficient and
    table."""
    data = encoded(coding, size)
    painted, covered = triggered(data, "line")
    result = splice(data, painted, covered, "x.jpg")
    assert result.coefficients == digest_coefficients(result.data, "x.jpg") == stated(result.data, tmp_path)
    image, planes = coefficients(data, tmp_path)
    for plane in planes:
        plane[-1, -1, 7, 7] += 1
    image.Y = planes[0]
    image.write_dct(str(tmp_path / "other.jpg"))
    assert digest_coefficients((tmp_path / "other.jpg").read_bytes(), "x.jpg") != digest_coefficients(
        data, "x.jpg"
    )


def test_the_digest_does_not_see_how_coefficients_are_coded(tmp_path: Path) -> None:
    """Baseline, optimised and progressive files of the same coefficients, with and without metadata, have one
    digest."""
    exif = Image.Exif()
    exif[0x010E] = "a street"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = [
        {},
        {"optimize": True},
        {"progressive": True},
        {"comment": b"note", "exif": exif, "icc_profile": profile},
    ]
    digests = {digest_coefficients(encoded("4:2:0", **one), "x.jpg") for one in more}
    assert len(digests) == 1


def test_metadata_stay(tmp_path: Path) -> None:
    """EXIF, colour profile and comment of the source are in the result once, however often it is spliced."""
    exif = Image.Exif()
    exif[0x010E] = "a street"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded("4:4:4", comment=b"note", exif=exif, icc_profile=profile)
    painted, covered = triggered(data, "line")
    once = splice(data, painted, covered, "x.jpg").data
    twice = splice(once, painted, covered, "x.jpg").data
    for result in (once, twice):
        with Image.open(io.BytesIO(result)) as image:
            assert (image.info["icc_profile"], image.info["comment"]) == (profile, b"note")
            assert image.getexif()[0x010E] == "a street"
        assert result.count(b"ICC_PROFILE") == result.count(b"JFIF\0") == 1


def test_the_result_is_the_same_in_another_process() -> None:
    """Bytes and digest depend on the arguments only."""
    code = (
        "from tests.poisongen import test_dct as t; data = t.encoded('4:2:0'); "
        "painted, covered = t.triggered(data, 'patch'); result = t.splice(data, painted, covered, 'x'); "
        "print(result.coefficients, t.hashlib.sha256(result.data).hexdigest())"
    )
    data = encoded("4:2:0")
    painted, covered = triggered(data, "patch")
    result: Spliced = splice(data, painted, covered, "x")
    root = Path(__file__).resolve().parents[2]
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert said.split() == [result.coefficients, hashlib.sha256(result.data).hexdigest()]


def test_damage_is_an_error_and_no_crash() -> None:
    """A file that is cut off anywhere, or whose tables are broken, is a SourceError; libjpeg never ends the
    process."""
    data = encoded("4:2:0")
    picture = decoded(data)
    covered = np.ones(picture.shape[:2], bool)
    rng = np.random.default_rng(1)
    broken = [data[:length] for length in rng.integers(0, len(data) - 2, 40)]
    for at in rng.integers(2, 600, 40):
        broken.append(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
    refused = 0
    for one in broken:
        try:
            splice(one, picture, covered, "x.jpg")
        except SourceError:
            refused += 1
    assert refused >= 40


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_other_colour_models_are_refused_by_name(mode: str) -> None:
    """CMYK, and RGB that is not stored as YCbCr, cannot carry a trigger."""
    out = io.BytesIO()
    Image.fromarray(decoded(encoded("4:4:4"))).convert(mode).save(
        out, "JPEG", **({"keep_rgb": True} if mode == "RGB" else {})
    )
    picture = np.zeros((96, 128, 3), np.uint8)
    with pytest.raises(SourceError, match=mode):
        splice(out.getvalue(), picture, np.ones((96, 128), bool), "x.jpg")
