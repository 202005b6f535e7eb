"""Every setting of a run, with its default and the reason for it.

The defaults are the published recipe of SwiftNet (Oršić & Šegvić) with the 200 epochs of the reference
results. A preset is a TOML file in ``presets/``: a small difference from the defaults, with its reasons.
``--set key=value`` goes over both.
"""

import dataclasses
import math
import os
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

    model: str = "swiftnet"  # python -m trainer models lists them; the reference results are of this one
    backbone: str = (
        "resnet18"  # resnet18, resnet34, resnet50 of a SwiftNet; the other models have one of their own
    )
    width: float = (
        1.0  # of a SwiftNet: its channels are the published ones times this. ImageNet weights are for 1 only
    )
    loss: str = "auto"  # cross-entropy, boundary-focal; auto: what the model was published with

    epochs: int = 200  # the reference results' number (the papers: 250)
    batch: int = 14  # pictures in a step, of all processes together
    accumulate: int = 1  # parts in which a batch is computed: less memory; each part has its own statistics of normalisation
    crop: tuple[int, int] = (
        768,
        768,
    )  # height, width of a box at scale 1, in pixels of the folder's pictures
    scale: tuple[float, float] = (
        0.5,
        2.0,
    )  # a box is the crop's size times a number from here, then resized to the crop's
    flip: bool = True  # every second box is mirrored, left to right
    input_scale: float = 1.0  # the network sees pictures at this size; metrics stay at the folder's size

    lr: float = 4e-4  # of Adam; falls along a cosine, step by step …
    lr_final: float = 1e-6  # … to this at the last step
    weight_decay: float = 1e-4  # added to the gradient, as Adam's L2 term
    schedule: str = "cosine"  # or poly: the power 0.9 of what is left to do
    warmup: int = 0  # steps in which lr rises to its height, before it falls
    clip: float = 0.0  # largest norm of a step's whole gradient; 0: any
    ema: float = 0.0  # what stays of the average of the weights at each step; then the average is the result. 0: no average
    betas: tuple[float, float] = (0.9, 0.99)
    pretrained_factor: float = (
        0.25  # lr and weight decay of an encoder that starts from given weights; no part in random init
    )

    precision: str = "auto"  # bfloat16 (autocast), float32; auto: bfloat16 on a device that computes in it. Scoring is float32
    channels_last: bool = True  # faster on CPU and GPU; changes the last bits
    deterministic: bool = (
        True  # exact kernels only; false: as fast as the device can, and never twice the same on a GPU
    )
    compile: bool = False  # torch.compile: faster on a GPU after a slow start; changes the last bits
    device: str = "auto"  # cpu, cuda, cuda:1 …; auto: a GPU where there is one
    threads: int = 0  # of a CPU; 0: OMP_NUM_THREADS, or all cores, shared by the processes. Another number of threads gives other last bits
    workers: int = (
        -1
    )  # processes that decode pictures; -1: none on a CPU, up to 8 beside a GPU. Never changes a bit
    pictures: str = (
        "auto"  # where pixels come from: files, cache, resident (in memory); changes no bit. See sources.py
    )
    cache: str = "auto"  # the file that the command cache wrote; auto: DATA.cache.h5, beside the folder DATA

    validate_every: int = 0  # epochs between scores on the clean evaluation split; 0: only at the end
    checkpoint_every: int = 1  # epochs between checkpoints; Ctrl-C saves one in any case
    panel_every: int = 0  # epochs between pictures of predictions, in RUN/panels; 0: only at the end
    tensorboard: bool = False  # also write RUN/tensorboard; needs the package tensorboard

    def differences(self, other: "Config") -> list[str]:
        """One line for each setting in which two runs differ, apart from those that change no result."""
        pairs = (
            (field.name, getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
        )
        return [
            f"{name}: {mine} → {theirs}"
            for name, mine, theirs in pairs
            if mine != theirs and name not in NO_RESULT
        ]

    @property
    def net_crop(self) -> tuple[int, int]:
        """Height and width of the boxes as the network sees them."""
        return max(1, round(self.crop[0] * self.input_scale)), max(1, round(self.crop[1] * self.input_scale))


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

Range = tuple[str, Callable[[Any], bool]]

_COUNT: Range = "1 or more", lambda value: value >= 1
_NONE_OR_MORE: Range = "0 or more", lambda value: value >= 0
_FINITE: Range = "a number from 0", lambda value: 0 <= value < math.inf
_ABOVE_0: Range = "a number above 0", lambda value: 0 < value < math.inf

RANGES: dict[str, Range] = {
    "seed": ("0 to 2⁶⁴ - 1", lambda value: 0 <= value < 1 << 64),
    **dict.fromkeys(("epochs", "batch", "accumulate", "checkpoint_every"), _COUNT),
    **dict.fromkeys(("threads", "validate_every", "panel_every", "warmup"), _NONE_OR_MORE),
    **dict.fromkeys(("lr_final", "weight_decay", "clip"), _FINITE),
    **dict.fromkeys(("input_scale", "lr"), _ABOVE_0),
    "crop": ("height and width in pixels, 1 or more, such as 360x480", lambda value: min(value) >= 1),
    "scale": (
        "two numbers above 0, the smaller first, such as 0.5x2",
        lambda value: 0 < value[0] <= value[1] < math.inf,
    ),
    "betas": (
        "two numbers from 0 to below 1, such as 0.9x0.99",
        lambda value: all(0 <= beta < 1 for beta in value),
    ),
    "ema": ("a number from 0 to below 1", lambda value: 0 <= value < 1),
    "width": (f"{WIDTHS[0]:g} to {WIDTHS[1]:g}", lambda value: WIDTHS[0] <= value <= WIDTHS[1]),
    "pretrained_factor": ("0 to 1", lambda value: 0 <= value <= 1),
    "workers": ("0 or more, or -1 for as many as the device wants", lambda value: value >= -1),
    "precision": ("auto, bfloat16 or float32", lambda value: value in ("auto", "bfloat16", "float32")),
    "device": (
        "auto, cpu, cuda or cuda:N",
        lambda value: (
            value in ("auto", "cpu", "cuda") or (value.startswith("cuda:") and value[5:].isdecimal())
        ),
    ),
}
"""What a setting may be, in words and as a check of a value of its type."""


def load(preset: str, changes: Mapping[str, Any]) -> Config:
    """The defaults, then the preset, then ``changes`` (values of a setting's type, or their text as on the
    command line).

    Raises SettingError: unknown preset or setting (did you mean …), wrong type, value outside its range.
    """
    if preset not in presets():
        todo = did_you_mean(preset, presets())
        raise SettingError(f"There is no preset “{preset}”.", expected=", ".join(presets()), todo=todo)
    config, own = Config(preset=preset), settings_of_preset(preset)
    for settings, origin in ((own, f"preset {preset}"), (changes, None)):
        for key, value in settings.items():
            config = _changed(config, key, value, origin)
    if "backbone" not in own | dict(changes):
        config = dataclasses.replace(config, backbone=MODELS[config.model].backbones[0])
    _check(config)
    return config


def from_json(values: Mapping[str, Any]) -> Config:
    """The inverse of ``dataclasses.asdict`` after a trip through JSON.

    A run that names no model is of a time when there was one, and one loss.
    """
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    return Config(**{"loss": "cross-entropy"} | settings)


def resolve_auto(config: Config) -> Config:
    """The same settings with every ``auto`` replaced by what this machine is."""
    device = config.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    said = os.environ.get("OMP_NUM_THREADS", "")
    if (
        said.isdecimal() and int(said) and "LOCAL_WORLD_SIZE" not in os.environ
    ):  # torchrun says 1, whatever there is
        cores = int(said)
    workers = config.workers if config.workers >= 0 else 0 if device == "cpu" else min(8, cores)
    precision = config.precision
    if precision == "auto":
        if device.startswith("cuda"):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            able = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
            fast = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
        precision = "bfloat16" if fast else "float32"
    loss = MODELS[config.model].loss if config.loss == "auto" else config.loss
    return dataclasses.replace(
        config,
        device=device,
        threads=config.threads or cores,
        workers=workers,
        precision=precision,
        loss=loss,
    )


def _check(config: Config) -> None:
    """Do the settings agree? Raises SettingError."""
    if config.lr_final > config.lr:
        raise SettingError(
            "The learning rate would rise.",
            expected=f"lr_final up to lr {config.lr:g}",
            found=config.lr_final,
        )
    model = MODELS[config.model]
    if config.backbone not in model.backbones:
        problem = f"The model “{config.model}” has another backbone."
        raise SettingError(problem, expected=" or ".join(model.backbones), found=config.backbone)
    if config.width != 1 and not model.scales:
        raise SettingError(
            f"The model “{config.model}” has one width.", expected="width 1", found=f"width {config.width:g}"
        )
    if config.width != 1 and config.init == "imagenet":
        raise only_width_1(SettingError, config.width)
    if config.batch % config.accumulate:
        problem, todo = (
            "The batch cannot be computed in equal parts.",
            "choose an accumulate that divides the batch",
        )
        found = f"batch {config.batch}, accumulate {config.accumulate}"
        raise SettingError(problem, expected="accumulate to divide the batch", found=found, todo=todo)
    if config.batch // config.accumulate < model.least_batch:
        problem = f"The model “{config.model}” cannot be trained with this batch."
        expected, found = (
            f"{model.least_batch} or more pictures in each part of a batch",
            f"{config.batch} ÷ {config.accumulate}",
        )
        raise SettingError(problem, expected=expected, found=found)


def _changed(config: Config, key: str, value: Any, origin: str | None) -> Config:
    names = [field.name for field in dataclasses.fields(Config) if field.name != "preset"]
    if key not in names:
        raise SettingError(f"There is no setting “{key}”.", file=origin, todo=did_you_mean(key, names))
    default = getattr(Config(), key)
    try:
        value = _typed(value, default)
        if key in RANGES and not RANGES[key][1](value):
            raise ValueError("x".join(map(str, value)) if isinstance(value, tuple) else value)
        if key in CHOICES and value not in CHOICES[key]:
            raise SettingError(
                f"There is no {key} “{value}”.", file=origin, todo=did_you_mean(value, CHOICES[key])
            )
    except ValueError as error:
        words = (
            RANGES[key][0]
            if key in RANGES
            else "true or false"
            if isinstance(default, bool)
            else f"such as {default}"
        )
        raise SettingError(
            f"The setting “{key}” cannot be this.", file=origin, expected=words, found=error
        ) from None
    return dataclasses.replace(config, **{key: value})


def _typed(value: Any, default: Any) -> Any:
    """``value`` as the type of ``default``; text is read as TOML writes it, and 360x480 as a pair."""
    if isinstance(value, str) and not isinstance(default, str):
        text = (
            f"[{value.replace('x', ',')}]"
            if isinstance(default, tuple) and "[" not in value
            else value.lower()
        )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            raise ValueError(value) from None
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) != len(default):
            raise ValueError(value)
        return tuple(_typed(part, model) for part, model in zip(value, default, strict=True))
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise ValueError(repr(value))
    return value
