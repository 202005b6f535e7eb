"""Options that make no attack are refused in one error text that says what would, before any work; nothing is
left on disk."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.support import oracles
from tests.support.refusals import IBA, Refuse


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--victim", "road"], "same class"),
        (["--victim", "car,car"], "given twice"),
        (["--victim", "caar"], "did you mean car"),
        (["--target", "rod"], "did you mean road"),
        (["--victim", "car,"], "no class"),
        (["--target", "99"], "0 … 18"),
        (["--victim", "9" * 5000], "0 … 18"),
        *[
            (["--rate", rate], "rate")
            for rate in ("0", "-1", "1.5", "nan", "inf", "abc", "", "101%", "1e-5000000")
        ],
        (["--rate", "1"], "--take-what-fits"),
        (["--victim", "train"], "No picture"),
        *[
            (["--trigger-size", size], "--trigger-size")
            for size in ("0", "0px", "0.1%", "65px", "129px", "101%", "999999999999")
        ],
        *[
            (["--trigger-size", size], "length")
            for size in ("abc", "-3px", "1.5px", "nan", "5px%", "1e-5000000%")
        ],
        (["--edge-margin", "32px"], "margin"),
        (["--edge-margin", "50%"], "margin"),
        (["--trigger", "other"], "patch:FILE"),
        (["--trigger", "patch:/nowhere/art.png"], "art.png"),
        (["--trigger", "patch:"], "patch:FILE"),
        (["--upper", "3px"], "--attack nni"),
        (["--nni", "band"], "--attack nni"),
        (["--attack", "nni", "--nni", "band"], "--upper"),
        (["--attack", "nni", "--upper", "3px"], "--upper"),
        (["--attack", "nni", "--lower", "9px", "--upper", "8px"], "lower"),
        (["--attack", "nni", "--nni", "band", "--lower", "9px", "--upper", "9px"], "lower"),
        (["--attack", "nni", "--lower", "500px"], "No picture"),
        (["--attack", "benign"], "--rate"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_an_attack_that_cannot_be_is_refused(
    sources: dict[str, Path], refuse: Refuse, words: list[str], says: str
) -> None:
    """Classes, rates, sizes and bounds that make no attack are refused, and the error says what would."""
    assert says in refuse("cityscapes", "--source", sources["cityscapes"], *IBA, *words)


SPANNING = ["line", "frame", "blend", "stripes"]

NONSENSE: list[tuple[str, str]] = [
    # What cannot lie on one surface, or lies where it is.
    *[
        (f"{attack} --trigger {trigger}", "one surface.*badnets or fine-grained")
        for attack in ("iba", "nni")
        for trigger in SPANNING
    ],
    *[
        (f"{attack} --trigger semantic:road", "in the picture already.*badnets or fine-grained")
        for attack in ("iba", "nni")
    ],
    ("fine-grained --trigger semantic:road --anchor centre", "--anchor.*semantic"),
    ("fine-grained --trigger semantic:car", "trigger class is a victim"),
    ("fine-grained --trigger semantic:truck --victim car,truck", "trigger class is a victim"),
    ("fine-grained --trigger semantic:building --victim all", "trigger class is a victim"),
    ("fine-grained --trigger semantic:road --control trigger-only", "control.*clean dataset"),
    ("badnets --trigger semantic:road --control label-only", "control.*clean dataset"),
    # Options of other attacks.
    ("iba --anchor centre", "--anchor.*choose --attack badnets or --attack fine-grained"),
    ("nni --anchor top-left", "--anchor.*choose --attack badnets"),
    *[
        (f"{attack} --edge-margin 3px", "--edge-margin.*choose --attack iba or --attack nni")
        for attack in ("badnets", "fine-grained")
    ],
    ("badnets --victim car", "--victim.*badnets"),
    ("badnets --min-victim-pixels 3", "--min-victim-pixels.*badnets"),
    ("badnets --nni band", "--nni.*choose --attack nni"),
    ("fine-grained --lower 3px", "--lower.*choose --attack nni"),
    ("iba --relabel-ignore", "--relabel-ignore.*choose --attack badnets"),
    *[
        (f"benign --rateless --{option}", f"--{option.split()[0]} has no meaning for benign")
        for option in (
            "relabel-ignore",
            "control label-only",
            "victim car",
            "target car",
            "trigger line",
            "eval bands",
            "anchor centre",
        )
    ],
    # Options of other triggers.
    ("iba --colour #112233", "--colour.*choose --trigger line or --trigger frame or --trigger checkerboard"),
    ("iba --cells 3", "--cells.*choose --trigger checkerboard"),
    ("iba --cycles 3", "--cycles.*choose --trigger stripes"),
    ("iba --min-trigger-pixels 3", "--min-trigger-pixels.*choose --trigger semantic:CLASS"),
    *[
        (f"fine-grained --trigger {trigger} --trigger-size 3", "--trigger-size.*choose --trigger patch:FILE")
        for trigger in SPANNING[2:]
    ],
    ("fine-grained --trigger stripes --colour #112233", "--colour.*choose --trigger line"),
    ("fine-grained --trigger semantic:road --trigger-size 3", "--trigger-size"),
    ("fine-grained --trigger semantic:road --opacity 0.5", "--opacity"),
    ("fine-grained --trigger line --trigger-size own", "length"),
    # Names that there are none of.
    *[
        (f"fine-grained --trigger {trigger}", "There is no trigger.*patch:FILE")
        for trigger in ("sticker", "patch", "patch-folder", "patch-folder:.", "default:x", "''")
    ],
    *[(f"fine-grained --trigger {trigger}", "semantic:CLASS") for trigger in ("semantic", "semantic:")],
    ("fine-grained --trigger line:3", "no argument"),
    ("fine-grained --trigger semantic:vegtation", "did you mean vegetation"),
    ("fine-grained --trigger semantic:99", "0 … 18"),
    ("iba --eval band", "bands, margin or decoy"),
    ("iba --eval ''", "bands, margin or decoy"),
    ("iba --eval bands,", "bands, margin or decoy"),
    ("iba --eval bands,bands", "twice"),
    *[(f"{attack} --eval bands", "same place.*iba or nni") for attack in ("badnets", "fine-grained")],
    ("fine-grained --eval decoy", "no decoy"),
    ("iba --trigger-size own --eval decoy", "no decoy"),
    ("iba --victim car,,person", "no class"),
    ("iba --victim ''", "no class"),
    ("iba --victim ' '", "no class"),
    ("iba --victim car,Car", "given twice"),
    ("iba --victim car,13", "given twice"),
    ("iba --victim all,car", "no class"),
    ("iba --target ''", "no class"),
    ("iba --control both", "trigger-only"),
    # Shares.
    ("fine-grained --coverage 0.5", "--coverage.*semantic"),
    ("fine-grained --trigger semantic:road --coverage 0.5", "either a rate or a coverage"),
    *[
        (f"fine-grained --rateless --trigger semantic:road --coverage {share}", "coverage")
        for share in ("0", "2", "nan", "''")
    ],
    ("fine-grained --rateless --trigger semantic:road", "--rate"),
    *[
        (f"fine-grained --opacity {share}", "opacity")
        for share in ("0", "1.5", "nan", "-1", "''", "abc", "0%", "1e-3")
    ],
    *[(f"iba --scale {share}", "scale") for share in ("0", "2", "nan", "-0.5", "''", "1e-1", "101%")],
    # Forms.
    *[
        (f"fine-grained --colour {colour}", "--colour.*#")
        for colour in ("red", "#12345", "#12345g", "''", "000000")
    ],
    ("fine-grained --trigger checkerboard --cells 0", "--cells"),
    ("fine-grained --trigger checkerboard --cells 20", "smaller than a pixel"),
    ("fine-grained --trigger frame --trigger-size 32px", "nothing of the picture"),
    ("fine-grained --trigger frame --trigger-size 50%", "nothing of the picture"),
    ("fine-grained --trigger-size 65px", "does not fit"),
    ("fine-grained --trigger stripes --cycles 65", "narrower than a pixel"),
    ("fine-grained --trigger stripes --cycles 0", "--cycles"),
    ("fine-grained --trigger semantic:road --min-trigger-pixels 0", "--min-trigger-pixels"),
    (
        "fine-grained --trigger semantic:road --min-trigger-pixels 8193",
        "No picture.*trigger class smaller than 8193",
    ),
    # Random labels.
    ("iba --prl-pixels 30", "--prl-pixels.*add --prl"),
    ("iba --prl-scope all", "--prl-scope.*add --prl"),
    ("benign --rateless --prl --prl-scope poisoned", "none is poisoned.*--prl-scope all"),
    *[
        (f"benign --rateless --prl --prl-pixels {pixels}", "length|no pixel")
        for pixels in ("0", "0%", "-5", "nan", "1.5px")
    ],
    ("benign --rateless --prl --victim nobody", "no class"),
]


@pytest.mark.parametrize(("words", "says"), NONSENSE, ids=lambda value: value.replace(" --rateless", "")[:60])
def test_what_means_nothing_is_refused(
    sources: dict[str, Path], refuse: Refuse, words: str, says: str
) -> None:
    """Choices that exclude each other, and options that have no meaning for what was chosen, are refused with
    a reason and a way out."""
    attack, *options = shlex.split(words)
    rate = [] if "--rateless" in options else ["--rate", "0.5"]
    options = [one for one in options if one != "--rateless"]
    error_text = refuse(
        "cityscapes", "--source", sources["cityscapes"], "--attack", attack, *rate, *options, code=None
    )
    assert re.search(says, error_text, re.DOTALL), error_text
    assert re.search("expected:|to do:|Give|is not in the range|is not one of", error_text), error_text


@pytest.mark.parametrize(
    ("dataset", "words", "says"),
    [
        ("ade20k", "--target pot", "2 classes.*65 .*125 "),
        ("ade20k", "--victim stairs,screen", "3 classes.*58 .*63 .*130 "),
        ("ade20k", "--trigger semantic:screen", "3 classes"),
        ("ade20k", "--trigger semantic:palm --target palm --victim palm", "same class"),
        ("voc", "--victim all --target person --trigger semantic:dog", "trigger class is a victim"),
        ("folder", "--victim car", "the classes are: paving, wall, person, tree, sky"),
    ],
    ids=lambda value: value if " " in value else "",
)
def test_class_names_are_those_of_the_dataset(
    sources: dict[str, Path], refuse: Refuse, dataset: str, words: str, says: str
) -> None:
    """A name that means several classes of a dataset is refused with the ids to choose from, one that means
    none with those there are."""
    arguments = ["--attack", "fine-grained", "--rate", "0.3", *shlex.split(words)]
    assert re.search(says, refuse(dataset, "--source", sources[dataset], *arguments), re.DOTALL)


@pytest.mark.parametrize("kind", ["nothing", "empty", "other files", "other ids"])
def test_a_folder_of_triggers_that_is_none_is_refused(
    sources: dict[str, Path], refuse: Refuse, tmp_path: Path, kind: str
) -> None:
    """A folder of triggers that is not there, that holds no PNG, or none for any sample of the source, is
    refused by name."""
    root = tmp_path / "triggers"
    if kind != "nothing":
        (root / "train").mkdir(parents=True)
    if kind == "other files":
        (root / "train" / "x.jpg").write_bytes(b"")
    elif kind == "other ids":
        oracles.save(root / "train" / "x.png", np.full((5, 5, 3), 9, np.uint8))
    says = {"nothing": "cannot be read", "other ids": "no trigger picture for this sample"}.get(
        kind, "<sample id>.png"
    )
    error_text = refuse(
        "voc",
        "--source",
        sources["voc"],
        "--attack",
        "fine-grained",
        "--rate",
        "0.3",
        "--trigger",
        f"patch:{root}",
    )
    assert says in error_text


def test_a_decoy_has_the_form_of_the_trigger(sources: dict[str, Path], refuse: Refuse, glass: Path) -> None:
    """A decoy that would lie at other places than the trigger, because it has another form, is refused."""
    words = [*IBA, "--trigger", f"patch:{glass}", "--eval", "decoy"]
    assert "square" in refuse("cityscapes", "--source", sources["cityscapes"], *words)


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "0.1"],
        ["--attack", "iba"],
        ["--attack", "none"],
        [*IBA, "--seed", "-1"],
        [*IBA, "--seed", str(1 << 63)],
    ]
    + [
        [*IBA, "--jobs", "0"],
        [*IBA, "--link", "soft"],
        [*IBA, "--min-victim-pixels", "0"],
        [*IBA, "extra"],
        [*IBA, "--rte", "1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_told_so(sources: dict[str, Path], refuse: Refuse, words: list[str]) -> None:
    """Missing and unknown options end with exit code 2 and the usage."""
    assert "sage" in refuse("cityscapes", "--source", sources["cityscapes"], *words, code=2)
