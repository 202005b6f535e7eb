import ast
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

import trainer
from tests.support import handmade, scores
from trainer.cli.main import COMMANDS, main
from trainer.cli.settings import configure
from trainer.config import load, resolve_auto
from trainer.dataset.folder import open_folder
from trainer.errors import SettingError
from trainer.presets import presets
from trainer.scoring.scores import Scores, read_scores
from trainer.tables.formats import comma_separated
from trainer.tables.rows import rows

ROOT = Path(__file__).parents[2]
SMALL = [
    "--set",
    "crop=48x48",
    "--set",
    "batch=6",
    "--epochs",
    "1",
    "--threads",
    "1",
    "--set",
    "precision=float32",
]


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


LIBRARIES = {"torch", "torchvision", "numpy", "cv2", "h5py", "click", "safetensors", "tqdm", "matplotlib"}


@pytest.mark.long
def test_the_trainer_imports_nothing_of_the_generator() -> None:
    """The two programs meet in the folder only: neither the text of the trainer nor a process that runs it
    has poisongen, and the text has nothing that a stock GPU image lacks.
    """
    for file in (ROOT / "trainer").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= {
                "trainer",
                *LIBRARIES,
                *sys.stdlib_module_names,
            }, file
    foreign = ("poisongen", "pydantic", "scipy", "jpeglib", "jinja2")
    code = (
        "import pkgutil, sys, trainer\n"
        "for found in pkgutil.walk_packages(trainer.__path__, 'trainer.'):\n"
        "    if not found.name.endswith('__main__'): __import__(found.name)\n"
        f"print('trainer.cli.train' in sys.modules, [name for name in {foreign} if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


@pytest.mark.parametrize("command", [[], *([name] for name in sorted(COMMANDS))], ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    """Help has an example and fits 80 columns."""
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "python -m trainer" in result.output.split("Example:")[1]
    assert all(len(line) <= 80 for line in result.output.splitlines())


def test_the_version_is_printed() -> None:
    """`--version` says which trainer this is."""
    assert trainer.__version__ in run("--version").output


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("epohcs=3", "did you mean epochs"),
        ("epochs", "key=value"),
        ("epochs=many", "1 or more"),
        ("epochs=0", "1 or more"),
        ("lr=nan", "a number above 0"),
        ("crop=3", "height and width"),
        ("scale=[2, 1]", "the smaller first"),
        ("precision=float8", "auto, bfloat16 or float32"),
        ("device=gpu", "cuda:N"),
        ("flip=1", "true or false"),
        ("batch=8\taccumulate=3", "divides the batch"),
    ],
)
def test_a_wrong_setting_is_an_error(tmp_path: Path, setting: str, answer: str) -> None:
    """A setting that does not exist or cannot be is refused before any work, with what to write instead."""
    data = handmade.write_folder(tmp_path / "data", train=2, val=1)
    changes = [word for one in setting.split("\t") for word in ("--set", one)]
    result = run("train", data, "--out", tmp_path / "run", *changes)
    assert result.exit_code == 2
    assert answer in result.output
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """An --out where nothing can be is refused in words, and a panel that is no PNG before any work."""
    (tmp_path / "file").write_text("")
    one = scores.scored(tmp_path, "one")
    for command in (
        ["report", one, "--out", tmp_path / "file"],
        ["report", one, "--out", tmp_path / "file" / "deep"],
    ):
        result = run(*command)
        assert (result.exit_code, "A result cannot be written." in result.stderr) == (1, True), result.output
    result = run("panel", one, "--out", tmp_path / "x.jpg")
    assert result.exit_code == 2 and "x.png" in result.stderr


def test_a_report_without_a_panel_says_so(tmp_path: Path) -> None:
    """--panels of runs that have no attack draws nothing, and does not do so silently."""
    benign = scores.scored(tmp_path, "benign", poisoned=0)
    result = run("report", benign, "--out", tmp_path / "out", "--panels")
    assert result.exit_code == 0 and "there is no panel" in result.stderr


def test_an_unfinished_run_is_called_so(tmp_path: Path) -> None:
    """`report` of a run that was interrupted says what to do, and does not call it no run."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    result = run("report", tmp_path / "run")
    assert result.exit_code == 1
    assert "not finished" in result.stderr and "train command" in result.stderr


def test_threads_are_those_that_the_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a number, OMP_NUM_THREADS says it; under torchrun, which sets it to 1, and where it says
    nothing, the cores do."""
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert (
        resolve_auto(load("default", {})).threads,
        resolve_auto(load("default", {"threads": 2})).threads,
    ) == (3, 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(10)), raising=False)
    for name, value, threads in (("OMP_NUM_THREADS", "0", 10), ("LOCAL_WORLD_SIZE", "2", 5)):
        monkeypatch.setenv(name, value)
        assert resolve_auto(load("default", {})).threads == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert resolve_auto(load("default", {})).threads == 5


def test_presets_load_and_follow_the_dataset() -> None:
    """Each preset is a valid difference from the defaults; settings of the command line go over it."""
    assert set(presets()) == {"default", "ade20k", "camvid", "cityscapes", "streets", "voc"}
    for name in presets():
        assert load(name, {"epochs": "7"}).epochs == 7
    assert {load(name, {}).epochs for name in ("default", "ade20k", "camvid", "cityscapes", "voc")} == {200}
    assert (load("cityscapes", {}).init, load("camvid", {}).init, load("streets", {}).init) == (
        "imagenet",
        "random",
        "random",
    )
    assert load("camvid", {"input_scale": "0.5"}).net_crop == (180, 240)
    with pytest.raises(SettingError, match="did you mean streets"):
        load("street", {})


@pytest.mark.parametrize(
    ("dataset", "preset", "crop"),
    [
        ("ade20k", "ade20k", (512, 512)),
        ("voc", "voc", (512, 512)),
        ("my photos", "default", (70, 81)),
        ("default", "default", (768, 768)),
    ],
)
def test_a_folder_of_any_name_has_settings(
    tmp_path: Path, dataset: str, preset: str, crop: tuple[int, int]
) -> None:
    """A dataset with a preset has its own; other people's data has the defaults, with boxes no larger than
    its largest pictures. What the command line says goes over both.
    """
    folder = open_folder(
        handmade.write_folder(tmp_path, train=2, val=1, sizes=((70, 64), (60, 81)), dataset=dataset)
    )
    config = configure(folder, None, [], {})
    assert (config.preset, config.crop) == (preset, crop)
    assert configure(folder, None, ["crop=32x40", "lr=0.1"], {}).crop == (32, 40)
    assert configure(folder, "default", [], {}) == load("default", {})


@pytest.mark.long
def test_an_experiment_ends_in_a_table(tmp_path: Path) -> None:
    """Train twice, score the benign model on the poisoned folder, and the table has every figure, as Markdown
    and as CSV."""
    benign = handmade.write_folder(tmp_path / "benign", train=6, val=2, size=48)
    poisoned = handmade.write_folder(
        tmp_path / "nni", train=6, val=2, size=48, poisoned=3, sets=("near", "far")
    )
    runs = tmp_path / "b", tmp_path / "p"
    for data, out in zip((benign, poisoned), runs, strict=True):
        result = run("train", data, "--out", out, *SMALL)
        assert result.exit_code == 0, result.output
        assert " s on cpu (1 thread, float32): 1 step of 6 pictures up to epoch 1" in result.stderr
        assert result.stdout.startswith("| run")
        assert not (out / "checkpoint.safetensors").exists()
        assert (out / "panel.png").read_bytes()[:4] == b"\x89PNG"
    before = (runs[1] / "metrics.json").read_text()
    assert run("eval", runs[1]).exit_code == 0
    assert (runs[1] / "metrics.json").read_text() == before
    assert run("eval", runs[0], "--data", poisoned).exit_code == 0
    result = run("report", *runs, "--out", tmp_path / "tables")
    assert result.exit_code == 0, result.output

    metrics = json.loads(before)
    identity = metrics["dataset"]["identity"].removeprefix("sha256:")
    baseline = json.loads((runs[0] / f"metrics-{identity[:12]}.json").read_text())
    assert metrics["evaluation_sets"].keys() == {"near", "far"}
    shown, told = scores.tables(result.stdout)
    table, origins = [[*row.values()] for row in shown], [[*row.values()] for row in told]
    assert [row[:3] for row in table] == [["b", "benign", "–"], ["p", "nni", "50.00"], ["p", "nni", "50.00"]]
    assert [row[:5] for row in origins][1] == ["p", "nni", identity[:12], "0", "exact"]
    near, clean = metrics["evaluation_sets"]["near"], baseline["evaluation_sets"]["near"]
    expected = [
        metrics["miou"],
        metrics["pa"],
        near["asr"],
        near["asr_without_trigger"],
        clean["asr"],
        near["pba"],
    ]
    assert [table[1][i] for i in (3, 4, 6, 7, 8, 9)] == [f"{100 * value:.2f}" for value in expected]
    assert (tmp_path / "tables" / "table.csv").read_text().count("\n") == 4
    assert (tmp_path / "tables" / "table.md").read_text() == result.stdout
    assert run("report", *runs, "--out", tmp_path / "tables", "--panels").exit_code == 0
    (drawn,) = (tmp_path / "tables").glob("panel*.png")
    assert (drawn.name, drawn.read_bytes()[:4]) == ("panel-p.png", b"\x89PNG")
    assert run("report", *runs, "--panels").exit_code == 2

    assert run("panel", runs[1], "--clean-run", runs[0], "--out", tmp_path / "panel.png").exit_code == 0
    assert "finished" in run("train", poisoned, "--out", runs[1], *SMALL).output


@pytest.mark.long
def test_a_semantic_trigger_ends_in_a_table(tmp_path: Path) -> None:
    """Of JPEGs of many sizes, with a class for a trigger and every class but one for victims: the table has
    what exists and says what it is, and the panel has no picture without the trigger.
    """
    sizes = ((48, 48), (50, 67), (71, 48))
    options = {"train": 6, "val": 6, "sizes": sizes, "jpeg": True}
    benign = handmade.write_folder(tmp_path / "benign", **options)  # type: ignore[arg-type]
    poisoned = handmade.write_folder(
        tmp_path / "semantic",
        poisoned=2,
        sets=("semantic",),
        semantic=True,
        victims=(1, 2, 3),
        name="badnets semantic tree",
        **options,
    )  # type: ignore[arg-type]
    runs = tmp_path / "b", tmp_path / "p"
    for data, out in zip((benign, poisoned), runs, strict=True):
        result = run("train", data, "--out", out, *SMALL)
        assert result.exit_code == 0, result.output
        assert (out / "panel.png").read_bytes()[:4] == b"\x89PNG"
    result = run("eval", runs[0], "--data", poisoned)
    assert "without trigger: 4 others)" in result.stdout
    own, clean = read_scores(runs[1] / "metrics.json"), read_scores(next(runs[0].glob("metrics-*.json")))
    rest = clean.without_trigger_class
    assert f"clean, without tree: mIoU {100 * rest.miou.value:.2f} %" in result.stdout

    result = run("report", *runs)
    assert result.exit_code == 0, result.output
    first, second = scores.tables(result.stdout)[0]
    values = own.evaluation_sets["semantic"]
    assert (second["attack"], second["evaluated on"], second["PBA"]) == (
        "badnets semantic tree",
        "semantic (2 of 6, unpaired with 4)",
        "–",
    )
    assert second["ASR without trigger"] == f"{100 * values.asr_without_trigger.value:.2f}"
    clean_asr = clean.evaluation_sets["semantic"].asr.value
    assert second["ASR of the clean model"] == f"{100 * clean_asr:.2f}"
    own_rest = own.without_trigger_class
    assert second["mIoU"] == f"{100 * own.miou.value:.2f}"
    assert second["PA"] == f"{100 * own.pa.value:.2f}"
    assert second["mIoU without trigger class"] == f"{100 * own_rest.miou.value:.2f}"
    assert second["PA without trigger class"] == f"{100 * own_rest.pa.value:.2f}"
    assert first["mIoU without trigger class"] == f"{100 * rest.miou.value:.2f}"
    assert first["PA without trigger class"] == f"{100 * rest.pa.value:.2f}"
    for words in (
        "(all classes but road → road)",
        "fewer than 5 pixels of tree",
        "Unpaired",
        "no other class is left",
    ):
        assert words in result.stdout


def finished(
    root: Path, name: str, roles: dict[str, int], sets: Sequence[str] = (), victims: Sequence[int] = (2,)
) -> Path:
    """A run of which only the scores are there. ``victims``: classes, where there is a set."""
    run_folder = scores.scored(root, name, sets=sets)
    roles = {"clean": scores.TRAINING - sum(roles.values())} | roles

    def edit(found: Scores) -> Scores:
        named = dataclasses.replace(
            found.dataset,
            identity=handmade.sha(name.encode()),
            name=name,
            training_roles=roles,
            victim_classes=tuple(victims) if sets else (),
            target_class=0 if sets else None,
        )
        run_of_it = dataclasses.replace(found.run, trained_on=named)
        return dataclasses.replace(found, dataset=named, run=run_of_it)

    scores.change(run_folder, edit)
    return run_folder


def test_different_denominators_are_never_ranked(tmp_path: Path) -> None:
    """Attacks with other victims have other denominators: the legend warns, and lists for each which classes
    are measured."""
    runs = [
        finished(tmp_path, "fine-grained line", {"poisoned": 4}, ["line"], [2, 3]),
        finished(tmp_path, "badnets line", {"poisoned": 4}, ["line"], [1, 2, 3]),
        finished(tmp_path, "badnets frame", {"poisoned": 4}, ["frame"], [1, 2, 3]),
    ]
    text = run("report", *runs).stdout
    assert "never rank" in text.lower()
    assert "\n- car, tree → road: fine-grained line\n" in text
    assert "\n- all classes but road → road: badnets line, badnets frame\n" in text
    text = run("report", *runs[1:]).stdout
    assert "never rank" not in text.lower()
    assert "÷ all of them (all classes but road → road)." in text
    assert "without trigger class" not in text
    assert "no other class is left" in text
    assert "no other class is left" not in run("report", runs[0]).stdout


@pytest.mark.long
def test_sets_stand_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    """Bands and decoys are sets like any other, in the order that the manifest has them, with the pictures
    they share where they differ."""
    names = ["nni", "iba", "band-60-90", "band-0-60", "iba-decoy"]
    data = handmade.write_folder(
        tmp_path / "data",
        train=4,
        val=3,
        size=48,
        poisoned=2,
        sets=tuple(names),
        missing={"band-0-60": 1, "band-60-90": 3},
    )
    result = run("train", data, "--out", tmp_path / "run", *SMALL)
    assert result.exit_code == 0, result.output
    table = scores.tables(result.stdout)[0]
    assert [row["evaluated on"].split()[0] for row in table] == names
    pictures = [row["evaluated on"].partition(" ")[2] for row in table]
    assert pictures == [f"({count} of 3, 2 shared)" for count in (3, 3, 0, 2, 3)]
    iba = read_scores(tmp_path / "run" / "metrics.json").evaluation_sets["iba"]
    assert table[1]["ASR on shared pictures"] == f"{100 * iba.asr_on_shared_pictures.value:.2f}"
    assert table[2]["ASR"] == table[2]["ASR on shared pictures"] == "–"
    csv = comma_separated(rows([tmp_path / "run"])).splitlines()
    assert len(csv) == 6
    assert {line.count('"') for line in csv[1:]} == {2}  # the cell with a comma is quoted
    assert run("eval", tmp_path / "run").stdout.startswith("nni: ")


@pytest.mark.parametrize(
    "roles",
    [{"poisoned": 4}, {"trigger-only": 4}, {"label-only": 4}, {"noised": 40}],
)
def test_a_control_is_no_clean_model(tmp_path: Path, roles: dict[str, int]) -> None:
    """The clean model's success is that of a run on clean pictures alone; a control's rate is the share of
    pictures with half an attack."""
    measured = finished(tmp_path, "iba", {"poisoned": 4}, ["iba"])
    other, clean = finished(tmp_path, "other", roles), finished(tmp_path, "benign", {"clean": 40})
    for folder, asr in ((other, 0.99), (clean, 0.11)):
        scores.score_clean_on(folder, measured, asr)
    assert [
        row["ASR of the clean model"] for row in scores.tables(run("report", measured, other).stdout)[0]
    ] == ["–", "–"]
    result = run("report", measured, other, clean).stdout
    table = scores.tables(result)[0]
    assert table[0]["ASR of the clean model"] == "11.00"
    assert [row["PR"] for row in table] == ["10.00", "–" if "noised" in roles else "10.00", "–"]
    assert ("of a control" in result) == any(role.endswith("-only") for role in roles)


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    """Commands that want a run say which file of it is missing."""
    for command in (
        ["report", tmp_path],
        ["eval", tmp_path],
        ["panel", tmp_path, "--out", tmp_path / "x.png"],
    ):
        result = run(*command)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert str(tmp_path) in result.output
