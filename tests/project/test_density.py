"""The figures of `make density`, and what `make lint` refuses by them."""

import ast
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.scripts import density

ONE_TERNARY = "a = 1 if b else 2\n"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("a = 1 if b else 2 if c else 3\n", "conditional expression"),
        ("a = 1 if (2 if b else c) else 3\n", "conditional expression"),
        ("a = f'{1 if b else f(2 if c else 3)}'\n", "conditional expression"),
        ("a = [[c for c in b] for b in d]\n", "comprehension"),
        ("a = {b for b in d if any(c for c in b)}\n", "comprehension"),
        ("a = {b: 1 for b in sorted(c for c in d)}\n", "comprehension"),
    ],
)
def test_a_nested_expression_is_found(code: str, what: str) -> None:
    """Wherever the inner one lies in the outer one, it is found once, in its line."""
    assert set(density.nested(ast.parse("\n" + code))) == {(2, what)}


@pytest.mark.parametrize(
    "code",
    [
        ONE_TERNARY + ONE_TERNARY,
        "a = [1 if b else 2 for b in c]\n",
        "a = sum(b for b in c) if d else 0\n",
        "a = [b for b in c for d in b]\n",
        "a = [b for b in c]\ne = [f for f in a]\n",
    ],
)
def test_what_lies_side_by_side_is_not_nested(code: str) -> None:
    """One of each kind in the other, several loops of one comprehension, and neighbours are allowed."""
    assert list(density.nested(ast.parse(code))) == []


def test_density_is_nodes_over_lines_of_code() -> None:
    """Blank lines and comments count nothing; a line of two statements is denser than two lines."""
    loose, dense = "a = 1\n\n# why\nb = 2\n", "a = 1; b = 2\n"
    figures = [density.measure("", ast.parse(code), density.code_lines(code)) for code in (loose, dense)]
    assert [one.lines for one in figures] == [2, 1]
    assert figures[0].nodes == figures[1].nodes == 1 + 2 * len(["Assign", "Name", "Store", "Constant"])
    assert figures[1].density == 2 * figures[0].density


@pytest.fixture
def small_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one function in each package."""
    for package in (*density.PACKAGES, "tests"):
        (tmp_path / package).mkdir()
    body = "".join(f"    a{number} = {number}\n" for number in range(5))
    (tmp_path / "poisongen" / "loose.py").write_text(f"def loose():\n{body}")
    (tmp_path / "trainer" / "dense.py").write_text(f"def dense(b):\n{body}    return {ONE_TERNARY[4:]}")
    monkeypatch.setattr(density, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.usefixtures("small_project")
def test_the_report_names_both_packages_and_the_densest_first() -> None:
    """Averages of each package, ternaries in a thousand lines, a ranking of functions with their place."""
    shown = CliRunner().invoke(density.main, ["--most", "1"])
    poisongen, trainer, first = shown.output.splitlines()
    assert poisongen.startswith("poisongen: ") and "(6 lines)" in poisongen and " 0 have" in poisongen
    assert trainer.startswith("trainer: ") and "(7 lines)" in trainer and " 143 have" in trainer
    assert first.endswith(str(Path("trainer", "dense.py:1 dense")))


def test_the_check_fails_for_nested_expressions_only(small_project: Path) -> None:
    """Dense code passes; one nested expression in a test is named with its line, and the exit code is 1."""
    assert CliRunner().invoke(density.main, ["--check"]).exit_code == 0
    (small_project / "tests" / "test_a.py").write_text("\na = [b for b in [c for c in d]]\n")
    refused = CliRunner().invoke(density.main, ["--check"])
    assert refused.exit_code == 1
    assert refused.output.startswith(str(Path("tests", "test_a.py:2: ")))
