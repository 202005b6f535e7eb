"""A folder that is not finished, or that contradicts itself, is not shown."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from poisongen.errors import ManifestError, OutputError, PoisongenError, VerifyError
from tests.support import oracles
from tests.support.shown import shown


def test_numbers_of_a_stranger_do_no_harm(nni: Path) -> None:
    """Rows that claim impossible places, distances and classes, and a manifest with too much of everything,
    are refused."""
    most, listed = (1 << 53) - 1, oracles.rows(nni)
    for row in listed:
        if "placement" in row:
            row["placement"] |= dict.fromkeys(("surface_class", "distance_sq", "chebyshev", "gap_sq"), most)
            row["placement"]["box"] = [most] * 4
            row["trigger_pixels"] = most
    text = "".join(oracles.line(row) for row in listed)
    (nni / "samples.jsonl").write_text(text)
    manifest = oracles.manifest(nni)
    manifest["identity"] = oracles.bytes_digest(text.encode())
    manifest["label_space"]["colours"][0] = [most] * 3
    manifest["environment"] = {f"k{index}\n": "v" * 9999 for index in range(99)}
    manifest["rejected"] = [
        {"id": "i" * 512, "set": "../x", "reason": f"r{index % 99}"} for index in range(9999)
    ]
    (nni / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="contradicts itself"):
        shown(nni)


@pytest.mark.parametrize(
    "what", ["nothing", "an empty folder", "a file", "a clean source", "unfinished work"]
)
def test_what_is_no_finished_folder_is_refused(roomy: Path, nni: Path, tmp_path: Path, what: str) -> None:
    """A folder that is not there, empty, foreign or unfinished is refused with an error, and nothing is
    written."""
    root = tmp_path / "folder"
    if what == "an empty folder":
        root.mkdir()
    elif what == "a file":
        root.write_bytes(b"")
    elif what == "a clean source":
        root = Path(shutil.copytree(roomy, root))
    elif what == "unfinished work":
        root = nni
        (root / "manifest.json").unlink()
    before = oracles.tree(root)
    with pytest.raises(ManifestError, match="not a finished dataset folder") as refused:
        shown(root, roomy)
    assert str(root) in str(refused.value)
    assert oracles.tree(root) == before


def lie_about_counts(root: Path) -> None:
    manifest = oracles.manifest(root)
    manifest["counts"]["train"]["poisoned"] += 1
    (root / "manifest.json").write_text(json.dumps(manifest))


def change_a_picture(root: Path) -> None:
    row = next(row for row in oracles.rows(root) if row["role"] == "triggered")
    array = oracles.pixels(root / row["image"]).copy()
    array[0, 0] ^= 1
    oracles.save(root / row["image"], array)


def change_a_label(root: Path) -> None:
    row = next(row for row in oracles.rows(root) if row["role"] == "clean" and row["split"] == "train")
    oracles.save(root / row["label"], oracles.pixels(root / row["label"])[::-1].copy())


def lose_a_mask(root: Path) -> None:
    row = next(row for row in oracles.rows(root) if row["role"] == "triggered")
    (root / row["mask"]).unlink()


def damage_a_label(root: Path) -> None:
    row = next(row for row in oracles.rows(root) if row["role"] == "poisoned")
    path = root / row["label"]
    path.write_bytes(path.read_bytes()[:-20])


def lead_out(root: Path) -> None:
    shutil.move(root / "masks", root.parent / "elsewhere")
    (root / "masks").symlink_to(root.parent / "elsewhere")


def relabel_more_than_there_is(root: Path) -> None:
    listed, manifest = oracles.rows(root), oracles.manifest(root)
    for row in listed:
        if row["role"] == "poisoned":
            row["relabelled_pixels"] = 1 << 40
    text = "".join(oracles.line(row) for row in listed)
    (root / "samples.jsonl").write_text(text)
    manifest["identity"] = oracles.bytes_digest(text.encode())
    (root / "manifest.json").write_text(json.dumps(manifest))


def change_the_art(root: Path) -> None:
    array = oracles.pixels(root / "trigger.png").copy()
    array[0, 0] ^= 1
    oracles.save(root / "trigger.png", array)


def block_the_name(root: Path) -> None:
    (root / "report.html").mkdir()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lie_about_counts, ManifestError),
        (change_a_picture, VerifyError),
        (change_a_label, VerifyError),
        (lose_a_mask, VerifyError),
        (damage_a_label, VerifyError),
        (lead_out, VerifyError),
        (relabel_more_than_there_is, VerifyError),
        (change_the_art, VerifyError),
        (block_the_name, OutputError),
    ],
    ids=lambda given: given.__name__,
)
def test_a_lie_is_not_shown(nni: Path, damage: Any, error: type[PoisongenError]) -> None:
    """A folder that contradicts itself is refused, with the file that does, and nothing is written."""
    damage(nni)
    before = oracles.tree(nni)
    with pytest.raises(error) as refused:
        shown(nni)
    assert str(nni) in str(refused.value)
    assert oracles.tree(nni) == before
