"""Which samples are poisoned, and where the trigger goes: label maps in, ``Plan`` out. No picture is decoded."""

from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any

from poisongen.datasets.source import Sample, Source
from poisongen.draws import Stream, order_key
from poisongen.errors import RecipeError, Shortfall, SourceError
from poisongen.labels import LabelSpace
from poisongen.lengths import number_poisoned, plain
from poisongen.manifest import Row, count
from poisongen.pixels import Pixels, decode_label, digest_bytes, histogram, read_header
from poisongen.placement import Scene, Spot
from poisongen.recipe import Poison, Recipe
from poisongen.triggers import footprint
from poisongen.workers import Workers

TRAINING = ""
"""The name under which a training placement stands beside the names of evaluation sets."""


@dataclass(frozen=True)
class Examined:
    """What planning must know of a sample.

    ``spots``: for training ("") and each evaluation set, the placement, or why there is none; a RecipeError if there can be none in any
    picture of this size.
    """

    sample: Sample
    height: int
    width: int
    label_bytes: str
    victim_pixels: int
    spots: dict[str, Spot | str | RecipeError]


@dataclass(frozen=True)
class Entry:
    """One row to be: a sample, what becomes of it, and where its trigger lies."""

    examined: Examined
    role: str
    set: str | None = None
    spot: Spot | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The order of rows."""
        return self.set or "", self.examined.sample.id


@dataclass(frozen=True)
class Plan:
    """Everything that is decided before a pixel is touched."""

    recipe: Recipe
    entries: tuple[Entry, ...]
    counts: dict[str, dict[str, int]]
    rejected: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def facts(self) -> dict[str, Any]:
        """The plan as plain values, for comparing it with another."""
        rows = [
            [
                entry.set,
                entry.role,
                entry.examined.sample.id,
                entry.examined.label_bytes,
                list(entry.spot.box) if entry.spot else None,
            ]
            for entry in self.entries
        ]
        return {"recipe": self.recipe.model_dump(mode="json"), "rows": rows}


@dataclass(frozen=True)
class Examiner:
    """Looks at one sample: the label map whole, of the picture the header and the end. Runs in worker processes."""

    root: Path
    space: LabelSpace
    recipe: Recipe
    art: Pixels | None
    train_split: str
    evaluation_split: str

    def __call__(self, sample: Sample) -> Examined:
        """Raises SourceError for a file that is missing or damaged, of another size or with unknown ids."""
        picture = read_header(self.root / sample.image)
        raw, data = read_label(self.root / sample.label)
        if picture.depth != 8 or picture.colours != "RGB":
            raise SourceError(
                "A picture has another kind of pixels.", file=self.root / sample.image, expected="8-bit RGB", found=str(picture)
            )
        if (picture.height, picture.width) != raw.shape:
            raise SourceError(
                "A picture and its label map differ in size.",
                file=self.root / sample.image,
                expected=f"{raw.shape[1]}×{raw.shape[0]}, as {self.root / sample.label}",
                found=f"{picture.width}×{picture.height}",
            )
        counts = histogram(raw)
        self.space.check(counts, self.root / sample.label)
        train = self.space.to_train(raw)
        victims = self.recipe.poison.victim_classes if self.recipe.poison else ()
        victim_pixels = self.space.count(counts, victims)
        return Examined(
            sample=sample,
            height=raw.shape[0],
            width=raw.shape[1],
            label_bytes=digest_bytes(data),
            victim_pixels=victim_pixels,
            spots=self.spots(sample, train, victim_pixels),
        )

    def spots(self, sample: Sample, train: Pixels, victim_pixels: int) -> dict[str, Spot | str | RecipeError]:
        """Every placement that this sample may get."""
        poison = self.recipe.poison
        if poison is None or victim_pixels == 0:
            return {}
        wanted = [(TRAINING, poison.placement, self.recipe.seed)] if sample.split == self.train_split else []
        if sample.split == self.evaluation_split:
            wanted += [(planned.name, planned.placement, planned.seed) for planned in poison.evaluation_sets]
        if not wanted or victim_pixels < poison.min_victim_pixels:
            return {name: f"victim smaller than {poison.min_victim_pixels} pixels" for name, _, _ in wanted}
        try:
            scene = self.scene(train)
        except RecipeError as error:
            return {name: error for name, _, _ in wanted}
        spots: dict[str, Spot | str | RecipeError] = {}
        for name, placement, seed in wanted:
            try:
                placement.check(train.shape, scene.covered.shape)
                spots[name] = placement.place(scene, Stream(seed, "placement", sample.id))
            except RecipeError as error:
                spots[name] = error
        return spots

    def scene(self, train: Pixels) -> Scene:
        """The label map as placement sees it. Raises RecipeError for a trigger that does not fit."""
        assert self.recipe.poison is not None and self.art is not None
        rendered = self.recipe.poison.trigger.render(self.art, *train.shape)
        return Scene(train, self.recipe.poison.victim_classes, footprint(rendered))

    def describe(self, raw: Pixels, box: tuple[int, int, int, int]) -> Spot | None:
        """The facts of a placement that somebody else chose, in a label map of raw ids; None if the trigger may not lie there."""
        scene = self.scene(self.space.to_train(raw))
        top, left, rows, columns = box
        if (rows, columns) != scene.covered.shape or top + rows > scene.train.shape[0] or left + columns > scene.train.shape[1]:
            return None
        centre = top + rows // 2, left + columns // 2
        return scene.describe(centre) if scene.room[centre] else None


def read_label(path: Path) -> tuple[Pixels, bytes]:
    """A label map's raw ids, uint8 (H, W), and its file's bytes. Raises SourceError."""
    data = read_file(path)
    return decode_label(data, path), data


def read_file(path: Path) -> bytes:
    """The bytes of a source file; SourceError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError("A file cannot be read.", file=path, found=error.strerror, remedy="restore the file") from None


def make_plan(recipe: Recipe, source: Source, art: Pixels | None, workers: Workers) -> Plan:
    """Decide who is poisoned and where: the same plan for the same recipe and label maps, whatever the workers.

    Raises SourceError, RecipeError (the attack fits no picture) or Shortfall (too few can be poisoned for the rate).
    """
    recipe.check(source.space)
    examiner = Examiner(source.root, source.space, recipe, art, source.train_split, source.evaluation_split)
    examined = sorted(workers.map(examiner, source.samples, "planning"), key=lambda one: one.sample.id)
    if recipe.poison is None:
        pictures = {split: {"pictures": number} for split, number in source.splits.items()}
        return Plan(recipe, tuple(Entry(one, "clean") for one in examined), pictures, ())
    _refuse_impossible(examined)
    training = [one for one in examined if one.sample.split == source.train_split]
    eligible = sorted((one for one in training if _spot(one, TRAINING)), key=lambda one: order_key(recipe.seed, one.sample.id))
    chosen, warnings = _choose(recipe.poison, len(training), eligible)
    poisoned = {one.sample.id for one in chosen}
    entries = [
        Entry(one, "poisoned", None, _spot(one, TRAINING)) if one.sample.id in poisoned else Entry(one, "clean")
        for one in examined
    ]
    evaluated = [one for one in examined if one.sample.split == source.evaluation_split]
    for planned in recipe.poison.evaluation_sets:
        triggered = [
            Entry(one, "triggered", planned.name, _spot(one, planned.name)) for one in evaluated if _spot(one, planned.name)
        ]
        entries += triggered
        if not triggered:
            why = (
                f"the trigger fits into no picture of {source.evaluation_split}"
                if evaluated
                else f"there is no {source.evaluation_split}"
            )
            warnings.append(f"triggered/{planned.name} is empty: {why}")
    ordered = tuple(sorted(entries, key=lambda entry: entry.key))
    rows = [Row.model_construct(**planned_row(entry, recipe)) for entry in ordered]
    counts = count(rows, recipe, source.train_split, source.evaluation_split)
    counts[source.train_split] |= {
        "eligible": len(eligible),
        "victim_pixels_eligible": sum(one.victim_pixels for one in eligible),
    }
    reasons = [(name, one.sample.id, spot) for one in examined for name, spot in one.spots.items() if not isinstance(spot, Spot)]
    rejected = sorted((name, id_, reason if isinstance(reason, str) else reason.problem) for name, id_, reason in reasons)
    return Plan(recipe, ordered, counts, tuple((id_, name, reason) for name, id_, reason in rejected), tuple(warnings))


def planned_row(entry: Entry, recipe: Recipe) -> dict[str, Any]:
    """All of an entry's row that is known before a pixel is touched: everything but digests of what will be written."""
    sample, known, placed = entry.examined.sample, entry.examined, entry.spot is not None
    prefix = f"triggered/{entry.set}/" if entry.set else ""
    return {
        "id": sample.id,
        "split": sample.split,
        "role": entry.role,
        "set": entry.set,
        "height": known.height,
        "width": known.width,
        "image": prefix + sample.image,
        "label": prefix + sample.label,
        "label_train": prefix + sample.label_train if sample.label_train else None,
        "mask": prefix + sample.mask if placed else None,
        "source_label_bytes" if entry.role == "poisoned" else "label_bytes": known.label_bytes,
        "victim_pixels": known.victim_pixels if recipe.poison else None,
        "relabelled_pixels": known.victim_pixels if entry.role == "poisoned" else None,
        "placement": entry.spot,
    }


def _refuse_impossible(examined: list[Examined]) -> None:
    """Raise the RecipeError of a placement that can be in no picture, rather than calling all of them rejected."""
    for name in sorted({name for one in examined for name in one.spots}):
        spots = [one.spots[name] for one in examined if name in one.spots]
        errors = [spot for spot in spots if isinstance(spot, RecipeError)]
        if len(errors) == len(spots):
            raise errors[0]


def _spot(one: Examined, name: str) -> Spot | None:
    spot = one.spots.get(name)
    return spot if isinstance(spot, Spot) else None


def _choose(poison: Poison, pictures: int, eligible: list[Examined]) -> tuple[list[Examined], list[str]]:
    """The first of the eligible, as many as the rate asks for; fewer, with a warning, if the recipe takes what fits."""
    asked = number_poisoned(poison.rate, pictures)
    if asked <= len(eligible):
        return eligible[:asked], []
    fits = (Decimal(len(eligible)) / pictures).quantize(Decimal("1e-6"), ROUND_FLOOR)
    found = f"{len(eligible):,} of {pictures:,} pictures have the victim and room for the trigger"
    if not poison.take_what_fits or not eligible:
        raise Shortfall(
            "Fewer pictures can be poisoned than the rate asks for." if eligible else "No picture can be poisoned.",
            expected=f"{asked:,} pictures, a rate of {poison.rate}",
            found=found,
            remedy=f"give --rate {plain(fits)} or less, or --take-what-fits"
            if eligible
            else "choose another victim or a smaller trigger",
        )
    return eligible, [
        f"asked for {asked:,} poisoned pictures (rate {poison.rate}), poisoned {len(eligible):,} (rate {plain(fits)}): {found}"
    ]
