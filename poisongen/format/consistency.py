"""Where a manifest says something that its own recipe or rows do not.

A check is a function that says whether it holds, beside the sentence that says what is wrong if it does not.
Those of ``MANIFEST_CHECKS`` look at the whole, those of ``ROW_CHECKS`` at each row; what the rows add up to
comes last.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from poisongen.errors import RecipeError
from poisongen.format.counts import count
from poisongen.format.manifest import Manifest, Rejected, Row, fingerprint, measure_of
from poisongen.lengths import number_poisoned
from poisongen.placement import Fixed, OneSurface, Placement
from poisongen.randomness import order_key
from poisongen.recipe import Poison, Recipe
from poisongen.surfaces import Location

_UNPLACED = frozenset({"clean", "noised"})
_UNMASKED = frozenset({"clean", "noised", "label-only"})
_RELABELLED = frozenset({"poisoned", "label-only"})
_UNTRIGGERED = frozenset({"clean", "triggered"})
"""Roles: without a placement; without a mask; with a claim in the label; of samples of any split."""


@dataclass(frozen=True)
class Claims:
    """A manifest and its rows, and what follows from them for every row."""

    manifest: Manifest
    rows: tuple[Row, ...]

    @property
    def recipe(self) -> Recipe:
        return self.manifest.recipe

    @property
    def poison(self) -> Poison | None:
        return self.manifest.recipe.poison

    @property
    def semantic(self) -> bool:
        """Is the trigger one that nobody paints?"""
        return bool(self.poison and self.poison.semantic)

    @property
    def train(self) -> str:
        return self.manifest.splits.train

    @property
    def evaluation(self) -> str:
        return self.manifest.splits.evaluation

    @cached_property
    def own(self) -> Mapping[str, Row]:
        """The rows of the folder's own samples, by id."""
        return {row.id: row for row in self.rows if row.set is None}

    @cached_property
    def set_names(self) -> tuple[str, ...]:
        """The evaluation sets of the recipe."""
        return tuple(planned.name for planned in self.poison.evaluation_sets) if self.poison else ()

    @cached_property
    def placements(self) -> Mapping[str | None, Placement | None]:
        """The rule by which the triggers of training (None) and of each evaluation set are placed."""
        shown = self.poison.shown() if self.poison else ()
        return {name or None: placement for name, placement, _ in shown}

    @cached_property
    def roles(self) -> frozenset[str]:
        """The roles that this recipe gives."""
        random = self.recipe.random_pixels
        noised = {"noised"} if random and random.scope == "all" else set()
        changed = {self.poison.role, "triggered"} if self.poison else set()
        return frozenset({"clean"} | noised | changed)

    @cached_property
    def randomised_roles(self) -> frozenset[str]:
        """The roles of samples that may have random labels."""
        if self.recipe.random_pixels is None:
            return frozenset()
        changed = {self.poison.role} if self.poison else set()
        return frozenset({"noised"} | changed)


def _measures_as_its_recipe(claims: Claims) -> bool:
    return claims.manifest.measure == measure_of(claims.recipe, claims.manifest.label_space.space())


def _splits_are_counted(claims: Claims) -> bool:
    return claims.manifest.source.splits == dict(Counter(row.split for row in claims.own.values()))


MANIFEST_CHECKS: Mapping[str, Callable[[Claims], bool]] = {
    "the recipe has other evaluation sets": lambda claims: (
        claims.manifest.evaluation_sets == claims.set_names
    ),
    "measure has other classes than the recipe": _measures_as_its_recipe,
    "the recipe has another trigger art": lambda claims: claims.manifest.art == claims.recipe.art_files(),
    "the source's fingerprint is not that of the rows": lambda claims: (
        claims.manifest.source.fingerprint == fingerprint(claims.rows)
    ),
    "the splits have other numbers of rows": _splits_are_counted,
    "no sample is in the split {train}": lambda claims: any(
        row.split == claims.train for row in claims.own.values()
    ),
}
"""Sentence → whether the manifest is free of this fault; the names of the splits are put into the
sentence."""


def _has_known_set(claims: Claims, row: Row) -> bool:
    return row.set is None or row.set in claims.set_names


def _has_sample(claims: Claims, row: Row) -> bool:
    return row.id in claims.own


def _is_in_one_split(claims: Claims, row: Row) -> bool:
    own = claims.own.get(row.id)
    return own is None or row.split == own.split


def _has_possible_role(claims: Claims, row: Row) -> bool:
    return row.role in claims.roles


def _is_changed_in_training(claims: Claims, row: Row) -> bool:
    return row.role in _UNTRIGGERED or row.split == claims.train


def _is_triggered_in_evaluation(claims: Claims, row: Row) -> bool:
    return row.set is None or row.split == claims.evaluation


def _has_placement_with_trigger(claims: Claims, row: Row) -> bool:
    unplaced = row.role in _UNPLACED or claims.placements.get(row.set) is None
    return unplaced == (row.placement is None)


def _has_mask_with_trigger(claims: Claims, row: Row) -> bool:
    return (row.role in _UNMASKED) == (row.mask is None)


def _counts_victims(claims: Claims, row: Row) -> bool:
    return (row.victim_pixels is None) == (claims.poison is None)


def _counts_trigger_class(claims: Claims, row: Row) -> bool:
    return (row.trigger_class_pixels is not None) == claims.semantic


def _may_be_randomised(claims: Claims, row: Row) -> bool:
    return row.randomised_pixels is None or row.role in claims.randomised_roles


def _is_noised_by_labels(claims: Claims, row: Row) -> bool:
    return row.role != "noised" or bool(row.randomised_pixels)


def _is_written_as_asked(claims: Claims, row: Row) -> bool:
    """Does the row have the digests that a resized or lossless dataset has, and the facts of a JPEG where it
    is one?"""
    recipe, poison = claims.recipe, claims.poison
    if recipe.scale and not (row.image_pixels and row.label_pixels):
        return False
    if not recipe.scale and row.role == "clean" and not (row.image_bytes and row.label_bytes):
        return False
    if row.image_coefficients and recipe.lossless:
        return False
    has_victims = poison is not None and poison.relabel.needs_victims
    counts_blocks = row.victim_pixels_in_blocks is not None
    if counts_blocks != bool(row.image_coefficients and has_victims):
        return False
    if (row.victim_pixels_in_blocks or 0) > (row.victim_pixels or 0):
        return False
    random = recipe.random_pixels
    return random is None or (row.randomised_pixels or 0) <= random.pixels.pixels(row.height * row.width)


def _counts_relabelled(claims: Claims, row: Row) -> bool:
    return (row.relabelled_pixels is not None) == (row.role in _RELABELLED)


def _masks_trigger_class(claims: Claims, row: Row) -> bool:
    return not (claims.semantic and row.mask) or row.trigger_pixels == row.trigger_class_pixels


def _has_label_of_sample(claims: Claims, row: Row) -> bool:
    own = claims.own.get(row.id)
    return own is None or _label_facts(row) == _label_facts(own)


def _label_facts(row: Row) -> tuple[int | None, ...]:
    return row.height, row.width, row.victim_pixels, row.trigger_class_pixels


def _lies_where_its_rule_says(claims: Claims, row: Row) -> bool:
    if row.placement is None:
        return True
    top, left, height, width = row.placement.box
    if top + height > row.height or left + width > row.width:
        return False
    rule = claims.placements.get(row.set)
    if isinstance(rule, Fixed):
        return row.placement == Location(box=rule.box((row.height, row.width), (height, width)))
    return not isinstance(rule, OneSurface) or row.placement.surface_class is not None


ROW_CHECKS: Mapping[str, Callable[[Claims, Row], bool]] = {
    "a row belongs to an evaluation set that the recipe lacks": _has_known_set,
    "a triggered row has no sample": _has_sample,
    "a sample is in two splits": _is_in_one_split,
    "a row has a role that this recipe cannot give": _has_possible_role,
    "a sample outside of {train} is changed": _is_changed_in_training,
    "a sample outside of {evaluation} is triggered": _is_triggered_in_evaluation,
    "a trigger has no placement, or a placement no trigger": _has_placement_with_trigger,
    "a trigger has no mask, or a mask no trigger": _has_mask_with_trigger,
    "victims are counted in some rows only": _counts_victims,
    "pixels of a trigger class are counted in some rows, or without such a trigger": _counts_trigger_class,
    "a row has random labels, and the recipe gives it none": _may_be_randomised,
    "a noised row has no random label": _is_noised_by_labels,
    "a row was not written as the recipe says": _is_written_as_asked,
    "a relabel is not counted, or counted where there is none": _counts_relabelled,
    "a semantic trigger is other than its class": _masks_trigger_class,
    "a triggered row counts other pixels than the clean one": _has_label_of_sample,
    "a trigger lies outside of its picture, or elsewhere than its rule has it": _lies_where_its_rule_says,
}
"""Sentence → whether a row is free of this fault."""


def contradictions(manifest: Manifest, rows: Iterable[Row]) -> list[str]:
    """A sentence for each kind of contradiction, nothing for an honest manifest."""
    claims = Claims(manifest, tuple(rows))
    try:
        claims.recipe.check(manifest.label_space.space())
    except RecipeError as error:
        return [f"the recipe names no class: {error.problem}"]
    wrong = [sentence for sentence, holds in MANIFEST_CHECKS.items() if not holds(claims)]
    for sentence, holds_for in ROW_CHECKS.items():
        if not all(holds_for(claims, row) for row in claims.rows):
            wrong.append(sentence)
    if wrong:
        return [sentence.format(train=claims.train, evaluation=claims.evaluation) for sentence in wrong]
    return _wrong_counts(claims)


_OTHER_COUNTS = "the counts are not those of the rows"


def _wrong_counts(claims: Claims) -> list[str]:
    """What the rows add up to, held against the counts and the rejected samples."""
    manifest, poison = claims.manifest, claims.poison
    counted = count(claims.rows, claims.recipe, claims.train, claims.evaluation)
    if poison is None:
        return [] if manifest.counts == counted else [_OTHER_COUNTS]
    eligible = _eligible(claims, poison)
    if eligible is None:
        return [
            "a sample is rejected twice, or for a set that there is not, or has nothing to do with the attack"
        ]
    trainable = eligible[""]
    counted[claims.train] |= {
        "eligible": len(trainable),
        "victim_pixels_eligible": sum(claims.own[one].victim_pixels or 0 for one in trainable),
    }
    wrong = []
    if manifest.counts != counted:
        wrong.append(_OTHER_COUNTS)
    triggered = {name: _members(claims, name) for name in manifest.evaluation_sets}
    if any(members != eligible[name] for name, members in triggered.items()):
        wrong.append("a set has other pictures than those that were not rejected")
    return wrong or _wrong_choice(claims, poison, trainable)


def _members(claims: Claims, set_name: str) -> set[str]:
    return {row.id for row in claims.rows if row.set == set_name}


def _eligible(claims: Claims, poison: Poison) -> dict[str, set[str]] | None:
    """Training ("") and each evaluation set → the ids that were not rejected; None if the list of the
    rejected cannot be."""
    eligible = {}
    for name in ("", *claims.manifest.evaluation_sets):
        split = claims.evaluation if name else claims.train
        involved = {row.id for row in claims.own.values() if row.split == split and _involved(row, poison)}
        rejected = _rejected(claims.manifest.rejected, name)
        if not rejected <= involved:
            return None
        eligible[name] = involved - rejected
    named = sum(len(_rejected(claims.manifest.rejected, name)) for name in eligible)
    return eligible if named == len(claims.manifest.rejected) else None


def _rejected(rejected: Iterable[Rejected], set_name: str) -> set[str]:
    return {one.id for one in rejected if one.set == set_name}


def _involved(row: Row, poison: Poison) -> bool:
    """Has a sample what the attack needs: a victim, and the class that is the trigger?"""
    has_victim = bool(row.victim_pixels) or not poison.relabel.needs_victims
    has_trigger_class = bool(row.trigger_class_pixels) or not poison.semantic
    return has_victim and has_trigger_class


def _wrong_choice(claims: Claims, poison: Poison, eligible: set[str]) -> list[str]:
    """Are as many poisoned as the recipe asks for, and are they those that its seed chooses?"""
    if poison.coverage is not None:
        asked, share = number_poisoned(poison.coverage, len(eligible)), f"a coverage of {poison.coverage}"
    else:
        assert poison.rate is not None  # a recipe has one of the two
        pictures = claims.manifest.counts[claims.train]["pictures"]
        asked, share = number_poisoned(poison.rate, pictures), f"a rate of {poison.rate}"
    changed = {row.id for row in claims.rows if row.role == poison.role}
    took_what_fits = poison.take_what_fits and len(changed) == len(eligible) < asked
    if len(changed) != asked and not took_what_fits:
        return [f"{share} is {asked} poisoned pictures, and there are {len(changed)}"]
    in_order = sorted(eligible, key=lambda one: order_key(claims.recipe.seed, one))
    if changed != set(in_order[: len(changed)]):
        return ["the seed chooses other pictures than those that are poisoned"]
    return []
