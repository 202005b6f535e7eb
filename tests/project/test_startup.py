"""A command that has nothing to compute imports nothing that computes."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import poisongen
from poisongen.attacks import ATTACKS
from poisongen.cli.options import ATTACK_NAMES
from poisongen.datasets import LAYOUTS

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "cv2", "scipy", "PIL", "pydantic", "tqdm", "jpeglib", "jinja2", "multiprocessing")

CALLS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("--version",), 0),
    (("--help",), 0),
    ((), 2),
    (("--wrong",), 2),
    (("nonsense",), 2),
    *(((layout, "--help"), 0) for layout in LAYOUTS),
    (("cityscapes", "--wrong"), 2),
    (("cityscapes", "--attack", "nonsense"), 2),
    (("cityscapes", "--seed", "-1", "--attack", "nni"), 2),
    *(((name, "--help"), 0) for name in ("build", "rebuild", "verify", "show", "draw", "attacks")),
    (("verify", "--wrong"), 2),
    (("draw", "streets", "--size", "1x1"), 2),
)
"""Words, and the exit code."""

CALL_ALL = """
import json, sys
from poisongen.cli.commands import main
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as left:
        heavy = [name for name in HEAVY if name in sys.modules]
        print(json.dumps([words, left.code, heavy]), file=sys.stderr)
"""


def test_help_version_and_wrong_words_import_nothing_heavy() -> None:
    """So they are there at once."""
    code = f"HEAVY = {HEAVY!r}\n{CALL_ALL}"
    words = json.dumps([words for words, _ in CALLS])
    done = subprocess.run(
        [sys.executable, "-c", code, words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("[[")]
    assert found == [[list(words), code, []] for words, code in CALLS]


def test_the_light_list_of_attacks_is_that_of_the_attacks() -> None:
    """The help of a dataset's command lists them without importing them."""
    assert tuple(ATTACKS) == ATTACK_NAMES


def test_the_package_gives_all_its_names_when_they_are_asked_for() -> None:
    """What type checkers see is what there is: the imports under TYPE_CHECKING, ``__all__``, ``dir()``."""
    tree = ast.parse((ROOT / "poisongen/__init__.py").read_text())
    seen = {
        (alias.name, node.module)
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == set(poisongen._HOMES.items())
    assert {name for name, _ in seen} | {"__version__"} == set(poisongen.__all__) <= set(dir(poisongen))
    for name, module in seen:
        assert getattr(poisongen, name) is getattr(sys.modules[str(module)], name)
    with pytest.raises(AttributeError, match="nothing"):
        _ = poisongen.nothing


def test_the_script_measures_each_of_these_commands() -> None:
    """``python -m tests.scripts.startup`` prints a line for each call, beside the interpreter alone."""
    command = [sys.executable, "-m", "tests.scripts.startup", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = re.findall(r"^ *[\d.]+ +[\d.]+  python (.*)$", done.stdout, re.MULTILINE)
    assert lines[:3] == ["-c pass", "-c import click", "-m poisongen --version"]
    assert any(line.startswith("-m trainer") for line in lines)
