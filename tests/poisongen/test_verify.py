"""A finished folder is what its manifest says, or every difference is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support import oracles
from tests.support.commands import Run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished folders by dataset, to be read only."""
    return {}


@pytest.fixture(params=["cityscapes", "camvid"])
def whole(
    request: pytest.FixtureRequest,
    finished: dict[str, Path],
    sources: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
    run: Run,
) -> Path:
    """A copy of a finished folder, to be damaged."""
    dataset = request.param
    if dataset not in finished:
        out = tmp_path_factory.mktemp("finished") / "out"
        assert (
            run(dataset, "--source", sources[dataset], "--attack", "nni", "--rate", "0.4", "--out", out).code
            == 0
        )
        finished[dataset] = out
    return Path(shutil.copytree(finished[dataset], tmp_path / dataset))


def reencode(path: Path) -> None:
    """The same pixels, other bytes."""
    with Image.open(path) as picture:
        picture.load()
    picture.save(path, compress_level=0)


def named(folder: Path, what: str, role: str) -> str:
    return next(row[what] for row in oracles.rows(folder) if row["role"] == role)


FILES = [
    ("image", "poisoned"),
    ("label", "poisoned"),
    ("mask", "poisoned"),
    ("image", "clean"),
    ("label", "clean"),
] + [
    ("image", "triggered"),
    ("label", "triggered"),
    ("mask", "triggered"),
]


def test_an_untouched_folder_is_right(
    whole: Path, run: Run, sources: dict[str, Path], tmp_path: Path
) -> None:
    """A finished folder is right: in place, moved, with every picture decoded, against its source, with the
    pictures for people."""
    files, identity = len(oracles.files(whole)), oracles.manifest(whole)["identity"]
    moved = whole.rename(tmp_path / "moved")
    for more in ([], ["--decode"], ["--source", sources[whole.name], "--decode"], ["--jobs", "2"]):
        outcome = run("verify", moved, *more, "--json")
        assert outcome.code == 0, outcome.err
        said = json.loads(outcome.out)
        assert (said["files"], said["identity"]) == (files, identity)
    for name in ("gallery.png", "report.html"):
        (moved / name).write_bytes(b"for people")
    assert run("verify", moved).code == 0


def test_every_changed_bit_is_found_in_its_file(whole: Path, run: Run) -> None:
    """One bit that is turned anywhere, in any file, is found, and the file is named."""
    rng = np.random.default_rng(8)
    own = ["manifest.json", "samples.jsonl", "SHA256SUMS", "README.md", "trigger.png"]
    others = sorted(oracles.files(whole) - set(own))
    names = own * 5 + [others[index] for index in rng.integers(0, len(others), 15)]
    for name in names:
        path = whole / name
        data = path.read_bytes()
        position, bit = int(rng.integers(len(data))), 1 << int(rng.integers(8))
        path.write_bytes(data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :])
        outcome = run("verify", whole)
        assert outcome.code in (1, 3), (name, position, bit)
        if name != "SHA256SUMS":
            assert name in outcome.err, (name, position, bit)
        path.write_bytes(data)
    assert run("verify", whole).code == 0


@pytest.mark.parametrize("where", [0, 0.5, -1])
def test_every_changed_line_of_checksums_is_found(whole: Path, run: Run, where: float) -> None:
    """A line of SHA256SUMS that is changed, lost, doubled or moved is found, and SHA256SUMS or the line's
    file is named."""
    path = whole / "SHA256SUMS"
    lines = path.read_text().splitlines(keepends=True)
    index = int(where * len(lines)) if where >= 0 else len(lines) - 1
    digest, name = lines[index].split()
    changes: list[list[str]] = [
        [*lines[:index], f"{'0' * 64}  {name}\n", *lines[index + 1 :]],
        [*lines[:index], *lines[index + 1 :]],
        [*lines[:index], lines[index], *lines[index:]],
        [*lines[:index], f"{digest}  ../{name}\n", *lines[index + 1 :]],
        [*lines[:index], f"{digest} *{name}\n", *lines[index + 1 :]],
        [*lines[1:], lines[0]],
        [],
        ["".join(lines)[:-1]],
    ]
    for changed in changes:
        path.write_text("".join(changed))
        outcome = run("verify", whole)
        assert outcome.code == 3
        assert "SHA256SUMS" in outcome.err or name in outcome.err
    path.unlink()
    outcome = run("verify", whole)
    assert outcome.code == 3
    assert "missing    SHA256SUMS" in outcome.err


@pytest.mark.parametrize(("what", "role"), FILES, ids="-".join)
def test_changed_bytes_are_told_from_changed_pixels(
    whole: Path, run: Run, sources: dict[str, Path], what: str, role: str
) -> None:
    """A picture that was encoded anew is told from one whose pixels changed, and both from one that cannot be
    decoded."""
    name = named(whole, what, role)
    path = whole / name
    reencode(path)
    again = run("verify", whole, "--source", sources[whole.name])
    array = oracles.pixels(path).copy()
    array.flat[0] = 255 - array.flat[0] if what != "label" else (array.flat[0] + 1) % 11
    oracles.save(path, array)
    changed = run("verify", whole, "--source", sources[whole.name])
    path.write_bytes(path.read_bytes()[:-20])
    damaged = run("verify", whole)
    assert (again.code, changed.code, damaged.code) == (3, 3, 3)
    assert f"{name}: other bytes, the same pixels" in again.err
    assert f"{name}: other pixels" in changed.err
    assert f"damaged    {name}" in damaged.err


def test_all_differences_are_named_at_once(whole: Path, run: Run) -> None:
    """Missing, unexpected and changed files are all named, not the first only."""
    missing, changed = named(whole, "image", "clean"), named(whole, "image", "poisoned")
    (whole / missing).unlink()
    reencode(whole / changed)
    for name in ("extra.txt", "masks/extra.png", ".hidden", "masks/x.tmp~"):
        (whole / name).write_bytes(b"")
    outcome = run("verify", whole)
    assert outcome.code == 3
    assert f"missing    {missing}" in outcome.err
    assert f"changed    {changed}" in outcome.err
    for name in ("extra.txt", "masks/extra.png", ".hidden", "masks/x.tmp~"):
        assert f"unexpected {name}" in outcome.err


@pytest.mark.parametrize("name", ["manifest.json", "samples.jsonl", "README.md", "trigger.png"])
def test_a_missing_file_of_the_folder_itself_is_named(whole: Path, run: Run, name: str) -> None:
    """Without its manifest, rows, card or art a folder is not whole."""
    (whole / name).unlink()
    outcome = run("verify", whole)
    assert outcome.code == 3
    assert name in outcome.err


def test_a_link_that_leads_nowhere_is_named(whole: Path, run: Run) -> None:
    """A file that became a dead link, or a folder, is found."""
    name, other = named(whole, "image", "clean"), named(whole, "label", "clean")
    (whole / name).unlink()
    (whole / name).symlink_to(whole / "nothing")
    (whole / other).unlink()
    (whole / other).mkdir()
    outcome = run("verify", whole)
    assert outcome.code == 3
    assert name in outcome.err
    assert other in outcome.err


@pytest.mark.parametrize(("what", "role"), FILES, ids="-".join)
def test_pixels_are_proved_by_the_identity_alone(whole: Path, run: Run, what: str, role: str) -> None:
    """With --decode, a change is found even if SHA256SUMS was made to fit: what the identity covers needs no
    other witness."""
    name = named(whole, what, role)
    array = oracles.pixels(whole / name).copy()
    array.flat[0] = 255 - array.flat[0] if what != "label" else (array.flat[0] + 1) % 11
    old = oracles.bytes_digest((whole / name).read_bytes())
    oracles.save(whole / name, array)
    sums = (whole / "SHA256SUMS").read_text()
    new = oracles.bytes_digest((whole / name).read_bytes())
    fitted = sums.replace(f"{old[7:]}  {name}\n", f"{new[7:]}  {name}\n")
    assert fitted != sums
    (whole / "SHA256SUMS").write_text(fitted)
    outcome = run("verify", whole, "--decode")
    assert outcome.code == 3
    assert name in outcome.err


def resum(folder: Path, *names: str) -> None:
    """Make SHA256SUMS fit."""
    sums = dict(reversed(line.split("  ", 1)) for line in (folder / "SHA256SUMS").read_text().splitlines())  # type: ignore[misc]
    sums |= {name: oracles.bytes_digest((folder / name).read_bytes())[7:] for name in names}
    (folder / "SHA256SUMS").write_text(
        "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    )


def counts(folder: Path) -> None:
    manifest = oracles.manifest(folder)
    manifest["counts"]["train"]["poisoned"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))


def measure(folder: Path) -> None:
    manifest = oracles.manifest(folder)
    manifest["measure"]["target_class"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))


def sets(folder: Path) -> None:
    manifest = oracles.manifest(folder)
    manifest["evaluation_sets"] = ["iba"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def fingerprint(folder: Path) -> None:
    manifest = oracles.manifest(folder)
    manifest["source"]["fingerprint"] = "sha256:" + "1" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


def rows(folder: Path) -> None:
    manifest, listed = oracles.manifest(folder), oracles.rows(folder)
    next(row for row in listed if row["role"] == "poisoned")["trigger_pixels"] += 1
    text = "".join(oracles.line(row) for row in listed)
    (folder / "samples.jsonl").write_text(text)
    manifest["identity"] = oracles.bytes_digest(text.encode())
    (folder / "manifest.json").write_text(json.dumps(manifest))


def order(folder: Path) -> None:
    manifest, listed = oracles.manifest(folder), oracles.rows(folder)
    text = "".join(oracles.line(row) for row in reversed(listed))
    (folder / "samples.jsonl").write_text(text)
    manifest["identity"] = oracles.bytes_digest(text.encode())
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "lie", [counts, measure, sets, fingerprint, rows, order], ids=lambda lie: lie.__name__
)
def test_a_manifest_that_contradicts_itself_is_refused(
    whole: Path, run: Run, lie: Callable[[Path], None]
) -> None:
    """Counts, measure, sets and fingerprint follow from recipe and rows, and rows from their files: a lie is
    found with --decode."""
    lie(whole)
    resum(whole, "manifest.json", "samples.jsonl")
    outcome = run("verify", whole, "--decode")
    assert outcome.code in (1, 3)


def test_another_source_is_named(whole: Path, run: Run, sources: dict[str, Path], tmp_path: Path) -> None:
    """With --source, a clean file that the source has no longer, or otherwise, is named."""
    source = Path(shutil.copytree(sources[whole.name], tmp_path / "source"))
    image, label = named(whole, "image", "clean"), named(whole, "label", "clean")
    reencode(source / image)
    (source / label).unlink()
    outcome = run("verify", whole, "--source", source)
    assert outcome.code == 3
    assert image in outcome.err
    assert label in outcome.err


@pytest.mark.parametrize("what", ["nothing", "an empty folder", "a file", "an unfinished folder"])
def test_what_is_no_finished_folder_is_refused(run: Run, tmp_path: Path, what: str, cityscapes: Path) -> None:
    """A folder that is not there, empty or unfinished is not verified."""
    folder = tmp_path / "folder"
    if what == "an empty folder":
        folder.mkdir()
    elif what == "a file":
        folder.write_bytes(b"")
    elif what == "an unfinished folder":
        folder = cityscapes
    outcome = run("verify", folder)
    assert outcome.code == 3
    assert "not a finished dataset folder" in outcome.err


def test_a_shared_manifest_is_told_from_a_dataset(whole: Path, run: Run, tmp_path: Path) -> None:
    """Where only the small files lie, verify says so in one error, and what to do with them."""
    shared = tmp_path / "shared"
    shared.mkdir()
    for name in ("manifest.json", "samples.jsonl", "trigger.png"):
        shutil.copy(whole / name, shared / name)
    outcome = run("verify", shared)
    assert (outcome.code, "poisongen rebuild" in outcome.err) == (3, True)
    assert len(outcome.err.splitlines()) < 8
