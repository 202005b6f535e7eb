"""Attacks from a user's own Python file, given as ``--attack FILE.py:NAME``."""

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType, ModuleType

from poisongen.attacks import Attack
from poisongen.choices import Choice, Kind
from poisongen.disk import read_file
from poisongen.errors import ManifestError, RecipeError
from poisongen.imaging.pixels import digest_bytes
from poisongen.placement import PLACEMENTS, Placement
from poisongen.recipe import Code
from poisongen.relabel import RELABELS, Relabel
from poisongen.triggers import TRIGGERS, Trigger

FORMER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "poisongen.dct": "poisongen.imaging.jpeg",
        "poisongen.draws": "poisongen.randomness",
        "poisongen.pictures": "poisongen.imaging.headers",
        "poisongen.pixels": "poisongen.imaging.pixels",
        "poisongen.placement.Spot": "poisongen.surfaces.Location",
        "poisongen.surfaces.Spot": "poisongen.surfaces.Location",
    }
)
"""Modules and names in modules, as attack files of earlier versions import them → as they are called now."""


def split(text: str) -> tuple[Path, str] | None:
    """``FILE.py:NAME`` as path and name; None for a named attack."""
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
    _require_known(attack.trigger, TRIGGERS, path)
    _require_known(attack.placement, PLACEMENTS, path)
    _require_known(attack.relabel, RELABELS, path)
    return attack, code


def load_code(path: Path) -> Code:
    """Run a file, so that its triggers, placements and relabels are known; also in worker processes.

    Raises RecipeError if it cannot be run, SourceError if it cannot be read.
    """
    code = Code(file=path.name, digest=digest_bytes(read_file(path)))
    module = _module(path)
    if module not in sys.modules:
        _provide_former_names()
        _run(path, module)
    for value in vars(sys.modules[module]).values():
        if not isinstance(value, type) or value.__module__ != module:
            continue
        if issubclass(value, Trigger):
            _register(TRIGGERS, value, path)
        elif issubclass(value, Placement):
            _register(PLACEMENTS, value, path)
        elif issubclass(value, Relabel):
            _register(RELABELS, value, path)
    return code


def _run(path: Path, module: str) -> None:
    spec = importlib.util.spec_from_file_location(module, path)
    assert spec is not None and spec.loader is not None
    sys.modules[module] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(sys.modules[module])
    except Exception as error:  # whatever a stranger's file raises is told as an error of that file
        del sys.modules[module]
        raise RecipeError(
            "A file with an attack cannot be run.", file=path, found=f"{type(error).__name__}: {error}"
        ) from error


def _provide_former_names() -> None:
    # For good, not only while the file runs: its functions may import when they are called.
    for former, now in FORMER_NAMES.items():
        value = resolve_name(now)
        if isinstance(value, ModuleType):
            sys.modules[former] = value
        owner, _, name = former.rpartition(".")
        setattr(resolve_name(owner), name, value)


def _register(kinds: dict[str, type[Kind]], kind: type[Kind], path: Path) -> None:
    name = kind.model_fields["kind"].default
    if not isinstance(name, str):
        raise RecipeError(
            f"The class {kind.__name__} has no kind.", file=path, expected='kind: Literal["name"] = "name"'
        )
    if kinds.setdefault(name, kind) is not kind:
        raise RecipeError(f"There is a {name} already.", file=path, todo=f"give {kind.__name__} another kind")


def _require_known(value: object, kinds: Mapping[str, type[Choice]], path: Path) -> None:
    """Raise RecipeError for an object whose class a rebuild would not find by its kind."""
    if isinstance(value, Choice) and kinds.get(value.kind) is not type(value):
        raise RecipeError(
            f"The class {type(value).__name__} is not known by its kind.",
            file=path,
            found=f"kind {value.kind!r}",
            todo="define the class in this very file",
        )


def _module(path: Path) -> str:
    # The name that pickled values carry to worker processes: the same in all of them.
    return f"poisongen_outside_{digest_bytes(str(path.resolve()).encode())[7:23]}"


def require_code(given: Code | None, stated: Code | None, path: Path | None) -> None:
    """Raise ManifestError if the file that was given is not the one that a manifest states."""
    if given and stated and given.digest != stated.digest:
        raise ManifestError(
            "This is not the file that the manifest was made with.",
            file=path,
            expected=stated.digest,
            found=given.digest,
            todo="give the file as it was then",
        )
