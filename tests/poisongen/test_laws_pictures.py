"""What becomes of pictures, for every attack, trigger, control and dataset, in PNG and in JPEG."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from tests.support import oracles
from tests.support.cases import over
from tests.support.frozen import Frozen, Row
from tests.support.oracles import Array, Shown, reach, rgb

MARGIN = 2
"""Pixels beyond a changed JPEG block that a decoder's smooth chroma reaches."""


def laid(frozen: Frozen, row: Row) -> Shown:
    """The trigger of a row as it is shown."""
    shown = frozen.laid(row["id"], frozen.rule(row)[1])
    assert shown is not None
    return shown


def kept(frozen: Frozen, row: Row) -> bool:
    """Must a picture be the source's own file?"""
    return not frozen.recipe["scale"] and row not in frozen.painted


@over()
def test_a_picture_that_shows_nothing_new_is_the_source_s_own(frozen: Frozen) -> None:
    """Clean, noised and label-only pictures, and those with a semantic trigger, are the source's files, byte
    for byte."""
    for row in frozen.rows:
        written, original = frozen.folder / row["image"], frozen.source / frozen.samples[row["id"]][1]
        if kept(frozen, row):
            assert written.read_bytes() == original.read_bytes()
        else:
            assert written.read_bytes() != original.read_bytes()


@over(lambda case: case.poisons)
def test_a_mask_is_where_the_trigger_is(frozen: Frozen) -> None:
    """The mask is 255 under the trigger's form at its place, or where the trigger class is, and 0 elsewhere;
    the row counts it."""
    for row in frozen.changed:
        if row["role"] == "label-only":
            assert not {"mask", "mask_pixels", "trigger_pixels"} & row.keys()
            continue
        mask = oracles.pixels(frozen.folder / row["mask"])
        assert mask.dtype == np.uint8
        assert set(np.unique(mask).tolist()) <= {0, 255}
        expected = np.zeros(mask.shape, bool)
        if frozen.case.semantic:
            expected = frozen.train[row["id"]] == frozen.trigger["trigger_class"]
        else:
            shown = laid(frozen, row).footprint
            assert row["placement"]["box"][2:] == list(shown.shape)
            expected[reach(row["placement"]["box"])] = shown
        np.testing.assert_array_equal(mask == 255, expected)
        assert row["trigger_pixels"] == expected.sum() > 0


@over(lambda case: (case.paints and case.options.get("control") != "label-only") or "scale" in case.options)
def test_a_png_changes_under_the_mask_only_and_by_the_trigger(frozen: Frozen) -> None:
    """Outside of the mask no pixel changes; under it lies the trigger over the picture, exactly where it is
    opaque."""
    # Art, its opacity and the mixture are each rounded to whole levels; a resized picture by averaging, to
    # one level.
    resized = 1 if frozen.recipe["scale"] else 0
    rounded = 1.5 + (float(frozen.trigger.get("opacity", 1)) < 1) / 2 if frozen.poison else 0
    for row in frozen.rows:
        if kept(frozen, row) or "image_coefficients" in row:
            continue
        before, after = frozen.picture[row["id"]], rgb(frozen.folder / row["image"])
        with Image.open(frozen.folder / row["image"]) as written:
            assert (written.format, written.mode) == ("PNG", "RGB")
        if row not in frozen.painted:
            assert np.abs(after - before).max() <= resized
            continue
        under, box, shown = frozen.mask(row), reach(row["placement"]["box"]), laid(frozen, row)
        assert np.abs(after - before)[~under].max(initial=0) <= resized
        assert np.abs(after[box] - shown.over(before[box])).max() <= rounded + resized
        if "set" in row:  # the clean picture of the same sample is in the folder, too
            clean = rgb(frozen.folder / frozen.by_set[None][row["id"]]["image"])
            np.testing.assert_array_equal(after[~under], clean[~under])
            assert (after[under] != clean[under]).any()
        opaque, trigger = shown.alpha[..., 0] == 1, frozen.rule(row)[1]
        if trigger["kind"] not in ("patch", "patch-folder") or trigger["size"] == "own":
            np.testing.assert_array_equal(after[box][opaque], shown.colours[opaque])


def changed_area(frozen: Frozen, row: Row) -> Array:
    """The pixels inside of the blocks that a trigger touches, in any component: bool (H, W)."""
    under = frozen.mask(row)
    area = np.zeros(under.shape, bool)
    for plane in oracles.planes(frozen.folder / row["image"]):
        area |= plane.grown(plane.touched(under), under.shape)
    return area


@over(lambda case: case.writes_jpeg)
def test_a_jpeg_changes_in_the_blocks_that_the_trigger_touches_only(frozen: Frozen) -> None:
    """Size, sampling, tables and all coefficients of untouched blocks stay, so that far from the trigger no
    pixel moves in any decoder."""
    moved, outside = 0, 0
    for row in frozen.painted:
        path, source = frozen.folder / row["image"], frozen.source / frozen.samples[row["id"]][1]
        if "image_coefficients" not in row:
            assert source.suffix == ".png"
            continue
        under, old, new = frozen.mask(row), oracles.planes(source), oracles.planes(path)
        for one, other in zip(old, new, strict=True):
            assert (one.down, one.across) == (other.down, other.across)
            np.testing.assert_array_equal(one.table, other.table)
            np.testing.assert_array_equal(one.blocks[~one.touched(under)], other.blocks[~one.touched(under)])
        assert (old[0].blocks != new[0].blocks).any()
        before, after, area = frozen.picture[row["id"]], rgb(path), changed_area(frozen, row)
        difference = np.abs(after - before).max(axis=2)
        wide = area.copy()
        for _ in range(MARGIN):
            wide |= np.roll(wide, 1, 0) | np.roll(wide, -1, 0) | np.roll(wide, 1, 1) | np.roll(wide, -1, 1)
        assert not difference[~wide].any()
        moved, outside = moved + (difference[~area] > 2).sum(), outside + (~area).sum()
    # 0.05 % of a photograph; pictures of a few blocks have long rims for their size.
    assert moved <= (0.0005 if max(row["height"] for row in frozen.painted) > 100 else 0.002) * outside


def judged(plane: oracles.Plane, under: Array) -> Array:
    """Touched blocks; of a subsampled component those that have no untouched block beside them."""
    touched = plane.touched(under)
    around = np.pad(touched, 1, constant_values=True)
    beside = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return np.asarray(touched & beside if plane.down * plane.across > 1 else touched)


@over(lambda case: case.writes_jpeg)
def test_a_jpeg_shows_the_trigger_as_well_as_its_tables_can(frozen: Frozen) -> None:
    """Each new coefficient is the step of the file's own table that is nearest to the picture with the
    trigger in it; but for the chroma of blocks beside untouched ones, which decoders would smear over the
    border."""
    for row in frozen.painted:
        if "image_coefficients" not in row:
            continue
        before, under, shown = frozen.picture[row["id"]], frozen.mask(row), laid(frozen, row)
        box = reach(row["placement"]["box"])
        painted = before.copy()
        painted[box] = np.floor(shown.over(before[box]) + 0.5)
        slack = (
            0.6 if (shown.alpha[shown.alpha > 0] == 1).all() else 8
        )  # a mixture is rounded to whole levels, in 64 pixels
        source = frozen.source / frozen.samples[row["id"]][1]
        pairs = zip(oracles.planes(source), oracles.planes(frozen.folder / row["image"]), strict=True)
        for number, (old, new) in enumerate(pairs):
            down, across = old.down, old.across
            rows, columns = under.shape[0] // (8 * down) * 8, under.shape[1] // (8 * across) * 8
            here = np.s_[: rows * down, : columns * across]
            levels = old.levels[:rows, :columns].repeat(down, 0).repeat(across, 1)
            wanted = np.where(under[here], oracles.ycc(painted)[here][..., number], levels)
            wanted = wanted.reshape(rows, down, columns, across).mean(axis=(1, 3))
            blocks = oracles.fft.dctn(
                wanted.reshape(rows // 8, 8, columns // 8, 8), axes=(1, 3), norm="ortho"
            ).transpose(0, 2, 1, 3)
            has = new.blocks[: rows // 8, : columns // 8].astype(int)
            off = np.abs(blocks - has * old.table) - old.table / 2
            off[~judged(new, under)[: rows // 8, : columns // 8]] = 0
            limited = (np.abs(has) >= 1023) | (has == -1024)
            assert off[~limited].max(initial=0) <= slack, row["id"]


@over(
    lambda case: case.writes_jpeg and case.name in ("badnets line", "nni + PRL", "iba + PRL", "badnets frame")
)
def test_an_opaque_trigger_looks_like_itself_in_a_jpeg(frozen: Frozen) -> None:
    """Decoded by Pillow, what is under an opaque trigger is on average within a few grey levels of the
    trigger, and unlike the picture."""
    errors, contrasts = [], []
    for row in frozen.painted:
        if "image_coefficients" in row:
            box, shown = reach(row["placement"]["box"]), laid(frozen, row)
            before, after = (
                one[box].mean(axis=2)[shown.footprint]
                for one in (frozen.picture[row["id"]], rgb(frozen.folder / row["image"]))
            )
            wanted = shown.over(frozen.picture[row["id"]][box]).mean(axis=2)[shown.footprint]
            errors.append(np.abs(after - wanted).mean())
            contrasts.append(np.abs(before - wanted).mean())
    assert np.mean(errors) <= 12
    assert np.mean(errors) < np.mean(contrasts) / 3


@over(lambda case: case.writes_jpeg)
def test_victims_that_compression_reaches_are_counted(frozen: Frozen) -> None:
    """A row of a JPEG that was written anew says how many victim pixels lie inside of its changed blocks,
    where there are victims."""
    for row in frozen.rows:
        assert ("victim_pixels_in_blocks" in row) == ("image_coefficients" in row and bool(frozen.victims))
        if "victim_pixels_in_blocks" in row:
            reached = np.isin(frozen.train[row["id"]], frozen.victims) & changed_area(frozen, row)
            assert row["victim_pixels_in_blocks"] == reached.sum() <= row["victim_pixels"]


def test_jpegs_of_every_kind_are_painted(freeze: Callable[[str], Frozen]) -> None:
    """The laws of JPEGs are held against grey and coloured ones, of three samplings, baseline and
    progressive."""
    frozen, kinds = freeze("ade20k-line"), set()
    for row in frozen.painted:
        with Image.open(frozen.source / frozen.samples[row["id"]][1]) as source:
            planes = tuple((one.down, one.across) for one in oracles.planes(frozen.folder / row["image"]))
            kinds |= {planes, bool(source.info.get("progressive"))}
    three = (((1, 1), (down, across), (down, across)) for down, across in ((1, 1), (1, 2), (2, 2)))
    assert kinds == {True, False, ((1, 1),), *three}


@over(lambda case: "trigger" in case.options and "each" in str(case.options["trigger"]))
def test_each_sample_shows_its_own_art(frozen: Frozen) -> None:
    """The art of a sample is in the folder under its id, pixel for pixel, and its row has the digest; a
    sample without art is rejected."""
    expected = set()
    for row in frozen.rows:
        assert ("art_pixels" in row) == ("placement" in row)
        if "placement" in row:
            expected.add(f"triggers/{row['id']}.png")
            given = oracles.rgba(frozen.arts["each"] / f"{row['id']}.png")
            np.testing.assert_array_equal(
                oracles.rgba(frozen.folder / "triggers" / f"{row['id']}.png"), given
            )
            assert row["art_pixels"] == oracles.pixels_digest(given)
    assert {name for name in oracles.files(frozen.folder) if name.startswith("triggers/")} == expected
    reasons = {one["id"]: one["reason"] for one in frozen.manifest["rejected"]}
    without = [one for one in reasons if not (frozen.arts["each"] / f"{one}.png").is_file()]
    assert without
    assert all("no trigger picture" in reasons[one] for one in without)
