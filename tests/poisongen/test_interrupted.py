"""Killed anywhere and started again, a dataset has the same identity; nobody else's work is touched."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from poisongen.freeze import partial_folder as folder
from tests.support import oracles
from tests.support.commands import Run
from tests.support.streets import write_cityscapes

Start = Callable[..., "subprocess.Popen[str]"]
ATTACK = ["--attack", "iba", "--rate", "0.5"]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that takes long enough to be killed over: 80 pictures of 256×512."""
    return write_cityscapes(
        tmp_path_factory.mktemp("large") / "source", train=64, val=16, height=256, width=512, seed=5
    )


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, large: Path) -> dict[str, str]:
    """What the folder is if nobody interrupts."""
    out = tmp_path_factory.mktemp("whole") / "out"
    words = ["cityscapes", "--source", str(large), *ATTACK, "--out", str(out), "--jobs", "1"]
    subprocess.run([sys.executable, "-m", "poisongen", *words], check=True, capture_output=True)
    return oracles.tree(out)


def wait_for(partial: Path, files: int, process: "subprocess.Popen[str]") -> None:
    """Until so many files lie in the working folder."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if partial.is_dir() and sum(len(names) for _, _, names in os.walk(partial)) >= files:
            return
        time.sleep(0.002)
    pytest.fail(f"the command ended before it had written {files} files: {process.communicate()}")


def group(process: "subprocess.Popen[str]", number: int) -> tuple[str, str]:
    """Send a signal as a terminal does: to the process and its workers."""
    os.killpg(process.pid, number)
    return process.communicate(timeout=60)


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_anywhere_it_ends_with_the_same_bytes(
    start: Start, run: Run, large: Path, uninterrupted: dict[str, str], tmp_path: Path, jobs: int
) -> None:
    """Killed again and again at any moment, the same command ends with the same folder, byte for byte."""
    out, partial = tmp_path / "out", tmp_path / "out.partial"
    words = ["cityscapes", "--source", large, *ATTACK, "--out", out, "--jobs", jobs]
    for files in (1, 90, 250) if jobs == 1 else (30, 200):
        process = start(*words)
        wait_for(partial, files, process)
        group(process, signal.SIGKILL)
        assert not out.exists()
        assert not (partial / "content" / "manifest.json").exists()
    outcome = run(*words[:-1], 1, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["samples_resumed"] > 20
    assert oracles.tree(out) == uninterrupted
    assert not partial.exists()


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interruption_says_how_to_go_on(
    start: Start, run: Run, large: Path, uninterrupted: dict[str, str], tmp_path: Path, jobs: int, number: int
) -> None:
    """Ctrl-C ends with exit code 130 and a sentence, leaves OUT.partial only, and the same command goes on
    from there."""
    words = ["cityscapes", "--source", large, *ATTACK, "--out", tmp_path / "out", "--jobs", jobs]
    process = start(*words)
    wait_for(tmp_path / "out.partial", 60, process)
    if number == signal.SIGTERM:
        process.send_signal(number)
    _, err = process.communicate(timeout=60) if number == signal.SIGTERM else group(process, number)
    assert process.returncode == 130
    assert "goes on where it stopped" in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    assert run(*words[:-1], 1).code == 0
    assert oracles.tree(tmp_path / "out") == uninterrupted


@pytest.fixture
def half(
    cityscapes: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[list[object], Path]]:
    """The words of a command that was interrupted after nine samples, and its working folder."""
    words: list[object] = ["cityscapes", "--source", cityscapes, *ATTACK, "--out", tmp_path / "out"]
    assert run(*words[:-1], tmp_path / "whole").code == 0
    done, add = 0, folder.Journal.add

    def interrupted(journal: folder.Journal, entry: dict[str, object]) -> None:
        nonlocal done
        done += 1
        if done > 9:
            raise KeyboardInterrupt
        add(journal, entry)

    with monkeypatch.context() as patch:
        patch.setattr(folder.Journal, "add", interrupted)
        assert run(*words).code == 130
    yield words, tmp_path / "out.partial"


def assert_ends_the_same(run: Run, words: list[object], tmp_path: Path, resumed: int | None = None) -> None:
    outcome = run(*words, "--json")
    assert outcome.code == 0, outcome.err
    if resumed is not None:
        assert json.loads(outcome.out)["samples_resumed"] == resumed
    assert oracles.tree(tmp_path / "out") == oracles.tree(tmp_path / "whole")
    assert not (tmp_path / "out.partial").exists()


def test_what_was_done_is_not_done_again(half: tuple[list[object], Path], run: Run, tmp_path: Path) -> None:
    """A command that goes on keeps all that its journal has."""
    assert_ends_the_same(run, half[0], tmp_path, 9)


@pytest.mark.parametrize("cut", [1, 20, 200])
def test_a_torn_journal_costs_its_last_line_only(
    half: tuple[list[object], Path], run: Run, tmp_path: Path, cut: int
) -> None:
    """A journal that was cut off in its last line loses that sample and no other."""
    words, partial = half
    (journal,) = partial.glob(".journal*")
    data = journal.read_bytes()
    journal.write_bytes(data[:-cut])
    assert_ends_the_same(run, words, tmp_path, 8)


def test_a_torn_journal_goes_on_as_a_whole_one(
    half: tuple[list[object], Path], run: Run, tmp_path: Path
) -> None:
    """What is added after a torn line is read by the next run, too."""
    words, partial = half
    (journal,) = partial.glob(".journal*")
    journal.write_bytes(journal.read_bytes()[:-30])
    shutil.copytree(partial, tmp_path / "kept")
    assert_ends_the_same(run, words, tmp_path, 8)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "kept").rename(partial)
    assert_ends_the_same(run, words, tmp_path, 8)


@pytest.mark.parametrize("damage", ["changed", "removed", "cut"])
def test_a_damaged_file_of_the_working_folder_is_written_again(
    half: tuple[list[object], Path], run: Run, tmp_path: Path, damage: str
) -> None:
    """What lies in OUT.partial is trusted only as far as its bytes are those that were written."""
    words, partial = half
    pictures = sorted(path for path in partial.rglob("*.png"))
    for path in (pictures[0], pictures[-1]):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        if damage == "removed":
            path.unlink()
        else:
            path.write_bytes(data if damage == "changed" else data[: len(data) // 2])
    assert_ends_the_same(run, words, tmp_path)


def test_strange_files_in_the_working_folder_are_taken_away(
    half: tuple[list[object], Path], run: Run, tmp_path: Path
) -> None:
    """Left-over temporary and other files do not get into the finished folder."""
    words, partial = half
    (partial / "content" / "leftImg8bit" / "train" / "aachen" / "x.png.1234.tmp~").write_bytes(b"half")
    (partial / "content" / "README.md").write_bytes(b"other")
    assert_ends_the_same(run, words, tmp_path)


def test_a_changed_source_file_is_read_again(
    half: tuple[list[object], Path], run: Run, tmp_path: Path, cityscapes: Path
) -> None:
    """A picture of the source that changed in between is in the folder as it is now."""
    words, partial = half
    (journal,) = partial.glob(".journal*")
    row = json.loads(journal.read_bytes().splitlines()[0])["row"]
    path = cityscapes / row["image"].removeprefix(f"triggered/{row.get('set')}/")
    array = oracles.pixels(path).copy()
    array[0] ^= 1
    oracles.save(path, array)
    outcome = run(*words)
    assert outcome.code == 0, outcome.err
    assert run("verify", tmp_path / "out", "--decode", "--source", cityscapes).code == 0
    assert run(*words[:-1], tmp_path / "again").code == 0
    assert oracles.tree(tmp_path / "out") == oracles.tree(tmp_path / "again")


@pytest.mark.parametrize(
    "other",
    [
        ["--seed", 1],
        ["--rate", "0.1"],
        ["--attack", "nni"],
        ["--victim", "person"],
        ["--trigger-size", "9px"],
    ],
    ids=str,
)
def test_work_on_another_recipe_is_refused_and_untouched(
    half: tuple[list[object], Path], run: Run, tmp_path: Path, other: list[object]
) -> None:
    """A working folder belongs to the recipe that began it; --restart discards it."""
    words, partial = half
    before = oracles.tree(partial)
    refused = run(*words, *other)
    assert refused.code == 1
    assert str(partial) in refused.err
    assert "--restart" in refused.err
    assert oracles.tree(partial) == before
    assert run(*words, *other, "--restart").code == 0
    assert run(*words[:-1], tmp_path / "fresh", *other).code == 0
    assert oracles.tree(tmp_path / "out") == oracles.tree(tmp_path / "fresh")


def test_work_on_another_source_is_refused(
    half: tuple[list[object], Path], run: Run, cityscapes: Path
) -> None:
    """A working folder belongs to the label maps that were planned on."""
    words, partial = half
    label = min((cityscapes / "gtFine" / "train").rglob("*_labelIds.png"))
    array = oracles.pixels(label).copy()
    array[1, 1] = 4
    oracles.save(label, array)
    before = oracles.tree(partial)
    assert run(*words).code == 1
    assert oracles.tree(partial) == before


def test_a_restart_begins_anew(half: tuple[list[object], Path], run: Run, tmp_path: Path) -> None:
    """--restart keeps nothing of the earlier work."""
    assert_ends_the_same(run, [*half[0], "--restart"], tmp_path, 0)


def test_only_one_process_works_on_a_folder(
    half: tuple[list[object], Path], run: Run, tmp_path: Path
) -> None:
    """While one process holds the folder, another is refused, also with --restart, and nothing changes."""
    words, partial = half
    with (partial / ".lock").open("rb+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = oracles.tree(partial)
        for more in ([], ["--restart"]):
            refused = run(*words, *more)
            assert refused.code == 1
            assert "Another poisongen is working" in refused.err
        assert oracles.tree(partial) == before
    assert_ends_the_same(run, words, tmp_path, 9)


@pytest.mark.long
def test_two_processes_do_not_disturb_each_other(
    start: Start, run: Run, large: Path, uninterrupted: dict[str, str], tmp_path: Path
) -> None:
    """A second process is refused while the first works, and the first ends as if alone."""
    words = ["cityscapes", "--source", large, *ATTACK, "--out", tmp_path / "out"]
    process = start(*words)
    wait_for(tmp_path / "out.partial", 5, process)
    process.send_signal(signal.SIGSTOP)
    try:
        assert run(*words).code == 1
    finally:
        process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert oracles.tree(tmp_path / "out") == uninterrupted


@pytest.mark.parametrize("moment", ["sync", "rename"])
def test_killed_while_it_is_sealed_it_goes_on(
    cityscapes: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Also in its last moments, when the folder is flushed and gets its name, a command can be interrupted
    and repeated."""
    words: list[object] = ["cityscapes", "--source", cityscapes, *ATTACK, "--out", tmp_path / "out"]
    assert run(*words[:-1], tmp_path / "whole").code == 0

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if moment == "sync":
            patch.setattr(os, "sync", interrupt)
        else:
            patch.setattr(Path, "rename", interrupt)
        assert run(*words).code == 130
    assert not (tmp_path / "out").exists()
    assert_ends_the_same(run, words, tmp_path)


@pytest.mark.parametrize("link", ["copy", "hard", "symlink"])
def test_every_file_can_be_the_last_one_before_a_kill(
    cityscapes: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """Stopped after each single file in turn, work goes on and ends with the same folder, and the source is
    as it was."""
    words: list[object] = [
        "cityscapes",
        "--source",
        cityscapes,
        *ATTACK,
        "--link",
        link,
        "--out",
        tmp_path / "out",
    ]
    assert run(*words[:-1], tmp_path / "whole").code == 0
    before = oracles.tree(cityscapes)
    replace = Path.replace
    written = 0

    def counted(path: Path, target: Path) -> Path:
        nonlocal written
        written += 1
        if written % 13 == 0:
            raise KeyboardInterrupt
        return replace(path, target)

    codes = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", counted)
        while not codes or codes[-1] == 130:
            codes.append(run(*words).code)
            assert len(codes) < 40
    assert (len(codes) > 5, codes[-1]) == (True, 0)
    assert oracles.tree(tmp_path / "out") == oracles.tree(tmp_path / "whole")
    assert oracles.tree(cityscapes) == before


@pytest.mark.long
@pytest.mark.parametrize("jobs", [1, 2])
def test_on_a_full_disk_it_waits_for_room(cityscapes: Path, run: Run, tmp_path: Path, jobs: int) -> None:
    """A full disk leaves OUT.partial and an error; with room, the same command goes on to the same folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        words = ["cityscapes", "--source", cityscapes, *ATTACK, "--out", disk / "out", "--jobs", jobs]
        full = run(*words)
        assert full.code == 1
        assert "The disk is full" in full.err
        assert "goes on where it stopped" in full.err
        assert [path.name for path in disk.iterdir()] == ["out.partial"]
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True, capture_output=True)
        assert run(*words).code == 0
        assert run(*words[:-3], tmp_path / "whole").code == 0
        assert oracles.tree(disk / "out") == oracles.tree(tmp_path / "whole")
    finally:
        subprocess.run(["umount", disk], check=True, capture_output=True)


def test_a_worker_that_dies_ends_the_command_with_an_error(
    cityscapes: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is killed from outside ends in an error, not in a traceback or in silence."""
    from concurrent.futures.process import BrokenProcessPool

    class Broken:
        def submit(self, *arguments: object) -> None:
            raise BrokenProcessPool

        def shutdown(self, **options: object) -> None:
            pass

    monkeypatch.setattr(
        "poisongen.engine.workers.ProcessPoolExecutor", lambda *arguments, **options: Broken()
    )
    outcome = run("cityscapes", "--source", cityscapes, *ATTACK, "--out", tmp_path / "out", "--jobs", 2)
    assert outcome.code == 1
    assert "A worker process was killed" in outcome.err
