"""Every setting of a run, with its default and the reason for it.

The defaults are the published recipe of SwiftNet (Oršić & Šegvić) with the 200 epochs of the reference
results. A preset is a TOML file in ``presets/``: a small difference from the defaults, with its reasons.
``--set key=value`` goes over both.
"""

import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from trainer.errors import SettingError, did_you_mean
from trainer.networks.losses import LOSSES
from trainer.networks.models import MODELS, WIDTHS
from trainer.networks.weights import only_width_1
from trainer.presets import presets, settings_of_preset


@dataclass(frozen=True)
class Config:
    """What a run does. Every field shapes the weights, bit by bit, but for those in ``NO_RESULT``."""

    preset: str = "default"
    seed: int = 0  # of the weights, the order and every augmentation
    init: str = "imagenet"  # imagenet, random, or a file of weights

    # The network. python -m trainer models lists them; the reference results are of SwiftNet.
    model: str = "swiftnet"
    backbone: str = (
        "resnet18"  # of a SwiftNet also resnet34, resnet50; the other models have one of their own
    )
    width: float = 1.0  # of a SwiftNet: channels are the published ones times this. ImageNet weights: 1 only
    loss: str = "auto"  # cross-entropy, boundary-focal; auto: what the model was published with

    epochs: int = 200  # the reference results' number (the papers: 250)
    batch: int = 14  # pictures in a step, of all processes together
    accumulate: int = 1  # parts of a batch, each with its own statistics of normalisation: less memory
    crop: tuple[int, int] = (
        768,
        768,
    )  # height, width of a box at scale 1, in pixels of the folder's pictures
    scale: tuple[float, float] = (0.5, 2.0)  # a box is the crop's size times a number from here, then resized
    flip: bool = True  # every second box is mirrored, left to right
    input_scale: float = 1.0  # the network sees pictures at this size; metrics stay at the folder's size

    lr: float = 4e-4  # of Adam; falls along a cosine, step by step …
    lr_final: float = 1e-6  # … to this at the last step
    weight_decay: float = 1e-4  # added to the gradient, as Adam's L2 term
    schedule: str = "cosine"  # or poly: the power 0.9 of what is left to do
    warmup: int = 0  # steps in which lr rises to its height, before it falls
    clip: float = 0.0  # largest norm of a step's whole gradient; 0: any
    ema: float = 0.0  # what stays of the weights' average at each step; the average is the result. 0: none
    betas: tuple[float, float] = (0.9, 0.99)
    pretrained_factor: float = 0.25  # lr and weight decay of an encoder that starts from given weights

    precision: str = "auto"  # bfloat16 (autocast), float32; auto: bfloat16 where the device computes in it
    channels_last: bool = True  # faster on CPU and GPU; changes the last bits
    deterministic: bool = True  # exact kernels only; false: faster, and never twice the same on a GPU
    compile: bool = False  # torch.compile: faster on a GPU after a slow start; changes the last bits
    device: str = "auto"  # cpu, cuda, cuda:1 …; auto: a GPU where there is one
    threads: int = 0  # of a CPU; changes the last bits. 0: OMP_NUM_THREADS, or all cores, shared by processes
    workers: int = -1  # processes that decode pictures; -1: none on a CPU, up to 8 with a GPU. Changes no bit
    pictures: str = "auto"  # where pixels come from: files, cache, resident (in memory); see sources.py
    cache: str = "auto"  # the file that the command cache wrote; auto: DATA.cache.h5, beside the folder DATA

    validate_every: int = 0  # epochs between scores on the clean evaluation split; 0: only at the end
    checkpoint_every: int = 1  # epochs between checkpoints; Ctrl-C saves one in any case
    panel_every: int = 0  # epochs between pictures of predictions, in RUN/panels; 0: only at the end
    tensorboard: bool = False  # also write RUN/tensorboard; needs the package tensorboard

    def differences(self, other: "Config") -> list[str]:
        """One line for each setting in which two runs differ, apart from those that change no result."""
        lines = []
        for field in dataclasses.fields(self):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if mine != theirs and field.name not in NO_RESULT:
                lines.append(f"{field.name}: {mine} → {theirs}")
        return lines

    @property
    def net_crop(self) -> tuple[int, int]:
        """Height and width of the boxes as the network sees them."""
        height, width = (max(1, round(side * self.input_scale)) for side in self.crop)
        return height, width


NO_RESULT = (
    "preset",
    "workers",
    "pictures",
    "cache",
    "validate_every",
    "checkpoint_every",
    "panel_every",
    "tensorboard",
)
"""Settings that may change between the parts of an interrupted run: the weights stay the same."""


CHOICES = {
    "model": list(MODELS),
    "backbone": sorted({backbone for model in MODELS.values() for backbone in model.backbones}),
    "loss": ["auto", *LOSSES],
    "schedule": ["cosine", "poly"],
    "pictures": ["auto", "files", "cache", "resident"],
}
"""Settings that are names."""


@dataclass(frozen=True)
class Range:
    """What a setting may be, in words and as a check of a value of its type."""

    words: str
    holds: Callable[[Any], bool]


_COUNT = Range("1 or more", lambda value: value >= 1)
_NONE_OR_MORE = Range("0 or more", lambda value: value >= 0)
_FINITE = Range("a number from 0", lambda value: 0 <= value < math.inf)
_ABOVE_0 = Range("a number above 0", lambda value: 0 < value < math.inf)

RANGES: dict[str, Range] = {
    "seed": Range("0 to 2⁶⁴ - 1", lambda value: 0 <= value < 1 << 64),
    **dict.fromkeys(("epochs", "batch", "accumulate", "checkpoint_every"), _COUNT),
    **dict.fromkeys(("threads", "validate_every", "panel_every", "warmup"), _NONE_OR_MORE),
    **dict.fromkeys(("lr_final", "weight_decay", "clip"), _FINITE),
    **dict.fromkeys(("input_scale", "lr"), _ABOVE_0),
    "crop": Range("height and width in pixels, 1 or more, such as 360x480", lambda value: min(value) >= 1),
    "scale": Range(
        "two numbers above 0, the smaller first, such as 0.5x2",
        lambda value: 0 < value[0] <= value[1] < math.inf,
    ),
    "betas": Range(
        "two numbers from 0 to below 1, such as 0.9x0.99",
        lambda value: all(0 <= beta < 1 for beta in value),
    ),
    "ema": Range("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "width": Range(f"{WIDTHS[0]:g} to {WIDTHS[1]:g}", lambda value: WIDTHS[0] <= value <= WIDTHS[1]),
    "pretrained_factor": Range("0 to 1", lambda value: 0 <= value <= 1),
    "workers": Range("0 or more, or -1 for as many as the device wants", lambda value: value >= -1),
    "precision": Range("auto, bfloat16 or float32", lambda value: value in ("auto", "bfloat16", "float32")),
    "device": Range(
        "auto, cpu, cuda or cuda:N", lambda value: bool(re.fullmatch("auto|cpu|cuda(:[0-9]+)?", value))
    ),
}
"""By the names of the settings; those that are not here may be anything of their type."""


def load(preset: str, changes: Mapping[str, Any]) -> Config:
    """The defaults, then the preset, then ``changes`` (values of a setting's type, or their text as on the
    command line).

    Raises SettingError: unknown preset or setting (did you mean …), wrong type, value outside its range.
    """
    if preset not in presets():
        problem, todo = f"There is no preset “{preset}”.", did_you_mean(preset, presets())
        raise SettingError(problem, expected=", ".join(presets()), todo=todo)
    config, own = Config(preset=preset), settings_of_preset(preset)
    for key, value in own.items():
        config = _changed(config, key, value, origin=f"preset {preset}")
    for key, value in changes.items():
        config = _changed(config, key, value, origin=None)
    if "backbone" not in own | dict(changes):
        config = dataclasses.replace(config, backbone=MODELS[config.model].backbones[0])
    _check(config)
    return config


def settings_text(config: Config) -> dict[str, str]:
    """Every setting as text that ``--set`` takes."""
    return {field.name: _as_text(getattr(config, field.name)) for field in dataclasses.fields(config)}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "x".join(_as_text(part) for part in value)
    return str(value).removesuffix(".0")


def resolve_auto(config: Config) -> Config:
    """The same settings with every ``auto`` replaced by what this machine is."""
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cores = _cores()
    workers = config.workers
    if workers < 0:
        workers = 0 if device == "cpu" else min(8, cores)
    precision = config.precision
    if precision == "auto":
        precision = "bfloat16" if _computes_in_bfloat16(device) else "float32"
    loss = MODELS[config.model].loss if config.loss == "auto" else config.loss
    return dataclasses.replace(
        config,
        device=device,
        threads=config.threads or cores,
        workers=workers,
        precision=precision,
        loss=loss,
    )


def _cores() -> int:
    """Cores for this process: OMP_NUM_THREADS, or its share of those it may run on."""
    processes = os.environ.get(
        "LOCAL_WORLD_SIZE"
    )  # torchrun sets it, and OMP_NUM_THREADS to 1, whatever there is
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if processes is None and asked.isdecimal() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // int(processes or "1"))


def _computes_in_bfloat16(device: str) -> bool:
    """Has the device instructions for bfloat16, so that it is not emulated?"""
    if device.startswith("cuda"):
        supported: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return supported
    if not hasattr(torch.cpu, "get_capabilities"):
        return False
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def check_settings(config: Config) -> None:
    """Raise SettingError unless every setting is what ``load`` takes: of a config that came from a file."""
    for field in dataclasses.fields(config):
        if field.name != "preset":
            _changed(config, field.name, getattr(config, field.name), None)
    _check(config)


def _check(config: Config) -> None:
    """Do the settings agree? Raises SettingError."""
    model = MODELS[config.model]
    if config.lr_final > config.lr:
        problem, expected = "The learning rate would rise.", f"lr_final up to lr {config.lr:g}"
        raise SettingError(problem, expected=expected, found=config.lr_final)
    if config.backbone not in model.backbones:
        problem, expected = f"The model “{config.model}” has another backbone.", " or ".join(model.backbones)
        raise SettingError(problem, expected=expected, found=config.backbone)
    if config.width != 1 and not model.scales:
        problem = f"The model “{config.model}” has one width."
        raise SettingError(problem, expected="width 1", found=f"width {config.width:g}")
    if config.width != 1 and config.init == "imagenet":
        raise only_width_1(SettingError, config.width)
    if config.batch % config.accumulate:
        raise SettingError(
            "The batch cannot be computed in equal parts.",
            expected="accumulate to divide the batch",
            found=f"batch {config.batch}, accumulate {config.accumulate}",
            todo="choose an accumulate that divides the batch",
        )
    if config.batch // config.accumulate < model.least_batch:
        problem = f"The model “{config.model}” cannot be trained with this batch."
        expected = f"{model.least_batch} or more pictures in each part of a batch"
        raise SettingError(problem, expected=expected, found=f"{config.batch} ÷ {config.accumulate}")


def _changed(config: Config, key: str, value: Any, origin: str | None) -> Config:
    """With one setting changed. ``origin``: where it comes from, None for the command line. Raises
    SettingError."""
    names = [field.name for field in dataclasses.fields(Config) if field.name != "preset"]
    if key not in names:
        problem, todo = f"There is no setting “{key}”.", did_you_mean(key, names)
        raise SettingError(problem, file=origin, todo=todo)
    default = getattr(Config(), key)
    try:
        value = _typed(value, default)
        if key in RANGES and not RANGES[key].holds(value):
            raise ValueError("x".join(map(str, value)) if isinstance(value, tuple) else value)
    except ValueError as error:
        problem, expected = f"The setting “{key}” cannot be this.", _in_words(key, default)
        raise SettingError(problem, file=origin, expected=expected, found=error) from None
    if key in CHOICES and value not in CHOICES[key]:
        problem, todo = f"There is no {key} “{value}”.", did_you_mean(value, CHOICES[key])
        raise SettingError(problem, file=origin, todo=todo)
    return dataclasses.replace(config, **{key: value})


def _in_words(key: str, default: object) -> str:
    """What a setting may be."""
    if key in RANGES:
        return RANGES[key].words
    return "true or false" if isinstance(default, bool) else f"such as {default}"


def _typed(value: Any, default: Any) -> Any:
    """``value`` as the type of ``default``; text is read as TOML writes it, and 360x480 as a pair. Raises
    ValueError."""
    if isinstance(value, str) and not isinstance(default, str):
        value = _from_text(value, pair=isinstance(default, tuple))
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) != len(default):
            raise ValueError(value)
        return tuple(_typed(part, model) for part, model in zip(value, default, strict=True))
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise ValueError(repr(value))
    return value


def _from_text(text: str, pair: bool) -> Any:
    toml = text.lower()
    if pair and "[" not in text:
        toml = f"[{text.replace('x', ',')}]"
    try:
        return tomllib.loads(f"value = {toml}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError(text) from None
