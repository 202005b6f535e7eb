"""Rebuild the frozen datasets of ``manifests/`` with given Pythons, and compare identities.

``make test-compat`` does it with the oldest and the newest libraries. Each dataset comes about in two ways,
by its recipe and by its manifest, with every Python that is named, and all have one identity. ``--write``
(``make freeze``) freezes them anew, from the recipes: only for a change of the format.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
RECIPES, FROZEN = ROOT / "manifests" / "recipes" / "streets", ROOT / "manifests" / "streets"
SHARED = ("manifest.json", "samples.jsonl", "trigger.png", "decoy.png")
JPEGS, FROZEN_JPEGS = ROOT / "tests" / "data" / "jpegs", ROOT / "tests" / "data" / "frozen-jpegs"
VERSIONS = """
import numpy, cv2, scipy, PIL
print(", ".join(f"{one.__name__} {one.__version__}" for one in (numpy, cv2, scipy, PIL)))
"""


@dataclass(frozen=True)
class FrozenDataset:
    """A dataset whose manifest is committed: where, of which source, and the command that builds it anew."""

    manifest: Path
    source: Path
    command: tuple[object, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.manifest.name

    @property
    def identity(self) -> str:
        """What the committed manifest promises."""
        return str(json.loads((self.manifest / "manifest.json").read_text("utf-8"))["identity"])


def poisongen(python: str, *words: object) -> dict[str, object]:
    """Run the command line of this checkout with one Python; its JSON result. Raises ClickException if it
    fails."""
    command = [python, "-m", "poisongen", *map(str, words), "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"failed ({done.returncode}): {' '.join(command)}")
    return dict(json.loads(done.stdout))


def versions(python: str) -> str:
    """The libraries of a Python that a dataset's bits could depend on."""
    done = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def frozen_datasets(python: str, work: Path, only: str) -> Iterator[FrozenDataset]:
    """All of them whose name matches the glob pattern ``only``; streets are drawn with ``python``, if any
    dataset needs them."""
    streets = work / "streets"
    for recipe in sorted(RECIPES.glob(f"{only}.json")):
        if not streets.exists():
            poisongen(python, "draw", streets)
        yield FrozenDataset(FROZEN / recipe.stem, streets, ("build", recipe))
    if FROZEN_JPEGS.match(only):
        yield FrozenDataset(FROZEN_JPEGS, JPEGS, ("folder", "--attack", "iba", "--rate", "1"))


def freeze(python: str, work: Path, dataset: FrozenDataset) -> None:
    """Write the manifest that is committed."""
    out = work / dataset.name
    built = poisongen(python, *dataset.command, "--source", dataset.source, "--out", out)
    shutil.rmtree(dataset.manifest, ignore_errors=True)
    dataset.manifest.mkdir(parents=True)
    for name in SHARED:
        if (out / name).exists():
            shutil.copy(out / name, dataset.manifest / name)
    click.echo(f"{built['identity']}  {dataset.manifest.relative_to(ROOT)}")


def check(python: str, work: Path, dataset: FrozenDataset) -> list[str]:
    """Build and rebuild it; a line for each identity that is not the promised one."""
    out, again = work / dataset.name, work / "again"
    options = ("--source", dataset.source, "--out")
    found = {
        "from its recipe": poisongen(python, *dataset.command, *options, out),
        "from its manifest": poisongen(python, "rebuild", dataset.manifest, *options, again),
    }
    shutil.rmtree(out)
    shutil.rmtree(again)
    wrong = []
    for how, built in found.items():
        if built["identity"] != dataset.identity:
            wrong.append(f"{dataset.name} {how}: {built['identity']}, not {dataset.identity}")
    click.echo(f"  {dataset.name:<22} {'differs' if wrong else dataset.identity}")
    return wrong


@click.command()
@click.argument("pythons", nargs=-1, required=True, metavar="PYTHON…")
@click.option("--write", is_flag=True, help="Freeze the datasets anew.")
@click.option("--only", default="*", show_default=True, metavar="GLOB", help="Those of these names.")
def main(pythons: tuple[str, ...], write: bool, only: str) -> None:
    """Rebuild the frozen datasets with each PYTHON, and compare identities."""
    differing: list[str] = []
    for python in pythons:
        click.echo(versions(python))
        with tempfile.TemporaryDirectory() as work:
            for dataset in frozen_datasets(python, Path(work), only):
                if write:
                    freeze(python, Path(work), dataset)
                else:
                    differing += check(python, Path(work), dataset)
    if differing:
        raise click.ClickException("\n".join(["identities differ:", *differing]))


if __name__ == "__main__":
    main()
