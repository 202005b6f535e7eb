"""An output that is not free is refused and left as it is."""

from pathlib import Path

import pytest

from tests.support.refusals import IBA, Refuse


def test_the_output_is_never_the_source(cityscapes: Path, refuse: Refuse, tmp_path: Path) -> None:
    """Neither folder lies inside the other, also not by way of a link."""
    (tmp_path / "link").symlink_to(cityscapes)
    for out in (
        cityscapes,
        cityscapes / "out",
        cityscapes / "leftImg8bit" / "a" / "b",
        tmp_path / "link" / "out",
        tmp_path,
    ):
        error_text = refuse("cityscapes", "--source", cityscapes, *IBA, out=out)
        assert "choose another --out" in error_text


@pytest.mark.parametrize(
    "kind", ["file", "hidden file", "is a file", "dead link", "partial is a file", "partial is not ours"]
)
def test_what_lies_there_is_not_touched(
    sources: dict[str, Path], refuse: Refuse, tmp_path: Path, kind: str
) -> None:
    """An output that holds anything, or is no folder, is refused and left as it is."""
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    if kind in ("file", "hidden file"):
        out.mkdir()
        (out / (".keep" if kind == "hidden file" else "thesis.tex")).write_text("mine")
    elif kind == "is a file":
        out.write_text("mine")
    elif kind == "dead link":
        out.symlink_to(tmp_path / "nowhere")
    elif kind == "partial is a file":
        partial.write_text("mine")
    else:
        partial.mkdir()
        (partial / "thesis.tex").write_text("mine")
    for more in ([], ["--restart"]):
        assert "--out" in refuse("cityscapes", "--source", sources["cityscapes"], *IBA, *more)
