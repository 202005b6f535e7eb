"""How dense the code is: syntax nodes a code line, conditional expressions, comprehensions.

``make density`` prints them, and ranks the densest functions. A line that holds one thought has few nodes:
the codebases that engineers hold up have 3 to 7 a line. The averages are a report, not a rule; what is nested
(a conditional expression in a conditional expression, a comprehension in a comprehension) is refused by
``make lint``, which calls ``--check``.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("poisongen", "trainer")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SHORTEST = 5
"""Code lines of the shortest function that is ranked: of fewer, one long line decides."""


@dataclass(frozen=True)
class Measured:
    """A stretch of code. ``lines``: those that are neither blank nor a comment."""

    name: str
    lines: int
    nodes: int
    conditionals: int
    comprehensions: int

    @property
    def density(self) -> float:
        """Syntax nodes a code line."""
        return self.nodes / max(1, self.lines)


def code_lines(source: str) -> set[int]:
    """The numbers of the lines that are neither blank nor a comment alone."""
    lines = enumerate(source.splitlines(), start=1)
    return {number for number, line in lines if line.strip() and not line.lstrip().startswith("#")}


def measure(name: str, tree: ast.AST, lines: set[int]) -> Measured:
    """The figures of a syntax tree; ``lines``: those of its code."""
    nodes = list(ast.walk(tree))
    return Measured(
        name=name,
        lines=len(lines),
        nodes=len(nodes),
        conditionals=sum(isinstance(node, ast.IfExp) for node in nodes),
        comprehensions=sum(isinstance(node, COMPREHENSIONS) for node in nodes),
    )


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods, also those in others."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def nested(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what) of each conditional expression in one, and each comprehension in one."""
    for node in ast.walk(tree):
        for kinds, what in ((ast.IfExp, "conditional expression"), (COMPREHENSIONS, "comprehension")):
            if isinstance(node, kinds):
                inside = [other for other in ast.walk(node) if other is not node and isinstance(other, kinds)]
                for other in inside:
                    yield other.lineno, what


def files_of(package: str) -> list[Path]:
    """The Python files of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def measured_files(files: Iterable[Path]) -> tuple[list[Measured], list[Measured]]:
    """The figures of each file, and of each function in them."""
    whole, parts = [], []
    for file in files:
        source = file.read_text("utf-8")
        tree = ast.parse(source)
        lines, name = code_lines(source), str(file.relative_to(ROOT))
        whole.append(measure(name, tree, lines))
        for function in functions(tree):
            own = {
                line for line in lines if function.lineno <= line <= (function.end_lineno or function.lineno)
            }
            parts.append(measure(f"{name}:{function.lineno} {function.name}", function, own))
    return whole, parts


def nested_in_project() -> list[str]:
    """A line for each nested expression of the project."""
    found = []
    for package in (*PACKAGES, "tests"):
        for file in files_of(package):
            for line, what in sorted(set(nested(ast.parse(file.read_text("utf-8"))))):
                found.append(
                    f"{file.relative_to(ROOT)}:{line}: a {what} in a {what}: give the inner one a name"
                )
    return found


@click.command()
@click.option("--check", is_flag=True, help="Print nested expressions only; exit 1 if there are any.")
@click.option("--most", default=40, show_default=True, help="How many of the densest functions to list.")
def main(check: bool, most: int) -> None:
    """Print how dense the code of both packages is."""
    if check:
        found = nested_in_project()
        click.echo("\n".join(found), nl=bool(found))
        raise SystemExit(bool(found))
    functions_of_all: list[Measured] = []
    for package in PACKAGES:
        whole, parts = measured_files(files_of(package))
        functions_of_all += parts
        lines, nodes = sum(one.lines for one in whole), sum(one.nodes for one in whole)
        conditionals = 1000 * sum(one.conditionals for one in whole) / lines
        comprehensions = 1000 * sum(one.comprehensions for one in whole) / lines
        click.echo(
            f"{package}: {nodes / lines:.1f} syntax nodes a code line ({lines:,} lines); of 1,000 lines "
            f"{conditionals:.0f} have a conditional expression, {comprehensions:.0f} a comprehension"
        )
    ranked = [one for one in functions_of_all if one.lines >= SHORTEST]
    for one in sorted(ranked, key=lambda one: -one.density)[:most]:
        click.echo(f"{one.density:5.1f} nodes a line, {one.lines:3} lines  {one.name}")


if __name__ == "__main__":
    main()
