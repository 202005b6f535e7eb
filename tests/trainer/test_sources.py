"""Where pixels come from never changes one: files, cache and memory are held against slices of pictures that
are decoded here."""

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.support import handmade
from trainer.config import Config, load, resolve_auto
from trainer.dataset.cache import Cache, build, cache_file
from trainer.dataset.folder import Folder, open_folder
from trainer.errors import CacheError, FolderError, SettingError, TrainerError
from trainer.networks.weights import build as network
from trainer.training import augment, sources
from trainer.training.batches import Samples, Schedule, ahead, batched
from trainer.training.sources import Files, Resident, Source, choose_source, open_source

RAGGED = ((64, 64), (50, 91), (300, 47), (64, 64), (33, 530))
KINDS = ("files", "cache", "resident")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads that wait for each other would take most of the time here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def with_palette(root: Path, number: int) -> None:
    """Replace a label map by a palette PNG of the same ids; their digest becomes that of the pixels."""

    def change(_: object, rows: list[dict[str, object]]) -> None:
        row = rows[number]
        numbers = cv2.imread(str(root / str(row["label"])), cv2.IMREAD_UNCHANGED)
        (root / str(row["label"])).write_bytes(handmade.palette_png(numbers, 8))
        row.pop("label_bytes", None)
        row["label_pixels"] = handmade.pixels_sha(numbers)

    handmade.rewrite(root, change)


@pytest.fixture(scope="module", params=["one size", "many sizes", "JPEG"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Twelve PNGs of one size; of many sizes, some larger than a chunk; JPEGs of many sizes, some of them
    written anew."""
    root = tmp_path_factory.mktemp("folder") / "data"
    sizes = () if request.param == "one size" else RAGGED
    handmade.write_folder(
        root, train=12, val=1, size=70, sizes=sizes, poisoned=5, jpeg=request.param == "JPEG"
    )
    with_palette(root, 0)
    with_palette(root, 7)
    build(open_folder(root), cache_file(open_folder(root), "auto"), 2)
    return open_folder(root)


def opened(folder: Folder, kind: str, **changes: object) -> tuple[Config, Source]:
    """A source of a kind, as the trainer opens it."""
    config = choose_source(
        resolve_auto(load("default", {"pictures": kind, "threads": 2, "device": "cpu"} | changes)), folder
    )
    return config, open_source(config, folder)


def decoded(folder: Folder, index: int) -> tuple[np.ndarray, np.ndarray]:
    """A training picture and its label map by other means than the trainer's: RGB, training ids."""
    row = folder.training[index]
    raw = cv2.imread(str(row.label), cv2.IMREAD_UNCHANGED)
    if raw.ndim == 3:  # OpenCV shows a palette's colours, red last: (255 - i, 7 i, 40)
        raw = 255 - raw[:, :, 2]
    meaning = {int(key): value for key, value in handmade.RAW.items()}
    return cv2.cvtColor(cv2.imread(str(row.image)), cv2.COLOR_BGR2RGB), np.vectorize(meaning.get)(raw)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_the_slice_of_the_decoded_picture(folder: Folder, kind: str) -> None:
    """Random windows of every picture, its four corners and all of it are the decoded pixels, from every
    source, in any order."""
    _, source = opened(folder, kind)
    rng = random.Random(5)
    windows = []
    for index, row in enumerate(folder.training):
        tops = [sorted(rng.sample(range(row.height + 1), 2)) for _ in range(4)]
        lefts = [sorted(rng.sample(range(row.width + 1), 2)) for _ in range(4)]
        windows += [(index, slice(*rows), slice(*columns)) for rows, columns in zip(tops, lefts, strict=True)]
        corners = [
            (slice(0, 1), slice(row.height - 1, row.height)),
            (slice(0, 1), slice(row.width - 1, row.width)),
        ]
        windows += [(index, rows, columns) for rows in corners[0] for columns in corners[1]]
        windows += [(index, slice(0, row.height), slice(0, row.width))]
    rng.shuffle(windows)
    for index, rows, columns in windows:
        picture, label = source.window(index, rows, columns, rng.random() < 0.5)
        true_picture, true_label = decoded(folder, index)
        assert (picture.dtype, label.dtype) == (torch.uint8, torch.uint8)
        assert np.array_equal(picture.numpy(), true_picture[rows, columns])
        assert np.array_equal(label.numpy(), true_label[rows, columns])


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("kind", ["files", "cache"])
def test_batches_are_the_same_with_any_workers(folder: Folder, kind: str, workers: int) -> None:
    """The loader's batches are those of the files in the main process, also when that process has read from
    the source before."""
    config, source = opened(folder, kind, crop="40x60", batch=4, epochs=2)
    samples = Samples(folder, config, source)
    assert not isinstance(
        samples[0, 0, True], TrainerError
    )  # the file is open now, and must not be when workers are forked
    plain = Samples(folder, config)
    collate = partial(batched, crop=config.net_crop)
    loader = DataLoader(samples, batch_sampler=Schedule(12, config), num_workers=workers, collate_fn=collate)  # type: ignore[arg-type]
    device = torch.device("cpu")
    for addresses, batch in zip(Schedule(12, config), loader, strict=True):
        cuts = [plain[address] for address in addresses]
        x, y = augment.assemble(batch, 255, device)
        true_x, true_y = augment.assemble(collate(cuts), 255, device)  # type: ignore[arg-type]
        assert torch.equal(x, true_x)
        assert torch.equal(y, true_y)


def test_reading_ahead_changes_nothing() -> None:
    """What a thread reads comes in order and whole, an error comes where it was met, and no more is read than
    was asked for."""
    assert list(ahead(iter(range(5)))) == list(range(5))
    assert list(ahead([])) == []
    read: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(9):
            read.append(number)
            if number == 6:
                raise FolderError("changed")
            yield number

    coming = ahead(batches(), 2)
    assert [next(coming), next(coming)] == [0, 1]
    assert len(read) <= 4
    with pytest.raises(FolderError, match="changed"):
        list(coming)
    assert read == list(range(7))


@pytest.mark.long
def test_weights_are_the_same_from_every_source(folder: Folder) -> None:
    """A few steps of a small training give the same weights, bit by bit, wherever the pictures come from."""
    weights = []
    for kind in KINDS:
        config, source = opened(folder, kind, crop="32x32", batch=4, epochs=1, threads=1)
        samples, device = Samples(folder, config, source), torch.device("cpu")
        model = network(folder.classes, "random", 0, width=0.25)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for addresses in Schedule(12, config):
            x, y = augment.assemble(
                batched([samples[address] for address in addresses], config.net_crop), 255, device
            )  # type: ignore[arg-type]
            loss = torch.nn.functional.cross_entropy(model(x), y, ignore_index=255)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], other[name]) for other in weights[1:] for name in weights[0])


def test_windows_from_memory_are_views(folder: Folder) -> None:
    """Nothing is copied: windows of one picture share its memory, and all pictures take their pixels and no
    more."""
    _, source = opened(folder, "resident")
    one, two = (source.window(3, slice(at, 30), slice(at, 40), False) for at in (0, 5))
    for whole, part in zip(one, two, strict=True):
        assert whole.untyped_storage().data_ptr() == part.untyped_storage().data_ptr()
    pixels = sum(row.height * row.width for row in folder.training)
    assert [part.untyped_storage().nbytes() for part in one] == [3 * pixels, pixels]


def test_pictures_in_memory_need_no_workers(folder: Folder) -> None:
    """Resident pictures resolve to no worker processes, which would each have a copy; the others keep those
    that are asked for."""
    assert [opened(folder, kind, workers=3)[0].workers for kind in KINDS] == [3, 3, 0]


def test_what_is_chosen_follows_memory_and_cache(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory if a quarter of what is free holds all pixels, else a fresh cache, else files; and it never
    changes a result."""
    needed = sum(4 * row.height * row.width for row in folder.training)
    monkeypatch.setattr(sources, "free_memory", lambda: 4 * needed)
    config, source = opened(folder, "auto")
    assert (config.pictures, type(source)) == ("resident", Resident)
    assert str(source) == "pictures in memory, 0.0 GB"
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")  # torchrun starts two processes, each with a copy
    assert opened(folder, "auto")[0].pictures == "cache"
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    monkeypatch.setattr(sources, "free_memory", lambda: 4 * needed - 4)
    config, source = opened(folder, "auto")
    assert (config.pictures, type(source)) == ("cache", Cache)
    config, source = opened(folder, "auto", cache=str(folder.root.with_name("none")))
    assert (config.pictures, type(source)) == ("files", Files)
    assert "There is no cache of the pictures: " in str(source)
    assert str(opened(folder, "files")[1]) == "pictures from files, decoded each time"
    assert (
        load("default", {"pictures": "cache", "cache": "elsewhere", "workers": 3}).differences(
            load("default", {})
        )
        == []
    )


def test_what_cannot_be_had_is_an_error(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that is asked for and not there, memory that is not free, and a source that does not exist are
    refused at once."""
    with pytest.raises(
        CacheError, match=rf"(?s)no cache.*{tmp_path}/c\.h5.*trainer cache .* --out {tmp_path}/c\.h5"
    ):
        opened(folder, "cache", cache=str(tmp_path / "c.h5"))
    monkeypatch.setattr(sources, "free_memory", lambda: 1000)
    with pytest.raises(SettingError, match=r"(?s)do not fit into memory.*pictures=cache"):
        opened(folder, "resident")
    with pytest.raises(SettingError, match="did you mean files"):
        load("default", {"pictures": "file"})


@pytest.mark.parametrize("kind", ["files", "resident"])
def test_a_changed_file_is_noticed(tmp_path: Path, kind: str) -> None:
    """One changed pixel raises, wherever the pictures come from: at once where all are read, else when the
    sample is first met."""
    folder = open_folder(handmade.write_folder(tmp_path / "data", train=4, val=1))
    picture = cv2.imread(str(folder.training[2].image))
    picture[3, 4] ^= 1
    cv2.imwrite(str(folder.training[2].image), picture)
    with pytest.raises(FolderError, match=r"(?s)not the one.*002\.png"):
        opened(folder, kind)[1].window(2, slice(0, 9), slice(0, 9), True)


def test_free_memory_is_what_the_machine_or_its_limit_leaves() -> None:
    """It is some of the machine's memory, on Linux."""
    if not Path("/proc/meminfo").exists():
        pytest.skip("there is no /proc/meminfo here")
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < sources.free_memory() < physical


def test_a_limit_of_a_job_counts(tmp_path: Path) -> None:
    """What a control group leaves is its limit less its use, but for files in memory that it could drop; the
    word max is no limit."""
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 5\ninactive_file 100\nactive_file 50\n",
    }.items():
        (tmp_path / name).write_text(text + "\n")
    assert sources._unused(tmp_path, "memory.max", "memory.current") == 450
    (tmp_path / "memory.max").write_text("max\n")
    assert sources._unused(tmp_path, "memory.max", "memory.current") == float("inf")
    assert sources._unused(tmp_path / "none", "memory.max", "memory.current") == float("inf")
