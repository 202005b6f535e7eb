"""Every target of the Makefile does at a tiny size what it says."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.make import ROOT, copy_project, make, write_environment

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = re.findall(r"^([a-z-]+):.*##", MAKEFILE, re.MULTILINE)
NARROW = "--set width=0.25 --set crop=32x64 --set batch=4 --set precision=float32"
Make = Callable[..., str]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A stand-in for .venv."""
    return write_environment(tmp_path / "environment")


@pytest.fixture
def target(environment: Path) -> Make:
    """Run a target in the project."""

    def call(name: str, **variables: object) -> str:
        return make(ROOT, name, {"VENV": environment, **variables})

    return call


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project that a target may change."""
    return copy_project(tmp_path / "copy")


def targets_with_tests() -> set[str]:
    """The names in the ``target`` marks of all tests, as decorators or as a module's ``pytestmark``."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.target":
                found |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return found


def test_every_target_has_a_test() -> None:
    """A target that nobody tests is broken one day and nobody knows; a mark that names no target is stale."""
    assert len(TARGETS) > 15
    assert targets_with_tests() == set(TARGETS)


def test_every_script_has_a_test() -> None:
    """Each script is run by a target, all of which are tested, or is named by a test."""
    texts = [path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")]
    known = "\n".join([MAKEFILE, *texts])
    scripts = [path for path in (ROOT / "tests" / "scripts").rglob("*.py") if path.stem != "__init__"]
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in scripts]
    called = [module.removesuffix(".__main__") for module in modules]
    assert len(called) >= 5
    imported = {module: module.rpartition(".")[2] for module in called}
    assert [
        name for name, stem in imported.items() if name not in known and f"import {stem}" not in known
    ] == []


@pytest.mark.target("help")
def test_help_names_every_target(target: Make) -> None:
    """`make` alone prints a line for each target."""
    shown = target("help")
    assert re.findall(r"^([a-z-]+) ", shown, re.MULTILINE)[: len(TARGETS)] == TARGETS


@pytest.mark.long
@pytest.mark.target("test", "test-quick", "test-extras")
@pytest.mark.parametrize("name", ["test", "test-quick"])
def test_test_targets_run_tests_of_their_marks(target: Make, name: str) -> None:
    """Arguments reach pytest, and no slow test is chosen."""
    shown = target(name, TEST_ARGS="-n 0 -q --collect-only tests/project/test_targets.py")
    assert "test_every_script_has_a_test" in shown
    assert "test_the_demo" not in shown


@pytest.mark.long
def test_extras_run_what_test_leaves_out(target: Make, environment: Path) -> None:
    """Slow tests, after the frozen datasets were rebuilt with the oldest libraries."""
    variables = {"OLDEST": environment, "SCRIPT_ARGS": "--only none"}
    arguments = "-n 0 -q --collect-only tests/project/test_targets.py"
    shown = target("test-extras", TEST_ARGS=arguments, **variables)
    assert "test_the_demo" in shown and "test_every_script_has_a_test" not in shown
    assert re.search(r"^numpy [\d.]+, cv2 ", shown, re.MULTILINE)


@pytest.mark.long
@pytest.mark.target("test-compat")
def test_compat_holds_identities(environment: Path, copy: Path) -> None:
    """A dataset whose identity is another than the committed one is named with both, and the target fails."""
    variables = {"VENV": environment, "OLDEST": environment, "SCRIPT_ARGS": "--only frozen-jpegs"}
    manifest = copy / "tests" / "data" / "frozen-jpegs" / "manifest.json"
    promised = json.loads(manifest.read_text())["identity"]
    assert make(copy, "test-compat", variables).count(promised) == 2
    trigger = "sha256:" + "0" * 64
    manifest.write_text(manifest.read_text().replace(promised, trigger))
    assert "make: ***" in make(copy, "test-compat", variables, succeeds=False)


@pytest.mark.long
@pytest.mark.target("freeze")
def test_freeze_writes_what_is_committed(environment: Path, copy: Path) -> None:
    """Frozen anew, a dataset's manifest and rows have the bytes that they had."""
    folder = copy / "tests" / "data" / "frozen-jpegs"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    shutil.rmtree(folder)
    make(copy, "freeze", {"VENV": environment, "SCRIPT_ARGS": "--only frozen-jpegs"})
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert after.keys() == before.keys()
    assert after["samples.jsonl"] == before["samples.jsonl"]
    assert after["trigger.png"] == before["trigger.png"]
    identities = [json.loads(files["manifest.json"])["identity"] for files in (before, after)]
    assert identities[0] == identities[1]


@pytest.mark.long
@pytest.mark.target("schema")
def test_schema_writes_what_is_committed(environment: Path, copy: Path) -> None:
    """The schemas come out of the code with the bytes that are committed."""
    schemas = sorted((copy / "manifests").glob("*.schema.json"))
    before = [path.read_text() for path in schemas]
    assert len(before) >= 2
    for path in schemas:
        path.unlink()
    make(copy, "schema", {"VENV": environment})
    assert [path.read_text() for path in schemas] == before


SMALL_FILES = ("Makefile", "pyproject.toml", "constraints.txt", "tests/scripts/density.py")
FAULTS = {
    "C901": "def f(a: int) -> int:\n" + "    if a:\n        a += 1\n" * 15 + "    return a\n",
    "PLR0913": f"def f({', '.join(f'{name}: int' for name in 'abcdefghi')}) -> None:\n    pass\n",
    "E501": "# " + 109 * "x" + "\n",
    "would be reformatted": "a = [1,2]\n",
    "no-untyped-def": "def f(a):  # type: ignore[empty-body]\n    pass\n",
    "a comprehension in a comprehension": "a = [[c for c in b] for b in [[1]]]\n",
}


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A project of a line a package, under the rules of this one."""
    project = tmp_path / "small"
    for name in SMALL_FILES:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, project / name)
    for package in ("poisongen", "trainer"):
        (project / package).mkdir()
        (project / package / "__init__.py").write_text('"""A package."""\n')
    (project / "poisongen_trainer.py").write_text('"""A module."""\n')
    return project


@pytest.mark.long
@pytest.mark.target("lint")
def test_lint_refuses_each_fault(environment: Path, small_project: Path) -> None:
    """Clean code passes; complex, many-armed, long, unformatted, untyped and nested code is named."""
    make(small_project, "lint", {"VENV": environment})
    for package in ("poisongen", "trainer"):
        for name, code in FAULTS.items():
            file = small_project / package / "fault.py"
            file.write_text(code)
            shown = make(small_project, "lint", {"VENV": environment}, succeeds=False)
            assert name in shown and "fault.py" in shown
            file.unlink()


@pytest.mark.long
@pytest.mark.target("format")
def test_format_mends_what_lint_refuses(environment: Path, small_project: Path) -> None:
    """Afterwards the file is as ruff would write it."""
    file = small_project / "poisongen" / "fault.py"
    file.write_text(FAULTS["would be reformatted"])
    make(small_project, "format", {"VENV": environment})
    assert file.read_text() == "a = [1, 2]\n"


@pytest.mark.target("density")
def test_density_ranks_forty_functions(target: Make) -> None:
    """A line for each package, then the forty densest functions, the densest first."""
    lines = [line for line in target("density").splitlines() if " nodes " in line]
    assert [line.partition(":")[0] for line in lines[:2]] == ["poisongen", "trainer"]
    densities = [float(line.split()[0]) for line in lines[2:]]
    assert len(densities) == 40 and densities == sorted(densities, reverse=True)


@pytest.mark.long
@pytest.mark.target("bench")
def test_bench_gives_ratios_to_the_codec(target: Make) -> None:
    """Planning and applying cost at least the codec work, and each figure has its range."""
    shown = target("bench", SCRIPT_ARGS="--height 128 --pictures 4 --rounds 2")
    ratios = dict(
        re.findall(r"^((?:plan \+ )?apply / codec) +([\d.]+) \([\d.]+–[\d.]+\)$", shown, re.MULTILINE)
    )
    assert ratios.keys() == {"apply / codec", "plan + apply / codec"}
    assert 0 < float(ratios["apply / codec"]) < float(ratios["plan + apply / codec"])


@pytest.mark.target("clean")
def test_clean_leaves_what_is_the_users(copy: Path) -> None:
    """What make made goes; sources, datasets and runs stay."""
    kept = {path.relative_to(copy) for path in copy.rglob("*")}
    for name in ("environment/bin", "build/oldest", "poisongen/__pycache__", ".mypy_cache", "a.egg-info"):
        (copy / name).mkdir(parents=True)
    for name in ("data", "runs/nni", "demo"):
        (copy / name).mkdir(parents=True)
    make(copy, "clean", {"VENV": "environment"})
    left = {path.relative_to(copy) for path in copy.rglob("*")}
    assert left - kept == {Path("data"), Path("runs"), Path("runs/nni"), Path("demo")}
    assert kept <= left


@pytest.fixture
def dataset(environment: Path, tmp_path: Path) -> Path:
    """A small poisoned dataset."""
    streets, data = tmp_path / "streets", tmp_path / "data"
    poisongen = environment / "bin" / "poisongen"
    draw = [poisongen, "draw", streets, "--size", "64x32", "--train", "8", "--val", "2"]
    freeze = [poisongen, "cityscapes", "--source", streets, "--attack", "benign", "--out", data]
    for command in (draw, freeze):
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return data


@pytest.mark.long
@pytest.mark.target("train")
def test_train_makes_a_run(target: Make, dataset: Path, tmp_path: Path) -> None:
    """DATA, RUN and TRAIN_ARGS reach the trainer."""
    pytest.importorskip("torch")
    run = tmp_path / "runs" / "mine"
    target("train", DATA=dataset, RUN=run, TRAIN_ARGS=f"--epochs 1 --threads 1 {NARROW}")
    assert (run / "metrics.json").is_file()
    assert len((run / "log.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.target("setup")
def test_setup_installs_once(tmp_path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes an environment with the commands of both programs; called again, it does nothing.

    Without the libraries, which take gigabytes: what it installs is the project alone.
    """
    monkeypatch.setenv("PIP_NO_DEPS", "1")
    variables = {"VENV": tmp_path / "environment", "PYTHON": "python3"}
    first, second = make(copy, "setup", variables), make(copy, "setup", variables)
    assert "pip install" in first and "pip install" not in second
    for name in ("poisongen", "poisongen-trainer"):
        assert (tmp_path / "environment" / "bin" / name).is_file()


@pytest.mark.slow
@pytest.mark.target("demo")
def test_the_demo_draws_freezes_trains_and_shows(target: Make, tmp_path: Path) -> None:
    """From nothing to a table of two runs and a panel; called again, it trains nothing."""
    pytest.importorskip("torch")
    sizes = {"DEMO_DRAW_ARGS": "--size 128x64 --train 12 --val 4"}
    sizes["DEMO_TRAIN_ARGS"] = f"--epochs 1 {NARROW}"
    shown = target("demo", DEMO=tmp_path / "demo", **sizes)
    assert "| benign |" in shown and "| nni " in shown
    assert (tmp_path / "demo" / "panel.png").is_file()
    written = (tmp_path / "demo" / "runs" / "nni" / "model.safetensors").stat().st_mtime_ns
    target("demo", DEMO=tmp_path / "demo", **sizes)
    assert (tmp_path / "demo" / "runs" / "nni" / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.slow
@pytest.mark.target("determinism")
def test_determinism_proves_four_runs_equal(target: Make) -> None:
    """With workers, killed and interrupted: the same bits."""
    pytest.importorskip("torch")
    sizes = "--pictures 8 --size 64x32 --epochs 12 --rounds 1"
    shown = target("determinism", SCRIPT_ARGS=f"{sizes} {NARROW}")
    assert shown.count("the same bits as in one go") == 3
    assert "all bits are the same" in shown


@pytest.mark.slow
@pytest.mark.target("bench-trainer")
def test_bench_trainer_times_each_source(target: Make) -> None:
    """Three tables, each with the three sources of pictures."""
    pytest.importorskip("torch")
    shown = target("bench-trainer", SCRIPT_ARGS="--quick")
    for source in ("files", "cache", "resident"):
        assert len(re.findall(rf"^{source} +[0-9]", shown, re.MULTILINE)) == 3
