"""SwiftNet with pyramidal fusion (Oršić & Šegvić, Pattern Recognition 2021), written from its definitions.

The picture at three scales goes through one encoder, so that an object meets it in the size that it knows,
and features of equal resolution are added. Scale k (1/2ᵏ of the picture) gives features at strides 4, 8, 16,
32 times 2ᵏ: six resolutions, from 1/4 to 1/128, of which the middle ones have three terms. Five upsampling
modules lead from the coarsest to 1/4; no spatial pyramid pooling is needed to see far.

Decided here, where the definitions leave it open:

* pictures are reduced by triangles that widen with the step (``resample.py``), in float32, both straight from
the full size;
* convolutions are shared between scales, batch norms are not: features of a scale have their own mean and
variance, and running averages
  over three scales would fit none of them in evaluation. Given weights start all three;
* there is one 1×1 projection for each stage of the encoder, shared between scales in the same way;
* terms are added after their projection, before the blend convolution, with equal weight.
"""

from typing import Any

from torch import Tensor, nn

from trainer.networks.network import Network, resize_in_float32, start_from_he
from trainer.networks.resample import resize
from trainer.networks.swiftnet import WIDTH, BNReluConv, Encoder, scaled

SCALES = 3  # 1, 1/2, 1/4


class NormPerScale(nn.ModuleList):
    """A batch norm for each scale; ``scale`` says which one is at work."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.BatchNorm2d(channels) for _ in range(SCALES))
        self.scale = 0

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self[self.scale](x)
        return normalised

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """The weights of one batch norm, as ImageNet's are, become those of all scales."""
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            if prefix + name in state_dict:
                value = state_dict.pop(prefix + name)
                state_dict |= {f"{prefix}{scale}.{name}": value for scale in range(SCALES)}
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def norm_per_scale(module: nn.Module) -> None:
    """Replace every batch norm below ``module`` by one for each scale, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, NormPerScale(child.num_features))
        else:
            norm_per_scale(child)


class SwiftNetPyramid(Network):
    """Pictures to logits at 1/4; see ``Network``. All convolutions start from He's normal distribution.

    ``backbone`` is a name of ``swiftnet.RESNETS``; ``width`` scales the channels of encoder and upsampling
    path.
    """

    def __init__(self, classes: int, backbone: str = "resnet18", width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(WIDTH, width)
        self.encoder = Encoder(backbone, width)
        self.project = nn.ModuleList(BNReluConv(skip, channels) for skip in self.encoder.channels)
        norm_per_scale(self.encoder)
        norm_per_scale(self.project)
        strides = len(self.project) + SCALES - 1
        self.blend = nn.ModuleList(
            BNReluConv(channels, channels, kernel=3) for _ in range(strides - 1)
        )  # coarsest first
        self.head = BNReluConv(channels, classes, bias=True)
        start_from_he(self)

    def features(self, x: Tensor) -> list[Tensor]:
        """The sums of the encoder's projected features at 1/4, 1/8, … 1/128: six of (N, 128, h, w).

        A side is rounded up whenever it is halved, in pictures as in features, so terms of a sum are of one
        size.
        """
        sums: list[Tensor] = []
        height, width = x.shape[2:]
        for scale in range(SCALES):
            for norm in self.modules():
                if isinstance(norm, NormPerScale):
                    norm.scale = scale
            size = -(-height // 2**scale), -(-width // 2**scale)
            for stage, features in enumerate(self.encoder(resize_in_float32(x, size))):
                term = self.project[stage](features)
                place = stage + scale
                if place < len(sums):
                    sums[place] = sums[place] + term
                else:
                    sums.append(term)
        return sums

    def logits(self, features: list[Tensor]) -> Tensor:
        *skips, x = features
        for blend, skip in zip(self.blend, reversed(skips), strict=True):
            x = blend(resize(x, (skip.shape[2], skip.shape[3])) + skip)
        logits: Tensor = self.head(x)  # (N, classes, H/4, W/4)
        return logits
