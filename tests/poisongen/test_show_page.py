"""The report is a page that asks for nothing, and what a stranger wrote is text in it."""

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

from tests.support import oracles
from tests.support.commands import Run
from tests.support.shown import Page, freeze, page, shown

SPELL = "<img src=x onerror=alert(1)>\"&amp;'{{7*7}}"


def test_the_page_asks_for_nothing(folder: Path) -> None:
    """The report names no address, loads nothing but data in itself, and forbids the browser anything
    else."""
    text = (folder / "report.html").read_text(encoding="utf-8")
    without_pictures = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_pictures)
    for tag, given in Page(text).tags:
        may_load = tag in ("link", "iframe", "object", "embed", "form", "base", "video", "audio")
        assert not may_load or given.get("href") == "data:,"
        assert not {"style", "srcset", "action"} & given.keys()
        assert not [name for name in given if name.startswith("on")]
        for name in ("src", "href", "xlink:href"):
            assert (given.get(name) or "#").startswith(("#", "data:image/", "data:,")), given
    (policy,) = [given["content"] or "" for tag, given in Page(text).tags if given.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("style", "script"):
        (own,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = hashlib.sha256(own.encode()).digest()
        assert base64.b64encode(digest).decode() in policy


def test_the_page_warns(folder: Path) -> None:
    """The first thing in the report is that it holds dataset pictures, with the licence of the source."""
    first = " ".join(page(folder).text.partition("report")[2].split())
    words = page(folder).text
    assert "Contains dataset pictures: do not share" in words
    assert oracles.manifest(folder)["source"]["license"] in " ".join(words.split())
    assert first.index("Contains dataset pictures") < first.index("Counts")


def test_names_are_text_and_nothing_else(run: Run, roomy: Path, tmp_path: Path) -> None:
    """Ids, licence and class names with markup, templates and marks of direction are shown as text, long ones
    shortened."""
    source = Path(shutil.copytree(roomy, tmp_path / "source"))
    long = "ü" * 60 + SPELL
    for root, ending in (("leftImg8bit", "_leftImg8bit.png"), ("gtFine", "_gtFine_labelIds.png")):
        for split, wanted in (("train", SPELL), ("val", long)):
            for index, path in enumerate(sorted((source / root / split).rglob(f"*{ending}"))):
                path.rename(path.with_name(f"{wanted}{index}{ending}"))
    out = freeze(run, source, tmp_path / "out", "--attack", "nni", "--rate", "0.4")
    manifest = oracles.manifest(out)
    manifest["source"]["license"] = f"</strong><script>alert(2)</script>\u202e{SPELL}"
    manifest["label_space"]["names"][0] = SPELL
    manifest["tool"]["name"] = SPELL
    (out / "manifest.json").write_text(json.dumps(manifest))
    said = shown(out, source)
    text = (out / "report.html").read_text(encoding="utf-8")
    parsed = Page(text)
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 1
    assert not [given for _, given in parsed.tags if given.keys() & {"onerror"} or given.get("src") == "x"]
    assert "49" not in [word.strip() for word in parsed.words]
    assert "\u202e" not in text
    for _, name in said.samples:
        assert name in parsed.text
    assert f"</strong><script>alert(2)</script>\\u202e{SPELL}" in parsed.text
    assert SPELL in [line[0] for line in parsed.tables["classes"]]
    assert oracles.pixels(out / "gallery.png").shape[1] <= 2400
