"""The report ``report.html``: one file that asks for nothing outside of itself, and says so to the
browser."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from poisongen.attacks import BAND_LIMITS
from poisongen.format.manifest import CHANGED, Manifest
from poisongen.imaging.pixels import encode_png
from poisongen.show import charts
from poisongen.show.alone import Alone
from poisongen.show.exhibits import PICTURES, Exhibit, data_uri
from poisongen.show.tallies import STEP, Distances, Labelled, Surface, Tallies
from poisongen.show.words import Classes, caption, facts, printable, share

MAX_CLASSES = 24
"""Classes in a table before it folds."""
MAX_RECIPE = 100_000
"""Characters of the recipe; honest ones are far shorter."""


def report(
    title: str,
    manifest: Manifest,
    classes: Classes,
    about: Sequence[str],
    exhibits: Sequence[Exhibit],
    triggers: Sequence[Alone],
    tallies: Tallies,
    notes: Sequence[str],
) -> str:
    """The page's text. What comes from the folder is escaped; only what this package wrote itself is
    markup."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        printable=printable, number=_number, signed=_signed, sentence=_sentence, counted=charts.counted
    )
    style, script = _own("report.css"), _own("report.js")
    present = sorted({train for one in exhibits for train in one.present})
    return environment.from_string(_own("report.html")).render(
        title=title,
        style=style,
        script=script,
        policy=_policy(style, script),
        manifest=manifest,
        classes=classes,
        figures=_figures(manifest, tallies),
        about=about,
        notes=notes,
        counts=_counts(manifest),
        exhibits=[_exhibit(one, classes) for one in exhibits],
        victim_is_shown=any(one.shows_victim for one in exhibits),
        legend=[(charts.swatch(classes.space.colours[train]), classes.name(train)) for train in present],
        triggers=[_trigger(one) for one in triggers],
        places=[(one, charts.heat_map(one)) for one in tallies.places],
        distances=_distances(tallies.distances),
        surfaces=_surfaces(*tallies.surfaces, classes),
        labels=_labels(tallies.labelled, classes),
        reasons=tallies.reasons,
        recipe=json.dumps(manifest.recipe.model_dump(mode="json"), indent=2, ensure_ascii=False)[:MAX_RECIPE],
        made_with=list(manifest.tool.values())[:4],
        environment=list(manifest.environment.items())[:20],
    )


def _number(value: int) -> str:
    return f"{value:,}"


def _signed(value: int) -> str:
    return f"{value:+,}".replace("-", "−") if value else "–"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _own(name: str) -> Markup:
    return Markup((files("poisongen.show") / name).read_text(encoding="utf-8"))


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style, this script, pictures inside of the page, and nothing from
    anywhere else."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )


def _figures(manifest: Manifest, tallies: Tallies) -> list[tuple[str, str]]:
    """The few numbers that a reader looks for first: number, and what it counts."""
    poison, train = manifest.recipe.poison, manifest.counts[manifest.splits.train]
    found = []
    if poison:
        changed = train[poison.role]
        found.append(
            (share(changed, train["pictures"]), f"{changed:,} of {train['pictures']:,} training pictures")
        )
        pixels, whole = train[f"victim_pixels_{poison.role}"], train["victim_pixels"]
        found.append(
            (
                share(pixels, whole),
                f"of all {'victim pixels' if poison.victim_classes else 'pixels of other classes'} lie in them",
            )
        )
        if poison.semantic:
            found.append(
                (
                    share(changed, train["eligible"]),
                    f"coverage: of the {train['eligible']:,} pictures that could be",
                )
            )
    if "randomised" in train:
        found.append(
            (
                f"{train['randomised_pixels']:,}",
                f"pixels with a random label, in {train['randomised']:,} pictures",
            )
        )
    if tallies.distances:
        nearest, middle, farthest = tallies.distances[0].summary["Euclidean"]
        found.append(
            (
                f"{middle:.0f} px",
                f"median distance to the victim at 512 rows ({nearest:.0f} to {farthest:.0f} px)",
            )
        )
    if manifest.evaluation_sets:
        sets = [manifest.counts[f"triggered/{name}"] for name in manifest.evaluation_sets]
        number = sum(count["triggered"] for count in sets)
        found.append(
            (f"{number:,}", f"triggered pictures in {len(sets)} evaluation set{'s'[: len(sets) > 1]}")
        )
    return found


_COUNTS = {
    "pictures": "pictures",
    "with_victim": "with victim",
    "with_trigger_class": "with trigger class",
    "eligible": "eligible",
    "changed": "changed",
    "randomised": "random labels",
}


def _counts(manifest: Manifest) -> dict[str, Any]:
    """The table of counts: headings, and for each split and set its name, its counts by heading, and its
    shares."""
    lines: list[tuple[str, dict[str, int], dict[str, str]]] = []
    for name, given in manifest.counts.items():
        role = next((role for role in CHANGED if role in given), "")
        if not role:
            lines.append((name, dict(given), {}))
            continue
        count = {**given, "changed": given[role], "eligible": given.get("eligible", given[role])}
        shares = {
            "of pictures": share(given[role], given["pictures"]),
            "of those with victim": share(given[role], given["with_victim"]),
            "of victim pixels": share(given[f"victim_pixels_{role}"], given["victim_pixels"]),
        }
        lines.append((name, count, shares))
    keys = [key for key in _COUNTS if any(key in count for _, count, _ in lines)]
    return {
        "heads": [_COUNTS[key] for key in keys],
        "shares": list(next((shares for _, _, shares in lines if shares), {})),
        "lines": [
            (name, [count.get(key) for key in keys], list(shares.values())) for name, count, shares in lines
        ],
    }


def _exhibit(one: Exhibit, classes: Classes) -> dict[str, Any]:
    row = one.row
    return {
        "id": row.id,
        "withheld": one.withheld,
        "caption": caption(row, classes),
        "facts": facts(row, classes),
        "files": [path for path in (row.image, row.label, row.mask, row.own_art) if path],
        "pictures": {name: one.pictures.get(name) for name in PICTURES},
        "notes": one.notes,
        "path": one.path,
        "thin": classes.present is not None,
        "small": max(row.height, row.width) < 400,
        "cut": _cut(one),
        "times": max(1, 144 // max(one.pictures["detail after"].height, one.pictures["detail after"].width))
        if "detail after" in one.pictures
        else 1,
    }


def _cut(one: Exhibit) -> int:
    """Where the comparison is cut at first, in per cent: left of the trigger, so that it is seen, if that
    leaves room on both sides."""
    if one.row.placement is None:
        return 50
    _, left, _, columns = one.row.placement.box
    return 50 if 2 * columns > one.row.width else min(50, max(12, 100 * left // max(1, one.row.width) - 3))


def _trigger(one: Alone) -> dict[str, Any]:
    return {
        "title": one.title,
        "words": one.words,
        "height": one.size[0],
        "width": one.size[1],
        "painted": None
        if one.painted is None
        else (data_uri("png", encode_png(one.painted)), *one.painted.shape[:2]),
        "art": None if one.art is None else (data_uri("png", encode_png(one.art)), *one.art.shape[:2]),
    }


def _distances(found: Sequence[Distances]) -> dict[str, Any]:
    """Histograms on one scale, and the bands in a table."""
    bins = max((len(one.bins) for one in found), default=1)
    bins = max(bins, BAND_LIMITS[-1] // STEP + 2)
    limits = ["0", *(str(bound) for bound in BAND_LIMITS)]
    return {
        "charts": [(one, charts.distance_chart(one, bins)) for one in found],
        "axis": charts.distance_axis(bins),
        "bands": [*(f"{low}–{high}" for low, high in pairwise(limits)), f"over {limits[-1]}"],
        "lines": [
            (one.title, metric, one.bands[metric], [f"{value:.1f}" for value in one.summary[metric]])
            for one in found
            for metric in one.bands
        ],
    }


def _surfaces(titles: Sequence[str], found: Sequence[Surface], classes: Classes) -> dict[str, Any]:
    totals = [sum(surface.counts[index] for surface in found) for index in range(len(titles))]
    lines = []
    for surface in found:
        colour = (
            classes.space.colours[surface.train]
            if surface.train < len(classes.space.colours)
            else (128, 128, 128)
        )
        cells = [
            (count, share(count, total), charts.share_bar(count, total))
            for count, total in zip(surface.counts, totals, strict=True)
        ]
        lines.append((charts.swatch(colour), classes.name(surface.train), cells))
    return {"titles": titles, "totals": totals, "lines": lines}


def _labels(found: Labelled, classes: Classes) -> dict[str, Any]:
    """The classes by size, those that changed always above the fold."""
    numbers = [*found.after, *(found.before or ())]
    lines = []
    names = [*classes.space.names, "ignored"]
    colours = [*classes.space.colours, (40, 40, 40)]
    for train, after in enumerate(found.after):
        before = None if found.before is None else found.before[train]
        change = None if before is None else after - before
        bars = charts.before_after(before, after, max(numbers), colours[train])
        if after or before:
            lines.append((charts.swatch(colours[train]), names[train], before, after, change, bars))
    lines.sort(key=lambda line: (-(line[2] or 0), -line[3]) if line[2] is not None else (-line[3], 0))
    shown = [line for index, line in enumerate(lines) if index < MAX_CLASSES or line[4]]
    return {
        "lines": shown,
        "folded": [line for line in lines if line not in shown],
        "before": found.before is not None,
        "note": found.note,
        "total": sum(found.after),
        "moved": sum(line[4] for line in lines if line[4] and line[4] > 0),
    }
