"""`make table`: recipes to datasets to runs to tables, with make as the engine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.frozen import once

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")} | {
    "PYTHONPATH": str(ROOT),
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
}
VICTIMS = {
    "rate": "0.25",
    "victim": "car",
    "target": "road",
    "trigger-size": "10.7%",
    "seed": 0,
    "eval-seed": 0,
}
TABLE = """
[settings]
preset = "streets"
epochs = 1
batch = 4
width = 0.25
crop = [64, 128]
precision = "float32"
threads = 1

[subsets]
first = "val/*_000012_*"

[runs]
benign = { score = ["nni"] }
near = { data = "nni", settings = { flip = false } }

[tables]
main = ["benign", "near"]
"""

pytestmark = pytest.mark.target("table", "table-now", "table-publish")

pytest.importorskip("torch")


def write_table(folder: Path, text: str = TABLE) -> Path:
    """A table of two recipes."""
    (folder / "recipes").mkdir(parents=True)
    for name, options in {
        "benign": {"attack": "benign", "seed": 0},
        "nni": {"attack": "nni", **VICTIMS},
    }.items():
        recipe = {"title": name, "dataset": "cityscapes", "options": options}
        (folder / "recipes" / f"{name}.json").write_text(json.dumps(recipe))
    (folder / "table.toml").write_text(text)
    return folder


def words(base: Path, *targets: str) -> list[str]:
    """The command, for the table and the source below ``base``."""
    places = [
        f"TABLE={base / 'table'}",
        f"OUT={base / 'out'}",
        f"SOURCE={base / 'streets'}",
        f"PY={sys.executable}",
    ]
    return ["make", "-f", "table.mk", "-j2", *places, *targets]


def make(base: Path, *targets: str, code: int = 0) -> str:
    """Call make; all that it says."""
    done = subprocess.run(
        words(base, *targets),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (code == 0), done.stdout
    return done.stdout


def times(out: Path) -> dict[str, int]:
    """When each file was written."""
    return {
        path.relative_to(out).as_posix(): path.lstat().st_mtime_ns
        for path in out.rglob("*")
        if not path.is_dir()
    }


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """What is new or was written anew, by the folder or file below data, runs and table."""
    files = {name for name in after if before.get(name) != after[name]} | (before.keys() - after.keys())
    return {"/".join(name.split("/")[:2]) for name in files}


@pytest.fixture(scope="module")
def streets(common: Path) -> Path:
    """A small source."""

    def write(out: Path) -> None:
        draw = [
            sys.executable,
            "-m",
            "poisongen",
            "draw",
            out,
            "--size",
            "128x64",
            "--train",
            "12",
            "--val",
            "3",
            "--jobs",
            "1",
        ]
        subprocess.run(draw, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)

    return once(common / "tables" / "streets", write)


@pytest.fixture(scope="module")
def finished(common: Path, streets: Path) -> Path:
    """A table that make has made."""

    def write(base: Path) -> None:
        base.mkdir()
        (base / "streets").symlink_to(streets)
        write_table(base / "table")
        make(base)

    return once(common / "tables" / "finished", write)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Callable[[], Path]:
    """A copy of it that a test may change."""

    def copy() -> Path:
        return Path(shutil.copytree(finished, tmp_path / "copy", symlinks=True))

    return copy


def test_a_table_is_made_and_made_once(finished: Path) -> None:
    """Datasets share their clean pictures with the source, each run has the settings of the table, the clean
    model is beside the attacked one, and a second call writes nothing.
    """
    out = finished / "out"
    rows = (out / "table/main/table.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[0] for row in rows] == ["run", "benign", "near", "near"]
    assert "first: the same figures of 1 of the 3" in (out / "table/main/table.md").read_text("utf-8")
    assert (out / "table/main/table-first.csv").is_file()
    column = rows[0].split(",").index("ASR of the clean model")
    assert all(row.split(",")[column] for row in rows[2:])
    config = {
        name: json.loads((out / f"runs/{name}/run.json").read_text())["config"] for name in ("benign", "near")
    }
    assert [(one["width"], one["crop"], one["threads"], one["flip"]) for one in config.values()] == [
        (0.25, [64, 128], 1, True),
        (0.25, [64, 128], 1, False),
    ]
    clean = next((out / "data/benign/leftImg8bit/train").rglob("*.png"))
    assert clean.is_symlink()
    before = times(out)
    make(finished)
    assert times(out) == before


def test_what_is_missing_is_made_and_nothing_else(copied: Callable[[], Path]) -> None:
    """A deleted metrics.json comes back as it was, from the model that is there; a recipe that was only
    touched changes nothing."""
    base = copied()
    metrics, before = base / "out/runs/near/metrics.json", times(base / "out")
    old = metrics.read_text()
    metrics.unlink()
    os.utime(base / "table/recipes/nni.json")
    said = make(base)
    assert metrics.read_text() == old
    assert "scoring near" in said and "training" not in said
    assert changed(before, times(base / "out")) == {
        *("runs/near", "runs/near.log", "runs/near.begun"),
        *("data/nni.json", "table/main"),
    }


def test_a_change_makes_what_hangs_on_it(copied: Callable[[], Path]) -> None:
    """Another recipe builds its dataset and trains its runs anew, and puts the old runs aside; what does not
    hang on it stays."""
    base = copied()
    before = times(base / "out")
    recipe = base / "table/recipes/nni.json"
    recipe.write_text(recipe.read_text().replace("0.25", "0.5"))
    make(base)
    touched = changed(before, times(base / "out"))
    assert {name for name in touched if name.startswith("runs/benign")} == {
        "runs/benign",
        "runs/benign.log",
    }  # scored on it again
    assert not any(name.startswith("data/benign") for name in touched)
    assert (base / "out/runs/benign/model.safetensors").stat().st_mtime_ns == before[
        "runs/benign/model.safetensors"
    ]
    (kept,) = (base / "out/outdated").iterdir()
    facts = [
        json.loads((run / "metrics.json").read_text())["dataset"] for run in (kept, base / "out/runs/near")
    ]
    assert [one["poisoned_pictures"] for one in facts] == [3, 6]
    make(base, "table-publish")
    assert json.loads((base / "table/runs/near/metrics.json").read_text())["dataset"] == facts[1]


def test_a_table_follows_its_rows_and_options(copied: Callable[[], Path]) -> None:
    """Another row, subset or option writes the table anew and trains nothing; a second call with the same
    writes nothing."""
    base = copied()
    file, table = base / "table/table.toml", base / "out/table/main/table.csv"
    for old, new, rows, subset in (
        ('"benign", "near"]', '"near"]', ["near", "near"], "first"),
        ("[subsets]\nfirst", "[subsets]\nother", ["near", "near"], "other"),
    ):
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
        said = make(base)
        assert "writing the table main" in said and "training" not in said
        assert [row.split(",")[0] for row in table.read_text("utf-8").splitlines()[1:]] == rows
        assert (base / f"out/table/main/table-{subset}.csv").is_file()
        before = times(base / "out")
        make(base)
        assert times(base / "out") == before
    make(base, "REPORT_ARGS=--intervals")
    assert "ASR low" in table.read_text("utf-8").splitlines()[0]


def test_a_run_of_other_settings_is_in_no_table(copied: Callable[[], Path]) -> None:
    """Neither table-now nor table-publish takes a run that the table would make anew; publish names it."""
    base = copied()
    make(base, "table-publish")
    published = (base / "table/runs/near/metrics.json").read_bytes()
    file = base / "table/table.toml"
    file.write_text(file.read_text().replace("flip = false", "flip = true"))
    make(base, "table-now")
    rows = (base / "out/table/main/table.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["benign"]
    said = make(base, "table-publish")
    assert "not there yet: runs/near, table/main" in said
    assert (base / "table/runs/near/metrics.json").read_bytes() == published


def test_a_run_killed_before_its_first_checkpoint_keeps_its_threads(tmp_path: Path, streets: Path) -> None:
    """What begins anew begins with the table's number of threads, and not with all cores."""
    (tmp_path / "streets").symlink_to(streets)
    write_table(tmp_path / "table")
    make(tmp_path, f"{tmp_path}/out/runs/benign/metrics.json")
    run = tmp_path / "out/runs/benign"
    for name in ("metrics.json", "model.safetensors", "log.jsonl"):
        (run / name).unlink()
    assert not (run / "checkpoint.safetensors").exists()
    facts = json.loads((run / "run.json").read_text())
    make(tmp_path, f"{tmp_path}/out/runs/benign/metrics.json")
    assert json.loads((run / "run.json").read_text())["config"]["threads"] == facts["config"]["threads"] == 1
    assert (run / "model.safetensors").is_file()


def test_an_interrupted_training_goes_on(tmp_path: Path, streets: Path) -> None:
    """Stopped by Ctrl-C or a kill in the middle of an epoch, the same command goes on where it was."""
    (tmp_path / "streets").symlink_to(streets)
    write_table(tmp_path / "table", TABLE.replace("epochs = 1\n", "epochs = 40\n").split("near =")[0])
    log = tmp_path / "out/runs/benign/log.jsonl"

    def epochs() -> int:
        return len(log.read_text().splitlines()) if log.is_file() else 0

    for end, number in ((signal.SIGINT, 2), (signal.SIGKILL, 6)):
        with subprocess.Popen(
            words(tmp_path, f"{tmp_path}/out/runs/benign/metrics.json"),
            cwd=ROOT,
            env=ENVIRONMENT,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # The background job of a shell ignores Ctrl-C, and so would its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        ) as process:
            while epochs() < number and process.poll() is None:
                time.sleep(0.02)
            os.killpg(process.pid, end)
        assert process.returncode != 0
        assert not (tmp_path / "out/runs/benign/metrics.json").exists()
    make(tmp_path, f"{tmp_path}/out/runs/benign/metrics.json")
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == list(range(1, 41))
    assert (tmp_path / "out/runs/benign.log").read_text().count("going on after epoch") == 2
    assert not (tmp_path / "out/outdated").exists()


def test_a_failed_run_stops_no_other(copied: Callable[[], Path]) -> None:
    """With `-k` the others are made, the end of the log is shown, and `table-now` writes the table of what
    there is."""
    base = copied()
    table = base / "table/table.toml"
    table.write_text(TABLE.replace("near =", 'astray = { data = "nni", settings = { lr = 1e30 } }\nnear =').replace(
        '"near"]', '"astray", "near"]'
    ))  # fmt: skip
    (base / "out/runs/near/metrics.json").unlink()
    said = make(base, "-k", code=2)
    assert "is not finite" in said
    assert (base / "out/runs/near/metrics.json").is_file()
    make(base, "table-now")
    rows = (base / "out/table/main/table.csv").read_text("utf-8").splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["benign", "near", "near"]


def test_only_what_may_be_shared_is_published(copied: Callable[[], Path], tmp_path: Path) -> None:
    """Manifests that rebuild, scores, logs and tables; no picture but the trigger and plots, and no path of
    this machine."""
    base = copied()
    panel = base / "out/table/main/panel-near.png"
    shutil.copyfile(base / "out/runs/near/panel.png", panel)
    make(base, "table-publish")
    files = {
        path.relative_to(base / "table").as_posix() for path in (base / "table").rglob("*") if path.is_file()
    }
    assert files >= {
        "data/benign/manifest.json", "data/nni/samples.jsonl", "data/nni/trigger.png", "runs/near/metrics.json", "runs/near/run.json",
        "runs/near/log.jsonl", "table/main/table.md", "table/main/table.tex", "table/main/table-first.csv",
    }  # fmt: skip
    assert any(name.startswith("runs/benign/metrics-") for name in files)
    assert {name for name in files if name.endswith(".png")} - {"table/main/distance.png"} == {
        "data/nni/trigger.png"
    }
    for path in (base / "table").rglob("*.*"):
        if path.suffix in (".json", ".jsonl", ".md", ".csv", ".tex"):
            text = path.read_text("utf-8")
            assert str(base) not in text and str(ROOT) not in text and not re.search(r'"/(?!/)[a-z]', text), (
                path
            )
    rebuild = [
        sys.executable,
        "-m",
        "poisongen",
        "rebuild",
        base / "table/data/nni",
        "--source",
        base / "streets",
        "--jobs",
        "1",
    ]
    subprocess.run(
        [*rebuild, "--out", tmp_path / "again"], cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True
    )
    report = [sys.executable, "-m", "trainer", "report", base / "table/runs/benign", base / "table/runs/near"]
    report += ["--subset", "first=val/*_000012_*"]
    said = subprocess.run(
        report, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True, text=True
    ).stdout
    assert said == (base / "table/table/main/table.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("near = {", "near = { dta = 1,", "did you mean data?"),
        ('data = "nni"', 'data = "nnj"', "did you mean nni?"),
        ("flip = false", "flop = false", "did you mean flip?"),
        ("flip = false", 'init = "a\\nb"', "one line"),
        ('"near"]', '"far"]', "There is no run “far”"),
        ("near =", '"near; true" =', "A name cannot be used"),
        ("[runs]", "[runs", "cannot be read"),
        ("[subsets]", "[subset]", "did you mean subsets?"),
    ],
)
def test_a_table_that_cannot_be_is_a_letter(old: str, new: str, says: str, tmp_path: Path) -> None:
    """A wrong name or value is refused, by its place, with what to do."""
    from trainer.errors import SettingError
    from trainer.tables.definition import read_table

    write_table(tmp_path / "table", TABLE.replace(old, new, 1))
    with pytest.raises(SettingError, match=says) as refused:
        read_table(tmp_path / "table")
    assert "table.toml" in str(refused.value)


def test_a_wrong_table_stops_before_any_work(tmp_path: Path) -> None:
    """make prints the letter and nothing is built."""
    write_table(tmp_path / "table", TABLE.replace("flip", "flop"))
    said = make(tmp_path, code=2)
    assert "There is no setting “flop”" in said and "Traceback" not in said
    assert not any((tmp_path / "out/data").iterdir())


def test_what_a_table_says_is_no_command(tmp_path: Path) -> None:
    """Whatever a stranger's table holds, neither make nor the shell runs it: it reaches the trainer as it
    is."""
    texts = (
        "$(touch bad)",
        "`touch bad`",
        "$(shell touch bad)",
        "'; touch bad; '",
        "# \\",
        "a\\#b\\\\#c",
        "$(OUT)",
        "a  b",
    )
    runs = "".join(
        f'hostile{i} = {{ data = "nni", settings = {{ init = {json.dumps(text)} }} }}\n'
        for i, text in enumerate(texts)
    )
    write_table(tmp_path / "table", TABLE.replace("[tables]", f"{runs}[tables]"))
    (tmp_path / "out/data/nni").mkdir(parents=True)
    (tmp_path / "out/data/nni/manifest.json").write_text('"identity": "none"\n')
    shutil.copyfile(tmp_path / "table/recipes/nni.json", tmp_path / "out/data/nni.json")
    wanted = [tmp_path / f"out/runs/hostile{i}.wanted" for i in range(len(texts))]
    make(tmp_path, *map(str, wanted))
    assert [file.read_text().splitlines()[-3:-1] for file in wanted] == [
        ["--set", f"init={text}"] for text in texts
    ]
    assert not (ROOT / "bad").exists()


def test_what_a_table_says_of_the_machine_is_no_command(tmp_path: Path) -> None:
    """A number of threads is passed on as the number that was read, whatever is written behind it."""
    from trainer.tables.definition import read_table, rules

    write_table(tmp_path / "table", TABLE.replace("flip = false", 'device = "cpu", threads = "2#;touch bad"'))
    assert "MACHINE.near := --threads 2 --device cpu\n" in rules(read_table(tmp_path / "table"))


@pytest.mark.parametrize(
    "text",
    ["runs = 5", "tables = 5", "subsets = 5", "[runs]\nbenign = 5", "[runs.benign]\nsettings = 5", "[runs.benign]\nscore = 5",
     "[runs.benign]\nsettings.preset = 5", "[runs.benign]\n[tables]\nmain = 5"],
)  # fmt: skip
def test_a_table_of_other_kinds_is_a_letter(tmp_path: Path, text: str) -> None:
    """A number where a part, a run or a list should be is told as such."""
    from trainer.errors import SettingError
    from trainer.tables.definition import read_table

    with pytest.raises(SettingError, match="cannot be this"):
        read_table(write_table(tmp_path / "table", text))


TABLES = sorted(path.parent for path in ROOT.glob("manifests/*/table.toml"))


@pytest.mark.parametrize("folder", TABLES, ids=lambda folder: folder.name)
def test_every_table_of_the_project_can_be_read(folder: Path) -> None:
    """Its runs have their recipes, its settings exist, each recipe is used, and every run stands in a
    table."""
    from trainer.tables.definition import read_table, rules

    table = read_table(folder)
    assert set(table.datasets) == {path.stem for path in (folder / "recipes").glob("*.json")}
    assert {row for rows in table.tables.values() for row in rows} == set(table.runs)
    assert rules(table).count(".identity") >= len(table.runs)
