"""Recipe files: one row of a table as a small JSON of options, for ``poisongen build``."""

import json
from pathlib import Path
from typing import Annotated, Any

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from poisongen.cli.options import SHAPING, combine
from poisongen.datasets import LAYOUTS
from poisongen.disk import read_file
from poisongen.errors import RecipeError, did_you_mean
from poisongen.validation import first_fault

MAX_BYTES = 1 << 16


class RecipeFile(BaseModel):
    """What a file says: which dataset, and the options of its command by their long names; the rest is for
    people.

    ``row``: which row of which table it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: Annotated[str, Field(min_length=1, max_length=200)]
    row: str = ""
    paper: str = ""
    note: str = ""
    dataset: str
    options: dict[str, str | bool | int]


def read_recipe(path: Path) -> RecipeFile:
    """Parse a recipe file. Raises SourceError if it cannot be read, RecipeError for what it cannot say."""
    if path.is_dir() or path.name == "manifest.json":
        todo = "a dataset's manifest is rebuilt: poisongen rebuild"
        raise RecipeError(
            "This is no recipe file.", file=path, expected="a file of manifests/recipes", todo=todo
        )
    data = read_file(path)
    try:
        recipe = RecipeFile.model_validate(json.loads(data[:MAX_BYTES]))
    except ValidationError as error:
        example = '{"title": "…", "dataset": "cityscapes", "options": {"attack": "iba", "rate": "0.1"}}'
        raise RecipeError(
            "A recipe file cannot be read.", file=path, expected=example, found=str(first_fault(error))
        ) from None
    except (ValueError, RecursionError) as error:
        raise RecipeError("A recipe file is not JSON.", file=path, found=str(error)) from None
    if recipe.dataset not in LAYOUTS:
        raise RecipeError(
            "The dataset of a recipe is not known.",
            file=path,
            expected=", ".join(LAYOUTS),
            found=recipe.dataset,
        )
    for name in recipe.options:
        if name not in SHAPING:
            raise RecipeError(
                f"A recipe has an unknown option “{name}”.",
                file=path,
                todo=did_you_mean(name, SHAPING) or f"the options are: {', '.join(SHAPING)}",
            )
    return recipe


def options_of(recipe: RecipeFile, path: Path, seed: int | None = None) -> dict[str, Any]:
    """The options as the dataset's own command would understand them; ``seed`` takes the place of the
    recipe's.

    Raises RecipeError for values that it would refuse.
    """
    given: dict[str, str | bool | int] = recipe.options | ({} if seed is None else {"seed": seed})
    words = list[str]()
    for name, value in given.items():
        if not isinstance(value, bool):
            words += [f"--{name}", str(value)]
        elif value:
            words.append(f"--{name}")
    try:
        with _shaping_command().make_context("recipe", words) as context:
            return dict(context.params)
    except click.ClickException as error:
        raise RecipeError("A recipe cannot be used.", file=path, found=error.format_message()) from None


def _shaping_command() -> click.Command:
    """A command that has the options that shape a dataset, and does nothing."""

    @click.command()
    @combine(*(option.decorator() for option in SHAPING.values()))
    def nothing() -> None: ...

    return nothing
