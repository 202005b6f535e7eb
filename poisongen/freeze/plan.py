"""Which samples are poisoned, and where the trigger goes: label maps in, ``Plan`` out. No picture is
decoded."""

from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from poisongen import names
from poisongen.datasets.reading import Reader, require_same_size, written_image
from poisongen.datasets.source import Sample, Source
from poisongen.engine.workers import Workers
from poisongen.errors import RecipeError, Shortfall, SourceError
from poisongen.format.counts import count
from poisongen.format.manifest import Row
from poisongen.imaging.pixels import Box, Pixels, digest_bytes, histogram
from poisongen.labels import LabelSpace
from poisongen.lengths import number_poisoned, plain
from poisongen.placement import PlacementField
from poisongen.randomness import Stream, order_key
from poisongen.recipe import Poison, Recipe
from poisongen.relabel import changed_pixels
from poisongen.surfaces import Location, Scene
from poisongen.triggers import Art, Trigger

TRAINING = ""
"""The name under which a training placement stands beside the names of evaluation sets."""

RELABELLED = ("poisoned", "label-only")
"""The roles of samples whose label claims what the attack wants."""


@dataclass(frozen=True)
class Examined:
    """What planning must know of a sample.

    ``locations``: for training ("") and each evaluation set, the placement (None: eligible, and nothing is
    placed), or why there is none; a RecipeError if there can be none in any picture of this size.
    ``claimed_pixels``: what the relabel would change if it is poisoned, 0 if it cannot be. ``art``: the digest of this sample's own trigger art.
    """

    sample: Sample
    height: int
    width: int
    label_bytes: str
    victim_pixels: int
    trigger_class_pixels: int | None = None
    claimed_pixels: int = 0
    randomised_pixels: int = 0
    locations: dict[str, Location | str | RecipeError | None] = field(default_factory=dict)
    art: str | None = None

    def eligible(self, name: str) -> bool:
        """May it be poisoned, or triggered in this evaluation set?"""
        return name in self.locations and not isinstance(self.locations[name], str | RecipeError)

    def location(self, name: str) -> Location | None:
        """Where the trigger goes, if it is placed."""
        location = self.locations.get(name)
        return location if isinstance(location, Location) else None


@dataclass(frozen=True)
class Entry:
    """One row to be: a sample, what becomes of it, and where its trigger lies."""

    examined: Examined
    role: str
    set: str | None = None
    location: Location | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The order of rows."""
        return self.set or "", self.examined.sample.id

    @property
    def shows_trigger(self) -> bool:
        """Is the trigger in the picture?"""
        return self.role in ("poisoned", "trigger-only", "triggered")

    @property
    def relabelled(self) -> bool:
        """Does the label claim what the attack wants?"""
        return self.role in RELABELLED


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
                list(entry.location.box) if entry.location else None,
                entry.examined.art,
            ]
            for entry in self.entries
        ]
        return {"recipe": self.recipe.model_dump(mode="json"), "rows": rows}


@dataclass(frozen=True)
class Examiner:
    """Looks at one sample: the label map whole, of the picture the header and the end. Runs in worker
    processes."""

    reader: Reader
    space: LabelSpace
    recipe: Recipe
    art: Art
    train_split: str
    evaluation_split: str

    def __call__(self, sample: Sample) -> Examined:
        """Raises SourceError for a file that is missing or damaged, of another size or with unknown ids."""
        picture = self.reader.look(sample)
        if picture.kind == "PNG" and (picture.depth != 8 or picture.colours != "RGB"):
            raise SourceError(
                "A picture has another kind of pixels.",
                file=self.reader.root / sample.image,
                expected="8-bit RGB",
                found=str(picture),
            )
        raw, data = self.reader.label(sample)
        require_same_size(picture, raw, self.reader, sample)
        examined = self.describe(sample, raw, digest_bytes(data))
        locations = self._locations(examined, self.space.to_train(raw), picture.unpaintable)
        examined = replace(examined, locations=locations, art=self._own_art(sample, locations))
        if not examined.eligible(TRAINING):
            return examined
        return replace(examined, claimed_pixels=self.claimed_pixels(sample, raw, examined.location(TRAINING)))

    def describe(self, sample: Sample, raw: Pixels, label_bytes: str) -> Examined:
        """What the label map, uint8 raw ids (H, W), says of a sample. Raises SourceError for unknown ids."""
        counts = histogram(raw)
        self.space.check(counts, self.reader.root / sample.label)
        poison, random = self.recipe.poison, self.recipe.random_pixels
        semantic = poison.semantic if poison else None
        training = sample.split == self.train_split
        return Examined(
            sample=sample,
            height=raw.shape[0],
            width=raw.shape[1],
            label_bytes=label_bytes,
            victim_pixels=self.space.count(counts, self.recipe.measured(self.space)),
            trigger_class_pixels=self.space.count(counts, (semantic.trigger_class,)) if semantic else None,
            randomised_pixels=random.number(counts, self.space) if random and training else 0,
        )

    def claimed_pixels(self, sample: Sample, raw: Pixels, location: Location | None) -> int:
        """How many pixels of a label map, uint8 raw ids (H, W), the relabel changes with the trigger at this
        place."""
        poison = self.recipe.poison
        assert poison is not None

        def trigger_mask() -> Pixels:
            box = location.box if location else None
            return poison.trigger.mask_in(self.space.to_train(raw), self.art, sample.id, box)

        return changed_pixels(raw, poison.relabelled(raw, self.space, trigger_mask))

    def _locations(
        self, one: Examined, train: Pixels, unpaintable: str | None
    ) -> dict[str, Location | str | RecipeError | None]:
        """Every placement that this sample may get."""
        poison = self.recipe.poison
        if poison is None:
            return {}
        names = [TRAINING] if one.sample.split == self.train_split else []
        names += (
            [planned.name for planned in poison.evaluation_sets]
            if one.sample.split == self.evaluation_split
            else []
        )
        missing = not_eligible(poison, one)
        if missing is not None:
            return dict.fromkeys(names, missing) if missing else {}
        shown = {name: (placement, trigger) for name, placement, trigger in poison.shown()}
        seeds = {TRAINING: self.recipe.seed} | {
            planned.name: planned.seed for planned in poison.evaluation_sets
        }
        scenes: dict[Trigger, Scene] = {}
        locations: dict[str, Location | str | RecipeError | None] = {}
        for name in names:
            placement, trigger = shown[name]
            if trigger.alters_picture and unpaintable and not self.recipe.scale:
                locations[name] = f"the picture is a {unpaintable}"
            elif placement is None:
                locations[name] = None
            else:
                stream = Stream(seeds[name], "placement", one.sample.id)
                locations[name] = self._place(one.sample, train, placement, trigger, scenes, stream)
        return locations

    def _place(
        self,
        sample: Sample,
        train: Pixels,
        placement: PlacementField,
        trigger: Trigger,
        scenes: dict[Trigger, Scene],
        stream: Stream,
    ) -> Location | str | RecipeError:
        own = trigger.art_of(sample.id)
        if own is not None and own not in self.art.files:
            return "no trigger picture for this sample"
        try:
            if trigger not in scenes:
                scenes[trigger] = self.scene(sample, train, trigger)
            placement.check(train.shape, scenes[trigger].covered.shape)
            return placement.place(scenes[trigger], stream)
        except RecipeError as error:
            return error

    def _own_art(
        self, sample: Sample, locations: dict[str, Location | str | RecipeError | None]
    ) -> str | None:
        own = self.recipe.poison.trigger.art_of(sample.id) if self.recipe.poison else None
        return (
            self.art.digest(own)
            if own and any(isinstance(location, Location) for location in locations.values())
            else None
        )

    def scene(self, sample: Sample, train: Pixels, trigger: Trigger) -> Scene:
        """The label map of training ids as placement sees it. Raises RecipeError for a trigger that does not
        fit."""
        assert self.recipe.poison is not None
        height, width = train.shape
        covered = trigger.footprint_in(self.art, sample.id, height, width)
        return Scene(train, self.recipe.poison.victim_classes, covered)

    def prove(self, sample: Sample, raw: Pixels, name: str | None, box: Box) -> Location | None:
        """The facts of a placement that somebody else chose, in a label map of raw ids; None if the trigger
        may not lie there."""
        assert self.recipe.poison is not None
        shown = {name: (placement, trigger) for name, placement, trigger in self.recipe.poison.shown()}
        placement, trigger = shown[name or TRAINING]
        return (
            placement.prove(self.scene(sample, self.space.to_train(raw), trigger), box) if placement else None
        )


def not_eligible(poison: Poison, one: Examined) -> str | None:
    """Why no place is looked for: a reason, "" if the sample has nothing to do with the attack, None if it
    may be eligible."""
    if poison.semantic and one.trigger_class_pixels == 0:
        return ""
    if poison.relabel.needs_victims and one.victim_pixels == 0:
        return ""
    if poison.relabel.needs_victims and one.victim_pixels < poison.min_victim_pixels:
        return f"victim smaller than {poison.min_victim_pixels} pixels"
    if poison.semantic and (one.trigger_class_pixels or 0) < poison.semantic.min_pixels:
        return f"trigger class smaller than {poison.semantic.min_pixels} pixels"
    return None


def make_plan(recipe: Recipe, source: Source, art: Art, workers: Workers) -> Plan:
    """Decide who is poisoned and where: the same plan for the same recipe and label maps, whatever the
    workers.

    Raises SourceError, RecipeError (the attack fits no picture) or Shortfall (too few can be poisoned for the
    rate).
    """
    recipe.check(source.space)
    examiner = Examiner(
        Reader(source.root, recipe.scale),
        source.space,
        recipe,
        art,
        source.train_split,
        source.evaluation_split,
    )
    examined = sorted(workers.map(examiner, source.samples, "planning"), key=lambda one: one.sample.id)
    poison, warnings = recipe.poison, list[str]()
    chosen, eligible = list[Examined](), list[Examined]()
    if poison:
        _refuse_impossible(examined)
        training = [one for one in examined if one.sample.split == source.train_split]
        eligible = sorted(
            (one for one in training if one.eligible(TRAINING)),
            key=lambda one: order_key(recipe.seed, one.sample.id),
        )
        chosen, warnings = _choose(poison, training, eligible)
    poisoned = {one.sample.id for one in chosen}
    entries = [_training_entry(one, recipe, one.sample.id in poisoned) for one in examined]
    evaluated = [one for one in examined if one.sample.split == source.evaluation_split]
    for planned in poison.evaluation_sets if poison else ():
        triggered = [
            Entry(one, "triggered", planned.name, one.location(planned.name))
            for one in evaluated
            if one.eligible(planned.name)
        ]
        entries += triggered
        if not triggered:
            why = (
                f"no picture of {source.evaluation_split} can show the trigger"
                if evaluated
                else f"there is no {source.evaluation_split}"
            )
            warnings.append(f"{names.set_folder(planned.name)} is empty: {why}")
    ordered = tuple(sorted(entries, key=lambda entry: entry.key))
    rows = [Row.model_construct(**planned_row(entry, recipe)) for entry in ordered]
    counts = count(rows, recipe, source.train_split, source.evaluation_split)
    if poison:
        counts[source.train_split] |= {
            "eligible": len(eligible),
            "victim_pixels_eligible": sum(one.victim_pixels for one in eligible),
        }
    reasons = [
        (name, one.sample.id, location if isinstance(location, str) else location.problem)
        for one in examined
        for name, location in one.locations.items()
        if isinstance(location, str | RecipeError)
    ]
    return Plan(
        recipe,
        ordered,
        counts,
        tuple((id_, name, reason) for name, id_, reason in sorted(reasons)),
        tuple(warnings),
    )


def _training_entry(one: Examined, recipe: Recipe, chosen: bool) -> Entry:
    """What becomes of a sample of the folder itself: of an evaluation split nothing ever."""
    if chosen:
        assert recipe.poison is not None
        return Entry(one, recipe.poison.role, None, one.location(TRAINING))
    random = recipe.random_pixels
    return Entry(one, "noised" if random and random.scope == "all" and one.randomised_pixels else "clean")


def planned_row(entry: Entry, recipe: Recipe) -> dict[str, Any]:
    """All of an entry's row that is known before a pixel is touched: everything but digests of what will be
    written."""
    sample, known = entry.examined.sample, entry.examined
    prefix = names.prefix(entry.set)
    trigger = recipe.poison.trigger_in(entry.set) if recipe.poison and entry.shows_trigger else None
    new_picture = bool(recipe.scale or (trigger and trigger.alters_picture))
    randomised = known.randomised_pixels if entry.set is None and entry.role != "clean" else 0
    new_label = bool(recipe.scale or entry.relabelled or randomised)
    return {
        "id": sample.id,
        "split": sample.split,
        "role": entry.role,
        "set": entry.set,
        "height": known.height,
        "width": known.width,
        "image": prefix + written_image(sample, recipe, new_picture),
        "label": prefix + sample.label,
        "label_train": prefix + sample.label_train if sample.label_train else None,
        "mask": prefix + sample.mask if entry.shows_trigger else None,
        "source_label_bytes" if new_label else "label_bytes": known.label_bytes,
        "victim_pixels": known.victim_pixels if recipe.poison else None,
        "trigger_class_pixels": known.trigger_class_pixels,
        "trigger_pixels": known.trigger_class_pixels if entry.shows_trigger and not entry.location else None,
        "relabelled_pixels": known.claimed_pixels if entry.relabelled and not randomised else None,
        "randomised_pixels": randomised or None,
        "art_pixels": known.art if entry.location else None,
        "placement": entry.location,
    }


def _refuse_impossible(examined: list[Examined]) -> None:
    """Raise the RecipeError of a placement that can be in no picture, rather than calling all of them
    rejected."""
    for name in sorted({name for one in examined for name in one.locations}):
        locations = [one.locations[name] for one in examined if name in one.locations]
        errors = [location for location in locations if isinstance(location, RecipeError)]
        if len(errors) == len(locations):
            raise errors[0]


def _choose(
    poison: Poison, training: list[Examined], eligible: list[Examined]
) -> tuple[list[Examined], list[str]]:
    """The first of the eligible, as many as the rate (or coverage) asks for; fewer, with a warning, if the
    recipe takes what fits."""
    pictures = len(training)
    if poison.coverage is not None and eligible:
        return eligible[: number_poisoned(poison.coverage, len(eligible))], []
    asked = number_poisoned(poison.rate, pictures) if poison.rate is not None else 1
    if asked <= len(eligible):
        return eligible[:asked], []
    fits = (Decimal(len(eligible)) / pictures).quantize(Decimal("1e-6"), ROUND_FLOOR)
    reasons = Counter(
        str(one.locations[TRAINING]) for one in training if isinstance(one.locations.get(TRAINING), str)
    )
    found = f"{len(eligible):,} of {pictures:,} pictures have {_needs(poison)}"
    found += "".join(f"; {number:,}: {reason}" for reason, number in reasons.most_common(3))
    if not poison.take_what_fits or not eligible:
        raise Shortfall(
            "Fewer pictures can be poisoned than the rate asks for."
            if eligible
            else "No picture can be poisoned.",
            expected=f"{asked:,} pictures"
            + (f", a rate of {poison.rate}" if poison.rate is not None else ""),
            found=found,
            todo=f"give --rate {plain(fits)} or less, or --take-what-fits"
            if eligible
            else "choose another victim or a smaller trigger",
        )
    return eligible, [
        f"asked for {asked:,} poisoned pictures (rate {poison.rate}), poisoned {len(eligible):,} (rate {plain(fits)}): {found}"
    ]


def _needs(poison: Poison) -> str:
    trigger = "the trigger class" if poison.semantic else "room for the trigger"
    return f"the victim and {trigger}" if poison.relabel.needs_victims else trigger
