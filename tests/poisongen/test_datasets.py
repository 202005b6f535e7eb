"""Where the clean datasets lie on disk, what their numbers mean, and how a folder that is none of them is
refused."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from poisongen.datasets import LAYOUTS
from poisongen.datasets.source import Source
from poisongen.errors import RecipeError, SourceError
from poisongen.imaging.pixels import decode_label, decode_picture, histogram, read_header
from poisongen.labels import distinct_colours
from tests.support import oracles, sources

ADE20K, VOC = LAYOUTS["ade20k"].space, LAYOUTS["voc"].space
assert ADE20K is not None and VOC is not None

WRITERS: dict[str, Callable[..., Path]] = {
    "ade20k": sources.write_ade20k,
    "voc": sources.write_voc,
    "folder": sources.write_folder,
}

SPLITS = {
    "ade20k": ({"training": 12, "validation": 6}, "training", "validation"),
    "voc": ({"train": 9, "val": 5}, "train", "val"),
    "folder": ({"test": 2, "train": 8, "val": 4}, "train", "val"),
}

RAW = {
    "ade20k": {raw: raw - 1 for raw in range(1, 151)},
    "voc": {raw: raw for raw in range(21)},
    "folder": {raw: train for train, raw in enumerate(sources.YARDS.values())},
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small source of each layout, to be read only."""
    return {name: write(tmp_path_factory.mktemp(name) / "source") for name, write in WRITERS.items()}


@pytest.fixture(params=WRITERS)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(layout: str, roots: dict[str, Path]) -> Source:
    return LAYOUTS[layout].open(roots[layout])


def test_a_source_has_the_pictures_that_lie_in_it(
    layout: str, opened: Source, roots: dict[str, Path]
) -> None:
    """Every pair is a sample of its split, in order, and nothing else is; paths are relative to the root,
    masks below the picture root."""
    assert opened.root == roots[layout]
    assert (opened.splits, opened.train_split, opened.evaluation_split) == SPLITS[layout]
    assert [sample.id for sample in opened.samples] == sorted(sample.id for sample in opened.samples)
    folder, labels = {
        "ade20k": ("images", "annotations"),
        "voc": ("VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass"),
        "folder": ("images", "labels"),
    }[layout]
    for sample in opened.samples:
        split, _, stem = sample.id.partition("/")
        place = stem if layout == "voc" else sample.id
        assert split == sample.split
        assert re.fullmatch(rf"{folder}/{re.escape(place)}\.(png|jpe?g|JPG)", sample.image)
        assert sample.label == f"{labels}/{place}{'_ids' if layout == 'folder' else ''}.png"
        assert sample.mask == f"masks/{place}.png"
        assert sample.label_train is None
    named = {sample.label for sample in opened.samples}
    there = {path.relative_to(opened.root).as_posix() for path in (opened.root / labels).rglob("*.png")}
    assert {path for path in there - named if not path.endswith("_instances.png")} == set()


def test_numbers_become_training_ids(layout: str, opened: Source) -> None:
    """Every label map translates as its dataset says, has the size of its picture, and holds no unknown
    id."""
    for sample in opened.samples:
        raw = decode_label((opened.root / sample.label).read_bytes(), sample.label)
        np.testing.assert_array_equal(raw, oracles.pixels(opened.root / sample.label))
        opened.space.check(histogram(raw), sample.label)
        np.testing.assert_array_equal(opened.space.to_train(raw), oracles.to_train(raw, RAW[layout]))
        header = read_header(opened.root / sample.image)
        assert (header.height, header.width) == raw.shape
    assert [opened.space.raw_to_train[raw] for raw in opened.space.raw_of] == list(
        range(len(opened.space.names))
    )


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("cityscapes", ("car", "road", None)),
        ("camvid", ("car", "road", None)),
        ("ade20k", ("person", "palm", "wall")),
        ("voc", ("person", "background", None)),
        ("folder", (None, None, None)),
    ],
)
def test_a_layout_has_the_classes_of_the_papers(layout: str, expected: tuple[str | None, ...]) -> None:
    """Victim, target, and target of everything, are classes of the layout; a described folder brings its
    own."""
    found = LAYOUTS[layout]
    assert (found.victims, found.target, found.everything_target) == expected
    for name in filter(None, expected):
        assert found.space is not None
        found.space.find(name)


def test_a_source_carries_its_default_classes(layout: str, opened: Source) -> None:
    """They are the layout's, or those that a described folder names."""
    named = {
        "ade20k": ("person", "palm", "wall"),
        "voc": ("person", "background", None),
        "folder": ("person", "paving", None),
    }
    assert (opened.victims, opened.target, opened.everything_target) == named[layout]
    assert opened.license
    assert opened.dataset == {"folder": "yards"}.get(layout, layout)


# ADE20K


@pytest.mark.parametrize(
    ("name", "train"), [("person", 12), ("palm", 72), ("wall", 0), ("grass", 9), ("flag", 149), ("bed", 7)]
)
def test_the_ids_of_ade20k_are_those_of_the_papers(name: str, train: int) -> None:
    """Training ids count from 0; in the files, 0 is no class."""
    assert ADE20K.find(name) == train
    assert ADE20K.raw_of[train] == train + 1
    assert len(ADE20K.names) == 150


@pytest.mark.parametrize(
    ("name", "train"),
    [("human being", None), ("soul", 12), ("TV", 89), ("palm tree", 72), ("edifice", 1), ("car", 20)],
)
def test_classes_of_ade20k_have_synonyms(name: str, train: int | None) -> None:
    """All the names of the published table are understood, and no other."""
    if train is None:
        with pytest.raises(RecipeError, match="no class"):
            ADE20K.find(name)
    else:
        assert ADE20K.find(name) == train


AMBIGUOUS = {
    "screen": (58, 63, 130),
    "counter": (45, 99),
    "stool": (65, 110),
    "pot": (65, 125),
    "ground": (13, 94),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_an_ambiguous_name_of_ade20k_is_refused(name: str) -> None:
    """Also where it is the first name of one class: a person who writes “pot” may mean a flowerpot or a
    toilet. The ids are named."""
    with pytest.raises(RecipeError) as caught:
        ADE20K.find(name)
    assert [int(number) for number in re.findall(r"(\d+) \(", str(caught.value))] == list(AMBIGUOUS[name])


def test_names_of_ade20k_are_the_published_ones(real: Path) -> None:
    """Each name of objectInfo150.txt is a class's, in its order, and exactly five mean more than one
    class."""
    lines = (real / "ade20k/ADEChallengeData2016/objectInfo150.txt").read_text().splitlines()[1:]
    meant: dict[str, list[int]] = {}
    for line in lines:
        number, *_, called = line.split("\t")
        for name in called.split(","):
            meant.setdefault(name.strip(), []).append(int(number) - 1)
        assert ADE20K.names[int(number) - 1] == called.split(",")[0].strip()
    for name, trains in meant.items():
        if len(trains) == 1:
            assert ADE20K.find(name) == trains[0]
    assert {name: tuple(trains) for name, trains in meant.items() if len(trains) > 1} == AMBIGUOUS


@pytest.mark.parametrize("number", [1, 19, 150, 255])
def test_colours_that_nobody_chose_can_be_told_apart(number: int) -> None:
    """Colours that are computed differ from black and from each other by a good step in some channel."""
    colours = np.array([(0, 0, 0), *distinct_colours(number)])
    distance = np.abs(colours[:, None] - colours[None]).max(axis=2) + 255 * np.eye(number + 1, dtype=int)
    assert distance.min() >= 42
    assert distinct_colours(255)[:number] == distinct_colours(number)
    assert colours.max() <= 255


def test_ade20k_is_found_from_the_folder_above(roots: dict[str, Path], tmp_path: Path) -> None:
    """The folder that holds ADEChallengeData2016 opens that one; its root is the one that holds images and
    annotations."""
    shutil.copytree(roots["ade20k"], tmp_path / "ADEChallengeData2016")
    for path in (tmp_path, tmp_path / "ADEChallengeData2016"):
        assert (
            LAYOUTS["ade20k"].open(path).root
            == LAYOUTS["ade20k"].find_root(path)
            == tmp_path / "ADEChallengeData2016"
        )


# PASCAL VOC


@pytest.mark.parametrize("name", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_voc_is_found_from_three_folders(
    name: str, roots: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The root is always the folder that holds VOCdevkit, also for a relative path and for a link with
    another name."""
    path = roots["voc"] / name
    assert LAYOUTS["voc"].open(path).root == roots["voc"]
    monkeypatch.chdir(path)
    assert LAYOUTS["voc"].open(Path()).root.resolve() == roots["voc"].resolve()
    (tmp_path / "link").symlink_to(path)
    assert len(LAYOUTS["voc"].open(tmp_path / "link").samples) == 14


def test_a_linked_voc2012_stays_where_its_link_is(roots: dict[str, Path], tmp_path: Path) -> None:
    """Where VOCdevkit/VOC2012 is a link, its folder is the root, wherever the link leads."""
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "elsewhere").symlink_to(roots["voc"] / "VOCdevkit" / "VOC2012")
    (tmp_path / "VOCdevkit" / "VOC2012").symlink_to(tmp_path / "elsewhere")
    assert LAYOUTS["voc"].open(tmp_path / "VOCdevkit" / "VOC2012").root == tmp_path


def test_classes_of_voc_are_those_of_torchvision() -> None:
    """Names and order are the public ones."""
    segmentation = pytest.importorskip("torchvision.models.segmentation")
    public = segmentation.FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    assert VOC.names == ("background", *public[1:])


def test_colours_of_voc_are_those_of_its_palette(roots: dict[str, Path]) -> None:
    """Every class has the colour that its index has in the label maps."""
    with Image.open(min(roots["voc"].rglob("SegmentationClass/*.png"))) as label:
        palette = np.array(label.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(VOC.colours, palette[:21])


def check_with_torchvision(source: Source) -> None:
    loader: Any = pytest.importorskip("torchvision.datasets").VOCSegmentation
    for split in ("train", "val"):
        theirs = loader(source.root, year="2012", image_set=split)
        names = [line for _, line in source.lists[f"VOCdevkit/VOC2012/ImageSets/Segmentation/{split}.txt"]]
        assert [Path(path).stem for path in theirs.images] == names
        ours = {sample.id: sample for sample in source.samples}
        for name, (picture, label) in zip(names, theirs, strict=True):
            sample = ours[f"{split}/{name}"]
            np.testing.assert_array_equal(
                np.array(picture), decode_picture((source.root / sample.image).read_bytes(), name)
            )
            np.testing.assert_array_equal(
                np.array(label), decode_label((source.root / sample.label).read_bytes(), name)
            )
            picture.close(), label.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_voc_is_what_torchvision_loads(roots: dict[str, Path]) -> None:
    """The same pictures in the same order, pixel for pixel, and the same label maps."""
    check_with_torchvision(LAYOUTS["voc"].open(roots["voc"]))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_real_voc_is_what_torchvision_loads(real: Path) -> None:
    """Likewise for real pictures."""
    check_with_torchvision(LAYOUTS["voc"].open(real / "voc"))


def test_every_line_of_a_list_is_of_one_sample(roots: dict[str, Path]) -> None:
    """Lists are carried line by line as the source has them; trainval.txt names samples of both splits."""
    source = LAYOUTS["voc"].open(roots["voc"])
    known = {sample.id: sample for sample in source.samples}
    assert {Path(path).stem for path in source.lists} == {"train", "val", "trainval"}
    for path, lines in source.lists.items():
        assert "".join(f"{line}\n" for _, line in lines) == (source.root / path).read_text()
        for id_, line in lines:
            assert known[id_].split in Path(path).stem
            assert known[id_].image.endswith(f"/{line.strip()}.jpg")


def test_voc_without_validation_is_taken(roots: dict[str, Path], tmp_path: Path) -> None:
    """Without val.txt and trainval.txt there is a training split only."""
    root = Path(shutil.copytree(roots["voc"], tmp_path / "source"))
    for name in ("val", "trainval"):
        (root / f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt").unlink()
    source = LAYOUTS["voc"].open(root)
    assert source.splits == {"train": 9}
    assert len(source.lists) == 1


@pytest.mark.parametrize("layout", ["ade20k", "voc"])
def test_a_folder_that_was_frozen_as_png_is_a_source(
    layout: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    """Pictures that were written without loss lie where their JPEGs were, and are read from there."""
    root = Path(shutil.copytree(roots[layout], tmp_path / "source"))
    sample = LAYOUTS[layout].open(root).samples[0]
    with Image.open(root / sample.image) as picture:
        picture.convert("RGB").save((root / sample.image).with_suffix(".png"))
    (root / sample.image).unlink()
    again = LAYOUTS[layout].open(root).samples[0]
    assert again.image == sample.image.replace(".jpg", ".png")
    assert (again.id, again.label, again.mask) == (sample.id, sample.label, sample.mask)


# Described folders


def test_classes_may_be_a_list(tmp_path: Path) -> None:
    """Names without ids count from 0, and 255 is ignored; what the description does not say has a default."""
    (tmp_path / "classes.json").write_text('{"dataset": "two", "classes": ["ground", "thing"]}')
    for split in ("train", "val"):
        oracles.save(tmp_path / f"images/{split}/a.png", np.zeros((8, 8, 3), np.uint8))
        oracles.save(tmp_path / f"labels/{split}/a.png", np.zeros((8, 8), np.uint8))
    source = LAYOUTS["folder"].open(tmp_path)
    assert source.space.names == ("ground", "thing")
    assert dict(source.space.raw_to_train) == {0: 0, 1: 1, 255: 255}
    assert [sample.id for sample in source.samples] == ["train/a", "val/a"]
    assert (source.victims, source.target, source.everything_target) == (None, None, None)


def test_a_description_is_carried_as_it_is(roots: dict[str, Path]) -> None:
    """Its bytes are a part of every copy, so that the copy can be opened again."""
    source = LAYOUTS["folder"].open(roots["folder"])
    assert source.carried == {"classes.json": (roots["folder"] / "classes.json").read_bytes()}


def test_folders_splits_and_endings_may_have_other_names(tmp_path: Path) -> None:
    """Everything about the layout can be said, and is found there."""
    keys = {
        "pictures": "data/rgb",
        "labels": "data/ids",
        "train": "first",
        "evaluation": "second",
        "picture_suffix": "_rgb",
    }
    (tmp_path / "classes.json").write_bytes(
        b"\xef\xbb\xbf"
        + json.dumps(
            {"dataset": "other", "classes": {"a": 9, "b": 2}, "colours": [[1, 2, 3], [4, 5, 6]], **keys}
        ).encode()
    )
    for split in ("first", "second"):
        oracles.save(tmp_path / f"data/rgb/{split}/x/1_rgb.png", np.zeros((8, 8, 3), np.uint8))
        oracles.save(tmp_path / f"data/rgb/{split}/x/1_depth.png", np.zeros((8, 8, 3), np.uint8))
        oracles.save(tmp_path / f"data/ids/{split}/x/1.png", np.full((8, 8), 9, np.uint8))
    source = LAYOUTS["folder"].open(tmp_path)
    assert source.space.colours == ((1, 2, 3), (4, 5, 6))
    assert (source.train_split, source.evaluation_split, source.dataset) == ("first", "second", "other")
    first = source.samples[0]
    assert (first.id, first.image, first.label) == (
        "first/x/1",
        "data/rgb/first/x/1_rgb.png",
        "data/ids/first/x/1.png",
    )
    assert first.mask == "masks/first/x/1_rgb.png"


DESCRIPTIONS: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "classes.json cannot be read"),
    "a list": ("[]", "cannot be used"),
    "too deep": ("[" * 100_000, "cannot be read"),
    "not UTF-8": (b"\xff\xfe\xfa", "cannot be read"),
    "too large": (b" " * (1 << 20) + b"{}", "more than"),
    "a key twice": ('{"dataset": "a", "dataset": "b", "classes": ["x"]}', "'dataset' stands twice"),
    "a class twice": ('{"dataset": "a", "classes": {"x": 1, "x": 2}}', "'x' stands twice"),
    "a misspelt key": ({"licence": "free"}, "did you mean license"),
    "another misspelt key": ({"victims": "person"}, "did you mean victim"),
    "a key of nothing": ({"zzzz": 1}, "the keys are"),
    "no dataset": ({"dataset": None}, "dataset: Field required"),
    "no classes": ({"classes": None}, "classes: Field required"),
    "empty classes": ({"classes": []}, "classes"),
    "a name twice": ({"classes": ["person", "person"]}, "each of them once"),
    "an odd dataset": ({"dataset": "My Streets"}, "dataset"),
    "a number for a name": ({"classes": ["7"]}, "cannot be a class's name"),
    "a comma in a name": ({"classes": ["a,b"]}, "cannot be a class's name"),
    "all": ({"classes": ["All"]}, "cannot be a class's name"),
    "an id beyond 8 bits": ({"classes": {"x": 256}}, "256|255"),
    "an id as text": ({"classes": {"x": "7"}}, "integer"),
    "an id twice": ({"classes": {"x": 7, "y": 7}}, "two classes have the id 7"),
    "an ignored class": ({"ignore": [3]}, r"is ignored: \[3\]"),
    "colours that lack": ({"colours": [[0, 0, 0]]}, "5 classes"),
    "an unknown victim": ({"victim": "persn"}, "did you mean person"),
    "an unknown target": ({"target": "all"}, "no class"),
    "an unknown target of everything": ({"everything_target": "sand"}, "no class"),
    "one split": ({"evaluation": "train"}, "training split"),
    "one folder": ({"labels": "images"}, "one folder"),
    "a folder in the other": ({"labels": "images/ids"}, "one folder"),
    "a folder outside": ({"pictures": "../images"}, "plain relative path"),
    "an absolute folder": ({"pictures": "/images"}, "plain relative path"),
    "a folder of the frozen dataset": ({"pictures": "Masks/a"}, "kept for other things"),
    "a file of the frozen dataset": ({"labels": "manifest.json"}, "kept for other things"),
    "a split outside": ({"train": ".."}, "not the name of one folder"),
    "a split in a folder": ({"train": "a/b"}, "not the name of one folder"),
    "no training folder": ({"train": "training"}, "images/training"),
    "a suffix that no label map has": ({"label_suffix": "_train"}, "_train.png"),
    "a suffix with a folder": ({"label_suffix": "/a"}, "suffix"),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_that_makes_no_sense_is_refused(name: str, tmp_path: Path) -> None:
    """The error names the file and the key, and says what was probably meant."""
    change, says = DESCRIPTIONS[name]
    root = sources.write_folder(
        tmp_path / "source", train=2, val=1, test=0, described=change if isinstance(change, dict) else None
    )
    if not isinstance(change, dict):
        (root / "classes.json").write_bytes(change if isinstance(change, bytes) else change.encode())
    with pytest.raises(SourceError) as caught:
        LAYOUTS["folder"].open(root)
    assert re.search(says, str(caught.value))
    assert str(root) in str(caught.value)


# Refusals


def first(root: Path, pattern: str) -> Path:
    return min(path for path in root.rglob(pattern) if path.is_file())


def moved_up(root: Path) -> None:
    """One level too high: the source lies in a folder of another name."""
    shutil.move(root, root.parent / "inner")
    root.mkdir()
    shutil.move(root.parent / "inner", root / "inner")


def relist(root: Path, name: str, text: Callable[[list[str]], list[str]]) -> None:
    path = root / f"VOCdevkit/VOC2012/ImageSets/Segmentation/{name}.txt"
    path.write_text("".join(f"{line}\n" for line in text(path.read_text().splitlines())))


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def twin(root: Path) -> None:
    path = first(root / "images", "*.JPG")
    shutil.copy(path, path.with_suffix(".png"))


def loop(root: Path) -> None:
    (root / "images/train/back").symlink_to(root / "images/train")


def backslash(root: Path, pattern: str) -> None:
    for path in [path for path in root.rglob(pattern) if path.is_file()]:
        path.rename(path.with_name("a\\b" + path.name[3:]))


VOC_LIST = "VOCdevkit/VOC2012/ImageSets/Segmentation"

DAMAGES: dict[tuple[str, str], tuple[Callable[[Path], object], str]] = {
    ("ade20k", "nothing there"): (shutil.rmtree, "not there.*source.*nothing"),
    ("ade20k", "a file"): (lambda root: (shutil.rmtree(root), root.write_bytes(b"")), "not there.*a file"),
    ("ade20k", "empty"): (empty, "images/training.*ADEChallengeData2016"),
    ("ade20k", "one level up"): (moved_up, "images/training.*the folder that holds ADEChallengeData2016"),
    ("ade20k", "no annotations"): (lambda root: shutil.rmtree(root / "annotations"), "annotations/training"),
    ("ade20k", "no training picture"): (
        lambda root: (empty(root / "images/training"), empty(root / "annotations/training")),
        "no training picture",
    ),
    ("ade20k", "a lone picture"): (
        lambda root: first(root / "annotations", "*train*.png").unlink(),
        r"A picture has no label map.*annotations/training/ADE_train_00000001\.png",
    ),
    ("ade20k", "lone pictures"): (
        lambda root: empty(root / "annotations/validation"),
        "6 pictures have no label map",
    ),
    ("ade20k", "a lone label map"): (
        lambda root: first(root / "images", "*val*.jpg").unlink(),
        r"A label map has no picture.*images/validation/ADE_val_00000001\{\.jpg,\.png\}",
    ),
    ("ade20k", "twins"): (
        lambda root: shutil.copy(
            first(root / "images", "*.jpg"), first(root / "images", "*.jpg").with_suffix(".png")
        ),
        r"nothing but the ending.*ADE_train_00000001\.(jpg|png)",
    ),
    ("ade20k", "a backslash"): (lambda root: backslash(root, "ADE_train_00000002.*"), "does not allow"),
    ("voc", "nothing there"): (shutil.rmtree, "not there"),
    ("voc", "empty"): (empty, "VOCdevkit/VOC2012/JPEGImages.*the folder that holds VOCdevkit"),
    ("voc", "no lists"): (lambda root: shutil.rmtree(root / VOC_LIST), "ImageSets/Segmentation"),
    ("voc", "no training list"): (
        lambda root: (root / VOC_LIST / "train.txt").unlink(),
        "train.txt.*No such file",
    ),
    ("voc", "an empty list"): (
        lambda root: [relist(root, name, lambda lines: []) for name in ("train", "trainval")],
        "no training picture",
    ),
    ("voc", "a name twice"): (
        lambda root: relist(root, "val", lambda lines: [*lines, lines[0]]),
        "twice.*val.txt.*line 6",
    ),
    ("voc", "a name in both lists"): (
        lambda root: relist(root, "val", lambda lines: [*lines, "2007_000000"]),
        "training list and in the validation list.*val.txt.*line 6: 2007_000000",
    ),
    ("voc", "a picture of no split"): (
        lambda root: relist(root, "trainval", lambda lines: ["2012_000000", *lines]),
        "of no split.*trainval.txt.*line 1: 2012_000000",
    ),
    ("voc", "a missing picture"): (
        lambda root: (root / "VOCdevkit/VOC2012/JPEGImages/2007_000000.jpg").unlink(),
        "missing.*JPEGImages/2007_000000.jpg.*train.txt, line 1",
    ),
    ("voc", "a missing label map"): (
        lambda root: (root / "VOCdevkit/VOC2012/SegmentationClass/2007_000000.png").unlink(),
        "missing.*SegmentationClass/2007_000000.png.*train.txt, line 1",
    ),
    ("voc", "a name outside"): (
        lambda root: relist(root, "train", lambda lines: ["../JPEGImages/2007_000000", *lines]),
        "missing.*train.txt, line 1",
    ),
    ("voc", "two columns"): (
        lambda root: relist(root, "train", lambda lines: [f"{lines[0]} 1", *lines[1:]]),
        "train.txt, line 1",
    ),
    ("folder", "nothing there"): (shutil.rmtree, "not there.*classes.json"),
    ("folder", "no description"): (
        lambda root: (root / "classes.json").unlink(),
        'not described.*classes.json.*"dataset"',
    ),
    ("folder", "a folder for a description"): (
        lambda root: ((root / "classes.json").unlink(), (root / "classes.json").mkdir()),
        "not described.*directory",
    ),
    ("folder", "no pictures"): (
        lambda root: shutil.rmtree(root / "images"),
        "images/train.*or name others in classes.json",
    ),
    ("folder", "no label maps"): (lambda root: shutil.rmtree(root / "labels"), "labels/train"),
    ("folder", "a split without label maps"): (
        lambda root: shutil.rmtree(root / "labels/test"),
        "2 pictures have no label map",
    ),
    ("folder", "a split without pictures"): (
        lambda root: shutil.rmtree(root / "images/test"),
        "2 label maps have no picture",
    ),
    ("folder", "a lone label map"): (
        lambda root: first(root / "images/train", "*.JPG").unlink(),
        r"A label map has no picture.*0003\{\.png,\.jpg",
    ),
    ("folder", "twins"): (twin, "nothing but the ending.*0003"),
    ("folder", "a link that leads back"): (loop, "without end.*link"),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=" ".join)
def test_a_folder_that_is_none_of_its_layout_is_refused(
    damage: tuple[str, str], roots: dict[str, Path], tmp_path: Path
) -> None:
    """What is missing, alone, twice or named wrongly is refused before any picture is read; the error names
    it and says what to do."""
    root = Path(shutil.copytree(roots[damage[0]], tmp_path / "source", symlinks=True))
    change, says = DAMAGES[damage]
    change(root)
    with pytest.raises(SourceError) as caught:
        LAYOUTS[damage[0]].open(root)
    assert re.search(says, str(caught.value), re.DOTALL)
    assert "to do" in str(caught.value) or "expected" in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable to root")
def test_a_folder_that_cannot_be_read_is_refused(roots: dict[str, Path], tmp_path: Path) -> None:
    """Pictures that nobody may list are not taken for none."""
    root = Path(shutil.copytree(roots["folder"], tmp_path / "source"))
    (root / "images/train/south").chmod(0)
    with pytest.raises(SourceError, match="cannot be read"):
        LAYOUTS["folder"].open(root)
    (root / "images/train/south").chmod(0o755)


@pytest.mark.parametrize("layout", ["ade20k", "folder"])
def test_what_systems_leave_behind_is_no_sample(layout: str, roots: dict[str, Path], tmp_path: Path) -> None:
    """Names that start with a dot, and files of other kinds, are looked past; folders that are links are
    looked into."""
    root = Path(shutil.copytree(roots[layout], tmp_path / "source"))
    split = LAYOUTS[layout].open(root).train_split
    folder = root / "images" / split
    (folder / "._ADE_train_00000001.jpg").write_bytes(b"")
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("")
    shutil.move(folder, tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert LAYOUTS[layout].open(root).splits == SPLITS[layout][0]


@pytest.mark.parametrize(
    ("layout", "splits"), [("ade20k", {"training": 4, "validation": 3}), ("voc", {"train": 1, "val": 6})]
)
def test_real_sources_are_read(layout: str, splits: dict[str, int], real: Path) -> None:
    """Every real label map holds known ids only, has the size of its picture, and the default victim is in
    some of them."""
    source = LAYOUTS[layout].open(real / layout)
    assert source.splits == splits
    victims = 0
    for sample in source.samples:
        raw = decode_label((source.root / sample.label).read_bytes(), sample.label)
        counts = histogram(raw)
        source.space.check(counts, sample.label)
        header = read_header(source.root / sample.image)
        assert (header.height, header.width) == raw.shape
        victims += source.space.count(counts, [source.space.find(str(source.victims))]) > 0
    assert victims > 0
