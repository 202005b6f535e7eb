"""What every model is: an encoder that may start from given weights, and the rest, which never does."""

import torch
from torch import Tensor, nn

from trainer.networks.resample import resize


class Network(nn.Module):
    """Pictures to logits for each pixel: ``features`` of them, ``logits`` of these, resized.

    ``encoder`` is the part that ImageNet weights are for. A subclass has it and defines ``features`` and
    ``logits``. ``torch.manual_seed`` before the construction decides the weights.
    """

    encoder: nn.Module

    def features(self, x: Tensor) -> list[Tensor]:
        """What the encoder makes of normalised pictures (N, 3, H, W): tensors (N, channels, h, w), from fine
        to coarse. Nothing else of the pictures reaches ``logits``."""
        raise NotImplementedError

    def logits(self, features: list[Tensor]) -> Tensor:
        """Logits (N, classes, h, w) of ``features``, of a lower resolution than the pictures."""
        raise NotImplementedError

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Float32 logits (N, classes, *size) of normalised pictures (N, 3, H, W).

        ``size`` is that of the pictures unless given. The last resizing is done in float32, whatever
        precision the network runs in.
        """
        return resize_in_float32(self.logits(self.features(x)), size or (x.shape[2], x.shape[3]))


def resize_in_float32(x: Tensor, size: tuple[int, int]) -> Tensor:
    """``resize`` in float32, also where autocast is on."""
    if x.is_meta:  # nothing is computed there, and autocast does not know it
        return resize(x.float(), size)
    with torch.autocast(x.device.type, enabled=False):
        return resize(x.float(), size)


def start_from_he(network: nn.Module) -> None:
    """Draw all convolutions from He's normal distribution, with biases at 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
