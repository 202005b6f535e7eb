"""Folders that are shown to people; each built once."""

import shutil
from pathlib import Path

import pytest

from tests.support.commands import Run
from tests.support.frozen import once
from tests.support.shown import ATTACKS, freeze, shown
from tests.support.streets import write_cityscapes


@pytest.fixture(scope="session")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean source whose pictures are shown at their own size."""
    return write_cityscapes(tmp_path_factory.mktemp("roomy"), train=7, val=4, height=96, width=230)


@pytest.fixture(params=list(ATTACKS))
def folder(request: pytest.FixtureRequest, common: Path, roomy: Path, run: Run) -> Path:
    """A finished folder of each attack, shown with its source; to be read only."""

    def make(out: Path) -> None:
        freeze(run, roomy, out, *ATTACKS[request.param])
        shown(out, roomy)

    return once(common / "shown" / request.param.replace(" ", "-"), make)


@pytest.fixture
def nni(common: Path, roomy: Path, tmp_path: Path, run: Run) -> Path:
    """A copy of a folder that was not shown yet, to be damaged."""

    def make(out: Path) -> None:
        freeze(run, roomy, out, "--attack", "nni", "--rate", "0.4")

    return Path(shutil.copytree(once(common / "shown" / "bare", make), tmp_path / "out"))
