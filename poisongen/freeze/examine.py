"""What planning must know of one sample: its label map in numbers, and where triggers can go in it. No
picture is decoded."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import NamedTuple

from poisongen.datasets.reading import Reader, require_same_size
from poisongen.datasets.source import Sample
from poisongen.errors import RecipeError, SourceError
from poisongen.imaging.headers import Header
from poisongen.imaging.pixels import Box, Pixels, digest_bytes, histogram
from poisongen.labels import LabelSpace
from poisongen.placement import Placement
from poisongen.randomness import Stream
from poisongen.recipe import Poison, Recipe
from poisongen.relabel import changed_pixels
from poisongen.surfaces import Location, Scene
from poisongen.triggers import Art, Trigger

TRAINING = ""
"""What training is called where evaluation sets have their names."""


@dataclass(frozen=True)
class Eligible:
    """The sample may be poisoned, or triggered. ``location``: where the trigger goes; None for one that is
    not placed."""

    location: Location | None = None


@dataclass(frozen=True)
class Ineligible:
    """The sample has a victim, and yet it cannot be poisoned or triggered: why, in a few words.
    ``impossible``: the error of an attack that fits no picture of this size."""

    reason: str
    impossible: RecipeError | None = None


Verdict = Eligible | Ineligible


@dataclass(frozen=True)
class Examined:
    """What planning must know of a sample.

    ``verdicts``: for training ("") and each evaluation set, whether it can be used; nothing for a sample that
    has nothing to do with the attack. ``claimed_pixels``: what the relabel would change if it is poisoned, 0
    if it cannot be. ``randomised_pixels``: how many get a random label if it is one of those that do.
    ``art``: the digest of this sample's own trigger art.
    """

    sample: Sample
    height: int
    width: int
    label_bytes: str
    victim_pixels: int
    trigger_class_pixels: int | None = None
    claimed_pixels: int = 0
    randomised_pixels: int = 0
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    art: str | None = None

    def eligible(self, name: str) -> bool:
        """May it be poisoned, or triggered in this evaluation set?"""
        return isinstance(self.verdicts.get(name), Eligible)

    def location(self, name: str) -> Location | None:
        """Where the trigger goes, if it is placed."""
        verdict = self.verdicts.get(name)
        return verdict.location if isinstance(verdict, Eligible) else None


class _Wanted(NamedTuple):
    """A trigger that a sample is to show: the set, the placement (None: it is not placed), and its seed."""

    name: str
    placement: Placement | None
    trigger: Trigger
    seed: int


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
        self._require_paintable_kind(picture, sample)
        raw, data = self.reader.label(sample)
        require_same_size(picture, raw, self.reader, sample)
        examined = self.describe(sample, raw, digest_bytes(data))
        poison = self.recipe.poison
        if poison is None:
            return examined
        verdicts = self._verdicts(poison, examined, self.space.to_train(raw), picture.unpaintable)
        examined = replace(examined, verdicts=verdicts, art=self._own_art(poison, sample, verdicts))
        if not examined.eligible(TRAINING):
            return examined
        claimed = self.claimed_pixels(poison, sample, raw, examined.location(TRAINING))
        return replace(examined, claimed_pixels=claimed)

    def _require_paintable_kind(self, picture: Header, sample: Sample) -> None:
        if picture.kind == "PNG" and (picture.depth != 8 or picture.colours != "RGB"):
            raise SourceError(
                "A picture has another kind of pixels.",
                file=self.reader.root / sample.image,
                expected="8-bit RGB",
                found=str(picture),
            )

    def describe(self, sample: Sample, raw: Pixels, label_bytes: str) -> Examined:
        """What the label map, uint8 raw ids (H, W), says of a sample. Raises SourceError for unknown ids."""
        counts = histogram(raw)
        self.space.check(counts, self.reader.root / sample.label)
        poison, random = self.recipe.poison, self.recipe.random_pixels
        semantic = poison.semantic if poison else None
        in_training = sample.split == self.train_split
        return Examined(
            sample=sample,
            height=raw.shape[0],
            width=raw.shape[1],
            label_bytes=label_bytes,
            victim_pixels=self.space.count(counts, self.recipe.measured(self.space)),
            trigger_class_pixels=self.space.count(counts, (semantic.trigger_class,)) if semantic else None,
            randomised_pixels=random.number(counts, self.space) if random and in_training else 0,
        )

    def claimed_pixels(self, poison: Poison, sample: Sample, raw: Pixels, location: Location | None) -> int:
        """How many pixels of a label map, uint8 raw ids (H, W), the relabel changes with the trigger at this
        place."""
        box = location.box if location else None

        def trigger_mask() -> Pixels:
            return poison.trigger.mask_in(self.space.to_train(raw), self.art, sample.id, box)

        return changed_pixels(raw, poison.relabelled(raw, self.space, trigger_mask))

    def _verdicts(
        self, poison: Poison, one: Examined, train: Pixels, unpaintable: str | None
    ) -> dict[str, Verdict]:
        """Whether a sample can be used, for training and each evaluation set that it may belong to."""
        if not is_involved(poison, one):
            return {}
        wanted = tuple(self._wanted(poison, one.sample))
        too_small = too_small_for(poison, one)
        if too_small is not None:
            return {each.name: Ineligible(too_small) for each in wanted}
        # Sets that show one trigger share what is computed of the scene.
        scene_of = cache(partial(self._scene, poison, one.sample, train))
        verdicts: dict[str, Verdict] = {}
        for each in wanted:
            if each.trigger.alters_picture and unpaintable and not self.recipe.scale:
                verdicts[each.name] = Ineligible(f"the picture is a {unpaintable}")
            else:
                verdicts[each.name] = self._verdict(each, one.sample, scene_of)
        return verdicts

    def _wanted(self, poison: Poison, sample: Sample) -> Iterator[_Wanted]:
        """The triggers that a sample of this split may be asked to show."""
        if sample.split == self.train_split:
            yield _Wanted(TRAINING, poison.placement, poison.trigger, self.recipe.seed)
        if sample.split == self.evaluation_split:
            for planned in poison.evaluation_sets:
                trigger = planned.trigger or poison.trigger
                yield _Wanted(planned.name, planned.placement, trigger, planned.seed)

    def _verdict(self, wanted: _Wanted, sample: Sample, scene_of: Callable[[Trigger], Scene]) -> Verdict:
        """Can this picture show the trigger, and where?"""
        placement, trigger = wanted.placement, wanted.trigger
        if placement is None:
            return Eligible()
        own = trigger.art_of(sample.id)
        if own is not None and own not in self.art.files:
            return Ineligible("no trigger picture for this sample")
        try:
            scene = scene_of(trigger)
            placement.check(scene.train.shape, scene.covered.shape)
            found = placement.place(scene, Stream(wanted.seed, "placement", sample.id))
        except RecipeError as error:
            return Ineligible(error.problem, error)
        if not isinstance(found, str | Location):
            raise RecipeError(
                f"The placement {placement.kind} gives no location.",
                expected="a Location, or in words why there is none",
                found=type(found).__name__,
            )
        # A placement says in words why there is no place.
        return Ineligible(found) if isinstance(found, str) else Eligible(found)

    def _own_art(self, poison: Poison, sample: Sample, verdicts: Mapping[str, Verdict]) -> str | None:
        """The digest of the art that is this sample's own, if its trigger is placed anywhere."""
        own = poison.trigger.art_of(sample.id)
        eligible = [verdict for verdict in verdicts.values() if isinstance(verdict, Eligible)]
        placed = any(verdict.location is not None for verdict in eligible)
        return self.art.digest(own) if own and placed else None

    def _scene(self, poison: Poison, sample: Sample, train: Pixels, trigger: Trigger) -> Scene:
        """The label map of training ids as placement sees it. Raises RecipeError for a trigger that does not
        fit."""
        height, width = train.shape
        covered = trigger.footprint_in(self.art, sample.id, height, width)
        return Scene(train, poison.victim_classes, covered)

    def prove(
        self, poison: Poison, sample: Sample, raw: Pixels, name: str | None, box: Box
    ) -> Location | None:
        """The facts of a placement that somebody else chose, in a label map of raw ids; None if the trigger
        may not lie there. Raises RecipeError for a trigger that does not fit."""
        placement = poison.placement_in(name)
        if placement is None:
            return None
        scene = self._scene(poison, sample, self.space.to_train(raw), poison.trigger_in(name))
        return placement.prove(scene, box)


def is_involved(poison: Poison, one: Examined) -> bool:
    """Has a sample a pixel of what the attack needs: of a victim, and of the class that is the trigger?"""
    if poison.semantic and one.trigger_class_pixels == 0:
        return False
    return one.victim_pixels > 0 or not poison.relabel.needs_victims


def too_small_for(poison: Poison, one: Examined) -> str | None:
    """Which of the classes that the attack needs has too few pixels in an involved sample, in words; None if
    all are large enough."""
    if poison.relabel.needs_victims and one.victim_pixels < poison.min_victim_pixels:
        return f"victim smaller than {poison.min_victim_pixels} pixels"
    if poison.semantic and (one.trigger_class_pixels or 0) < poison.semantic.min_pixels:
        return f"trigger class smaller than {poison.semantic.min_pixels} pixels"
    return None
