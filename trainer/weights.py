"""Where a network's first weights come from. There is no silent second choice: what cannot be had is an error."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torchvision.models import ResNet18_Weights

from trainer.errors import WeightsError, letter
from trainer.swiftnet import SwiftNet


def build(classes: int, init: str, seed: int) -> SwiftNet:
    """A SwiftNet whose random weights are decided by ``seed``; ``init`` is imagenet, random or a file.

    A file holds torchvision's ResNet-18 (its classifier is not used) or a whole SwiftNet, as safetensors or as a state dict of torch.
    Raises WeightsError.
    """
    torch.manual_seed(seed)
    model = SwiftNet(classes)
    if init == "random":
        return model
    source = "torchvision" if init == "imagenet" else init
    weights = _imagenet() if init == "imagenet" else _file(Path(init))
    whole = any(name.startswith("encoder.") for name in weights)
    part = model if whole else model.encoder
    try:
        part.load_state_dict(weights if whole else {name: value for name, value in weights.items() if not name.startswith("fc.")})
    except RuntimeError as error:
        reason = str(error).partition("\n")[2].strip().partition("\n")[0]
        expected = f"a SwiftNet for {classes} classes" if whole else "torchvision's ResNet-18, or a SwiftNet"
        raise WeightsError(
            letter("The initial weights are of another network.", file=source, expected=expected, found=reason)
        ) from None
    return model


def _imagenet() -> dict[str, Tensor]:
    chosen = ResNet18_Weights.IMAGENET1K_V1
    try:
        return chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        name = chosen.url.rpartition("/")[2]
        file = Path(torch.hub.get_dir()) / "checkpoints" / name
        todo = f"put {name} there, from {chosen.url} (or give it with --init FILE); --init random needs no weights"
        raise WeightsError(letter("ImageNet weights cannot be had.", file=file, found=error, todo=todo)) from None


def _file(file: Path) -> dict[str, Tensor]:
    try:
        weights = load_file(file) if file.suffix == ".safetensors" else torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        expected = "safetensors or a state dict of torch; or --init imagenet, --init random"
        found = str(error).partition("\n")[0]
        raise WeightsError(letter("The initial weights cannot be read.", file=file, expected=expected, found=found)) from None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(letter("The file holds no state dict.", file=file, expected="names of weights, each with its tensor"))
    return weights
