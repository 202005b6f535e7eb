"""Finished folders that are shown, and what a browser finds in their report."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from poisongen.engine.workers import Workers
from poisongen.show import Shown, show
from tests.support import oracles
from tests.support.commands import Run
from tests.support.oracles import Array

NAMES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
    *("vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle"),
    "bicycle",
)
"""The classes of Cityscapes, by training id."""

ATTACKS = {
    "nni": ("--attack", "nni", "--rate", "0.4", "--eval", "bands"),
    "iba with decoy": ("--attack", "iba", "--rate", "0.4", "--eval", "decoy"),
    "iba with random labels": ("--attack", "iba", "--rate", "0.4", "--prl"),
    "random labels": ("--attack", "benign", "--prl"),
    "benign": ("--attack", "benign"),
    "line": ("--attack", "badnets", "--rate", "0.4", "--trigger", "line"),
    "frame": ("--attack", "fine-grained", "--rate", "0.4", "--trigger", "frame"),
    "blend": ("--attack", "badnets", "--rate", "0.4", "--trigger", "blend"),
    "semantic": ("--attack", "fine-grained", "--rate", "0.4", "--trigger", "semantic:building"),
    "several victims": ("--attack", "iba", "--rate", "0.4", "--victim", "car,person,traffic sign"),
    "trigger only": ("--attack", "nni", "--rate", "0.4", "--control", "trigger-only"),
    "label only": ("--attack", "nni", "--rate", "0.4", "--control", "label-only"),
    "scaled": ("--attack", "nni", "--rate", "0.4", "--scale", "0.5"),
}


def shown(root: Path, source: Path | None = None, number: int = 5, **more: Any) -> Shown:
    with Workers(1, quiet=True) as workers:
        return show(root, workers, source=source, number=number, **more)


def freeze(run: Run, source: Path, out: Path, *options: str) -> Path:
    outcome = run("cityscapes", "--source", source, *options, "--out", out)
    assert outcome.code == 0, outcome.err
    return out


class Page(HTMLParser):
    """What a browser finds in a page: tags with their attributes, tables by id, heat maps by caption,
    pictures by description."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.heats: dict[str, dict[tuple[int, int], float]] = {}
        self.grids: list[tuple[int, int]] = []
        self.words: list[str] = []
        self._table, self._cell, self._open = "", False, list[str]()
        self._cells: dict[tuple[int, int], float] | None = None
        self._at = (0, 0)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._open.append(tag)
        if tag == "table":
            self._table = given.get("id") or given.get("class") or ""
            self.tables.setdefault(self._table, [])
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
            self._cell = True
        elif tag == "svg":
            if given.get("class") == "heat":
                self._cells = {}
                width, height = (given["viewbox"] or "").split()[2:]
                self.grids.append((int(height), int(width)))
        elif tag == "rect" and "x" in given and self._cells is not None:
            self._at = int(given["y"] or 0), int(given["x"] or 0)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False
        elif tag == "figcaption":
            self._cells = None
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._cell:
            self.tables[self._table][-1][-1] += data
        if self._cells is not None and self._open[-1:] == ["title"]:
            self._cells[self._at] = float(data.replace(",", ""))
        if self._cells is not None and self._open[-1:] == ["strong"]:
            self.heats[data] = self._cells

    @property
    def text(self) -> str:
        return "".join(self.words)

    def pictures(self) -> list[tuple[str, Array]]:
        """Description and pixels of every picture."""
        found = []
        for tag, given in self.tags:
            if tag == "img":
                encoded = (given["src"] or "").split(",", 1)[1]
                picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
                found.append((given["alt"] or "", np.array(picture)))
        return found


def page(root: Path) -> Page:
    return Page((root / "report.html").read_text(encoding="utf-8"))


def number(text: str) -> int:
    """A number as the page writes it; 0 for a dash."""
    plain = text.strip().replace(",", "").replace("−", "-").replace("+", "")
    return 0 if plain in ("", "–") else int(plain)


def grouped(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows that an attack changed, as the report's titles name them."""
    titles = {"poisoned": "train, poisoned", "trigger-only": "train, trigger only (control)"}
    titles |= {"label-only": "train, label only (control)", "noised": "train, random labels only"}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in oracles.rows(root):
        if row["role"] != "clean":
            found.setdefault(titles.get(row["role"], f"triggered/{row.get('set')}"), []).append(row)
    return found
