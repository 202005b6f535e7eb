"""A dataset from its shared plan: the same one, or none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import oracles
from tests.support.commands import Run
from tests.support.frozen import Frozen

Rows = list[dict[str, Any]]
SHARED = ("manifest.json", "samples.jsonl", "trigger.png")


@pytest.fixture
def shared(sources: dict[str, Path], run: Run, tmp_path: Path) -> Path:
    """What somebody shares of a dataset: manifest, rows and art."""
    folder = tmp_path / "full"
    assert (
        run(
            "cityscapes",
            "--source",
            sources["cityscapes"],
            "--attack",
            "iba",
            "--rate",
            "0.5",
            "--out",
            folder,
        ).code
        == 0
    )
    (tmp_path / "shared").mkdir()
    for name in SHARED:
        shutil.copy(folder / name, tmp_path / "shared")
    return tmp_path / "shared"


@pytest.fixture
def rebuild(run: Run, sources: dict[str, Path], shared: Path, tmp_path: Path) -> Callable[..., Any]:
    """Rebuild into tmp_path/out."""
    return lambda source=sources["cityscapes"]: run(
        "rebuild", shared, "--source", source, "--out", tmp_path / "out"
    )


def outputs(tmp_path: Path) -> list[str]:
    return [path.name for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_a_folder_or_its_manifest_can_be_named(
    rebuild: Callable[..., Any], shared: Path, tmp_path: Path, run: Run, sources: dict[str, Path]
) -> None:
    """MANIFEST is the file or the folder that holds it: both give the same folder."""
    assert rebuild().code == 0
    words = [
        "rebuild",
        shared / "manifest.json",
        "--source",
        sources["cityscapes"],
        "--out",
        tmp_path / "other",
    ]
    assert run(*words).code == 0
    assert (
        oracles.tree(tmp_path / "out") == oracles.tree(tmp_path / "other") == oracles.tree(tmp_path / "full")
    )


def repaint(path: Path) -> None:
    array = oracles.pixels(path).copy()
    array[-1, -1] = array[-2, -2] if (array[-1, -1] != array[-2, -2]).any() else 4
    oracles.save(path, array)


def reencode(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
    picture.save(path, compress_level=0)


def pair(source: Path, stem: str) -> list[Path]:
    return [
        source / "leftImg8bit" / f"{stem}_leftImg8bit.png",
        source / "gtFine" / f"{stem}_gtFine_labelIds.png",
    ]


@pytest.mark.parametrize("change", [repaint, reencode], ids=lambda change: change.__name__)
@pytest.mark.parametrize("what", [0, 1], ids=["picture", "label"])
@pytest.mark.parametrize("role", ["poisoned", "clean", "triggered"])
def test_another_source_is_refused(
    cityscapes: Path,
    shared: Path,
    rebuild: Callable[..., Any],
    tmp_path: Path,
    role: str,
    what: int,
    change: Callable[[Path], None],
) -> None:
    """A source with one other file is another source: exit code 4, the file is named, nothing is left."""
    row = next(row for row in oracles.rows(shared) if row["role"] == role)
    path = pair(cityscapes, row["id"])[what]
    change(path)
    outcome = rebuild(cityscapes)
    assert outcome.code == 4
    assert path.name in outcome.err
    assert outputs(tmp_path) == []


def test_a_source_with_fewer_or_more_samples_is_refused(
    cityscapes: Path, shared: Path, rebuild: Callable[..., Any], tmp_path: Path
) -> None:
    """A pair too few or too many is another source: exit code 4, the sample is named, nothing is left."""
    stem = oracles.rows(shared)[0]["id"]
    for path in pair(cityscapes, stem):
        shutil.copy(path, path.with_name(path.name.replace("000019", "000020")))
    more = rebuild(cityscapes)
    for path in pair(cityscapes, stem):
        path.unlink()
        path.with_name(path.name.replace("000019", "000020")).unlink()
    fewer = rebuild(cityscapes)
    assert (more.code, fewer.code, outputs(tmp_path)) == (4, 4, [])
    assert stem.replace("000019", "000020") in more.err
    assert stem in fewer.err


def test_another_dataset_is_another_source(
    sources: dict[str, Path], rebuild: Callable[..., Any], tmp_path: Path, cityscapes: Path
) -> None:
    """Drawn streets are not Cityscapes, even with the same pictures; another layout is no source at all."""
    (cityscapes / "streets.json").write_text("{}\n")
    assert rebuild(cityscapes).code == 4
    assert rebuild(sources["camvid"]).code != 0
    assert outputs(tmp_path) == []


def first(rows: Rows, role: str) -> dict[str, Any]:
    return next(row for row in rows if row["role"] == role)


def edit(
    shared: Path,
    *,
    rows: Callable[[Rows], Any] | None = None,
    manifest: Callable[[dict[str, Any]], Any] | None = None,
) -> None:
    """Change shared rows and manifest, and give them a fitting identity: what a stranger can do."""
    said, listed = oracles.manifest(shared), oracles.rows(shared)
    if rows:
        rows(listed)
        listed.sort(key=lambda row: (row.get("set", ""), row["id"]))
        text = "".join(oracles.line(row) for row in listed)
        (shared / "samples.jsonl").write_text(text)
        said["identity"] = oracles.bytes_digest(text.encode())
    if manifest:
        manifest(said)
    (shared / "manifest.json").write_text(json.dumps(said))


def onto_the_victim(rows: Rows) -> None:
    first(rows, "poisoned")["placement"]["box"][:2] = [40, 40]


def where(kind: str, /, **changes: object) -> Callable[[Rows], None]:
    """Change the first row of a kind."""
    return lambda rows: first(rows, kind).update(changes)


def without(role: str, *keys: str) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for key in keys:
            del first(rows, role)[key]

    return change


def into_a_set(rows: Rows) -> None:
    """A training picture, as if it were one of an evaluation set."""
    row = dict(first(rows, "poisoned"))
    row |= {"role": "triggered", "set": "iba", "label_bytes": row.pop("source_label_bytes")}
    row |= {what: f"triggered/iba/{row[what]}" for what in ("image", "label", "label_train", "mask")}
    clean = next(one for one in rows if one["role"] == "clean")
    row["label_train_pixels"] = clean["label_train_pixels"]
    del row["label_pixels"], row["relabelled_pixels"]
    rows.append(row)


HOSTILE_ROWS: dict[str, Callable[[Rows], Any]] = {
    "up and out": where("poisoned", image="../../outside.png"),
    "up inside": where("poisoned", image="leftImg8bit/../../outside.png"),
    "absolute": where("clean", image="/tmp/outside.png"),
    "backslash": where("clean", image="leftImg8bit\\..\\outside.png"),
    "drive": where("clean", image="C:/outside.png"),
    "empty part": where("clean", label="gtFine//x.png"),
    "dot part": where("clean", label="gtFine/./x.png"),
    "control character": where("clean", label="gtFine/\x07x.png"),
    "newline": where("clean", label="gtFine/a\nb.png"),
    "another path": where("clean", image="leftImg8bit/train/aachen/other.png"),
    "the manifest's name": where("clean", image="manifest.json"),
    "no such sample": where("triggered", id="val/frankfurt/none"),
    "training picture in a set": into_a_set,
    "unknown set": where("triggered", set="other"),
    "set leads out": where("triggered", set="../up"),
    "huge box": lambda rows: first(rows, "poisoned")["placement"].update(box=[0, 0, 1 << 50, 1 << 50]),
    "far box": lambda rows: first(rows, "poisoned")["placement"].update(box=[1 << 50, 1 << 50, 7, 7]),
    "enormous number": lambda rows: first(rows, "poisoned")["placement"].update(box=[1 << 500, 0, 7, 7]),
    "negative box": lambda rows: first(rows, "poisoned")["placement"].update(box=[-1, 0, 7, 7]),
    "short box": lambda rows: first(rows, "poisoned")["placement"].update(box=[1, 0, 7]),
    "moved box": onto_the_victim,
    "wrong distance": lambda rows: first(rows, "poisoned")["placement"].update(distance_sq=1),
    "wrong surface": lambda rows: first(rows, "triggered")["placement"].update(surface_class=5),
    "no trigger": without("poisoned", "placement", "mask", "mask_pixels", "trigger_pixels"),
    "no box": without("poisoned", "placement"),
    "clean with a trigger": lambda rows: first(rows, "clean").update(placement=first(rows, "poisoned")["placement"]),
    "wrong count": where("poisoned", relabelled_pixels=1),
    "wrong victim count": where("clean", victim_pixels=12345),
    "wrong height": where("clean", height=63),
    "twice": lambda rows: rows.append(dict(rows[0])),
    "float": where("clean", width=128.0),
    "text for number": where("clean", width="128"),
    "null": where("clean", mask=None),
    "additional key": where("clean", note="x"),
    "digest in capitals": lambda rows: first(rows, "clean").update(label_bytes=first(rows, "clean")["label_bytes"].upper()),
    "both digests": lambda rows: first(rows, "clean").update(image_pixels=first(rows, "clean")["image_bytes"]),
    "no digest": without("clean", "image_bytes"),
    "clean labelled anew": where("clean", relabelled_pixels=4),
    "noised": where("clean", role="noised"),
    "poisoned outside of training": lambda rows: first([row for row in rows if row["split"] == "val"], "clean").update(role="poisoned"),
    "another split": where("clean", split="val"),
    "not poisoned": where("poisoned", role="clean"),
    "none": lambda rows: rows.clear(),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_ROWS)
def test_rows_that_cannot_be_trusted_are_refused(
    shared: Path, rebuild: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    """A row that leads out of the folder, or claims what the source does not bear out, is refused, and
    nothing is left on disk."""
    edit(shared, rows=HOSTILE_ROWS[name])
    before = oracles.tree(tmp_path)
    outcome = rebuild()
    assert outcome.code in (1, 4)
    assert outcome.err.startswith("poisongen: ")
    assert oracles.tree(tmp_path) == before


def at(*keys: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """Set a value deep in the manifest."""

    def change(manifest: dict[str, Any]) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        manifest[keys[-1]] = value

    return change


HOSTILE_MANIFESTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "newer": at("format_version", value=2),
    "older": at("format_version", value=0),
    "version as text": at("format_version", value="1"),
    "version true": at("format_version", value=True),
    "another format": at("format", value="other"),
    "wrong identity": at("identity", value="sha256:" + "0" * 64),
    "additional key": at("note", value="x"),
    "additional key below": at("recipe", "poison", "trigger", "note", value="x"),
    "missing key": lambda manifest: manifest.pop("recipe"),
    "NaN": at("recipe", "seed", value=float("nan")),
    "infinity": at("counts", "train", "pictures", value=float("inf")),
    "unknown layout": at("source", "layout", value="../etc"),
    "no such class": at("recipe", "poison", "target_class", value=77),
    "victim is target": at("recipe", "poison", "target_class", value=13),
    "no victim": at("recipe", "poison", "victim_classes", value=[]),
    "rate": at("recipe", "poison", "rate", value="2"),
    "rate nan": at("recipe", "poison", "rate", value="nan"),
    "another victim": at("recipe", "poison", "victim_classes", value=[11]),
    "another target": at("recipe", "poison", "target_class", value=10),
    "another size": at("recipe", "poison", "trigger", "size", value="9px"),
    "huge size": at("recipe", "poison", "trigger", "size", value="999999999999px"),
    "nothing poisoned": at("recipe", "poison", value=None),
    "sets out of order": lambda manifest: manifest["evaluation_sets"].reverse(),
    "set leads out": at("evaluation_sets", value=["iba", "../nni"]),
    "another art": at("art", "trigger.png", value="sha256:" + "0" * 64),
    "no art": at("art", value={}),
    "counts of nothing": at("counts", "train", value={}),
    "wrong counts": at("counts", "train", "poisoned", value=1),
    "wrong measure": at("measure", "target_class", value=5),
    "another label space": at("label_space", "raw_to_train", "26", value=0),
    "a deep recipe": at("recipe", value=json.loads("[" * 500 + "]" * 500)),
}


@pytest.mark.parametrize("name", HOSTILE_MANIFESTS)
def test_manifests_that_cannot_be_trusted_are_refused(
    shared: Path, rebuild: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    """A manifest of another format, or one that contradicts itself, its rows or its source, is refused, and
    nothing is left on disk."""
    edit(shared, manifest=HOSTILE_MANIFESTS[name])
    before = oracles.tree(tmp_path)
    outcome = rebuild()
    assert outcome.code in (1, 4)
    assert outcome.err.startswith("poisongen: ")
    assert oracles.tree(tmp_path) == before


NONE = "sha256:" + "0" * 64
IBA, PRL, LABEL_ONLY, TRIGGER_ONLY = (
    f"cityscapes-iba{kind}" for kind in ("", "-prl", "-label-only", "-trigger-only")
)
GRASS, LINE, EACH, NEAR = "ade20k-grass", "ade20k-line", "voc-each", "ade20k-nni"

Edit = Callable[[Any], Any]


def more(kind: str, key: str, by: int = 1) -> Callable[[Rows], None]:
    """Change a number in the first row of a kind."""
    return lambda rows: first(rows, kind).update({key: first(rows, kind)[key] + by})


def renamed(kind: str, old: str, new: str) -> Callable[[Rows], None]:
    return lambda rows: first(rows, kind).update({new: first(rows, kind).pop(old)})


def given_away(rows: Rows) -> None:
    """A random label counted in another row, so that the sum is right."""
    one, other = [row for row in rows if row["role"] == "noised"][:2]
    one["randomised_pixels"] += 1
    other["randomised_pixels"] -= 1


def swapped(rows: Rows) -> None:
    """Another picture says that it is poisoned: the next one in the order of the seed."""
    first(rows, "poisoned")["id"], first(rows, "clean")["id"] = (
        first(rows, "clean")["id"],
        first(rows, "poisoned")["id"],
    )


def fewer_triggered() -> tuple[Edit, Edit]:
    """A triggered picture is missing, and the counts say so."""
    gone: dict[str, Any] = {}

    def rows(rows: Rows) -> None:
        gone.update(first(rows, "triggered"))
        rows.remove(gone)

    def manifest(manifest: dict[str, Any]) -> None:
        count = manifest["counts"][f"triggered/{gone['set']}"]
        count["triggered"] -= 1
        count["victim_pixels_triggered"] -= gone["victim_pixels"]

    return rows, manifest


def place(**changes: object) -> Callable[[Rows], None]:
    return lambda rows: first(rows, "poisoned")["placement"].update(changes)


def both(*edits: Edit) -> Edit:
    return lambda value: [edit(value) for edit in edits]


POISON = ("recipe", "poison")

HOSTILE_CLAIMS: dict[str, tuple[str, Edit | None, Edit | None]] = {
    # Roles that the recipe cannot give.
    "mask on a label-only row": (LABEL_ONLY, where("label-only", mask="masks/train/x.png", mask_pixels=NONE, trigger_pixels=1), None),
    "label-only says poisoned": (LABEL_ONLY, where("label-only", role="poisoned"), None),
    "label-only without a place": (LABEL_ONLY, without("label-only", "placement"), None),
    "label-only without a relabel": (LABEL_ONLY, without("label-only", "relabelled_pixels"), None),
    "no control": (LABEL_ONLY, None, at(*POISON, "control", value=None)),
    "the other control": (LABEL_ONLY, None, at(*POISON, "control", value="trigger-only")),
    "trigger-only says poisoned": (TRIGGER_ONLY, where("trigger-only", role="poisoned"), None),
    "trigger-only says label-only": (TRIGGER_ONLY, where("trigger-only", role="label-only"), None),
    "trigger-only with a relabel": (TRIGGER_ONLY, where("trigger-only", relabelled_pixels=4), None),
    "noised without random labels": (PRL, without("noised", "randomised_pixels"), None),
    "noised with no random label": (PRL, where("noised", randomised_pixels=0), None),
    "noised says clean": (PRL, where("noised", role="clean"), None),
    "noised outside of training": ("camvid-prl", lambda rows: first([row for row in rows if row["split"] == "val"], "clean").update(role="noised"), None),
    "poisoned and clean": ("camvid-prl", lambda rows: first(rows, "noised").update(role="poisoned"), None),
    "a role that there is not": (IBA, where("poisoned", role="relabelled"), None),
    "another picture": (IBA, swapped, None),
    "another seed": (IBA, None, at("recipe", "seed", value=1)),
    # Random labels.
    "random labels in evaluation": (PRL, where("clean", randomised_pixels=5), None),
    "random labels in a triggered row": (PRL, where("triggered", randomised_pixels=5), None),
    "random labels without such a recipe": (IBA, where("poisoned", randomised_pixels=3), None),
    "no random labels in the recipe": (PRL, None, at("recipe", "random_pixels", value=None)),
    "random labels for the poisoned only": (PRL, None, at("recipe", "random_pixels", "scope", value="poisoned")),
    "fewer random labels": (PRL, None, at("recipe", "random_pixels", "pixels", value="499px")),
    "no pixel": (PRL, None, at("recipe", "random_pixels", "pixels", value="0px")),
    "a spared class that there is not": (PRL, None, at("recipe", "random_pixels", "spared", value=[99])),
    "random labels moved": (PRL, given_away, None),
    # Semantic triggers.
    "trigger class of a poisoned row": (GRASS, more("poisoned", "trigger_class_pixels"), None),
    "trigger class of a triggered row": (GRASS, more("triggered", "trigger_class_pixels"), None),
    "trigger class of the clean row of a triggered one": (GRASS, lambda rows: first([row for row in rows if row.get("trigger_class_pixels") and row["split"] == "validation"], "clean").update(trigger_class_pixels=1), None),
    "trigger class of another row": (GRASS, lambda rows: first([row for row in rows if not row["trigger_class_pixels"]], "noised").update(trigger_class_pixels=9), None),
    "trigger class not counted": (GRASS, without("triggered", "trigger_class_pixels"), None),
    "trigger class counted for a sticker": (IBA, where("clean", trigger_class_pixels=3), None),
    "a semantic mask of another size": (GRASS, more("poisoned", "trigger_pixels"), None),
    "a semantic trigger with a place": (GRASS, where("poisoned", placement={"box": [0, 0, 3, 3]}), None),
    "a least size that leaves nothing": (GRASS, None, both(at(*POISON, "trigger", "min_pixels", value=10**5), at("measure", "min_trigger_pixels", value=10**5))),
    "a semantic trigger that is the victim": ("ade20k-wall", None, at(*POISON, "victim_classes", value=[12, 0])),
    "another coverage": (GRASS, None, at(*POISON, "coverage", value="0.9")),
    "coverage and rate": (IBA, None, at(*POISON, "coverage", value="0.5")),
    "neither coverage nor rate": (IBA, None, at(*POISON, "rate", value=None)),
    # Art.
    "art that leaves the folder": (EACH, where("poisoned", id="../../x"), None),
    "art of an absolute id": (EACH, where("poisoned", id="/tmp/x"), None),
    "other art": (EACH, where("poisoned", art_pixels=NONE), None),
    "no art of its own": (EACH, without("poisoned", "art_pixels"), None),
    "art in a clean row": (EACH, where("clean", art_pixels=NONE), None),
    "art of its own for a sticker": (IBA, where("poisoned", art_pixels=NONE), None),
    "another decoy": (IBA, None, at("art", "decoy.png", value=NONE)),
    "no decoy": (IBA, None, lambda manifest: manifest["art"].pop("decoy.png")),
    "a third picture": (IBA, None, at("art", "other.png", value=NONE)),
    "art by another name": (IBA, None, at("art", "../trigger.png", value=NONE)),
    "a decoy that is the trigger": (IBA, None, at(*POISON, "evaluation_sets", -1, "trigger", "art", value="trigger.png")),
    # Pictures.
    "other coefficients": (LINE, where("poisoned", image_coefficients=NONE), None),
    "coefficients called pixels": (LINE, renamed("poisoned", "image_coefficients", "image_pixels"), None),
    "pixels called coefficients": (IBA, renamed("poisoned", "image_pixels", "image_coefficients"), None),
    "coefficients and pixels": (LINE, where("poisoned", image_pixels=NONE), None),
    "a lossless recipe": (LINE, None, at("recipe", "lossless", value=True)),
    "not resized": ("folder-scale", None, at("recipe", "scale", value=None)),
    "resized": (IBA, None, at("recipe", "scale", value="0.5")),
    "an impossible scale": (IBA, None, at("recipe", "scale", value="7")),
    "more victims in blocks than there are": (NEAR, where("poisoned", victim_pixels_in_blocks=1 << 20), None),
    "victims in blocks not counted": (NEAR, without("poisoned", "victim_pixels_in_blocks"), None),
    "victims in blocks of a PNG": (IBA, where("poisoned", victim_pixels_in_blocks=1), None),
    # Places.
    "a line on a surface": (LINE, place(surface_class=1, component_pixels=5), None),
    "a line in the second row": (LINE, lambda rows: first(rows, "poisoned")["placement"]["box"].__setitem__(0, 1), None),
    "a sticker one pixel off": (IBA, lambda rows: first(rows, "poisoned")["placement"]["box"].__setitem__(0, first(rows, "poisoned")["placement"]["box"][0] + 1), None),
    "a sticker on no surface": (IBA, lambda rows: first(rows, "poisoned")["placement"].pop("surface_class"), None),
    "another anchor": (LINE, None, at(*POISON, "placement", "anchor", value="bottom-left")),
    # Counts.
    "fewer eligible": (IBA, None, at("counts", "train", "eligible", value=3)),
    "more eligible": (IBA, None, at("counts", "train", "eligible", value=9)),
    "another role is counted": (TRIGGER_ONLY, None, lambda manifest: manifest["counts"]["train"].update(poisoned=manifest["counts"]["train"].pop("trigger-only"))),
    "random labels are not counted": (PRL, None, lambda manifest: manifest["counts"]["train"].pop("randomised")),
    "a rejected stranger": (IBA, None, at("rejected", value=[{"id": "train/nobody", "set": "", "reason": "no room"}])),
    "a rejected poisoned one": (IBA, None, lambda manifest: manifest["rejected"].append({"id": "train/bochum/bochum_000001_000019", "set": "", "reason": "no room"})),
    "rejected from a set that there is not": (IBA, None, at("rejected", value=[{"id": "val/frankfurt/frankfurt_000000_000019", "set": "other", "reason": "no room"}])),
    "fewer triggered than can be": (IBA, *fewer_triggered()),
    # Kinds.
    **{
        f"{what} of {name}": (IBA, None, at(*POISON, name, value=value))
        for name in ("trigger", "placement", "relabel")
        for what, value in (("an unknown kind", {"kind": "other"}), ("no kind", {}), ("a name instead", "iba"), ("a list of kinds", {"kind": ["patch"]}))
    },
    "no trigger": (IBA, None, at(*POISON, "trigger", value=None)),
    "no placement": (IBA, None, at(*POISON, "placement", value=None)),
    "an unknown control": (IBA, None, at(*POISON, "control", value="both")),
    "an unknown kind of random labels": (PRL, None, at("recipe", "random_pixels", "kind", value="other")),
    "a line on one surface": (IBA, None, at(*POISON, "trigger", value={"kind": "line"})),
    "a semantic trigger on one surface": (IBA, None, at(*POISON, "trigger", value={"kind": "semantic", "trigger_class": 3})),
    "everything, and victims": (IBA, None, at(*POISON, "relabel", value={"kind": "everything"})),
    "a colour that is none": (LINE, None, at(*POISON, "trigger", "colour", value="red")),
    "an opacity that is none": (LINE, None, at(*POISON, "trigger", "opacity", value="1.5")),
    "a field of another trigger": (LINE, None, at(*POISON, "trigger", "cells", value=4)),
    "a digest that is none": (IBA, None, at(*POISON, "trigger", "art_pixels", value="sha256:0")),
    "a set without a place": (IBA, None, at(*POISON, "evaluation_sets", 0, "placement", value=None)),
    "a trigger class to measure": (IBA, None, at("measure", "trigger_class", value=3)),
}  # fmt: skip
"""Case, what happens to its rows, what happens to its manifest."""

UNSEEN: dict[str, tuple[str, Edit | None, Edit | None]] = {
    "no pixel relabelled": (LABEL_ONLY, where("label-only", relabelled_pixels=0), None),
    "another number relabelled": (PRL, more("poisoned", "relabelled_pixels"), None),
    "more random labels": (PRL, None, at("recipe", "random_pixels", "pixels", value="600px")),
    "nobody spared": (PRL, None, at("recipe", "random_pixels", "spared", value=[])),
    "another opacity": (IBA, None, at(*POISON, "trigger", "opacity", value="0.5")),
    "another colour": (LINE, None, at(*POISON, "trigger", "colour", value="#0000ff")),
    "a larger least victim": (IBA, None, at(*POISON, "min_victim_pixels", value=1 << 20)),
    "ignored pixels kept": (GRASS, None, at(*POISON, "relabel", "include_ignore", value=False)),
    "another trigger class": (GRASS, None, both(at(*POISON, "trigger", "trigger_class", value=3), at("measure", "trigger_class", value=3))),
    "another scale": ("folder-scale", None, at("recipe", "scale", value="0.25")),
    "other victims in blocks": (NEAR, more("poisoned", "victim_pixels_in_blocks", -1), None),
}  # fmt: skip
"""What only somebody who has the source can know to be wrong."""


@pytest.mark.parametrize("name", [*HOSTILE_CLAIMS, *UNSEEN])
def test_claims_that_cannot_be_are_refused_and_found(
    freeze: Callable[[str], Frozen], run: Run, tmp_path: Path, name: str
) -> None:
    """Rows and recipe that contradict each other, with identity and checksums made to fit: rebuild refuses
    them and leaves nothing; verify finds them, if it takes no source to know."""
    case, rows, manifest = (HOSTILE_CLAIMS | UNSEEN)[name]
    frozen = freeze(case)
    folder = Path(shutil.copytree(frozen.folder, tmp_path / "folder"))
    edit(folder, rows=rows, manifest=manifest)
    oracles.reseal(folder)
    rebuilt = run("rebuild", folder, "--source", frozen.source, "--out", tmp_path / "out")
    assert rebuilt.code in (1, 4)
    assert rebuilt.err.startswith("poisongen: ")
    assert outputs(tmp_path) == []
    if name in HOSTILE_CLAIMS:
        verified = run("verify", folder)
        assert verified.code in (1, 3)
        assert verified.err.startswith("poisongen: ")


TEXTS = {
    "empty": b"",
    "no JSON": b"{",
    "deep": b"[" * 200_000,
    "no object": b"[1]",
    "no UTF-8": b'{"format": "\xff"}',
    "long number": b'{"format": "poisongen", "format_version": ' + b"1" * 6000 + b"}",
    "a list of versions": b'{"format": "poisongen", "format_version": [1]}',
}


@pytest.mark.parametrize("file", ["manifest.json", "samples.jsonl", "trigger.png"])
@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_something_else_are_refused(
    shared: Path, rebuild: Callable[..., Any], tmp_path: Path, file: str, name: str
) -> None:
    """Any bytes at all in place of a shared file end in an error that names it."""
    (shared / file).write_bytes(TEXTS[name])
    if file == "samples.jsonl":
        said = oracles.manifest(shared) | {"identity": oracles.bytes_digest(TEXTS[name])}
        (shared / "manifest.json").write_text(json.dumps(said))
    outcome = rebuild()
    assert outcome.code == 1
    assert file in outcome.err
    assert outputs(tmp_path) == []


@pytest.mark.parametrize("file", SHARED)
def test_a_missing_or_linked_file_is_refused(
    shared: Path, rebuild: Callable[..., Any], tmp_path: Path, file: str
) -> None:
    """Manifest and rows are files, not links to somewhere; each of the three must be there."""
    (shared / file).rename(shared / "elsewhere")
    missing = rebuild()
    assert missing.code == 1
    assert file in missing.err
    if file != "trigger.png":
        (shared / file).symlink_to(shared / "elsewhere")
        assert rebuild().code == 1
    assert outputs(tmp_path) == []


def test_other_art_is_refused(shared: Path, rebuild: Callable[..., Any], tmp_path: Path) -> None:
    """The art beside a manifest is the one that it names, pixel for pixel."""
    art = oracles.pixels(shared / "trigger.png").copy()
    art[0, 0, 0] ^= np.uint8(1)
    oracles.save(shared / "trigger.png", art)
    outcome = rebuild()
    assert outcome.code == 1
    assert "trigger.png" in outcome.err
    assert outputs(tmp_path) == []
