"""Any pictures with label maps: ``images/SPLIT/…/NAME.png`` (or ``.jpg``), ``labels/SPLIT/…/NAME.png``, and a
``classes.json``.

``classes.json`` says what the numbers in the label maps mean, and may name other folders, splits and endings;
``Description`` has its keys. Splits other than the two that are named are carried clean.
"""

import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from poisongen.datasets.pairs import FileSet, pair
from poisongen.datasets.source import Sample, Source, mask_path, require_folder, require_samples
from poisongen.disk import folder_path
from poisongen.errors import RecipeError, SourceError, did_you_mean
from poisongen.labels import IGNORE, LabelSpace, distinct_colours
from poisongen.names import DESCRIPTION, RESERVED
from poisongen.validation import Fault, first_fault

EXAMPLE = '{"dataset": "my-streets", "classes": ["road", "car", "tree"], "victim": "car", "target": "road"}'
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
EVERY_CLASS = "all"
MAX_BYTES = 1 << 20

_TAKEN = frozenset(name.lower() for name in RESERVED)
"""What a frozen dataset has beside the folders of its source."""


def _class_name(name: str) -> str:
    text = name.strip()
    if text != name or not text.isprintable() or "," in text or text.isdigit() or text.lower() == EVERY_CLASS:
        allowed = f"not a number, not “{EVERY_CLASS}”, no comma, no blanks around it"
        raise ValueError(f"{name!r} cannot be a class's name: {allowed}")
    return name


def _one_part(name: str) -> str:
    if "/" in name or name.startswith("."):
        raise ValueError(f"{name!r} is not the name of one folder")
    return folder_path(name)


def _own_place(path: str) -> str:
    if folder_path(path).split("/")[0].lower() in _TAKEN:
        raise ValueError(f"{path!r} is kept for other things in a frozen dataset")
    return path


ClassName = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_class_name)]
Split = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_one_part)]
Place = Annotated[str, Field(max_length=200), AfterValidator(_own_place)]
Byte = Annotated[int, Field(ge=0, le=255)]


class Description(BaseModel):
    """``classes.json``. ``classes``: names in the order of the training ids, with the raw id of each (as a
    list: 0, 1, 2 …)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    dataset: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    classes: Annotated[dict[ClassName, Byte], Field(min_length=1, max_length=255)]
    ignore: tuple[Byte, ...] = (IGNORE,)
    colours: tuple[tuple[Byte, Byte, Byte], ...] | None = None
    pictures: Place = "images"
    labels: Place = "labels"
    train: Split = "train"
    evaluation: Split = "val"
    picture_suffix: Annotated[str, Field(max_length=100)] = ""
    label_suffix: Annotated[str, Field(max_length=100)] = ""
    victim: Annotated[str, Field(max_length=4096)] | None = None
    target: Annotated[str, Field(max_length=100)] | None = None
    everything_target: Annotated[str, Field(max_length=100)] | None = None
    license: Annotated[str, Field(min_length=1, max_length=4096)] = "Own data: what its owner allows."

    @field_validator("classes", mode="before")
    @classmethod
    def _numbered(cls, classes: Any) -> Any:
        """A list of names as names with ids."""
        if not isinstance(classes, list):
            return classes
        if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
            raise ValueError("a list of classes holds names, each of them once")
        return {name: raw for raw, name in enumerate(classes)}

    @model_validator(mode="after")
    def _consistent(self) -> "Description":
        raw = list(self.classes.values())
        twice = sorted({one for one in raw if raw.count(one) > 1})
        if twice:
            raise ValueError(f"two classes have the id {twice[0]}")
        ignored = sorted({*raw} & {*self.ignore})
        if ignored:
            raise ValueError(f"a class has an id that is ignored: {ignored} (see the key ignore)")
        if self.colours is not None and len(self.colours) != len(raw):
            raise ValueError(f"there are {len(raw)} classes and other than {len(raw)} colours")
        pictures, labels = f"{self.pictures}/", f"{self.labels}/"
        if pictures.startswith(labels) or labels.startswith(pictures):
            raise ValueError("pictures and labels lie in one folder, or one in the other")
        if self.train == self.evaluation:
            raise ValueError("the training split is the one that is evaluated")
        if "/" in self.picture_suffix + self.label_suffix:
            raise ValueError("a suffix is a part of a file's name, without /")
        return self

    @cached_property
    def space(self) -> LabelSpace:
        """What the numbers in the label maps mean."""
        return LabelSpace(
            names=tuple(self.classes),
            colours=self.colours or distinct_colours(len(self.classes)),
            raw_to_train=dict.fromkeys(self.ignore, IGNORE)
            | {raw: train for train, raw in enumerate(self.classes.values())},
            hint=f"name the id in {DESCRIPTION}: in classes with its name, or in ignore",
        )

    def check_classes(self) -> None:
        """Raise RecipeError if victim or target is no class."""
        for names in (self.victim, self.target, self.everything_target):
            for name in names.split(",") if names is not None else ():
                if not (names is self.victim and name.strip() == EVERY_CLASS):
                    self.space.find(name)


def read_description(path: Path) -> tuple[Description, bytes]:
    """Parse a ``classes.json``; returns its bytes, too. Raises SourceError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        json.loads(text, object_pairs_hook=_once)
        description = Description.model_validate_json(text)
        description.check_classes()
    except OSError as error:
        found = "nothing" if isinstance(error, FileNotFoundError) else error.strerror
        raise SourceError(
            "The source is not described.",
            file=path,
            expected="a JSON object",
            found=found,
            todo=f"write one, e.g. {EXAMPLE}",
        ) from None
    except ValidationError as error:
        raise _refused(path, first_fault(error)) from None
    except RecipeError as error:
        raise SourceError(
            f"{path.name} names a class that there is not.", file=path, found=error.problem, todo=error.todo
        ) from None
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{path.name} cannot be read.", file=path, found=str(error), todo=f"write JSON, e.g. {EXAMPLE}"
        ) from None
    return description, data


def _refused(path: Path, fault: Fault) -> SourceError:
    if fault.kind == "extra_forbidden":
        known = list(Description.model_fields)
        question = did_you_mean(fault.where.lower(), known, most=2)
        todo = question or f"the keys are: {', '.join(known)}"
        return SourceError(
            f"{path.name} has a key that means nothing.", file=path, found=fault.where[:80], todo=todo
        )
    return SourceError(f"{path.name} cannot be used.", file=path, found=str(fault), todo=f"e.g. {EXAMPLE}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return dict(pairs)


def read(root: Path) -> Source:
    """List a described folder without reading a picture. Raises SourceError."""
    require_folder(root, (), f"give the folder that holds {DESCRIPTION}")
    described, data = read_description(root / DESCRIPTION)
    pictures, labels = described.pictures, described.labels
    training = (f"{pictures}/{described.train}", f"{labels}/{described.train}")
    todo = f"lay the files out as {training[0]}/… and {training[1]}/…, or name others in {DESCRIPTION}"
    require_folder(root, training, todo)
    images = FileSet(pictures, tuple(described.picture_suffix + ending for ending in PICTURE_ENDINGS))
    maps = FileSet(labels, (f"{described.label_suffix}.png",))
    splits = {
        path.name for files in (images, maps) for path in (root / files.folder).iterdir() if path.is_dir()
    }
    samples = [
        Sample(stem, split, image, label, mask_path(image, pictures))
        for split in sorted(splits)
        if not split.startswith(".")
        for stem, image, label in pair(root, split, images, maps)
    ]
    return Source(
        root=root,
        dataset=described.dataset,
        layout="folder",
        space=described.space,
        samples=require_samples(root, samples, described.train),
        train_split=described.train,
        evaluation_split=described.evaluation,
        license=described.license,
        carried={DESCRIPTION: data},
        victims=described.victim,
        target=described.target,
        everything_target=described.everything_target,
    )
