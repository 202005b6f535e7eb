"""What every model is: an encoder that may know something already, and the rest, which never does."""

import torch
from torch import Tensor, nn

from trainer.networks.resample import resize


class Network(nn.Module):
    """Pictures to logits for each pixel.

    ``forward`` takes normalised pictures (N, 3, H, W) and returns float32 logits (N, classes, *size);
    ``size`` is that of the pictures unless given. The last resizing is done in float32, whatever precision
    the network runs in.

    ``encoder`` is the part that ImageNet weights are for. A subclass defines ``coarse``: pictures to logits
    of a lower resolution. ``torch.manual_seed`` before the construction decides the weights.
    """

    encoder: nn.Module

    def coarse(self, x: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) to logits (N, classes, h, w) as they are before the last resizing."""
        raise NotImplementedError

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        return resize_in_float32(self.coarse(x), size or (x.shape[2], x.shape[3]))


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
