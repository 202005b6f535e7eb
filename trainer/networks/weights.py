"""Where a network's first weights come from. There is no silent second choice: what cannot be had is an
error."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainer.dataset.folder import digest_bytes
from trainer.errors import TrainerError, WeightsError
from trainer.networks.models import IMAGENET, MODELS, make
from trainer.networks.network import Network


def build(
    classes: int,
    init: str,
    seed: int,
    model: str = "swiftnet",
    backbone: str | None = None,
    width: float = 1.0,
) -> Network:
    """A model whose random weights are decided by ``seed``; ``init`` is imagenet, random or a file.

    A file holds torchvision's backbone (its classifier is not used) or a whole model of this kind, as
    safetensors or as a state dict of torch. ``backbone`` is the model's first unless given. Raises
    WeightsError.
    """
    backbone = backbone or MODELS[model].backbones[0]
    torch.manual_seed(seed)
    network = make(model, classes, backbone, width)
    if init == "random":
        return network
    weights = _imagenet(backbone, width) if init == "imagenet" else _file(Path(init))
    whole = any(name.startswith("encoder.") for name in weights)
    try:
        if whole:
            network.load_state_dict(weights)
        else:
            network.encoder.load_state_dict(_features(weights))
    except RuntimeError as error:
        own = f"{model} with {backbone} at width {width:g}" if MODELS[model].scales else model
        if whole:
            expected = f"a whole {own}, for {classes} classes"
        else:
            expected = f"torchvision's {backbone}, or a whole {own}"
        raise WeightsError(
            "The initial weights are of another network.",
            file="torchvision" if init == "imagenet" else init,
            expected=expected,
            found=str(error).partition("\n")[2].strip().partition("\n")[0],
        ) from None
    return network


def _features(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's weights of a backbone, without its classifier and by the names they have in an
    encoder."""
    classifiers = ("fc.", "classifier.")
    return {
        name.removeprefix("features."): value
        for name, value in weights.items()
        if not name.startswith(classifiers)
    }


def _imagenet(backbone: str, width: float) -> dict[str, Tensor]:
    if width != 1:
        raise only_width_1(WeightsError, width)
    chosen = IMAGENET[backbone]
    try:
        weights: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        file = _imagenet_file(backbone)
        by_hand = f"put {file.name} there, from {chosen.url} (or give it with --init FILE)"
        todo = f"{by_hand}; --init random needs no weights"
        raise WeightsError("ImageNet weights cannot be had.", file=file, found=error, todo=todo) from None
    return weights


def _imagenet_file(backbone: str) -> Path:
    """Where torch keeps torchvision's weights of a backbone once it has them."""
    name: str = IMAGENET[backbone].url.rpartition("/")[2]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def digest(init: str, backbone: str) -> str | None:
    """SHA-256 of the file that ``init`` stands for; None of random weights, which their seed decides. Raises
    WeightsError."""
    if init == "random":
        return None
    file = _imagenet_file(backbone) if init == "imagenet" else Path(init)
    try:
        return digest_bytes(file.read_bytes())
    except OSError as error:
        raise WeightsError("The initial weights cannot be read.", file=file, found=error.strerror) from None


def only_width_1(kind: type[TrainerError], width: float) -> TrainerError:
    """The error for ImageNet weights of another width."""
    todo = "--init random, or --set width=1"
    return kind(
        "There are ImageNet weights for width 1 only.",
        expected="width 1",
        found=f"width {width:g}",
        todo=todo,
    )


def _file(file: Path) -> dict[str, Tensor]:
    try:
        weights = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, map_location="cpu", weights_only=True)
        )
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        expected = "safetensors or a state dict of torch; or --init imagenet, --init random"
        found = str(error).partition("\n")[0]
        raise WeightsError(
            "The initial weights cannot be read.", file=file, expected=expected, found=found
        ) from None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise WeightsError(
            "The file holds no state dict.", file=file, expected="names of weights, each with its tensor"
        )
    return weights
