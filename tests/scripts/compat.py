"""Rebuilds the frozen datasets of ``manifests/`` with given Pythons, and compares identities: ``make
test-compat``.

Each dataset comes about three ways, by the recipe and by the manifest, with every Python that is named, and
all have one identity. ``--write`` freezes them anew, from the recipes: only for a change of the format.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPES, FROZEN = ROOT / "manifests" / "recipes" / "streets", ROOT / "manifests" / "streets"
SHARED = ("manifest.json", "samples.jsonl", "trigger.png", "decoy.png")
JPEGS, FROZEN_JPEGS = ROOT / "tests" / "data" / "jpegs", ROOT / "tests" / "data" / "frozen-jpegs"


def poisongen(python: str, *words: object) -> dict[str, object]:
    """Run the command line of this checkout with one Python; its JSON result. Ends the script if it fails."""
    command = [python, "-m", "poisongen", *map(str, words), "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"failed ({done.returncode}): {' '.join(command)}")
    return dict(json.loads(done.stdout))


def say(text: str) -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def versions(python: str) -> str:
    """What computes there."""
    show = "import numpy, cv2, scipy, PIL; print(*(f'{one.__name__} {one.__version__}' for one in (numpy, cv2, scipy, PIL)))"
    return subprocess.run([python, "-c", show], capture_output=True, text=True, check=True).stdout.strip()


def identity(folder: Path) -> str:
    """What a manifest promises."""
    return str(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["identity"])


def freeze(python: str, work: Path) -> None:
    """Write the manifests that are committed."""
    poisongen(python, "draw", work / "streets")
    for recipe in sorted(RECIPES.glob("*.json")):
        _keep(
            poisongen(python, "build", recipe, "--source", work / "streets", "--out", work / recipe.stem),
            FROZEN / recipe.stem,
        )
    built = poisongen(
        python, "folder", "--source", JPEGS, "--attack", "iba", "--rate", "1", "--out", work / "jpegs"
    )
    _keep(built, FROZEN_JPEGS)


def _keep(built: dict[str, object], target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in SHARED:
        if (Path(str(built["out"])) / name).exists():
            shutil.copy(Path(str(built["out"])) / name, target / name)
    say(f"{built['identity']}  {target.relative_to(ROOT)}")


def check(python: str, work: Path) -> list[str]:
    """Rebuild everything; a line for each identity that differs."""
    say(versions(python))
    wrong = []
    poisongen(python, "draw", work / "streets")
    for recipe in sorted(RECIPES.glob("*.json")):
        frozen, promised = FROZEN / recipe.stem, identity(FROZEN / recipe.stem)
        out = work / recipe.stem
        found = {
            "from its recipe": poisongen(python, "build", recipe, "--source", work / "streets", "--out", out),
            "from its manifest": poisongen(
                python, "rebuild", frozen, "--source", work / "streets", "--out", work / "again"
            ),
        }
        shutil.rmtree(out)
        shutil.rmtree(work / "again")
        wrong += _differences(recipe.stem, promised, found)
    out = work / "jpegs"
    found = {
        "anew": poisongen(
            python, "folder", "--source", JPEGS, "--attack", "iba", "--rate", "1", "--out", out
        ),
        "from its manifest": poisongen(
            python, "rebuild", FROZEN_JPEGS, "--source", JPEGS, "--out", work / "again"
        ),
    }
    return wrong + _differences("jpegs", identity(FROZEN_JPEGS), found)


def _differences(name: str, promised: str, found: dict[str, dict[str, object]]) -> list[str]:
    wrong = [
        f"{name} {how}: {built['identity']}, not {promised}"
        for how, built in found.items()
        if built["identity"] != promised
    ]
    say(f"  {name:<22} {'differs' if wrong else promised}")
    return wrong


def main() -> None:
    """``compat.py [--write] PYTHON…``"""
    write, pythons = "--write" in sys.argv, [word for word in sys.argv[1:] if word != "--write"]
    differing = []
    for python in pythons:
        with tempfile.TemporaryDirectory() as work:
            if write:
                freeze(python, Path(work))
            else:
                differing += check(python, Path(work))
    if differing:
        sys.exit("\n".join(["identities differ:", *differing]))


if __name__ == "__main__":
    main()
