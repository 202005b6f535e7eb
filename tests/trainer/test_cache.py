"""The cache file: fresh or replaced, whole or not there, and nothing else is opened."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tests.support import handmade
from trainer.cli.main import main
from trainer.dataset import cache as caching
from trainer.dataset.cache import Cache, build, cache_file, compare, require
from trainer.dataset.folder import Folder, open_folder
from trainer.dataset.pictures import read_label, read_picture
from trainer.errors import CacheError, FolderError

ROOT = Path(__file__).parents[2]
EVERYTHING = slice(None)


def folder_of(root: Path, **options: object) -> Folder:
    return open_folder(
        handmade.write_folder(root, **({"train": 6, "val": 1, "sizes": ((64, 64), (300, 47))} | options))
    )  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return folder_of(tmp_path / "data")


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def listing(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_the_command_builds_keeps_and_checks(folder: Folder, tmp_path: Path) -> None:
    """`cache` writes a file beside the folder, keeps it when it is fresh, and compares it when asked; the
    folder is not touched."""
    before = {path: path.stat().st_mtime_ns for path in folder.root.rglob("*")}
    result = run("cache", folder.root, "--jobs", "2")
    assert result.exit_code == 0, result.output
    file = tmp_path / "data.cache.h5"
    assert "6 training pictures are cached" in result.output
    assert listing(tmp_path) == ["data", "data.cache.h5"]
    assert {path: path.stat().st_mtime_ns for path in folder.root.rglob("*")} == before
    written = file.stat()
    result = run("cache", folder.root)
    assert (result.exit_code, result.output) == (0, f"the cache is fresh: {file}\n")
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    result = run("cache", folder.root, "--check")
    assert (result.exit_code, result.output) == (
        0,
        f"the cache holds the pixels of all 6 training pictures: {file}\n",
    )
    assert all(len(line) <= 80 for line in run("cache", "--help").output.splitlines())


def test_the_head_is_text(folder: Folder, tmp_path: Path) -> None:
    """Whoever looks at the file sees what it is and of which dataset, without HDF5."""
    build(folder, file := tmp_path / "c.h5", 1)
    title, facts = file.read_bytes()[: caching.HEAD].decode().rstrip("\0").splitlines()
    assert title == "decoded training pictures, written by python -m trainer cache"
    assert folder.identity in facts
    assert f"OpenCV {cv2.__version__}" in facts


def test_there_is_next_to_no_padding(tmp_path: Path) -> None:
    """A file takes the pixels, a row or column of padding a chunk, and some room for HDF5's own tables."""
    folder = folder_of(tmp_path / "data", sizes=((257, 300), (513, 261)))
    build(folder, file := tmp_path / "c.h5", 1)
    pixels = sum(4 * row.height * row.width for row in folder.training)
    assert pixels < file.stat().st_size < 1.03 * pixels + 40_000


def another_identity(root: Path) -> None:
    handmade.rewrite(root, lambda _, rows: rows[0].update(victim_pixels=9999))


def another_meaning(root: Path) -> None:
    handmade.rewrite(root, lambda manifest, _: manifest["label_space"]["raw_to_train"].update({"26": 0}))


def another_split(root: Path) -> None:
    handmade.rewrite(root, lambda manifest, _: manifest["splits"].update(train="val", evaluation="train"))


@pytest.mark.parametrize("change", [another_identity, another_meaning, another_split])
def test_a_stale_cache_is_built_anew(folder: Folder, tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Other rows, another meaning of the ids or another training split make a cache stale, though the
    pictures are the same files: it is refused, replaced by the command, and fresh again.
    """
    build(folder, file := tmp_path / "c.h5", 1)
    change(folder.root)
    changed = open_folder(folder.root)
    with pytest.raises(
        CacheError, match=r"(?s)another dataset or decoder.*→.*build it anew: python -m trainer cache"
    ):
        Cache(changed, file)
    assert run("cache", folder.root, "--out", file, "--check").exit_code == 1
    assert "cached" in run("cache", folder.root, "--out", file).output
    compare(changed, file, 1)
    label = Cache(changed, file).window(0, EVERYTHING, EVERYTHING, False)[1]
    assert np.array_equal(label.numpy(), read_label(changed.training[0], changed, True))


def test_another_decoder_makes_a_cache_stale(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two versions of OpenCV may decode a JPEG to different pixels, so each has its own cache."""
    build(folder, file := tmp_path / "c.h5", 1)
    monkeypatch.setattr(cv2, "__version__", "4.0.0")
    with pytest.raises(CacheError, match=r"(?s)decoder: OpenCV .*→ OpenCV 4\.0\.0"):
        require(file, folder)
    assert build(folder, file, 1)


def test_another_version_of_the_cache_is_stale(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache of a layout that this trainer does not know is built anew, not read."""
    build(folder, file := tmp_path / "c.h5", 1)
    monkeypatch.setattr(caching, "VERSION", 99)
    with pytest.raises(CacheError, match="another dataset or decoder"):
        require(file, folder)
    assert build(folder, file, 1)


def test_an_interrupted_build_leaves_nothing(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the middle leaves no file, or the one that was there."""
    file = tmp_path / "data.cache.h5"

    def interrupted(row, check):  # type: ignore[no-untyped-def]
        if row.id == "train/004":
            raise KeyboardInterrupt
        return read_picture(row, check)

    with monkeypatch.context() as patch:
        patch.setattr(caching, "read_picture", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(folder, file, 1)
        assert listing(tmp_path) == ["data"]
    build(folder, file, 1)
    whole = file.read_bytes()
    another_identity(folder.root)
    with monkeypatch.context() as patch:
        patch.setattr(caching, "read_picture", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(open_folder(folder.root), file, 1)
    assert file.read_bytes() == whole
    assert listing(tmp_path) == ["data", "data.cache.h5"]


@pytest.mark.long
def test_a_killed_build_leaves_nothing_that_looks_whole(folder: Folder, tmp_path: Path) -> None:
    """After a SIGKILL there is a .part at most, which no one opens as a cache; the next build succeeds over
    it."""
    code = (
        "import sys, time; from pathlib import Path\n"
        "from trainer.dataset import cache; from trainer.dataset.folder import open_folder\n"
        "real = cache.read_picture\n"
        "def slow(row, check): print(row.id, flush=True); time.sleep(0.2); return real(row, check)\n"
        "cache.read_picture = slow; cache.build(open_folder(Path(sys.argv[1])), Path(sys.argv[2]), 1)"
    )
    file = tmp_path / "c.h5"
    command = [sys.executable, "-c", code, str(folder.root), str(file)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        read = iter(process.stdout)
        assert any("003" in line for line in read), "the build ended before it could be killed"
        with pytest.raises(CacheError, match="Another process is building"):
            build(folder, file, 1)
        process.send_signal(signal.SIGKILL)
    assert listing(tmp_path) == ["c.h5.part", "data"]
    with pytest.raises(CacheError, match="no cache that this trainer wrote"):
        require(file.with_name("c.h5.part"), folder)
    assert build(folder, file, 1)
    assert listing(tmp_path) == ["c.h5", "data"]


def test_a_changed_picture_is_noticed_while_caching(folder: Folder, tmp_path: Path) -> None:
    """A picture or label map that is not the one of its row ends the build, and no cache is left."""
    for part in ("image", "label"):
        path = getattr(folder.training[4], part)
        before = path.read_bytes()
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        pixels[0, 0] = handmade.TO_RAW[handmade.TREE] if part == "label" else pixels[0, 0] ^ 1
        cv2.imwrite(str(path), pixels)
        result = run("cache", folder.root)
        assert result.exit_code == 1
        assert str(path) in result.output
        assert listing(tmp_path) == ["data"]
        path.write_bytes(before)
    assert run("cache", folder.root).exit_code == 0


def test_check_finds_a_single_wrong_pixel(folder: Folder, tmp_path: Path) -> None:
    """A cache that holds one other number than the file, in a picture or a label map, is told from a good
    one."""
    build(folder, file := tmp_path / "c.h5", 1)
    for name in ("pictures/300x47", "labels/64x64"):
        with h5py.File(file, "r+", locking=False) as h5:
            h5[name][2, 11, 13] ^= 1
        with pytest.raises(CacheError, match=r"(?s)another picture than the folder.*train/00[45]"):
            compare(folder, file, 1)
        with h5py.File(file, "r+", locking=False) as h5:
            h5[name][2, 11, 13] ^= 1
    compare(folder, file, 1)
    path = folder.training[1].image
    path.write_bytes(path.read_bytes()[:-12] + b"\0" * 12)
    with pytest.raises(FolderError):
        compare(folder, file, 1)


def broken(file: Path, how: str) -> None:
    data = file.read_bytes()
    match how:
        case "cut short":
            file.write_bytes(data[:-1])
        case "grown":
            file.write_bytes(data + b"\0")
        case "foreign HDF5":
            file.unlink()
            with h5py.File(file, "w") as h5:
                h5["pictures/64x64"] = np.zeros((3, 64, 64, 3), np.uint8)
        case "text":
            file.write_text("hello\n")
        case "empty":
            file.write_bytes(b"")
        case "another title":
            file.write_bytes(data.replace(b"decoded", b"Decoded", 1))
        case "no JSON":
            file.write_bytes(caching.TITLE + b"{\n" + data[caching.HEAD :])
        case "no key":
            file.write_bytes(caching.TITLE + b'{"version": 1, "bytes": 3}\n' + data[caching.HEAD :])


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut short", "cut short or grown"),
        ("grown", "cut short or grown"),
        ("foreign HDF5", "no cache that this trainer wrote"),
        ("text", "no cache that this trainer wrote"),
        ("empty", "no cache that this trainer wrote"),
        ("another title", "no cache that this trainer wrote"),
        ("no JSON", "no cache that this trainer wrote"),
        ("no key", "no cache that this trainer wrote"),
    ],
)
def test_another_file_is_never_opened_as_hdf5(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    """Cut short, grown or foreign: an error, before the library sees it. Only the trainer's own is replaced
    by a build."""
    build(folder, file := tmp_path / "c.h5", 1)
    broken(file, how)
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(h5py, "File", lambda *_, **__: pytest.fail("HDF5 has opened it"))
        with pytest.raises(CacheError, match=words):
            Cache(folder, file)
    if "no cache" in words:
        with pytest.raises(CacheError, match="move it away"):
            build(folder, file, 1)
        assert file.read_bytes() == before
    else:
        assert build(folder, file, 1)
        compare(folder, file, 1)


@pytest.mark.parametrize("how", ["filter", "link", "external", "shape", "missing", "damaged"])
def test_a_file_that_lies_about_its_datasets_is_an_error(folder: Folder, tmp_path: Path, how: str) -> None:
    """A dataset that is compressed, elsewhere, of another shape or not there is refused when it is met,
    whatever the head says."""
    build(folder, file := tmp_path / "c.h5", 1)
    if how == "damaged":
        data = bytearray(file.read_bytes())
        data[caching.HEAD : caching.HEAD + 2000] = b"\xff" * 2000
        file.write_bytes(data)
    else:
        with h5py.File(file, "r+", locking=False) as h5:
            pixels = h5["labels/64x64"][:]
            del h5["labels/64x64"]
            if how == "filter":
                h5.create_dataset("labels/64x64", data=pixels, chunks=(1, 64, 64), compression="gzip")
            elif how == "link":
                h5.create_dataset("elsewhere", data=pixels, chunks=(1, 64, 64))
                h5["labels/64x64"] = h5py.SoftLink("/elsewhere")
            elif how == "external":
                (tmp_path / "raw").write_bytes(pixels.tobytes())
                h5.create_dataset(
                    "labels/64x64",
                    shape=pixels.shape,
                    dtype="u1",
                    external=[(str(tmp_path / "raw"), 0, pixels.size)],
                )
            elif how == "shape":
                h5.create_dataset("labels/64x64", data=pixels[:2], chunks=(1, 64, 64))
        data = bytearray(file.read_bytes())
        head, rest = data[: caching.HEAD], data[caching.HEAD :]
        head = bytearray(
            head.replace(
                str(head.split(b'"bytes": ')[1].split(b",")[0], "ascii").encode(), str(len(data)).encode()
            )
        )
        file.write_bytes(bytes(head[: caching.HEAD].ljust(caching.HEAD, b"\0")) + rest)
    source = Cache(folder, file)
    with pytest.raises(CacheError, match="cannot be read"):
        source.window(0, EVERYTHING, EVERYTHING, False)
    source.close()


def test_a_place_that_cannot_be_written_is_an_error(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place without the right to write or without room is refused before any work, and says what to do; so
    is the dataset folder."""
    (tmp_path / "file").write_text("")
    for place in ("/proc/c.h5", tmp_path / "file" / "c.h5"):
        result = run("cache", folder.root, "--out", place)
        assert result.exit_code == 1
        assert "cannot be" in result.output
        assert "Traceback" not in result.output
    assert "--out FILE" in run("cache", folder.root, "--out", "/proc/c.h5").output
    result = run("cache", folder.root, "--out", folder.root / "c.h5")
    assert (result.exit_code, "frozen" in result.output) == (1, True)
    assert run("cache", folder.root, "--out", folder.root).exit_code == 1
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CacheError, match=r"(?s)no room.*--out FILE"):
        build(folder, tmp_path / "c.h5", 1)
    assert listing(tmp_path) == ["data", "file"]


def test_a_disk_that_fills_up_leaves_no_cache(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the file system in the middle of a build is an error, and nothing is left."""
    real = h5py.Dataset.__setitem__

    def full(self, place, value):  # type: ignore[no-untyped-def]
        if place == 1:
            raise OSError(28, "No space left on device")
        real(self, place, value)

    monkeypatch.setattr(h5py.Dataset, "__setitem__", full)
    with pytest.raises(CacheError, match=r"(?s)cannot be written.*No space left"):
        build(folder, tmp_path / "c.h5", 1)
    assert listing(tmp_path) == ["data"]


def test_the_default_place_is_beside_the_folder(folder: Folder, tmp_path: Path) -> None:
    """One cache for each folder, by its name; a given folder holds it by the same name, and a given file is
    the file."""
    assert cache_file(folder, "auto") == tmp_path / "data.cache.h5"
    (tmp_path / "caches").mkdir()
    assert cache_file(folder, tmp_path / "caches") == tmp_path / "caches" / "data.cache.h5"
    assert cache_file(folder, tmp_path / "x.h5") == tmp_path / "x.h5"


def test_a_fork_inherits_no_open_file(folder: Folder, tmp_path: Path) -> None:
    """A process closes the cache before it forks; parent and child both open it anew and read the same, as
    does a copy by pickle."""
    build(folder, file := tmp_path / "c.h5", 1)
    source = Cache(folder, file)
    expected = source.window(1, slice(5, 40), slice(2, 30), False)[0]
    assert source._h5 is not None
    context = torch.multiprocessing.get_context("fork")
    answers = context.Queue()

    def child() -> None:
        answers.put(source._h5 is None)
        answers.put(torch.equal(source.window(1, slice(5, 40), slice(2, 30), False)[0], expected))

    process = context.Process(target=child)
    process.start()
    assert answers.get(timeout=30)
    assert answers.get(timeout=30)
    process.join()
    assert source._h5 is None
    assert torch.equal(source.window(1, slice(5, 40), slice(2, 30), False)[0], expected)
    import pickle

    assert torch.equal(
        pickle.loads(pickle.dumps(source)).window(1, slice(5, 40), slice(2, 30), False)[0], expected
    )


def test_a_cache_in_use_may_be_replaced(folder: Folder, tmp_path: Path) -> None:
    """Whoever reads from a cache goes on with the file that was there, whole, while another one takes its
    name."""
    build(folder, file := tmp_path / "c.h5", 1)
    source = Cache(folder, file)
    before = source.window(0, EVERYTHING, EVERYTHING, False)
    other = folder_of(tmp_path / "other", seed=8)
    file.unlink()
    build(other, file, 1)
    after = source.window(0, EVERYTHING, EVERYTHING, False)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    source.close()
    with pytest.raises(CacheError):
        Cache(folder, file)


def test_memory_stays_flat_over_many_sizes(tmp_path: Path) -> None:
    """However many sizes there are, few datasets are open at once: each has memory of its own."""
    sizes = tuple((64 + step, 70) for step in range(caching.OPENED + 8))
    folder = folder_of(tmp_path / "data", train=len(sizes), sizes=sizes)
    build(folder, file := tmp_path / "c.h5", 2)
    source = Cache(folder, file)
    for index in [*range(len(sizes)), *range(len(sizes))]:
        label = source.window(index, EVERYTHING, EVERYTHING, False)[1]
        assert np.array_equal(label.numpy(), read_label(folder.training[index], folder, False))
        assert len(source._opened) <= caching.OPENED


@pytest.mark.long
def test_a_build_ends_soon_after_ctrl_c(folder: Folder, tmp_path: Path) -> None:
    """The command, interrupted from outside, leaves nothing, and says that it can be given again."""
    code = (
        "import signal, sys, time; from trainer.cli.main import main; from trainer.dataset import cache\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "real = cache.read_picture\n"
        "def slow(row, check): print(row.id, flush=True); time.sleep(0.3); return real(row, check)\n"
        "cache.read_picture = slow; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "cache", str(folder.root), "--jobs", "2"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        os.kill(process.pid, signal.SIGINT)
        _, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "same command again" in words
    assert listing(tmp_path) == ["data"]
