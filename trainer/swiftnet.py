"""SwiftNet, single scale (Oršić et al., CVPR 2019; Oršić & Šegvić, Pattern Recognition 2021).

A ResNet-18 recognises, spatial pyramid pooling widens its view, and three lean upsampling modules bring the sharpness of earlier
stages back. 11,797,071 parameters for 19 classes, 104 G multiply-adds for a picture of 2048×1024.

Shapes below are for a picture of H×W; a side that does not divide by 32 is rounded up at each halving.
"""

import torch
from torch import Tensor, nn
from torchvision.models import resnet18
from torchvision.models.resnet import BasicBlock

from trainer.resample import pool, resize

WIDTH = 128  # channels of the upsampling path
LEVELS = (8, 4, 2)  # rows of the grids of the pyramid
LEVEL_WIDTH = 42  # channels of each level


class BNReluConv(nn.Sequential):
    """Batch norm, ReLU, convolution, in this (pre-activation) order; the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, bias: bool = False) -> None:
        super().__init__(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias),
        )


class Encoder(nn.Module):
    """torchvision's ResNet-18 without its classifier. Returns the features of the four stages before their last ReLU."""

    def __init__(self) -> None:
        super().__init__()
        network = resnet18(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = network.layer1, network.layer2, network.layer3, network.layer4

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))  # (N, 64, H/4, W/4)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            *blocks, last = stage
            for block in blocks:
                x = block(x)
            features.append(before_relu(last, x))
            x = torch.relu(features[-1])
        return features  # 64 channels at 1/4, 128 at 1/8, 256 at 1/16, 512 at 1/32


def before_relu(block: BasicBlock, x: Tensor) -> Tensor:
    """A residual block without its final ReLU."""
    shortcut = x if block.downsample is None else block.downsample(x)
    return block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x))))) + shortcut


class SpatialPyramidPooling(nn.Module):
    """Averages over grids of 8, 4 and 2 rows, and as many columns as the aspect asks for, beside the features themselves."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.reduce = BNReluConv(inputs, WIDTH)
        self.levels = nn.ModuleList(BNReluConv(WIDTH, LEVEL_WIDTH) for _ in LEVELS)
        self.fuse = BNReluConv(WIDTH + len(LEVELS) * LEVEL_WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)  # (N, 128, H/32, W/32)
        h, w = x.shape[2:]
        parts = [x]
        for level, rows in zip(self.levels, LEVELS, strict=True):
            cells = pool(x, (rows, max(1, round(rows * w / h))))
            parts.append(resize(level(cells), (h, w)))  # (N, 42, H/32, W/32)
        return self.fuse(torch.cat(parts, 1))


class Upsampling(nn.Module):
    """Twice the size: the coarse features resized, plus the projected skip features, blended by a 3×3 convolution."""

    def __init__(self, skip: int) -> None:
        super().__init__()
        self.project = BNReluConv(skip, WIDTH)
        self.blend = BNReluConv(WIDTH, WIDTH, kernel=3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        skip = self.project(skip)
        return self.blend(resize(x, (skip.shape[2], skip.shape[3])) + skip)


class SwiftNet(nn.Module):
    """Pictures to logits for each pixel.

    ``forward`` takes normalised pictures (N, 3, H, W) and returns float32 logits (N, classes, *size); ``size`` is that of the
    pictures unless given. The last resizing is done in float32, whatever precision the network runs in.

    All convolutions start from He's normal distribution, so ``torch.manual_seed`` before the call decides the weights.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.pyramid = SpatialPyramidPooling(512)
        self.upsampling = nn.ModuleList(Upsampling(skip) for skip in (256, 128, 64))
        self.head = BNReluConv(WIDTH, classes, bias=True)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        size = size or (x.shape[2], x.shape[3])
        *skips, top = self.encoder(x)
        x = self.pyramid(top)
        for module, skip in zip(self.upsampling, reversed(skips), strict=True):
            x = module(x, skip)
        logits = self.head(x).float()  # (N, classes, H/4, W/4)
        with torch.autocast(logits.device.type, enabled=False):
            return resize(logits, size)
