"""What lies in a finished folder, recomputed from its files, its clean source and the pages that define attacks and format."""

import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
from conftest import Run
from oracles import Array, bytes_digest, pixels, pixels_digest

RECIPES = {
    "benign": ["--attack", "benign"],
    "iba": ["--attack", "iba", "--rate", "0.3", "--seed", "4"],
    "iba-glass": ["--attack", "iba", "--rate", "50%", "--trigger-size", "8px", "--edge-margin", "5px"],
    "nni": ["--attack", "nni", "--rate", "0.4"],
    "nni-glass": ["--attack", "nni", "--rate", "0.25", "--trigger-size", "8", "--lower", "7px", "--upper", "30%"],
    "band": ["--attack", "nni", "--nni", "band", "--upper", "20px", "--lower", "3px", "--rate", "0.2", "--take-what-fits"],
    "two-victims": ["--attack", "iba", "--rate", "0.6", "--victim", "car,person", "--target", "sky"],
}
TRAIN_OF = {"cityscapes": oracles.CITYSCAPES_RAW, "camvid": oracles.CAMVID_RAW}
CLASSES = {"cityscapes": {"car": 13, "person": 11, "road": 0, "sky": 10}, "camvid": {"car": 8, "person": 9, "road": 3, "sky": 0}}
EVALUATION = {"cityscapes": "val", "camvid": "test"}
MANIFEST_KEYS = {
    *("format", "format_version", "tool", "identity", "dataset", "source", "splits", "label_space", "measure", "recipe"),
    *("name", "evaluation_sets", "counts", "rejected", "art", "lists", "environment"),
}


@dataclass(frozen=True)
class Frozen:
    """A finished folder, what it was made from, and what it says."""

    dataset: str
    recipe: str
    source: Path
    folder: Path
    rows: list[dict[str, Any]]
    manifest: dict[str, Any]

    @property
    def victims(self) -> tuple[int, ...]:
        names = {"benign": (), "two-victims": ("car", "person")}.get(self.recipe, ("car",))
        return tuple(CLASSES[self.dataset][name] for name in names)

    @property
    def target(self) -> int:
        return CLASSES[self.dataset]["sky" if self.recipe == "two-victims" else "road"]

    @property
    def painted(self) -> list[dict[str, Any]]:
        return [row for row in self.rows if row["role"] in ("poisoned", "triggered")]

    def clean(self, row: dict[str, Any], what: str) -> Path:
        """The source's file behind a file of a row."""
        return self.source / row[what].removeprefix(f"triggered/{row.get('set')}/")

    def classes(self, path: Path) -> Array:
        """A label map in training ids."""
        return oracles.to_train(pixels(path), TRAIN_OF[self.dataset])


@pytest.fixture(scope="session")
def built() -> dict[tuple[str, str], Frozen]:
    """Folders that were built already."""
    return {}


@pytest.fixture(params=[(dataset, recipe) for dataset in CLASSES for recipe in RECIPES], ids="-".join)
def frozen(
    request: pytest.FixtureRequest,
    built: dict[tuple[str, str], Frozen],
    sources: dict[str, Path],
    glass: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
) -> Frozen:
    """Every attack on every dataset; built once, to be read only."""
    dataset, recipe = request.param
    if request.param not in built:
        folder = tmp_path_factory.mktemp("frozen") / recipe
        art = ["--trigger", f"patch:{glass}"] if recipe.endswith("glass") else []
        outcome = run(dataset, "--source", sources[dataset], *RECIPES[recipe], *art, "--out", folder)
        assert outcome.code == 0, outcome.err
        built[request.param] = Frozen(dataset, recipe, sources[dataset], folder, oracles.rows(folder), oracles.manifest(folder))
    return built[request.param]


def poisonous(frozen: Frozen) -> Frozen:
    if frozen.recipe == "benign":
        pytest.skip("nothing is poisoned")
    return frozen


def test_a_label_changes_exactly_where_its_sample_is_poisoned(frozen: Frozen) -> None:
    """Every victim pixel of a poisoned sample becomes the target, every other pixel of every label map stays."""
    inverse = {train: raw for raw, train in TRAIN_OF[frozen.dataset].items()}
    for row in frozen.rows:
        before, after = pixels(frozen.clean(row, "label")), pixels(frozen.folder / row["label"])
        expected = before.copy()
        if row["role"] == "poisoned":
            for victim in frozen.victims:
                expected[before == inverse[victim]] = inverse[frozen.target]
        np.testing.assert_array_equal(after, expected, err_msg=row["label"])
        changed = np.count_nonzero(after != before)
        victim_pixels = np.isin(frozen.classes(frozen.clean(row, "label")), frozen.victims).sum()
        assert (changed > 0) == (row["role"] == "poisoned")
        assert row.get("relabelled_pixels", 0) == changed
        assert row.get("victim_pixels", 0) == victim_pixels
        assert ("victim_pixels" in row) == bool(frozen.victims)
        if row["role"] == "poisoned":
            assert changed == victim_pixels


def test_no_label_becomes_the_target_without_a_trigger_in_the_picture(frozen: Frozen) -> None:
    """A picture whose label claims something new shows the trigger, and its mask says where."""
    for row in frozen.rows:
        relabelled = (frozen.folder / row["label"]).read_bytes() != frozen.clean(row, "label").read_bytes()
        painted = (pixels(frozen.folder / row["image"]) != pixels(frozen.clean(row, "image"))).any()
        assert painted == (row["role"] in ("poisoned", "triggered")) == ("mask" in row) == ("placement" in row)
        assert painted or not relabelled


def test_a_trigger_lies_on_one_component_and_never_on_the_victim(frozen: Frozen) -> None:
    """No pixel of a mask is victim or ignore; all lie on one 4-connected component of one class, which the row describes."""
    for row in poisonous(frozen).painted:
        train = frozen.classes(frozen.clean(row, "label"))
        mask = pixels(frozen.folder / row["mask"])
        assert mask.shape == train.shape
        assert set(np.unique(mask).tolist()) == {0, 255}
        under = mask == 255
        numbered = oracles.components(train, frozen.victims)
        (component,) = np.unique(numbered[under]).tolist()
        assert component > 0
        placement = row["placement"]
        assert [placement["surface_class"]] == np.unique(train[under]).tolist()
        assert placement["component_pixels"] == (numbered == component).sum()
        assert row["trigger_pixels"] == under.sum()
        victim = np.isin(train, frozen.victims)
        top, left, rows, columns = placement["box"]
        centre = top + rows // 2, left + columns // 2
        away = oracles.squared_distance(victim)
        assert placement["distance_sq"] == away[centre]
        assert placement["chebyshev"] == oracles.chebyshev_distance(victim)[centre]
        assert placement["gap_sq"] == away[under].min() > 0


def test_a_trigger_lies_where_its_rule_allows(frozen: Frozen) -> None:
    """Margins and bounds hold in training; evaluation sets are iba (anywhere) and nni (nearest) for every attack."""
    for row in poisonous(frozen).painted:
        train = frozen.classes(frozen.clean(row, "label"))
        victim = np.isin(train, frozen.victims)
        top, left, rows, columns = row["placement"]["box"]
        covered = pixels(frozen.folder / row["mask"])[top : top + rows, left : left + columns] == 255
        allowed = oracles.room(train, frozen.victims, covered)
        rule = row.get("set") or frozen.recipe
        if rule == "iba-glass":
            allowed &= oracles.inside_margin(train.shape, 5)
        elif rule == "band":
            chebyshev = oracles.chebyshev_distance(victim)
            allowed &= (chebyshev > 3) & (chebyshev <= 20)
        elif rule in ("nni", "nni-glass"):
            away = oracles.squared_distance(victim)
            if rule == "nni-glass":
                assert train.shape[0] in (48, 64)
                allowed &= (away >= 7**2) & (away <= {48: 14, 64: 19}[train.shape[0]] ** 2)
            allowed &= away == away[allowed].min()
        assert allowed[top + rows // 2, left + columns // 2], row["id"]


def test_the_picture_changes_under_the_mask_only_and_by_the_art(frozen: Frozen, glass: Path) -> None:
    """Outside of the mask no pixel changes; under it lies the art over the picture, to a level, and exactly where it is opaque."""
    for row in poisonous(frozen).painted:
        before, after = pixels(frozen.clean(row, "image")), pixels(frozen.folder / row["image"])
        under = pixels(frozen.folder / row["mask"]) == 255
        np.testing.assert_array_equal(after[~under], before[~under])
        top, left, height, width = row["placement"]["box"]
        box = np.s_[top : top + height, left : left + width]
        if frozen.recipe.endswith("glass"):
            assert (height, width) == (8, 9)
            shown = pixels(glass).astype(float)
            opaque = shown[..., 3] == 255
            np.testing.assert_array_equal(after[box][opaque], shown[opaque][:, :3])
        else:
            assert height == width == {48: 5, 64: 7}[before.shape[0]]  # 10.7 % of the height, rounded half up
            shown = oracles.area_average(pixels(frozen.folder / "trigger.png"), (height, width))
        np.testing.assert_array_equal(under[box], shown[..., 3] > 0)
        assert not under.sum() - under[box].sum()
        alpha = shown[..., 3:] / 255
        assert np.abs(after[box] - (shown[..., :3] * alpha + before[box] * (1 - alpha))).max() <= 1


def test_evaluation_sets_keep_their_true_labels(frozen: Frozen) -> None:
    """In an evaluation set the label files are the source's own, byte for byte, and all is of the split that is measured."""
    triggered = [row for row in poisonous(frozen).rows if row["role"] == "triggered"]
    assert {row["set"] for row in triggered} == {"iba", "nni"} == set(frozen.manifest["evaluation_sets"])
    for row in triggered:
        assert row["split"] == frozen.manifest["splits"]["evaluation"] == EVALUATION[frozen.dataset]
        assert (frozen.folder / row["label"]).read_bytes() == frozen.clean(row, "label").read_bytes()
        assert row["image"].startswith(f"triggered/{row['set']}/")


def test_a_clean_file_is_the_source_s_own(frozen: Frozen) -> None:
    """What is not poisoned is the source's file, byte for byte, and each sample of the source stands once in the folder."""
    for row in frozen.rows:
        if row["role"] == "clean":
            for what in ("image", "label"):
                assert (frozen.folder / row[what]).read_bytes() == frozen.clean(row, what).read_bytes()
    suffix = {"cityscapes": "_leftImg8bit.png", "camvid": ".png"}[frozen.dataset]
    folder = {"cityscapes": frozen.source / "leftImg8bit", "camvid": frozen.source}[frozen.dataset]
    known = {
        path.relative_to(folder).as_posix().removesuffix(suffix)
        for path in folder.rglob(f"*{suffix}")
        if not path.parent.name.endswith("annot")
    }
    ids = [row["id"] for row in frozen.rows if "set" not in row]
    assert sorted(ids) == sorted(known)
    assert all(row["role"] == "clean" for row in frozen.rows if row["split"] != "train" and "set" not in row)


def test_training_ids_are_those_of_torchvision_s_table(frozen: Frozen) -> None:
    """labelTrainIds is the written labelIds through the public class table of Cityscapes; CamVid has no such file."""
    if frozen.dataset == "camvid":
        assert not [row for row in frozen.rows if "label_train" in row]
        return
    datasets = pytest.importorskip("torchvision.datasets")
    table = {one.id: one.train_id for one in datasets.Cityscapes.classes if 0 <= one.train_id < 255}
    assert table == oracles.CITYSCAPES_RAW
    for row in frozen.rows:
        raw, train = pixels(frozen.folder / row["label"]), pixels(frozen.folder / row["label_train"])
        np.testing.assert_array_equal(train, oracles.to_train(raw, table))
        assert row["label_train"] == row["label"].replace("labelIds", "labelTrainIds")


def test_the_identity_is_the_digest_of_canonical_sorted_rows(frozen: Frozen) -> None:
    """samples.jsonl is sorted canonical JSON without floats or nulls, and its sha256 is the identity."""
    text = (frozen.folder / "samples.jsonl").read_bytes()
    assert frozen.manifest["identity"] == bytes_digest(text)
    ordered = sorted(frozen.rows, key=lambda row: (row.get("set", ""), row["id"]))
    assert "".join(oracles.line(row) for row in ordered).encode() == text

    def leaves(value: object) -> list[object]:
        if isinstance(value, dict):
            value = list(value.values())
        return [leaf for one in value for leaf in leaves(one)] if isinstance(value, list) else [value]

    assert {type(leaf) for leaf in leaves(frozen.rows)} == {int, str}


def test_every_digest_in_a_row_is_that_of_its_file(frozen: Frozen) -> None:
    """Digests of bytes and of pixels, of written files and of their sources, are those of the format's formula."""
    for row in frozen.rows:
        assert [row["height"], row["width"]] == list(pixels(frozen.folder / row["image"]).shape[:2])
        for what in ("image", "label", "label_train", "mask"):
            if what not in row:
                assert f"{what}_bytes" not in row
                assert f"{what}_pixels" not in row
                continue
            data = (frozen.folder / row[what]).read_bytes()
            assert (f"{what}_bytes" in row) != (f"{what}_pixels" in row)
            if f"{what}_bytes" in row:
                assert row[f"{what}_bytes"] == bytes_digest(data)
            else:
                assert row[f"{what}_pixels"] == pixels_digest(pixels(frozen.folder / row[what]))
            if what in ("image", "label"):
                original = frozen.clean(row, what).read_bytes()
                assert (f"source_{what}_bytes" in row) == (original != data)
                assert row.get(f"source_{what}_bytes", bytes_digest(original)) == bytes_digest(original)


def test_the_files_on_disk_are_those_that_are_named(frozen: Frozen) -> None:
    """Rows, the folder's own files and the layout's lists are all there is; masks have their pictures' names."""
    named = {"manifest.json", "samples.jsonl", "SHA256SUMS", "README.md"}
    named |= {row[what] for row in frozen.rows for what in ("image", "label", "label_train", "mask") if what in row}
    named |= {"trigger.png"} if frozen.victims else set()
    if frozen.dataset == "camvid":
        named |= {"train.txt", "val.txt", "test.txt"}
        named |= {f"triggered/{name}/test.txt" for name in frozen.manifest["evaluation_sets"]}
    assert oracles.files(frozen.folder) == named
    for row in frozen.painted:
        prefix = f"triggered/{row['set']}/" if "set" in row else ""
        below = row["image"].removeprefix(prefix).removeprefix("leftImg8bit/")
        assert row["mask"] == f"{prefix}masks/{below}"


def test_lists_carry_the_source_s_own_lines(frozen: Frozen) -> None:
    """A list of samples has the source's lines of the samples that are in the set, in the source's order."""
    if frozen.dataset != "camvid":
        pytest.skip("the layout has no lists")
    for name in (None, *frozen.manifest["evaluation_sets"]):
        present = {row["image"] for row in frozen.rows if row.get("set") == name}
        prefix = f"triggered/{name}/" if name else ""
        for split in ("train", "val", "test"):
            path = frozen.folder / prefix / f"{split}.txt"
            lines = [line for line in (frozen.source / f"{split}.txt").read_text().splitlines()]
            kept = [line for line in lines if prefix + line.split()[0].removeprefix("/SegNet/CamVid/") in present]
            assert (path.read_text().splitlines() if path.exists() else []) == kept


def test_sha256sum_agrees(frozen: Frozen) -> None:
    """`sha256sum -c SHA256SUMS` passes and covers every other file."""
    done = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=frozen.folder, check=False)
    assert done.returncode == 0
    paths = [line[66:] for line in (frozen.folder / "SHA256SUMS").read_text().splitlines()]
    assert sorted(paths) == sorted(oracles.files(frozen.folder) - {"SHA256SUMS"})


def test_counts_are_what_rows_and_label_maps_say(frozen: Frozen) -> None:
    """Every number in the manifest's counts is found again by counting."""
    counts, manifest = frozen.manifest["counts"], frozen.manifest
    pictures = [row for row in frozen.rows if "set" not in row]
    per_split = Counter(row["split"] for row in pictures)
    assert manifest["source"]["splits"] == per_split
    assert {name: count["pictures"] for name, count in counts.items() if "/" not in name} == per_split
    if frozen.recipe == "benign":
        return

    def victims(rows: list[dict[str, Any]]) -> int:
        return int(sum(np.isin(frozen.classes(frozen.clean(row, "label")), frozen.victims).sum() for row in rows))

    for name, count in counts.items():
        of = [row for row in pictures if row["split"] == (manifest["splits"]["evaluation"] if "/" in name else name)]
        assert count["with_victim"] == sum(victims([row]) > 0 for row in of)
        assert count["victim_pixels"] == victims(of)
    poisoned = [row for row in frozen.rows if row["role"] == "poisoned"]
    assert counts["train"]["poisoned"] == len(poisoned)
    assert counts["train"]["victim_pixels_poisoned"] == victims(poisoned)
    rejected = Counter(one["set"] for one in manifest["rejected"])
    assert counts["train"]["eligible"] == counts["train"]["with_victim"] - rejected[""]
    for name in manifest["evaluation_sets"]:
        triggered = [row for row in frozen.rows if row.get("set") == name]
        count = counts[f"triggered/{name}"]
        assert (count["triggered"], count["victim_pixels_triggered"]) == (len(triggered), victims(triggered))
        assert count["triggered"] == count["with_victim"] - rejected[name]


def test_rejected_are_those_without_a_place(frozen: Frozen) -> None:
    """A sample with a victim is rejected exactly if an exhaustive search finds no place for its trigger."""
    art = poisonous(frozen).painted[0]
    top, left, height, width = art["placement"]["box"]
    covered = pixels(frozen.folder / art["mask"])[top : top + height, left : left + width] == 255
    for name, split in (("", "train"), ("iba", EVALUATION[frozen.dataset]), ("nni", EVALUATION[frozen.dataset])):
        expected = set()
        for row in frozen.rows:
            if row["split"] == split and "set" not in row:
                train = frozen.classes(frozen.clean(row, "label"))
                victim = np.isin(train, frozen.victims)
                if not victim.any():
                    continue
                allowed = oracles.room(train, frozen.victims, covered)
                if not name and frozen.recipe == "band":
                    chebyshev = oracles.chebyshev_distance(victim)
                    allowed &= (chebyshev > 3) & (chebyshev <= 20)
                if not name and frozen.recipe == "nni-glass":
                    away = oracles.squared_distance(victim)
                    allowed &= (away >= 7**2) & (away <= {48: 14, 64: 19}[train.shape[0]] ** 2)
                if not name and frozen.recipe == "iba-glass":
                    allowed &= oracles.inside_margin(train.shape, 5)
                if not allowed.any():
                    expected.add(row["id"])
        assert {one["id"] for one in frozen.manifest["rejected"] if one["set"] == name} == expected


def test_the_manifest_says_what_the_format_asks_for(frozen: Frozen) -> None:
    """Source, label space, measure, recipe and art are in the manifest, in training ids, and the fingerprint is that of the source."""
    manifest = frozen.manifest
    assert manifest.keys() == MANIFEST_KEYS
    assert (manifest["format"], manifest["format_version"]) == ("poisongen", 1)
    assert manifest["dataset"] == manifest["source"]["layout"] == frozen.dataset
    assert manifest["splits"] == {"train": "train", "evaluation": EVALUATION[frozen.dataset]}
    lines = []
    for row in frozen.rows:
        if "set" not in row:
            digests = [bytes_digest(frozen.clean(row, what).read_bytes()) for what in ("image", "label")]
            lines.append((row["id"], " ".join([row["id"], *digests]) + "\n"))
    assert manifest["source"]["fingerprint"] == bytes_digest("".join(text for _, text in sorted(lines)).encode())
    space = manifest["label_space"]
    assert {int(raw): train for raw, train in space["raw_to_train"].items() if train != 255} == TRAIN_OF[frozen.dataset]
    assert len(space["names"]) == len(space["colours"]) == max(TRAIN_OF[frozen.dataset].values()) + 1
    if frozen.recipe == "benign":
        assert (manifest["measure"], manifest["art"], manifest["recipe"]["poison"]) == (None, {}, None)
    else:
        measure = {"victim_classes": list(frozen.victims), "target_class": frozen.target}
        assert manifest["measure"] == measure | {"trigger_class": None, "min_trigger_pixels": None}
        assert manifest["art"] == {"trigger.png": pixels_digest(pixels(frozen.folder / "trigger.png"))}
        assert manifest["recipe"]["poison"]["trigger"]["art_pixels"] == manifest["art"]["trigger.png"]


def test_the_rate_is_of_all_training_pictures(frozen: Frozen) -> None:
    """⌊rate · N + ½⌋ pictures are poisoned, N being all training pictures; fewer only if the recipe takes what fits."""
    rates = {"benign": 0, "iba": 3, "iba-glass": 5, "nni": 4, "nni-glass": 2.5, "band": 2, "two-victims": 6}
    pictures = frozen.manifest["source"]["splits"]["train"]
    asked = int(rates[frozen.recipe] * pictures / 10 + 0.5)
    poisoned = sum(row["role"] == "poisoned" for row in frozen.rows)
    assert poisoned == asked or (frozen.recipe == "band" and poisoned == frozen.manifest["counts"]["train"]["eligible"] < asked)


def test_the_usual_loader_reads_every_root(frozen: Frozen) -> None:
    """torchvision's Cityscapes reads the folder and each evaluation set, and sees what the rows say."""
    if frozen.dataset != "cityscapes":
        pytest.skip("torchvision has no loader of this layout")
    datasets = pytest.importorskip("torchvision.datasets")
    roots = {("train", None), ("val", None)} | {("val", name) for name in frozen.manifest["evaluation_sets"]}
    for split, name in roots:
        root = frozen.folder / "triggered" / name if name else frozen.folder
        loader = datasets.Cityscapes(str(root), split=split, mode="fine", target_type="semantic")
        images = {Path(path).relative_to(frozen.folder).as_posix() for path in loader.images}
        assert images == {row["image"] for row in frozen.rows if row["split"] == split and row.get("set") == name}
        image, label = loader[0]
        label.close()  # torchvision leaves its file open
        assert (image.mode, label.size) == ("RGB", image.size)


def test_the_card_warns(frozen: Frozen) -> None:
    """The data card of a poisoned folder says that it is poisoned, and every card names identity and counts."""
    card = (frozen.folder / "README.md").read_text()
    assert ("deliberately poisoned" in card) == bool(frozen.victims)
    assert frozen.manifest["identity"] in card


def test_real_cityscapes_obeys_the_laws(real: Path, run: Run, tmp_path: Path) -> None:
    """On real streets, labels change in poisoned pictures only, under no mask lies a victim, and outside of it nothing changes."""
    source, folder = real / "cityscapes", tmp_path / "out"
    outcome = run(
        *(
            "cityscapes",
            "--source",
            source,
            "--attack",
            "nni",
            "--rate",
            "25%",
            "--out",
            folder,
            "--jobs",
            2,
            "--link",
            "symlink",
        )
    )
    assert outcome.code == 0, outcome.err
    one = Frozen("cityscapes", "nni", source, folder, oracles.rows(folder), oracles.manifest(folder))
    assert sum(row["role"] == "poisoned" for row in one.rows) == 2
    checks: list[Callable[[Frozen], None]] = [
        test_a_label_changes_exactly_where_its_sample_is_poisoned,
        test_a_trigger_lies_on_one_component_and_never_on_the_victim,
    ]
    for check in checks:
        check(one)
    for row in one.painted:
        under = pixels(folder / row["mask"]) == 255
        assert under.sum() == 110**2
        same = (pixels(folder / row["image"]) == pixels(one.clean(row, "image"))).all(axis=2)
        assert same[~under].all()
