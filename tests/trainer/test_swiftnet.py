import hashlib

import pytest
import torch
from torch.nn import functional as F

from trainer.networks.resample import pool, resize
from trainer.networks.swiftnet import SwiftNet

SIZES = [((8, 16), (16, 32)), ((5, 7), (10, 14)), ((4, 8), (13, 29)), ((3, 4), (90, 121)), ((1, 1), (4, 5))]


@pytest.fixture(scope="module")
def net() -> SwiftNet:
    torch.manual_seed(0)
    return SwiftNet(19).eval()


def test_the_network_has_the_published_number_of_parameters(net: SwiftNet) -> None:
    """A single-scale SwiftNet for 19 classes has 11,797,071 parameters."""
    assert sum(parameter.numel() for parameter in net.parameters()) == 11_797_071


def test_the_network_costs_what_was_published(net: SwiftNet) -> None:
    """A picture of 2048×1024 takes 104 G multiply-adds in the convolutions: 64 times what one of 256×128
    takes."""
    total = 0

    def count(module: torch.nn.Conv2d, _: object, output: torch.Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * output.shape[2] * output.shape[3]

    hooks = [
        module.register_forward_hook(count) for module in net.modules() if isinstance(module, torch.nn.Conv2d)
    ]
    with torch.no_grad():
        net(torch.zeros(1, 3, 128, 256))
    for hook in hooks:
        hook.remove()
    assert round(64 * total / 1e9) == 104


def test_names_and_first_weights_never_change(net: SwiftNet) -> None:
    """Weights of earlier runs fit, and a seed gives the network that it always gave."""
    weights = net.state_dict()
    names = "\n".join(f"{name} {list(value.shape)}" for name, value in weights.items())
    assert (
        hashlib.sha256(names.encode()).hexdigest()
        == "8e41a2c968c8f96c00a329f912c343050e276825734a3bb03d5505413c10f34d"
    )
    for name, first in {
        "encoder.conv1.weight": [-0.006378338, 0.03579203, -0.004218774],
        "encoder.layer4.1.conv2.weight": [-0.03058243, -0.03068204, 0.04299608],
        "upsampling.2.blend.2.weight": [0.02334103, -0.03251551, 0.03748181],
        "head.2.weight": [0.1338496, -0.2780331, -0.00334156],
    }.items():
        assert weights[name].flatten()[:3].tolist() == pytest.approx(first, rel=1e-4)


@pytest.mark.parametrize("size", [(64, 64), (360, 480), (128, 256), (65, 97), (33, 31)])
def test_the_logits_have_the_size_of_the_picture(net: SwiftNet, size: tuple[int, int]) -> None:
    """Any size goes in, and logits of that size, or of the size that is asked for, come out."""
    with torch.no_grad():
        assert net(torch.zeros(1, 3, *size)).shape == (1, 19, *size)
        assert net(torch.zeros(1, 3, *size), (50, 40)).shape == (1, 19, 50, 40)


def test_skip_features_are_taken_before_the_last_relu(net: SwiftNet) -> None:
    """Each stage gives features with negative values, whose ReLU is what torchvision's stage gives."""
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    encoder = net.encoder
    with torch.no_grad():
        features = encoder(x)
        y = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(x))))
        for stage, found in zip(
            (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4), features, strict=True
        ):
            y = stage(y)
            assert found.min() < 0
            assert torch.equal(found.relu(), y)


@pytest.mark.parametrize(("old", "new"), SIZES)
def test_enlarging_by_matrices_is_bilinear(old: tuple[int, int], new: tuple[int, int]) -> None:
    """The matrices enlarge as torch's bilinear kernel does, forward and backward, to 1e-13."""
    agree(
        lambda x: resize(x, new), lambda x: F.interpolate(x, new, mode="bilinear", align_corners=False), old
    )


@pytest.mark.parametrize(("new", "old"), SIZES)
def test_reducing_by_matrices_lets_every_pixel_count(old: tuple[int, int], new: tuple[int, int]) -> None:
    """The matrices reduce as torch's antialiased bilinear kernel does, forward and backward, to 1e-13."""
    agree(
        lambda x: resize(x, new),
        lambda x: F.interpolate(x, new, mode="bilinear", align_corners=False, antialias=True),
        old,
    )


@pytest.mark.parametrize("old", [(4, 8), (11, 15), (32, 64), (1, 2), (7, 5)])
@pytest.mark.parametrize("grid", [(8, 16), (4, 5), (2, 4), (1, 1)])
def test_pooling_by_matrices_is_adaptive_average_pooling(old: tuple[int, int], grid: tuple[int, int]) -> None:
    """The matrices average as torch's adaptive pooling does, also onto a finer grid, forward and backward, to
    1e-13."""
    agree(lambda x: pool(x, grid), lambda x: F.adaptive_avg_pool2d(x, grid), old)


def agree(ours, theirs, size: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=generator)
    mine, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    a, b = ours(mine), theirs(other)
    assert a.shape == b.shape
    weight = torch.randn(b.shape, dtype=torch.float64, generator=generator)
    (a * weight).sum().backward()
    (b * weight).sum().backward()
    torch.testing.assert_close(a, b, rtol=0, atol=1e-13)
    torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-12)
