"""What the commands do. Imported when one of them runs, as it imports everything."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from poisongen.attack_file import load_code, require_code
from poisongen.attacks import ATTACKS, Attack
from poisongen.cli.output import Reporter, plan_values, what_and_counts
from poisongen.cli.recipe_file import options_of, read_recipe
from poisongen.cli.resolve import resolve
from poisongen.datasets import LAYOUTS
from poisongen.disk import LinkMode, check_apart
from poisongen.engine.workers import Workers
from poisongen.format.read import refuse_poisoned
from poisongen.freeze import apply, summary
from poisongen.freeze.partial_folder import check_out
from poisongen.freeze.plan import make_plan
from poisongen.freeze.plan_from_manifest import plan_from_manifest
from poisongen.freeze.verify import verify as verify_folder
from poisongen.streets import write as streets
from poisongen.triggers import TRIGGERS


@dataclass(frozen=True)
class Writing:
    """Where a command reads and writes, and how; not what."""

    source: Path | None
    out: Path | None
    jobs: int
    link: LinkMode
    restart: bool
    as_json: bool
    dry_run: bool = False


def freeze(name: str, writing: Writing, options: Mapping[str, Any]) -> None:
    """Poison a dataset of the layout ``name``, or freeze it clean; ``options`` are those of ``SHAPING``."""
    layout, report = LAYOUTS[name], Reporter(writing.as_json)
    if writing.source is None:
        raise click.UsageError(
            f"Where is the clean source ({layout.title})? Give --source, or set {layout.variable}."
        )
    if writing.out is None and not writing.dry_run:
        raise click.UsageError("Where shall the dataset go? Give --out, or --dry-run to see the plan only.")
    if writing.out is not None:
        check_out(writing.out)
        check_apart(writing.out, writing.source)
    source = layout.open(writing.source)
    refuse_poisoned(source.root)
    resolved = resolve(source, options)
    with Workers(writing.jobs, code=resolved.code) as workers:
        plan = make_plan(resolved.recipe, source, resolved.art, workers)
        lines = what_and_counts(resolved.recipe, source.space.names, plan.counts)
        for warning in plan.warnings:
            report.note(f"warning: {warning}")
        if writing.dry_run:
            lines += summary.rejections(plan)
            placed = summary.first_placements(plan, source.space.names)
            if placed:
                lines += ["first placements:", *(f"  {line}" for line in placed)]
            report.result(lines, plan_values(plan))
            return
        assert writing.out is not None
        built = apply.build(
            plan,
            source,
            resolved.art,
            writing.out,
            workers,
            link=writing.link,
            restart=writing.restart,
        )
    report.built(built, lines)
    if writing.link != "copy":
        report.note(f"note: clean files are {writing.link} links: editing one edits the source")


def build(recipe: Path, writing: Writing, seed: int | None) -> None:
    """Build the dataset of a recipe file; the source may be named by the layout's environment variable."""
    wanted = read_recipe(recipe)
    variable = LAYOUTS[wanted.dataset].variable
    named = writing.source or os.environ.get(variable) or os.environ.get("POISONGEN_SOURCE")
    source = Path(named) if named else None
    freeze(wanted.dataset, replace(writing, source=source), options_of(wanted, recipe, seed))


def rebuild(manifest: Path, writing: Writing, code: Path | None) -> None:
    """Make the same dataset again from its manifest."""
    report = Reporter(writing.as_json)
    assert writing.source is not None  # click requires it
    if writing.out is None:
        raise click.UsageError("Where shall the dataset go? Give --out.")
    check_out(writing.out)
    check_apart(writing.out, writing.source)
    with Workers(writing.jobs, code=code) as workers:
        shared = plan_from_manifest(manifest, writing.source, workers, code=code)
        built = apply.build(
            shared.plan,
            shared.source,
            shared.art,
            writing.out,
            workers,
            link=writing.link,
            restart=writing.restart,
            expected_identity=shared.manifest.identity,
        )
    names = shared.source.space.names
    report.built(built, what_and_counts(shared.plan.recipe, names, shared.plan.counts))


def verify(
    folder: Path, *, source: Path | None, decode: bool, code: Path | None, jobs: int, as_json: bool
) -> None:
    """Hold a dataset folder against its manifest."""
    report = Reporter(as_json)
    loaded = load_code(code) if code else None
    with Workers(jobs) as workers:
        manifest, files = verify_folder(folder, workers, source=source, decode=decode)
    require_code(loaded, manifest.recipe.code, code)
    report.result(
        [
            f"{folder}: {files:,} files are what the manifest says ({report.seconds()} s)",
            f"identity {manifest.identity}",
        ],
        {"folder": str(folder), "files": files, "identity": manifest.identity, "seconds": report.seconds()},
    )


def show(folder: Path, *, jobs: int, as_json: bool, **options: Any) -> None:
    """Write gallery and report of a dataset folder."""
    from poisongen.show import show as show_folder  # templates and fonts: loaded by those who look

    report = Reporter(as_json)
    with Workers(jobs) as workers:
        shown = show_folder(folder, workers, **options)
    for note in shown.notes:
        report.note(f"note: {note}")
    report.result(shown.lines(), shown.values())


def draw(out: Path, scenes: Mapping[str, int], *, jobs: int, restart: bool, as_json: bool) -> None:
    """Draw street scenes; ``scenes`` are the fields of ``Streets``."""
    report, drawn = Reporter(as_json), streets.Streets(**scenes)
    with Workers(jobs) as workers:
        folder = streets.draw_dataset(out, drawn, workers, restart=restart)
    report.result(
        [
            f"drew {drawn.train:,} + {drawn.val:,} street scenes of {drawn.width}×{drawn.height} in {folder} "
            f"({report.seconds()} s)"
        ],
        {
            "out": str(folder),
            "train": drawn.train,
            "val": drawn.val,
            "height": drawn.height,
            "width": drawn.width,
            "seed": drawn.seed,
            "seconds": report.seconds(),
        },
    )


def attacks(as_json: bool) -> None:
    """List the attacks and triggers."""
    lines = [line for name, attack in ATTACKS.items() for line in summary.attack_lines(name, attack)]
    lines += ["", *summary.trigger_lines(TRIGGERS)]
    Reporter(as_json).result(lines, {name: _attack_values(attack) for name, attack in ATTACKS.items()})


def _attack_values(attack: Attack) -> dict[str, Any]:
    return {
        "summary": attack.summary,
        "paper": attack.paper,
        "trigger": attack.trigger_words if attack.relabel else None,
        "placement": attack.placement.model_dump(mode="json") if attack.placement else None,
        "relabel": attack.relabel.model_dump(mode="json") if attack.relabel else None,
    }
