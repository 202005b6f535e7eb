"""The models by name: SwiftNet in its two forms, and three of torchvision's in a form that is deterministic
on CUDA.

torchvision's networks are taken as they are, with its first weights and without auxiliary losses; only what
resizes is replaced by matrix products (``resample.py``). Their average pooling is onto one cell, which torch
computes as a mean, deterministic on every device.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import (
    MobileNet_V3_Large_Weights,
    ResNet18_Weights,
    ResNet34_Weights,
    ResNet50_Weights,
)
from torchvision.models.segmentation import deeplabv3_resnet50, fcn_resnet50, lraspp_mobilenet_v3_large
from torchvision.models.segmentation.deeplabv3 import ASPPPooling
from torchvision.models.segmentation.lraspp import LRASPPHead

from trainer.networks.network import Network
from trainer.networks.pyramid import SwiftNetPyramid
from trainer.networks.resample import resize
from trainer.networks.swiftnet import RESNETS, SwiftNet

IMAGENET = {
    "resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": ResNet50_Weights.IMAGENET1K_V1,
    "mobilenetv3": MobileNet_V3_Large_Weights.IMAGENET1K_V1,
}
"""The weights of each backbone: the first ones of torchvision, which its own segmentation networks start
from, too."""

WIDTHS = (0.125, 4.0)  # the narrowest and the widest


class FCN(Network):
    """Fully convolutional network (Long et al., CVPR 2015) on a ResNet-50 of stride 8. Logits at 1/8; see
    ``Network``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        network = fcn_resnet50(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
        self.encoder, self.head = network.backbone, network.classifier

    def features(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x)["out"]]

    def logits(self, features: list[Tensor]) -> Tensor:
        (last,) = features
        logits: Tensor = self.head(last)
        return logits


class DeepLabV3(Network):
    """DeepLabV3 (Chen et al., 2017) on a ResNet-50 of stride 8, rates 12, 24, 36. Logits at 1/8; see
    ``Network``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        network = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
        self.encoder, self.head = network.backbone, network.classifier
        branches = self.head[0].convs
        assert isinstance(branches[-1], ASPPPooling)
        branches[-1] = Everywhere(*branches[-1])

    def features(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x)["out"]]

    def logits(self, features: list[Tensor]) -> Tensor:
        (last,) = features
        logits: Tensor = self.head(last)
        return logits


class Everywhere(nn.Sequential):
    """Layers that end in one cell, (N, C, 1, 1), repeated over the size of what came in. Bilinear resizing of
    one cell does the same."""

    def forward(self, x: Tensor) -> Tensor:
        cell = x
        for layer in self:
            cell = layer(cell)
        return cell.expand(-1, -1, *x.shape[2:])


class LRASPP(Network):
    """LR-ASPP (Howard et al., ICCV 2019) on a MobileNetV3-Large of stride 16. Logits at 1/8; see
    ``Network``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes)
        self.encoder, self.head = network.backbone, LiteHead(network.classifier)

    def features(self, x: Tensor) -> list[Tensor]:
        """At 1/8, and at 1/16 of the pictures."""
        stages = self.encoder(x)
        return [stages["low"], stages["high"]]

    def logits(self, features: list[Tensor]) -> Tensor:
        low, high = features
        logits: Tensor = self.head(low, high)
        return logits


class LiteHead(nn.Module):
    """The layers of torchvision's LR-ASPP head: gated features at 1/16 are resized to 1/8, and logits of both
    resolutions added."""

    def __init__(self, head: LRASPPHead) -> None:
        super().__init__()
        self.cbr, self.scale = head.cbr, head.scale
        self.low_classifier, self.high_classifier = head.low_classifier, head.high_classifier

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        gated = resize(self.cbr(high) * self.scale(high), (low.shape[2], low.shape[3]))
        of_low: Tensor = self.low_classifier(low)
        of_high: Tensor = self.high_classifier(gated)
        return of_low + of_high


@dataclass(frozen=True)
class Model:
    """A model: what builds it, from classes, backbone and width if ``scales``, else from classes alone."""

    network: Callable[..., Network]
    backbones: tuple[str, ...]
    scales: bool
    loss: str = "cross-entropy"  # what it is trained with unless told otherwise
    least_batch: int = 1  # a batch norm of one value a channel has no variance


MODELS = {
    "swiftnet": Model(SwiftNet, tuple(RESNETS), scales=True),
    "swiftnet-pyramid": Model(SwiftNetPyramid, tuple(RESNETS), scales=True, loss="boundary-focal"),
    "deeplabv3-resnet50": Model(DeepLabV3, ("resnet50",), scales=False, least_batch=2),
    "fcn-resnet50": Model(FCN, ("resnet50",), scales=False),
    "lraspp-mobilenetv3": Model(LRASPP, ("mobilenetv3",), scales=False),
}
"""By the names of the setting ``model``."""


def make(model: str, classes: int, backbone: str, width: float) -> Network:
    """A model with random weights."""
    chosen = MODELS[model]
    return chosen.network(classes, backbone, width) if chosen.scales else chosen.network(classes)


@dataclass(frozen=True)
class Size:
    """How large a model is: its parameters, and the multiply-adds that one picture takes, without biases,
    norms and activations.

    Convolutions are what papers count. Resizing and pooling are matrix products here, counted as the dense
    products that they are.
    """

    model: str
    backbone: str
    width: float
    parameters: int
    convolutions: int
    resizing: int


def measure(model: str, backbone: str, width: float, *, classes: int, picture: tuple[int, int]) -> Size:
    """The size of a model for pictures of (height, width). Shapes are followed, nothing is computed."""
    with torch.device("meta"), torch.no_grad():
        network = make(model, classes, backbone, width).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, *picture))
    operations: dict[Any, int] = counter.get_flop_counts()["Global"]  # a multiply-add counts as two
    of_convolutions = operations.pop(torch.ops.aten.convolution, 0)
    of_products = sum(operations.values())
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Size(model, backbone, width, parameters, of_convolutions // 2, of_products // 2)


def variants() -> Iterator[tuple[str, str, float]]:
    """What ``python -m trainer models`` lists: each model with each of its backbones, at half, full and
    double width if it scales."""
    for name, model in MODELS.items():
        for backbone in model.backbones:
            for width in (0.5, 1.0, 2.0) if model.scales else (1.0,):
                yield name, backbone, width


def table(sizes: list[Size], classes: int, picture: tuple[int, int]) -> str:
    """Sizes as text for people; ``picture`` is (height, width)."""
    head = ("model", "backbone", "width", "parameters", "millions", "convolutions", "resizing")
    lines = [head, *(_cells(size) for size in sizes)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [_aligned(line, widths) for line in lines]
    height, width = picture
    note = f"""
For {classes} classes. Multiply-adds of one picture of {width}×{height}, in its convolutions, and in the
matrix products that resize and pool; biases, norms and activations are not counted.
"""
    return "\n".join(text) + "\n" + note


def _cells(size: Size) -> tuple[str, ...]:
    millions, convolutions, resizing = size.parameters / 1e6, size.convolutions / 1e9, size.resizing / 1e9
    return (
        size.model,
        size.backbone,
        f"{size.width:g}",
        f"{size.parameters:,}",
        f"{millions:.2f} M",
        f"{convolutions:.1f} G",
        f"{resizing:.1f} G",
    )


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    """Two columns of names to the left, numbers to the right."""
    names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*names, *numbers])


def as_json(sizes: list[Size], classes: int, picture: tuple[int, int]) -> dict[str, Any]:
    """Sizes as JSON."""
    height, width = picture
    return {"classes": classes, "height": height, "width": width, "models": [asdict(size) for size in sizes]}
