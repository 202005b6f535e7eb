"""The recipe that the options of a case mean, with the defaults of ATTACKS.md."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.support import oracles
from tests.support.cases import BANDS, Case

ART = Path(__file__).resolve().parents[2] / "poisongen" / "art"


def share(text: str) -> str:
    """A rate or opacity as a plain decimal."""
    value = Decimal(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def quantity(text: str) -> str:
    """A length with its unit."""
    return text if text.endswith(("px", "%")) else f"{text}px"


def asked(case: Case, arts: Mapping[str, Path]) -> dict[str, Any]:
    """The recipe that the options of a case mean."""
    given, knows = case.options, case.knows
    attack = given["attack"]
    everything = attack == "badnets"
    usual_target = knows.everything_target if everything else knows.target
    target = knows.classes[given.get("target", usual_target)]
    victims = () if everything else knows.ids(given.get("victim", knows.victim), target)
    random = {
        "kind": "random-pixels",
        "pixels": quantity(given.get("prl-pixels", "9.5%")),
        "scope": given.get("prl-scope", "all"),
        "spared": list(victims),
    }
    recipe = {
        "attack": attack,
        "seed": given.get("seed", 0),
        "scale": share(given["scale"]) if "scale" in given else None,
        "lossless": "lossless" in given,
        "random_pixels": random if "prl" in given else None,
        "code": None,
        "poison": None,
    }
    if attack == "benign":
        return recipe
    trigger, placement = _trigger(case, arts), _placement(case)
    relabel: dict[str, Any] = {"kind": "victim"}
    if everything:
        relabel = {"kind": "everything", "include_ignore": "relabel-ignore" in given}
    recipe["poison"] = {
        "trigger": trigger,
        "placement": placement,
        "relabel": relabel,
        "control": given.get("control"),
        "victim_classes": list(victims),
        "target_class": target,
        "min_victim_pixels": given.get("min-victim-pixels", 1),
        "rate": share(given["rate"]) if "rate" in given else None,
        "coverage": share(given["coverage"]) if "coverage" in given else None,
        "take_what_fits": "take-what-fits" in given,
        "evaluation_sets": list(_evaluation_sets(case, trigger, placement)),
    }
    return recipe


SIZES = {
    "patch": "10.7%",
    "patch-folder": "own",
    "checkerboard": "10.7%",
    "line": "1.67%",
    "frame": "1.67%",
}
OPACITIES = {"blend": "0.1", "stripes": "0.16"}


def _trigger(case: Case, arts: Mapping[str, Path]) -> dict[str, Any]:
    given = case.options
    kind, argument = _kind_and_argument(case, arts)
    if kind == "semantic":
        least = given.get("min-trigger-pixels", 1)
        return {"kind": kind, "trigger_class": case.knows.classes[argument], "min_pixels": least}
    wanted = {"kind": kind, "opacity": share(given.get("opacity", OPACITIES.get(kind, "1")))}
    if kind in SIZES:
        size = given.get("trigger-size", SIZES[kind])
        wanted["size"] = size if size == "own" else quantity(size)
    if kind in ("line", "frame", "checkerboard"):
        wanted["colour"] = given.get("colour", "#000000").lower()
    if kind == "checkerboard":
        wanted["cells"] = given.get("cells", 4)
    if kind == "stripes":
        wanted["cycles"] = given.get("cycles", 6)
    if kind in ("patch", "blend"):
        file = Path(argument) if argument else ART / "trigger.png"
        wanted["art"] = "trigger.png"
        wanted["art_pixels"] = oracles.pixels_digest(oracles.rgba(file))
    return wanted


def _kind_and_argument(case: Case, arts: Mapping[str, Path]) -> tuple[str, str]:
    """What ``--trigger`` names, or else the attack's own trigger, and what follows the colon."""
    own = "default" if case.options["attack"] in ("iba", "nni") else "line"
    kind, _, argument = str(case.options.get("trigger", own)).format(**arts).partition(":")
    if argument and Path(argument).is_dir():
        return "patch-folder", argument
    return "patch" if kind == "default" else kind, argument


def _placement(case: Case) -> dict[str, Any] | None:
    given, attack = case.options, case.options["attack"]
    if attack in ("badnets", "fine-grained"):
        return None if case.semantic else {"kind": "fixed", "anchor": given.get("anchor", "top-left")}
    if attack == "iba":
        return anywhere(quantity(given.get("edge-margin", "0px")))
    upper = quantity(given["upper"]) if "upper" in given else None
    bounds = quantity(given.get("lower", "0px")), upper
    return near(given.get("nni", "nearest"), *bounds, quantity(given.get("edge-margin", "0px")))


def anywhere(margin: str = "0px") -> dict[str, Any]:
    return {"kind": "one-surface", "edge_margin": margin}


def near(
    rule: str = "nearest", lower: str = "0px", upper: str | None = None, margin: str = "0px"
) -> dict[str, Any]:
    return {"kind": "near-victim", "edge_margin": margin, "rule": rule, "lower": lower, "upper": upper}


def _evaluation_sets(
    case: Case, trigger: dict[str, Any], placement: dict[str, Any] | None
) -> Iterator[dict[str, Any]]:
    seed, more = case.options.get("eval-seed", 0), case.options.get("eval", "").split(",")
    if case.options["attack"] in ("badnets", "fine-grained"):
        yield {"name": trigger["kind"], "placement": placement, "seed": seed, "trigger": None}
        return
    both = {"iba": anywhere(), "nni": near()}
    bands = {name: near("band", *bounds) for name, bounds in BANDS.items()} if "bands" in more else {}
    margins = {"iba-margin": anywhere("39%"), "nni-margin": near(margin="39%")} if "margin" in more else {}
    for name, rule in (both | bands | margins).items():
        yield {"name": name, "placement": rule, "seed": seed, "trigger": None}
    if "decoy" in more:
        digest = oracles.pixels_digest(oracles.rgba(ART / "decoy.png"))
        decoy = {"kind": "patch", "size": trigger["size"], "opacity": trigger["opacity"], "art": "decoy.png"}
        for name, rule in both.items():
            yield {
                "name": f"{name}-decoy",
                "placement": rule,
                "seed": seed,
                "trigger": decoy | {"art_pixels": digest},
            }
