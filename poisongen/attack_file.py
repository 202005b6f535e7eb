"""Attacks from outside: a user's own Python file, given as ``--attack file.py:NAME``."""

import importlib.util
import sys
from pathlib import Path

from poisongen.attacks import Attack
from poisongen.disk import read_file
from poisongen.errors import RecipeError
from poisongen.imaging.pixels import digest_bytes
from poisongen.placement import PLACEMENTS, Placement
from poisongen.recipe import Code
from poisongen.relabel import RELABELS, Relabel
from poisongen.triggers import TRIGGERS, Trigger


def split(text: str) -> tuple[Path, str] | None:
    """``file.py:NAME`` as path and name; None for a named attack."""
    path, colon, name = text.rpartition(":")
    return (Path(path), name) if colon and path.endswith(".py") else None


def load_attack(path: Path, name: str) -> tuple[Attack, Code]:
    """The attack ``name`` of a file, and what a manifest says of the file. Runs the file.

    Raises RecipeError if it holds no such attack or cannot be run, SourceError if it cannot be read.
    """
    code = load_code(path)
    attack = getattr(sys.modules[_module(path)], name, None)
    if not isinstance(attack, Attack):
        raise RecipeError(
            "The file does not hold this attack.",
            file=path,
            expected=f"{name} = Attack(…)",
            found="nothing of that name" if attack is None else f"a {type(attack).__name__}",
        )
    return attack, code


def load_code(path: Path) -> Code:
    """Run a file, so that its triggers, placements and relabels are known; also in worker processes.

    Raises RecipeError if it cannot be run, SourceError if it cannot be read.
    """
    code = Code(file=path.name, digest=digest_bytes(read_file(path)))
    module = _module(path)
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, path)
        assert spec is not None and spec.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[module])
        except Exception as error:
            del sys.modules[module]
            raise RecipeError(
                "A file with an attack cannot be run.", file=path, found=f"{type(error).__name__}: {error}"
            ) from error
    for kinds, base in ((TRIGGERS, Trigger), (PLACEMENTS, Placement), (RELABELS, Relabel)):
        for value in vars(sys.modules[module]).values():
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module:
                _register(kinds, value, path)  # type: ignore[arg-type]
    return code


def _register(
    kinds: dict[str, type[Trigger] | type[Placement] | type[Relabel]], kind: type, path: Path
) -> None:
    name = kind.model_fields["kind"].default  # type: ignore[attr-defined]
    if not isinstance(name, str):
        raise RecipeError(
            f"The class {kind.__name__} has no kind.", file=path, expected='kind: Literal["name"] = "name"'
        )
    if kinds.setdefault(name, kind) is not kind:
        raise RecipeError(f"There is a {name} already.", file=path, todo=f"give {kind.__name__} another kind")


def _module(path: Path) -> str:
    # The name that pickled values carry to worker processes: the same in all of them.
    return f"poisongen_outside_{digest_bytes(str(path.resolve()).encode())[7:23]}"
