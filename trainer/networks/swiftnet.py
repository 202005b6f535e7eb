"""SwiftNet, single scale (Oršić et al., CVPR 2019; Oršić & Šegvić, Pattern Recognition 2021).

A ResNet-18 recognises, spatial pyramid pooling widens its view, and three lean upsampling modules bring the
sharpness of earlier stages back. 11,797,071 parameters for 19 classes, 104 G multiply-adds for a picture of
2048×1024.

Shapes below are for a picture of H×W; a side that does not divide by 32 is rounded up at each halving.
Channels are those of ResNet-18 at width 1; ResNet-34 has the same, ResNet-50 has four times those in the
encoder.
"""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50
from torchvision.models.resnet import BasicBlock, Bottleneck

from trainer.networks.network import Network, start_from_he
from trainer.networks.resample import pool, resize

WIDTH = 128  # channels of the upsampling path
LEVELS = (8, 4, 2)  # rows of the grids of the pyramid
LEVEL_WIDTH = 42  # channels of each level
RESNETS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}


def scaled(channels: int, width: float) -> int:
    """A number of channels times a width factor, rounded."""
    return round(channels * width)


class BNReluConv(nn.Sequential):
    """Batch norm, ReLU, convolution, in this (pre-activation) order; the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, bias: bool = False) -> None:
        super().__init__(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias),
        )


class Encoder(nn.Module):
    """torchvision's ResNet without its classifier. Returns the features of the four stages before their last
    ReLU.

    ``width`` scales the channels of all layers; at 1 the names and shapes are those of torchvision's weights.
    """

    def __init__(self, backbone: str = "resnet18", width: float = 1.0) -> None:
        super().__init__()
        network = RESNETS[backbone](weights=None)
        if width != 1:
            scale_channels(network, width)
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.relu, self.maxpool = network.relu, network.maxpool
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self.channels = [channels_of(stage[-1]) for stage in self.stages]

    @property
    def stages(self) -> list[nn.Sequential]:
        """The four, each of several residual blocks."""
        return [self.layer1, self.layer2, self.layer3, self.layer4]

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        features = []
        for stage in self.stages:
            *blocks, last = stage
            for block in blocks:
                x = block(x)
            features.append(before_relu(last, x))
            x = torch.relu(features[-1])
        return features  # 64 channels at 1/4, 128 at 1/8, 256 at 1/16, 512 at 1/32


def channels_of(block: BasicBlock | Bottleneck) -> int:
    """The channels of what a residual block gives: those of its last convolution."""
    last = block.conv3 if isinstance(block, Bottleneck) else block.conv2
    channels: int = last.out_channels
    return channels


def scale_channels(module: nn.Module, width: float) -> None:
    """Give every convolution and batch norm below ``module`` that many times the channels, in place; the
    three of a picture stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            inputs = child.in_channels if child.in_channels == 3 else scaled(child.in_channels, width)
            thinner = nn.Conv2d(
                inputs,
                scaled(child.out_channels, width),
                child.kernel_size,  # type: ignore[arg-type]
                stride=child.stride,  # type: ignore[arg-type]
                padding=child.padding,  # type: ignore[arg-type]
                bias=child.bias is not None,
            )
            setattr(module, name, thinner)
        elif isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.BatchNorm2d(scaled(child.num_features, width)))
        else:
            scale_channels(child, width)


def before_relu(block: BasicBlock | Bottleneck, x: Tensor) -> Tensor:
    """A residual block without its final ReLU."""
    shortcut: Tensor = x if block.downsample is None else block.downsample(x)
    x = block.relu(block.bn1(block.conv1(x)))
    if isinstance(block, Bottleneck):
        residual: Tensor = block.bn3(block.conv3(block.relu(block.bn2(block.conv2(x)))))
    else:
        residual = block.bn2(block.conv2(x))
    return residual + shortcut


class SpatialPyramidPooling(nn.Module):
    """Averages over grids of 8, 4 and 2 rows, and as many columns as the aspect asks for, beside the features
    themselves."""

    def __init__(self, inputs: int, width: float = 1.0) -> None:
        super().__init__()
        outputs, level_outputs = scaled(WIDTH, width), scaled(LEVEL_WIDTH, width)
        self.reduce = BNReluConv(inputs, outputs)
        self.levels = nn.ModuleList(BNReluConv(outputs, level_outputs) for _ in LEVELS)
        self.fuse = BNReluConv(outputs + len(LEVELS) * level_outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)  # (N, 128, H/32, W/32)
        h, w = x.shape[2:]
        parts = [x]
        for level, rows in zip(self.levels, LEVELS, strict=True):
            cells = pool(x, (rows, max(1, round(rows * w / h))))
            parts.append(resize(level(cells), (h, w)))  # (N, 42, H/32, W/32)
        fused: Tensor = self.fuse(torch.cat(parts, 1))
        return fused


class Upsampling(nn.Module):
    """Twice the size: the coarse features resized, plus the projected skip features, blended by a 3×3
    convolution."""

    def __init__(self, skip: int, width: float = 1.0) -> None:
        super().__init__()
        channels = scaled(WIDTH, width)
        self.project = BNReluConv(skip, channels)
        self.blend = BNReluConv(channels, channels, kernel=3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        skip = self.project(skip)
        blended: Tensor = self.blend(resize(x, (skip.shape[2], skip.shape[3])) + skip)
        return blended


class SwiftNet(Network):
    """Pictures to logits at 1/4; see ``Network``. All convolutions start from He's normal distribution.

    ``backbone`` is a name of ``RESNETS``; ``width`` scales the channels of encoder and upsampling path.
    """

    def __init__(self, classes: int, backbone: str = "resnet18", width: float = 1.0) -> None:
        super().__init__()
        self.encoder = Encoder(backbone, width)
        *skips, top = self.encoder.channels
        self.pyramid = SpatialPyramidPooling(top, width)
        self.upsampling = nn.ModuleList(Upsampling(skip, width) for skip in reversed(skips))
        self.head = BNReluConv(scaled(WIDTH, width), classes, bias=True)
        start_from_he(self)

    def features(self, x: Tensor) -> list[Tensor]:
        """Those of the encoder's four stages, at 1/4, 1/8, 1/16 and 1/32, each before its last ReLU."""
        features: list[Tensor] = self.encoder(x)
        return features

    def logits(self, features: list[Tensor]) -> Tensor:
        *skips, top = features
        x = self.pyramid(top)
        for module, skip in zip(self.upsampling, reversed(skips), strict=True):
            x = module(x, skip)
        logits: Tensor = self.head(x)  # (N, classes, H/4, W/4)
        return logits
