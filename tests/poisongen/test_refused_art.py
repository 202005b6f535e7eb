"""Trigger art that is none is refused, and art of any usual kind is taken."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import oracles
from tests.support.commands import Run
from tests.support.refusals import IBA, Refuse


def art(kind: str, path: Path) -> None:
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "invisible":
        oracles.save(path, np.zeros((8, 8, 4), np.uint8))
    elif kind == "vanishes at its size":
        dot = np.zeros((64, 64, 4), np.uint8)
        dot[5, 5] = (255, 0, 0, 10)
        oracles.save(path, dot)
    elif kind == "palette":
        Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P").save(path)
    elif kind == "deep":
        oracles.save(path, np.ones((8, 8), np.uint16))
    elif kind == "JPEG":
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, format="JPEG")
    elif kind == "too wide":
        oracles.save(path, np.full((2, 90, 3), 9, np.uint8))
    elif kind == "too thin":
        oracles.save(path, np.full((90, 2, 3), 9, np.uint8))
    elif kind == "folder":
        path.mkdir()
    else:
        oracles.save(path, np.full((8, 8, 3), 9, np.uint8))
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])


ART = [
    "empty",
    "text",
    "invisible",
    "vanishes at its size",
    "palette",
    "deep",
    "JPEG",
    "too wide",
    "too thin",
    "folder",
    "cut",
]


@pytest.mark.parametrize("kind", ART)
def test_art_that_is_none_is_refused(
    sources: dict[str, Path], refuse: Refuse, tmp_path: Path, kind: str
) -> None:
    """Art that cannot be read, seen or fitted is refused."""
    art(kind, tmp_path / "art.png")
    words = ["--trigger", f"patch:{tmp_path / 'art.png'}"]
    error_text = refuse("cityscapes", "--source", sources["cityscapes"], *IBA, *words)
    assert "art" in error_text or "trigger" in error_text


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA"])
def test_art_of_any_usual_kind_is_taken(
    sources: dict[str, Path], run: Run, tmp_path: Path, mode: str
) -> None:
    """Grey and coloured art, with and without transparency, is frozen as the RGBA that any viewer shows."""
    shown = np.random.default_rng(4).integers(1, 256, (9, 7, 4)).astype(np.uint8)
    picture = Image.fromarray(shown, "RGBA").convert(mode) if mode != "L" else Image.fromarray(shown[..., 0])
    picture.save(tmp_path / "art.png")
    outcome = run(
        "cityscapes",
        "--source",
        sources["cityscapes"],
        *IBA,
        "--trigger",
        f"patch:{tmp_path / 'art.png'}",
        "--out",
        tmp_path / "out",
    )
    assert outcome.code == 0, outcome.err
    with Image.open(tmp_path / "art.png") as original:
        np.testing.assert_array_equal(
            oracles.pixels(tmp_path / "out" / "trigger.png"), np.array(original.convert("RGBA"))
        )
