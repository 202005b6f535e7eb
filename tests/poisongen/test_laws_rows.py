"""What rows, manifest and the files around them say, for every attack, trigger, control and dataset."""

import subprocess
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from tests.support import oracles
from tests.support.cases import CASES, over
from tests.support.frozen import Frozen, Row
from tests.support.oracles import bytes_digest, pixels, pixels_digest, rgb

MANIFEST_KEYS = {
    *(
        "format",
        "format_version",
        "tool",
        "identity",
        "dataset",
        "source",
        "splits",
        "label_space",
        "measure",
        "recipe",
    ),
    *("name", "evaluation_sets", "counts", "rejected", "art", "lists", "environment"),
}


@over()
def test_the_recipe_is_what_was_asked_for(frozen: Frozen) -> None:
    """The manifest resolves every option, with the papers' defaults, in exact text; name and sets follow from
    it."""
    manifest = frozen.manifest
    assert manifest["recipe"] == frozen.recipe
    assert manifest["name"] == frozen.case.name
    assert manifest["evaluation_sets"] == [name for name, _, _ in frozen.shown[1:]]


@over()
def test_the_manifest_says_what_the_format_asks_for(frozen: Frozen) -> None:
    """Source, label space, measure and art are in the manifest, in training ids, and the fingerprint is that
    of the source."""
    manifest, knows = frozen.manifest, frozen.knows
    assert manifest.keys() == MANIFEST_KEYS
    assert (manifest["format"], manifest["format_version"]) == ("poisongen", 1)
    assert manifest["source"]["layout"] == frozen.case.dataset
    assert manifest["dataset"] == ("yards" if frozen.case.dataset == "folder" else frozen.case.dataset)
    assert manifest["splits"] == {"train": knows.train, "evaluation": knows.evaluation}
    assert manifest["source"]["splits"] == knows.splits
    lines = []
    for sample_id, (_, *paths) in frozen.samples.items():
        lines.append(
            (
                sample_id,
                " ".join([sample_id, *(bytes_digest((frozen.source / path).read_bytes()) for path in paths)]),
            )
        )
    assert manifest["source"]["fingerprint"] == bytes_digest(
        "".join(f"{text}\n" for _, text in sorted(lines)).encode()
    )
    space = manifest["label_space"]
    assert {
        int(raw): train for raw, train in space["raw_to_train"].items() if train != space["ignore"] == 255
    } == knows.table
    assert len(space["names"]) == len(space["colours"]) == max(knows.table.values()) + 1
    assert all(space["names"][train].lower() == name for name, train in knows.classes.items())
    if not frozen.poison:
        assert (manifest["measure"], manifest["art"], manifest["recipe"]["poison"]) == (None, {}, None)
        return
    semantic = frozen.trigger if frozen.case.semantic else {}
    assert manifest["measure"] == {
        "victim_classes": list(frozen.measured),
        "target_class": frozen.target,
        "trigger_class": semantic.get("trigger_class"),
        "min_trigger_pixels": semantic.get("min_pixels"),
    }
    art = {trigger["art"]: trigger["art_pixels"] for _, _, trigger in frozen.shown if "art" in trigger}
    assert manifest["art"] == art == {name: pixels_digest(oracles.rgba(frozen.folder / name)) for name in art}


def expected_keys(frozen: Frozen, row: Row) -> set[str]:
    """The keys that FORMAT.md gives a row of this role."""
    role, scale = row["role"], frozen.recipe["scale"]
    changed, training = (
        role not in ("clean", "noised"),
        role != "triggered" and row["split"] == frozen.knows.train,
    )
    shows, relabelled = changed and role != "label-only", role in ("poisoned", "label-only")
    random = (
        frozen.random
        and training
        and (frozen.random["scope"] == "all" or changed)
        and frozen.wanted_random(row["id"]) > 0
    )
    keys = {"id", "split", "role", "height", "width", "image", "label"}
    keys |= {"set"} if role == "triggered" else set()
    keys |= {"label_train", "label_train_pixels"} if frozen.case.dataset == "cityscapes" else set()
    keys |= {"victim_pixels"} if frozen.poison else set()
    keys |= {"trigger_class_pixels"} if frozen.case.semantic else set()
    keys |= {"mask", "mask_pixels", "trigger_pixels"} if shows else set()
    keys |= {"placement"} if changed and frozen.case.paints else set()
    keys |= {"art_pixels"} if changed and frozen.trigger["kind"] == "patch-folder" else set()
    keys |= {"relabelled_pixels"} if relabelled else set()
    keys |= {"randomised_pixels"} if random else set()
    keys |= {"label_pixels", "source_label_bytes"} if scale or relabelled or random else {"label_bytes"}
    if not (scale or (shows and frozen.case.paints)):
        return keys | {"image_bytes"}
    lossy = not frozen.samples[row["id"]][1].endswith(".png")
    if lossy and not scale and not frozen.recipe["lossless"]:
        keys |= {"victim_pixels_in_blocks"} if frozen.victims else set()
        return keys | {"image_coefficients", "source_image_bytes"}
    return keys | {"image_pixels", "source_image_bytes"}


@over()
def test_a_row_has_the_keys_that_apply_and_no_other(frozen: Frozen) -> None:
    """An absent key means that it does not apply: each role, source and recipe has its own."""
    for row in frozen.rows:
        assert row.keys() == expected_keys(frozen, row), (row["role"], row["id"], row.get("set"))


@over()
def test_the_identity_is_the_digest_of_canonical_sorted_rows(frozen: Frozen) -> None:
    """samples.jsonl is sorted canonical JSON without floats or nulls, and its sha256 is the identity."""
    text = (frozen.folder / "samples.jsonl").read_bytes()
    assert frozen.manifest["identity"] == bytes_digest(text)
    ordered = sorted(frozen.rows, key=lambda row: (row.get("set", ""), row["id"]))
    assert "".join(oracles.line(row) for row in ordered).encode() == text
    assert {type(leaf) for leaf in oracles.leaves(frozen.rows)} == {int, str}


@over()
def test_every_digest_in_a_row_is_that_of_its_file(frozen: Frozen) -> None:
    """Digests of bytes, pixels and coefficients, of written files and of their sources, are those of the
    format's formulas."""
    for row in frozen.rows:
        for what in ("image", "label", "label_train", "mask"):
            if what not in row:
                continue
            path = frozen.folder / row[what]
            formulas = {
                "bytes": lambda path=path: bytes_digest(path.read_bytes()),
                "pixels": lambda path=path, what=what: pixels_digest(
                    rgb(path) if what == "image" else pixels(path)
                ),
                "coefficients": lambda path=path: oracles.coefficients_digest(path),
            }
            (kind,) = (kind for kind in formulas if f"{what}_{kind}" in row)
            assert row[f"{what}_{kind}"] == formulas[kind](), path
            assert [row["height"], row["width"]] == list(pixels(path).shape[:2])
        for what, path in zip(("image", "label"), frozen.samples[row["id"]][1:], strict=True):
            original = (frozen.source / path).read_bytes()
            assert row.get(f"source_{what}_bytes", row.get(f"{what}_bytes")) == bytes_digest(original)
            assert (f"source_{what}_bytes" in row) == ((frozen.folder / row[what]).read_bytes() != original)


@over()
def test_each_sample_of_the_source_stands_once_in_the_folder(frozen: Frozen) -> None:
    """Ids, splits and roles: nobody is lost, nobody is added, and outside of the training split nothing is
    changed."""
    assert {one: row["split"] for one, row in frozen.by_set[None].items()} == {
        one: split for one, (split, *_) in frozen.samples.items()
    }
    assert Counter(row["id"] for row in frozen.rows if "set" not in row).most_common(1)[0][1] == 1
    possible = {"clean"} | ({"noised"} if frozen.random.get("scope") == "all" else set())
    possible |= {frozen.poison["control"] or "poisoned"} if frozen.poison else set()
    for row in frozen.rows:
        assert (row["role"] == "triggered") == ("set" in row)
        if "set" not in row:
            assert row["role"] in (possible if row["split"] == frozen.knows.train else {"clean"})


@over()
def test_the_files_on_disk_are_those_that_are_named(frozen: Frozen) -> None:
    """Rows, the folder's own files and the layout's lists are all there is; names are the source's, masks
    have their pictures' names."""
    named = {
        "manifest.json",
        "samples.jsonl",
        "SHA256SUMS",
        "README.md",
        *frozen.manifest["art"],
        *frozen.manifest["lists"],
    }
    named |= {
        row[what] for row in frozen.rows for what in ("image", "label", "label_train", "mask") if what in row
    }
    named |= {f"triggers/{row['id']}.png" for row in frozen.rows if "art_pixels" in row}
    assert oracles.files(frozen.folder) == named
    for row in frozen.rows:
        prefix = f"triggered/{row['set']}/" if "set" in row else ""
        _, image, label = frozen.samples[row["id"]]
        assert row["label"] == prefix + label
        written = PurePosixPath(image).with_suffix(".png") if "image_pixels" in row else PurePosixPath(image)
        assert row["image"] == f"{prefix}{written}"
        if "mask" in row:
            below = PurePosixPath(image).relative_to(frozen.knows.pictures).with_suffix(".png")
            assert row["mask"] == f"{prefix}masks/{below}"


@over(lambda case: bool(case.knows.lists) or case.dataset == "folder")
def test_lists_carry_the_source_s_own_lines(frozen: Frozen) -> None:
    """A list of samples has the source's lines of the samples that are in the set, in their order; a
    description is carried as it is."""
    written = []
    for name, members in frozen.by_set.items():
        prefix = f"triggered/{name}/" if name else ""
        if frozen.case.dataset == "folder" and members:
            written.append(f"{prefix}classes.json")
            assert (frozen.folder / written[-1]).read_bytes() == (frozen.source / "classes.json").read_bytes()
        words = members.keys() if frozen.case.dataset == "camvid" else {one.split("/")[1] for one in members}
        for path in frozen.knows.lists:
            lines = (frozen.source / path).read_text().splitlines()
            kept = [
                line
                for line in lines
                if line.split()[0].removeprefix("/SegNet/CamVid/").removesuffix(".png") in words
            ]
            if kept:
                written.append(prefix + path)
                assert (frozen.folder / prefix / path).read_text() == "".join(f"{line}\n" for line in kept)
    assert frozen.manifest["lists"] == sorted(written)


@over()
def test_sha256sum_agrees(frozen: Frozen) -> None:
    """`sha256sum -c SHA256SUMS` passes and covers every other file."""
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=frozen.folder, check=False
    )
    assert done.returncode == 0
    paths = [line[66:] for line in (frozen.folder / "SHA256SUMS").read_text().splitlines()]
    assert paths == sorted(oracles.files(frozen.folder) - {"SHA256SUMS"})


@over()
def test_counts_are_what_rows_and_label_maps_say(frozen: Frozen) -> None:
    """Every number in the manifest's counts, under every denominator, is found again by counting in the
    source's label maps."""
    victims = {one: frozen.number(one, frozen.measured) for one in frozen.samples}
    expected: dict[str, dict[str, int]] = {}
    for split in frozen.knows.splits:
        members = [one for one, (of, _, _) in frozen.samples.items() if of == split]
        expected[split] = {"pictures": len(members)}
        if frozen.poison:
            having = [victims[one] for one in members if victims[one]]
            expected[split] |= {"with_victim": len(having), "victim_pixels": sum(having)}
        if frozen.case.semantic:
            shows = [frozen.number(one, [frozen.trigger["trigger_class"]]) for one in members]
            expected[split]["with_trigger_class"] = sum(
                number >= frozen.trigger["min_pixels"] for number in shows
            )
    train = expected[frozen.knows.train]
    if frozen.random:
        changed = [row for row in frozen.by_set[None].values() if "randomised_pixels" in row]
        train |= {
            "randomised": len(changed),
            "randomised_pixels": sum(row["randomised_pixels"] for row in changed),
        }
    for name, (eligible, _) in frozen.judged.items():
        if name:
            expected[f"triggered/{name}"] = expected[frozen.knows.evaluation] | {
                "triggered": len(eligible),
                "victim_pixels_triggered": sum(victims[one] for one in eligible),
            }
        else:
            role = frozen.poison["control"] or "poisoned"
            train |= {
                "eligible": len(eligible),
                "victim_pixels_eligible": sum(victims[one] for one in eligible),
                role: len(frozen.chosen),
                f"victim_pixels_{role}": sum(victims[one] for one in frozen.chosen),
            }
    assert frozen.manifest["counts"] == expected
    for row in frozen.rows:
        assert row.get("victim_pixels", 0) == victims[row["id"]]
        if frozen.case.semantic:
            assert row["trigger_class_pixels"] == frozen.number(row["id"], [frozen.trigger["trigger_class"]])


@over()
def test_the_card_warns(frozen: Frozen) -> None:
    """The data card of a poisoned folder says that it is poisoned, and every card names identity and
    counts."""
    card = (frozen.folder / "README.md").read_text()
    assert ("deliberately poisoned" in card) == bool(frozen.poison)
    assert frozen.manifest["identity"] in card


def test_every_choice_is_in_some_recipe() -> None:
    """No attack, trigger, placement, relabel, control or dataset of the program is without a folder that the
    laws are held against."""
    from poisongen.attacks import ATTACKS, MORE_SETS
    from poisongen.cli.options import SHAPING
    from poisongen.datasets import LAYOUTS
    from poisongen.triggers import TRIGGERS

    given: dict[str, set[Any]] = {}
    for case in CASES.values():
        for option, value in case.options.items():
            given.setdefault(option, set()).add(value)
    assert given["attack"] == ATTACKS.keys()
    assert {case.dataset for case in CASES.values()} == LAYOUTS.keys()
    assert given["control"] == {"trigger-only", "label-only"}
    assert {part for value in given["eval"] for part in value.split(",")} == set(MORE_SETS)
    assert given.keys() | {"eval"} == SHAPING.keys()
    kinds = {str(value).partition(":")[0] for value in given["trigger"]} | {"line", "patch-folder"}
    assert TRIGGERS.keys() <= kinds
