"""Damaged results: `report` works, or says in which file what is wrong, and never fails in any other way.

``python -m tests.trainer.test_damaged_results 500`` tries as many as one likes.
"""

import copy
import dataclasses
import gzip
import json
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from tests.support import handmade
from tests.support.scores import EXACT, run
from tests.support.scoring import result_of
from trainer.config import load, settings_text
from trainer.dataset.facts import dataset_facts
from trainer.dataset.folder import digest_bytes, open_folder
from trainer.networks.models import make
from trainer.run_folder import MODEL, RunFacts, save_tensors, write_run
from trainer.scoring import evaluate
from trainer.scoring.picture_counts import table_beside
from trainer.scoring.scores import TrainedRun

K = len(handmade.NAMES)
MUTANTS = 150
CONFIG = load("default", {"width": 0.25, "init": "random", "threads": 1, "device": "cpu"})
BAD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    0.5,
    1e308,
    float("nan"),
    float("inf"),
    10**30,
    1 << 61,
    -(1 << 61),
    "",
    "0.5",
    "\ud800",
    "a\nb|c\x1b[2J\u202e",
    "x" * 100_000,
    [],
    [0.1, 0.2],
    [0, 0, 0],
    {},
    {"asr": 1},
    {"\ud800": 1, "\n": 2},
)


@dataclass(frozen=True)
class Mutant:
    """A run with damage. ``what``: in words, for whoever reads a failure."""

    run: Path
    what: str


def guess(picture: np.ndarray) -> np.ndarray:
    """A network as bad as any: classes by the sum of colours."""
    return picture.astype(int).sum(2) // 3 % K


def write_run_with_scores(root: Path) -> Path:
    """A folder of a run with whole scores, counts, and facts."""
    data = handmade.write_folder(root / "data", train=2, val=4, sets=("near", "far"), poisoned=1)
    folder, whole = open_folder(data), root / "run"
    facts = dataset_facts(folder)
    result = result_of(folder, guess, block=2)
    trained = TrainedRun(
        name="run",
        trained_on=facts,
        settings=settings_text(CONFIG),
        seed=0,
        parameters=10,
        exactness=EXACT,
        environment={"torch": "2"},
        trigger_in_crops=0.5,
    )
    whole.mkdir()
    scores = dataclasses.replace(result.scores, run=trained)
    evaluate.write_result(whole / "metrics.json", evaluate.Result(scores, result.counts))
    write_run(whole, RunFacts("1", str(data), CONFIG, facts, {"torch": "2"}, EXACT))
    network = make(CONFIG.model, K, CONFIG.backbone, CONFIG.width)
    save_tensors(root / MODEL, network.state_dict())
    (whole / MODEL).symlink_to(root / MODEL)  # so that copies of the run are small
    return whole


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in JSON."""
    yield path
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, part in inner:
        yield from places(part, (*path, key))


def mutate_json(file: Path, rng: random.Random) -> str:
    """Change one value, key or stretch of a file of JSON."""
    values = json.loads(file.read_text("utf-8"))
    path = rng.choice([path for path in places(values) if path])
    *parents, key = path
    holder = values
    for parent in parents:
        holder = holder[parent]
    kind = rng.choice(["value", "value", "value", "delete", "add", "nest", "deep", "cut", "bytes", "swap"])
    if kind == "value":
        holder[key] = copy.deepcopy(rng.choice(BAD_VALUES))
    elif kind == "delete":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[rng.choice(["asr", "\ud800", "x" * 5000, "\x1b[2J", ""])] = rng.choice(BAD_VALUES)
    elif kind == "nest":
        holder[key] = [holder[key]]
    elif kind == "swap":
        others = [one for one in places(values) if one and one[:1] != path[:1]]
        other = values
        for step in rng.choice(others):
            other = other[step]
        holder[key] = copy.deepcopy(other)
    text = json.dumps(values)
    if kind == "deep":
        depth = rng.choice([100, 900, 5000, 100_000])
        text = text[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
    data = text.encode()
    if kind == "cut":
        data = data[: rng.randrange(len(data))]
    elif kind == "bytes":
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(rng.randrange(1, 9)) + data[place + 1 :]
    file.write_bytes(data)
    return f"{file.name}: {kind} at {path}"


def mutate_table(file: Path, rng: random.Random) -> str:
    """Change the table of single pictures; half of the time so that the scores name what is in it."""
    table = table_beside(file)
    data = table.read_bytes()
    kind = rng.choice(["cut", "bytes", "empty", "gone", "bomb", "text", "text", "text", "text"])
    if kind == "cut":
        table.write_bytes(data[: rng.randrange(len(data))])
    elif kind == "bytes":
        place = rng.randrange(len(data))
        table.write_bytes(data[:place] + rng.randbytes(3) + data[place + 3 :])
    elif kind == "empty":
        table.write_bytes(b"")
    elif kind == "gone":
        table.unlink()
    else:
        text = b"," * (1 << 22) if kind == "bomb" else mutated_text(gzip.decompress(data), rng)
        table.write_bytes(gzip.compress(text))
        scores = json.loads(file.read_text("utf-8"))
        scores["picture_counts"] = digest_bytes(text)
        file.write_text(json.dumps(scores))
    return f"{table.name}: {kind}"


def mutated_text(text: bytes, rng: random.Random) -> bytes:
    """A CSV with another cell, column or row."""
    lines = text.split(b"\n")
    line = rng.randrange(len(lines) - 1)
    cells = lines[line].split(b",")
    cell = rng.randrange(len(cells))
    cells[cell] = rng.choice([b"", b"-1", b"9" * 12, b"9" * 40, b'"', b"0:1/2/3", b"9:1/1/1", b"\xff", b"\0"])
    changed = rng.choice([b",".join(cells), b"", b",", lines[line][::-1], lines[line] + b"\n" + lines[line]])
    return b"\n".join([*lines[:line], changed, *lines[line + 1 :]])


def mutants(whole: Path, root: Path, count: int, seed: int) -> Iterator[Mutant]:
    """Copies of a run, each with damage; some have more than one."""
    rng = random.Random(seed)
    kinds: list[Callable[[Path], str]] = [
        lambda folder: mutate_json(folder / "metrics.json", rng),
        lambda folder: mutate_json(folder / "metrics.json", rng),
        lambda folder: mutate_table(folder / "metrics.json", rng),
        lambda folder: mutate_json(folder / "run.json", rng),
    ]
    for number in range(count):
        folder = root / f"mutant{number}"
        shutil.copytree(whole, folder, symlinks=True)
        yield Mutant(folder, rng.choice(kinds)(folder))
        shutil.rmtree(folder)


def complaint(result: Result, mutant: Mutant) -> str:
    """What is wrong with an answer; empty if it is right."""
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        return "".join(traceback.format_exception(result.exception))
    if result.exit_code == 0:
        return ""
    if result.exit_code != 1:
        return f"exit code {result.exit_code}"
    missing = [part for part in ("file:", "expected:", "found:", "to do:") if part not in result.stderr]
    if missing:
        return f"no {missing} in {result.stderr}"
    if str(mutant.run) not in result.stderr:
        return f"the file is not named: {result.stderr}"
    if not result.stderr.replace("\n", "").isprintable() or len(result.stderr) > 2000:
        return f"what the file holds reaches the terminal: {result.stderr[:3000]!r}"
    return ""


def answers(root: Path, count: int, seed: int) -> list[str]:
    """Each wrong answer to a mutant, with what the mutant is."""
    whole = write_run_with_scores(root)
    (root / "mutants").mkdir()
    wrong = []
    for mutant in mutants(whole, root / "mutants", count, seed):
        command: list[object] = ["report", mutant.run, "--details", "--intervals"]
        if mutant.what.startswith("run.json"):
            command += ["--panels", "--out", root / "out"]
        else:
            command += ["--subset", "some=val/00[0-2]"]
        found = complaint(run(*command), mutant)
        if found:
            wrong.append(f"{mutant.what}\n{found}")
    return wrong


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_damaged_results_are_named(tmp_path: Path) -> None:
    """Whatever is in the files: exit code 0 or 1, and 1 with file, expectation, finding and remedy."""
    assert answers(tmp_path, MUTANTS, seed=7) == []


@pytest.mark.parametrize("name", ["metrics.json", "run.json"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, name: str) -> None:
    """A folder, a link to nowhere and other bytes in place of a file are errors with its name."""
    whole = write_run_with_scores(tmp_path)
    file = whole / name
    command = ["report", whole, "--panels", "--out", tmp_path / "out"]
    file.write_bytes(b"\xff\xfe\x00")
    for change in (lambda: None, file.unlink, file.mkdir, lambda: (file.rmdir(), file.symlink_to("nowhere"))):
        change()
        result = run(*command)
        assert complaint(result, Mutant(whole, name)) == ""
        assert result.exit_code == 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = answers(Path(folder), int(sys.argv[1]), seed=int(sys.argv[2]) if sys.argv[2:] else 1)
    print("\n\n".join(found))  # noqa: T201
    print(f"{len(found)} wrong answers")  # noqa: T201
