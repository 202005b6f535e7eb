"""The command ``poisongen-trainer``: the trainer, once it is sure that it is ours.

Another package called ``trainer`` exists on package indexes. Whichever is found first on the path is what
``import trainer`` gives, so the command looks at the file before it imports it. This is a module of its own,
beside both packages: in ``trainer`` the other package would hide it, and ``poisongen`` imports nothing of the
trainer.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

OURS = Path(__file__).resolve().parent / "trainer" / "__init__.py"
MARK = 'DISTRIBUTION = "poisongen"'


def main() -> None:
    """Run the trainer's command line. Exits with 1 and an error text if ``import trainer`` would give another
    package."""
    found = file_of_trainer()
    if not is_ours(found):
        sys.exit(error_text(found))
    from trainer.cli.main import main as trainer_main

    trainer_main(prog_name="poisongen-trainer")


def file_of_trainer() -> Path | None:
    """The file that ``import trainer`` would run; None if there is none. Nothing of it is run."""
    spec = find_spec("trainer")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve()


def is_ours(file: Path | None) -> bool:
    """Does it lie beside this module and carry our mark? One that was installed over ours carries none."""
    return file == OURS and MARK in OURS.read_text("utf-8").splitlines()


def error_text(found: Path | None) -> str:
    """What is wrong and what to do, in the form of the errors of both programs."""
    return "\n".join(
        [
            "Error: The package “trainer” that Python finds is not the one of poisongen.",
            f"  expected: {OURS}",
            f"  found:    {found or 'no such package'}",
            "  to do:    install poisongen into a virtual environment of its own, without another trainer, "
            "or run python -m trainer in a checkout",
        ]
    )
