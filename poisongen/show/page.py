"""The report ``report.html``: one file that asks for nothing outside of itself, and says so to the
browser."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from poisongen.format.manifest import Manifest
from poisongen.imaging.pixels import Pixels, encode_png
from poisongen.show import charts
from poisongen.show.captions import caption, facts
from poisongen.show.classes import Classes
from poisongen.show.heat_maps import HeatMap
from poisongen.show.rendered import RenderedRow, ReportPictures, data_uri
from poisongen.show.report_tables import (
    classes_table,
    counts_table,
    distance_tables,
    figures,
    surfaces_table,
)
from poisongen.show.statistics import Statistics
from poisongen.show.text import printable
from poisongen.show.trigger_art import TriggerArt

MAX_RECIPE = 100_000
"""Characters of the recipe; honest ones are far shorter."""


@dataclass(frozen=True)
class Contents:
    """What the report is about. ``about``: what the dataset is, in sentences; ``notes``: what could not be
    shown."""

    title: str
    about: Sequence[str]
    notes: Sequence[str]
    rows: Sequence[RenderedRow]
    triggers: Sequence[TriggerArt]
    statistics: Statistics


def report(manifest: Manifest, classes: Classes, contents: Contents) -> str:
    """The page's text. What comes from the folder is escaped; only what this package wrote itself is
    markup."""
    style, script = _own("report.css"), _own("report.js")
    statistics, rows = contents.statistics, contents.rows
    return _template().render(
        title=contents.title,
        style=style,
        script=script,
        policy=_policy(style, script),
        manifest=manifest,
        classes=classes,
        figures=figures(manifest, statistics),
        about=contents.about,
        notes=contents.notes,
        counts=counts_table(manifest),
        samples=[_sample(one, classes) for one in rows],
        victim_is_shown=any(one.shows_victim for one in rows),
        legend=_legend(rows, classes),
        triggers=[_trigger(one) for one in contents.triggers],
        heat_maps=[HeatMapFigure(one, charts.heat_map(one)) for one in statistics.heat_maps],
        distances=distance_tables(statistics.distances),
        surfaces=surfaces_table(statistics.surfaces, classes),
        labels=classes_table(statistics.labels, classes),
        reasons=statistics.reasons,
        recipe=_recipe(manifest),
        made_with=list(manifest.tool.values())[:4],
        environment=list(manifest.environment.items())[:20],
    )


def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["printable"] = printable
    environment.filters["number"] = _number
    environment.filters["signed"] = _signed
    environment.filters["sentence"] = _sentence
    environment.filters["counted"] = charts.counted
    return environment.from_string(_own("report.html"))


def _number(value: int) -> str:
    return f"{value:,}"


def _signed(value: int) -> str:
    return f"{value:+,}".replace("-", "−") if value else "–"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _own(name: str) -> Markup:
    """A file of this package, which is markup as it is."""
    return Markup((files("poisongen.show") / name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style, this script, pictures inside of the page, and nothing from
    anywhere else."""
    return (
        f"default-src 'none'; img-src data:; style-src '{_source_hash(style)}'; "
        f"script-src '{_source_hash(script)}'; base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    """What a policy calls a script or a style by its content."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _recipe(manifest: Manifest) -> str:
    """As JSON; the beginning of one that is too long."""
    recipe = manifest.recipe.model_dump(mode="json")
    return json.dumps(recipe, indent=2, ensure_ascii=False)[:MAX_RECIPE]


@dataclass(frozen=True)
class HeatMapFigure:
    """Where the triggers of a group lie, and the chart."""

    places: HeatMap
    chart: Markup


@dataclass(frozen=True)
class LegendEntry:
    """A class that occurs in the label maps."""

    swatch: Markup
    name: str


def _legend(rows: Sequence[RenderedRow], classes: Classes) -> list[LegendEntry]:
    present = {train for one in rows for train in one.present}
    colours = classes.space.colours
    return [LegendEntry(charts.swatch(colours[train]), classes.name(train)) for train in sorted(present)]


@dataclass(frozen=True)
class ReportSample:
    """A sample as the template shows it.

    ``thin``: its outline. ``small``: its pictures stand beside each other even on a narrow screen. ``cut``:
    where the comparison is cut at first, in per cent. ``times``: how large details are shown.
    """

    id: str
    withheld: bool
    caption: str
    facts: Sequence[tuple[str, str]]
    files: Sequence[str]
    pictures: ReportPictures
    clean_note: str
    before_note: str
    path: str
    thin: bool
    small: bool
    cut: int
    times: int


def _sample(one: RenderedRow, classes: Classes) -> ReportSample:
    row = one.row
    paths = (row.image, row.label, row.mask, row.own_art)
    return ReportSample(
        id=row.id,
        withheld=one.withheld,
        caption=caption(row, classes),
        facts=list(facts(row, classes).listed()),
        files=[path for path in paths if path],
        pictures=one.pictures,
        clean_note=one.clean_note,
        before_note=one.before_note,
        path=one.path,
        thin=classes.present is not None,
        small=max(row.height, row.width) < 400,
        cut=_cut(one),
        times=_times(one.pictures),
    )


def _cut(one: RenderedRow) -> int:
    """Where the comparison is cut at first, in per cent: left of the trigger, so that it is seen, if that
    leaves room on both sides."""
    if one.row.placement is None:
        return 50
    _, left, _, columns = one.row.placement.box
    is_wide = 2 * columns > one.row.width
    if is_wide:
        return 50
    left_of_trigger = 100 * left // max(1, one.row.width) - 3
    return min(50, max(12, left_of_trigger))


def _times(pictures: ReportPictures) -> int:
    """How large a detail is shown: a whole number of times, to at most 144 pixels, or as it is."""
    detail = pictures.detail_after
    return 1 if detail is None else max(1, 144 // max(detail.height, detail.width))


@dataclass(frozen=True)
class ReportPng:
    """A picture with transparency, as it is."""

    uri: str
    height: int
    width: int


@dataclass(frozen=True)
class ReportTrigger:
    """A trigger by itself; ``height``, ``width``: of the picture in which it is ``painted``."""

    title: str
    words: str
    height: int
    width: int
    painted: ReportPng | None
    art: ReportPng | None


def _trigger(one: TriggerArt) -> ReportTrigger:
    return ReportTrigger(
        title=one.title,
        words=one.words,
        height=one.size.height,
        width=one.size.width,
        painted=_png(one.painted),
        art=_png(one.art),
    )


def _png(picture: Pixels | None) -> ReportPng | None:
    if picture is None:
        return None
    height, width = picture.shape[:2]
    return ReportPng(data_uri("png", encode_png(picture)), height, width)
