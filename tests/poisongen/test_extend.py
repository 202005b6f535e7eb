"""`poisongen.extend`: what attack files from outside may import, and that they are loaded."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from poisongen import extend
from poisongen.attack_file import FORMER_NAMES, load_attack
from poisongen.errors import RecipeError

ROW = re.compile(r"^  (\w+) +(\S.*)$", re.MULTILINE)

OLD = """
import poisongen.draws
from poisongen import Attack, Fixed, VictimToTarget, pixels
from poisongen.dct import splice
from poisongen.pictures import read_header
from poisongen.pixels import Pixels, digest_pixels
from poisongen.placement import Placement, Spot
from poisongen.surfaces import Spot as Same
from poisongen.surfaces import Location

assert Spot is Same is Location and pixels.Pixels is Pixels

def late():
    from poisongen.draws import Stream
    return Stream is poisongen.draws.Stream

plain = Attack("as written long ago", placement=Fixed(), relabel=VictimToTarget())
"""


def test_every_promised_name_is_documented() -> None:
    """The page of the module has a line for each name, and each class and function says what it is."""
    assert sorted(name for name, _ in ROW.findall(extend.__doc__ or "")) == sorted(extend.__all__)
    for name in extend.__all__:
        value = getattr(extend, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            documented = inspect.getdoc(value) if value.__doc__ else None
            assert documented, f"{name} has no docstring"


def test_attack_files_of_earlier_versions_are_loaded(tmp_path: Path) -> None:
    """A file that imports modules by their former names loads as it stands, and its functions import when
    they are called."""
    assert all(former.rpartition(".")[2] in OLD for former in FORMER_NAMES)
    path = tmp_path / "old.py"
    path.write_text(OLD)
    code = (
        "from pathlib import Path; from poisongen.attack_file import load_attack; import sys; "
        f"attack, _ = load_attack(Path({str(path)!r}), 'plain'); "
        "assert attack.summary == 'as written long ago'; "
        "assert next(one for name, one in sys.modules.items() if 'outside' in name).late()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_class_that_a_rebuild_would_not_find_is_refused(tmp_path: Path) -> None:
    """An attack with an object whose class lies in another file names that class."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from typing import Literal\n"
        "from poisongen.extend import Attack, Fixed, Line, VictimToTarget\n"
        "def hidden():\n"
        "    class Far(Line):\n"
        "        kind: Literal['far'] = 'far'\n"
        "    return Far()\n"
        "far = Attack('far', trigger=hidden(), placement=Fixed(), relabel=VictimToTarget())\n"
    )
    with pytest.raises(RecipeError, match="Far is not known"):
        load_attack(path, "far")
