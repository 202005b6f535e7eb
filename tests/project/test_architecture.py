"""`docs/ARCHITECTURE.md` is true: its arrow lines are the imports, and its tree is the folders."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "ARCHITECTURE.md").read_text("utf-8")
PROGRAMS = ("poisongen", "trainer")
IGNORED = ("__pycache__",)


class Import(NamedTuple):
    """One module imports another of its program; ``line``: where."""

    importer: str
    imported: str
    line: int


def block(name: str) -> str:
    """The text of the page's fenced block of this name."""
    (found,) = re.findall(rf"```{name}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def arrow_line(program: str) -> list[list[str]]:
    """The groups of rooms of a program, the lowest first."""
    words = block("imports").replace("\n" + " " * 11, " ")
    (line,) = [line for line in words.splitlines() if line.startswith(program)]
    groups = line.removeprefix(program).replace(" ", "").split("←")
    return [group.split(",") for group in groups]


def modules(program: str) -> dict[str, Path]:
    """The dotted name of each module, and its file."""
    found = {}
    for path in sorted((ROOT / program).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(named)] = path
    return found


def room_of(module: str) -> str:
    """The folder or file directly below the program that a module lies in; "" for the program's own
    ``__init__``."""
    return module.partition(".")[2].partition(".")[0]


def imported_names(node: ast.AST) -> list[str]:
    """Dotted names that an import statement may mean: `from a import b` is `a.b` or `a`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative imports hide where they lead"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """Every imported name and its line, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for name in imported_names(node):
            yield name, node.lineno  # type: ignore[attr-defined]


@cache
def imports(program: str) -> tuple[Import, ...]:
    """All imports between the modules of a program."""
    known, found = modules(program), []
    for module, path in known.items():
        for name, line in imports_of(path):
            imported = name if name in known else name.rpartition(".")[0]
            if imported in known and imported != module:
                found.append(Import(module, imported, line))
    return tuple(found)


@pytest.mark.parametrize("program", PROGRAMS)
def test_imports_follow_the_arrow_line(program: str) -> None:
    """A room imports only rooms that stand left of it, never one of its own group; and every import is of the
    kind that the page promises, wherever in the file it stands."""
    groups = arrow_line(program)
    place = {room: number for number, group in enumerate(groups) for room in group}
    upward = [
        one
        for one in imports(program)
        if room_of(one.importer) not in ("", "__main__")
        and room_of(one.importer) != room_of(one.imported)
        and room_of(one.imported) != ""
        and place[room_of(one.imported)] >= place[room_of(one.importer)]
    ]
    assert upward == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_module_lies_in_a_room_of_the_line(program: str) -> None:
    """Each room is named once, and there is no other."""
    named = [room for group in arrow_line(program) for room in group]
    there = {room_of(module) for module in modules(program)} - {"", "__main__"}
    assert sorted(named) == sorted(there)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_front_of_a_program_is_not_imported_by_its_rooms(program: str) -> None:
    """A package's ``__init__`` that imports rooms is for others: a room that imported it would import all."""
    if any(room_of(one.importer) == "" for one in imports(program)):
        inner = [one for one in imports(program) if room_of(one.imported) == ""]
        assert [one for one in inner if room_of(one.importer) != "__main__"] == []


def in_circles(program: str) -> dict[str, set[str]]:
    """The modules that import themselves over others (and those between two circles), and what of these
    they import."""
    needs: dict[str, set[str]] = {module: set() for module in modules(program)}
    for one in imports(program):
        needs[one.importer].add(one.imported)
    while True:
        imported = set().union(*needs.values())
        left = {module for module, others in needs.items() if others and module in imported}
        if left == needs.keys():
            return needs
        needs = {module: needs[module] & left for module in left}


@pytest.mark.parametrize("program", PROGRAMS)
def test_there_is_no_circle_of_modules(program: str) -> None:
    """No module imports itself over others: imports inside functions count, too."""
    assert in_circles(program) == {}


WRITERS = ("apply", "partial_folder", "plan", "examine", "rows", "plan_from_manifest", "card", "summary")


def test_what_verifies_imports_nothing_that_writes() -> None:
    """``verify`` must not share the mistakes of what wrote the folder: it reaches no other module of its
    room."""
    reached, coming = set[str](), ["poisongen.freeze.verify"]
    while coming:
        module = coming.pop()
        reached.add(module)
        coming += {one.imported for one in imports("poisongen") if one.importer == module} - reached
    assert reached & {f"poisongen.freeze.{name}" for name in WRITERS} == set()
    assert "poisongen.format.consistency" in reached


@pytest.mark.parametrize(("program", "other"), [PROGRAMS, PROGRAMS[::-1]])
def test_the_programs_import_nothing_of_each_other(program: str, other: str) -> None:
    """They meet in the folder on disk only."""
    for module, path in modules(program).items():
        foreign = [line for name, line in imports_of(path) if name.partition(".")[0] == other]
        assert foreign == [], f"{module} imports {other} in lines {foreign}"


def tree() -> set[str]:
    """The paths of the page's tree: two spaces of indentation for each level."""
    found, above = set(), list[str]()
    for line in block("tree").splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        above = [*above[:depth], name.rstrip("/")]
        found.add("/".join(above))
    return found


def tracked_folders() -> set[str]:
    """All folders of both programs and of the tests, and those of the root."""
    found = {"docs", "manifests"}
    for top in (*PROGRAMS, "tests"):
        for path in (ROOT / top).rglob("*"):
            folder = path.parent.relative_to(ROOT)
            if path.is_file() and not set(folder.parts) & set(IGNORED):
                found.add(folder.as_posix())
    return found


def test_the_tree_names_every_folder() -> None:
    """Each folder, but those of test data, stands in the tree."""
    missing = {name for name in tracked_folders() if not name.startswith("tests/data/")} - tree()
    assert missing == set()


def test_the_tree_names_every_file_beside_the_rooms() -> None:
    """The modules that lie in no folder are named one by one."""
    own = {f"{program}/{path.name}" for program in PROGRAMS for path in (ROOT / program).glob("*.py")}
    assert own - {f"{program}/__init__.py" for program in PROGRAMS} - tree() == set()


def test_the_tree_names_nothing_else() -> None:
    """What is named is there."""
    assert [name for name in sorted(tree()) if not (ROOT / name).exists()] == []


def test_the_readme_leads_to_the_page() -> None:
    """A newcomer finds the map."""
    assert "(docs/ARCHITECTURE.md)" in (ROOT / "README.md").read_text("utf-8")
