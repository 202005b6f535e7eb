"""Commands that must be refused: what they say, and that they leave nothing."""

from pathlib import Path

from tests.support import oracles
from tests.support.commands import Outcome, Run

IBA = ["--attack", "iba", "--rate", "0.5"]


class Refuse:
    """Runs a command that must be refused, in a folder that it may not change."""

    def __init__(self, run: Run, place: Path) -> None:
        self.run, self.place = run, place

    def __call__(self, *arguments: object, out: Path | None = None, code: int | None = 1) -> str:
        """What it says, with exit code 1 for an error, 2 for wrong usage, None for either."""
        before = oracles.tree(self.place)
        outcome: Outcome = self.run(*arguments, "--out", out or self.place / "out")
        assert outcome.code == code or (code is None and outcome.code in (1, 2)), outcome
        assert outcome.out == ""
        if outcome.code == 1:
            assert outcome.err.startswith("poisongen: ")
            assert outcome.err.count("poisongen: ") == 1
        assert oracles.tree(self.place) == before
        return outcome.err
