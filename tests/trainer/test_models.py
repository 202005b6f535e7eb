import copy
import json
import math
import os
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from click.testing import CliRunner
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import segmentation

import trainer.networks.models
import trainer.train as training
from tests.support import handmade
from trainer.cli.main import main
from trainer.config import Config, load, resolve_auto
from trainer.dataset.folder import Folder, open_folder
from trainer.errors import Interrupted, SettingError, WeightsError
from trainer.networks.losses import LOSSES, boundary_focal, boundary_weights, cross_entropy, squared_distances
from trainer.networks.models import IMAGENET, MODELS, Model, make, measure, variants
from trainer.networks.network import Network
from trainer.networks.pyramid import SwiftNetPyramid
from trainer.networks.resample import resize
from trainer.networks.swiftnet import Encoder, SwiftNet
from trainer.networks.weights import build
from trainer.run_folder import load_model
from trainer.scoring.evaluate import score_run
from trainer.typed_json import parse

SMALL = {"crop": "32x32", "batch": 2, "epochs": 1, "threads": 1, "precision": "float32", "init": "random"}
BACKBONES = {
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
    "mobilenetv3": torchvision.models.mobilenet_v3_large,
}
TORCHVISION = {
    "deeplabv3-resnet50": (segmentation.deeplabv3_resnet50, segmentation.DeepLabV3_ResNet50_Weights.DEFAULT),
    "fcn-resnet50": (segmentation.fcn_resnet50, segmentation.FCN_ResNet50_Weights.DEFAULT),
    "lraspp-mobilenetv3": (
        segmentation.lraspp_mobilenet_v3_large,
        segmentation.LRASPP_MobileNet_V3_Large_Weights.DEFAULT,
    ),
}
AUXILIARY = {
    "deeplabv3-resnet50": 256,
    "fcn-resnet50": 256,
    "lraspp-mobilenetv3": 0,
}  # channels of the auxiliary head


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors in many threads mostly wait for each other, on a busy machine for minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("data") / "d"
    return open_folder(handmade.write_folder(root, train=4, val=1, size=48, poisoned=1, sets=("near",)))


def of(model: str, seed: int = 0, classes: int = 4, **options: object) -> Network:
    return build(classes, "random", seed, model, **options)  # type: ignore[arg-type]


def settings(**changes: object) -> Config:
    return load("default", SMALL | changes)


def numbers(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lively(network: nn.Module, seed: int = 2) -> None:
    """Give every batch norm numbers of its own, so that none could stand for another."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.3, 0.3, generator=generator)  # type: ignore[union-attr]


# Size


@pytest.mark.parametrize("backbone", ["resnet18", "resnet34", "resnet50"])
def test_an_encoder_is_its_classifier_short(backbone: str) -> None:
    """An encoder at width 1 has the parameters that torchvision publishes for the backbone, without those of
    1,000 classes."""
    encoder = Encoder(backbone)
    published = IMAGENET[backbone].meta["num_params"] - 1000 * (encoder.channels[-1] + 1)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == published


@pytest.mark.parametrize("model", list(TORCHVISION))
def test_torchvisions_models_have_the_published_size(model: str) -> None:
    """Parameters and multiply-adds for 21 classes and 520×520 are those that torchvision publishes, without
    the auxiliary head: a 3×3 convolution from 1,024 channels with batch norm, and the logits, at 1/8.
    """
    meta, channels = TORCHVISION[model][1].meta, AUXILIARY[model]
    found = measure(model, "", 1.0, classes=21, picture=(520, 520))
    convolutions = 1024 * channels * 9 + channels * 21
    assert found.parameters == meta["num_params"] - (convolutions + 2 * channels + 21 if channels else 0)
    assert round(found.convolutions / 1e9, 3) == round(meta["_ops"] - 65 * 65 * convolutions / 1e9, 3)


def test_swiftnet_costs_what_was_published() -> None:
    """104 G multiply-adds in the convolutions for 2048×1024, and 11,797,071 parameters."""
    size = measure("swiftnet", "resnet18", 1.0, classes=19, picture=(1024, 2048))
    assert (round(size.convolutions / 1e9), size.parameters) == (104, 11_797_071)


@pytest.mark.parametrize(
    ("model", "backbone", "width"), [("swiftnet", "resnet50", 0.5), ("swiftnet-pyramid", "resnet18", 1.0)]
)
def test_what_is_measured_is_what_runs(model: str, backbone: str, width: float) -> None:
    """Counted by hooks on convolutions that really run, parameters and multiply-adds are the measured
    ones."""
    network, total = of(model, backbone=backbone, width=width).eval(), 0

    def count(module: nn.Conv2d, _: object, output: Tensor) -> None:
        nonlocal total
        total += module.weight.numel() * output.shape[2] * output.shape[3]

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, 70, 101))
    size = measure(model, backbone, width, classes=4, picture=(70, 101))
    assert (size.parameters, size.convolutions) == (
        sum(parameter.numel() for parameter in network.parameters()),
        total,
    )


def test_resizing_is_counted_as_the_products_that_it_is() -> None:
    """An FCN resizes once, from 1/8 to the picture: first its columns, then its rows, a product for every
    class."""
    h, w, height, width, classes = 8, 16, 64, 128, 5
    size = measure("fcn-resnet50", "resnet50", 1.0, classes=classes, picture=(height, width))
    assert size.resizing == classes * (h * width * w + height * width * h)


@pytest.mark.parametrize("width", [0.5, 2.0])
@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if model.scales])
def test_width_scales_every_channel(model: str, width: float) -> None:
    """Each layer has the channels of width 1 times the factor; only pictures and classes keep their
    number."""

    def channels(factor: float) -> dict[str, tuple[int, ...]]:
        with torch.device("meta"):
            network = make(model, 6, "resnet18", factor)
        return {name: parameter.shape for name, parameter in network.named_parameters()}

    one, other = channels(1.0), channels(width)
    assert one.keys() == other.keys()
    for name, shape in one.items():
        expected = [
            side if index < 2 and (index, side) not in ((1, 3), (0, 6)) else None
            for index, side in enumerate(shape)
        ]
        for side, scaled, kept in zip(other[name], expected, shape, strict=True):
            assert side == (kept if scaled is None else scaled * width), name


# Forward and backward


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (33, 31)])
@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_takes_any_size(model: str, size: tuple[int, int]) -> None:
    """Any size goes in, and float32 logits of that size, or of the size that is asked for, come out."""
    network = of(model).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits = network(numbers(1, 3, *size))
        assert (logits.shape, logits.dtype) == ((1, 4, *size), torch.float32)
        assert network(numbers(1, 3, *size), (50, 40)).shape == (1, 4, 50, 40)


@pytest.mark.parametrize("model", list(MODELS))
def test_logits_see_the_features_alone(model: str) -> None:
    """Features go from fine to coarse; what a network says depends on each of them, and on nothing else of
    the pictures."""
    torch.manual_seed(3)
    network = make(model, 4, MODELS[model].backbones[0], 1.0).eval()
    pictures = torch.rand(2, 3, 64, 96)
    features = [one.detach().requires_grad_() for one in network.features(pictures)]
    heights = [one.shape[2] for one in features]
    assert heights == sorted(heights, reverse=True)
    assert all(len(one) == 2 and one.ndim == 4 for one in features)
    logits = network.logits(features)
    logits.square().sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in features)
    resized = resize(logits.float(), (64, 96))
    assert torch.equal(resized, network(pictures))


@pytest.mark.parametrize("backbone", ["resnet34", "resnet50"])
def test_skip_features_are_taken_before_the_last_relu(backbone: str) -> None:
    """Each stage of blocks of any kind gives features with negative values, whose ReLU is what torchvision's
    stage gives."""
    encoder = Encoder(backbone).eval()
    lively(encoder)
    with torch.no_grad():
        features = encoder(numbers(1, 3, 64, 64))
        y = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(numbers(1, 3, 64, 64)))))
        for stage, found in zip(
            (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4), features, strict=True
        ):
            y = stage(y)
            assert found.min() < 0
            assert torch.equal(found.relu(), y)


def nodes(end: Tensor) -> set[str]:
    """The names of all operations behind a tensor."""
    found, waiting = set(), [end.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.add(node)
            waiting += [following for following, _ in node.next_functions]
    return {node.name() for node in found}


@pytest.mark.parametrize("model", list(MODELS))
def test_gradients_reach_every_parameter_by_deterministic_ways(model: str) -> None:
    """With its own loss, each parameter of a model gets a gradient, and no operation on the way is one that
    CUDA computes in changing order or refuses: adaptive pooling, torch's own resizing, the mean of a loss.
    """
    network, labels = of(model), torch.randint(0, 4, (2, 41, 70), generator=torch.Generator().manual_seed(3))
    loss = LOSSES[MODELS[model].loss](network(numbers(2, 3, 41, 70)), labels)
    ways = nodes(loss)
    assert not any(
        word in way
        for way in ways
        for word in ("Adaptive", "Upsample", "Interpolate", "Index", "Scatter", "Gather")
    ), ways
    loss.backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.long
@pytest.mark.parametrize("model", list(MODELS))
def test_repeats_are_the_same_bits(model: str) -> None:
    """A seed decides the first weights and what a network draws; the same step gives the same gradients,
    another seed does not."""

    def gradients(seed: int) -> dict[str, Tensor]:
        network = of(model, seed)
        labels = torch.randint(0, 4, (2, 40, 48), generator=torch.Generator().manual_seed(3))
        LOSSES[MODELS[model].loss](network(numbers(2, 3, 40, 48)), labels).backward()
        return {name: parameter.grad for name, parameter in network.named_parameters()}  # type: ignore[misc]

    one, again, other = gradients(0), gradients(0), gradients(1)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.long
@pytest.mark.parametrize("size", [(64, 64), (65, 97)])
@pytest.mark.parametrize("model", list(TORCHVISION))
def test_our_form_of_a_model_is_torchvisions(model: str, size: tuple[int, int]) -> None:
    """The same seed gives torchvision's weights, and the same weights give torchvision's logits."""
    torch.manual_seed(7)
    theirs = TORCHVISION[model][0](weights=None, weights_backbone=None, num_classes=4).eval()
    ours = of(model, 7).eval()
    assert all(
        torch.equal(a, b)
        for a, b in zip(theirs.state_dict().values(), ours.state_dict().values(), strict=True)
    )
    for network in (theirs, ours):
        lively(network)
    with torch.no_grad():
        expected = theirs(numbers(2, 3, *size))["out"]
        torch.testing.assert_close(
            ours(numbers(2, 3, *size)), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


def of_scale(weights: dict[str, Tensor], scale: int) -> dict[str, Tensor]:
    """The weights of an encoder by torchvision's names; of a pyramid's, those that work at one scale."""
    found = {}
    for name, value in weights.items():
        *path, last = name.split(".")
        several = path[-1].isdigit() and (path[-2].startswith("bn") or path[-3:-1] == ["downsample", "1"])
        if not several or path[-1] == str(scale):
            found[".".join([*(path[:-1] if several else path), last])] = value
    return found


def features_of_torchvision(weights: dict[str, Tensor], picture: Tensor) -> list[Tensor]:
    """What torchvision's ResNet-18 gives to the last ReLU of each stage."""
    network, found = torchvision.models.resnet18(weights=None).eval(), []
    network.load_state_dict(weights, strict=False)
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        stage[-1].relu.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].clone()))
    network(picture)
    return found[1::2]  # a block has two


@pytest.mark.parametrize("size", [(64, 96), (45, 83)])
@torch.no_grad()
def test_the_pyramid_is_its_definition(size: tuple[int, int]) -> None:
    """Three scales through torchvision's own ResNet-18, features of one stride projected and added, and a
    path from the coarsest sum to the finest, all with torch's own resizing, give the same logits.
    """
    network = SwiftNetPyramid(5).eval()
    lively(network)
    weights, x = network.state_dict(), numbers(2, 3, *size)

    def layer(y: Tensor, name: str, norm: str, **options: int) -> Tensor:
        mean, var, gain, bias = (
            weights[f"{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        y = (
            (y - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt() * gain[:, None, None]
            + bias[:, None, None]
        ).relu()
        return F.conv2d(y, weights[f"{name}.2.weight"], weights.get(f"{name}.2.bias"), **options)

    by_stride: dict[int, list[Tensor]] = {}
    for scale in range(3):
        smaller = [math.ceil(side / 2**scale) for side in size]
        picture = F.interpolate(x, smaller, mode="bilinear", antialias=True)
        own = of_scale(network.encoder.state_dict(), scale)
        for stage, features in enumerate(features_of_torchvision(own, picture)):
            term = layer(features, f"project.{stage}", f"project.{stage}.0.{scale}")
            by_stride.setdefault(4 * 2 ** (stage + scale), []).append(term)
    assert {stride: len(terms) for stride, terms in by_stride.items()} == {
        4: 1,
        8: 2,
        16: 3,
        32: 3,
        64: 2,
        128: 1,
    }
    y = sum(by_stride[128])
    for index, stride in enumerate((64, 32, 16, 8, 4)):
        terms = by_stride[stride]
        y = F.interpolate(y, terms[0].shape[2:], mode="bilinear") + sum(terms)
        y = layer(y, f"blend.{index}", f"blend.{index}.0", padding=1)
    expected = F.interpolate(layer(y, "head", "head.0"), size, mode="bilinear")
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_each_scale_has_statistics_of_its_own() -> None:
    """After a step, the running means of the three scales differ, and convolutions are there once."""
    network = SwiftNetPyramid(4)
    network(numbers(2, 3, 64, 64))
    norm = network.encoder.layer2[0].bn1
    assert len(norm) == 3
    assert len({tuple(one.running_mean.tolist()) for one in norm}) == 3
    assert {int(one.num_batches_tracked) for one in norm} == {1}
    convolutions = [module for module in network.encoder.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 20


# Losses


def plain_weights(labels: list[list[int]]) -> list[list[float]]:
    """The weights of pixels, straight from the definition."""
    height, width = len(labels), len(labels[0])
    edge = []
    for y in range(height):
        for x in range(width):
            for b, a in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if (
                    0 <= b < height
                    and 0 <= a < width
                    and labels[y][x] != labels[b][a]
                    and 255 not in (labels[y][x], labels[b][a])
                ):
                    edge.append((y, x))
    weights = []
    for y in range(height):
        weights.append([])
        for x in range(width):
            distance = min((math.hypot(y - b, x - a) for b, a in edge), default=math.inf)
            bands = ((4, 8.0), (16, 4.0), (64, 2.0), (math.inf, 1.0))
            weight = next(weight for bound, weight in bands if distance <= bound)
            weights[-1].append(0.0 if labels[y][x] == 255 else weight)
    return weights


def maps() -> dict[str, Tensor]:
    corner = torch.zeros(9, 150, dtype=torch.long)
    corner[:2, :3] = 1
    tall = torch.full((140, 5), 2)
    tall[70] = 3
    ignored = torch.zeros(20, 40, dtype=torch.long)
    ignored[:, 10:14] = 255
    ignored[12:, 14:] = 1
    noise = torch.randint(0, 3, (7, 11), generator=torch.Generator().manual_seed(5))
    return {
        "corner": corner,
        "tall": tall,
        "ignored": ignored,
        "noise": noise,
        "one class": torch.ones(6, 7, dtype=torch.long),
    }


@pytest.mark.parametrize("name", list(maps()))
def test_weights_follow_the_distance_to_the_boundary(name: str) -> None:
    """Each pixel weighs what plain loops over all pixels of the boundary say; what is ignored weighs nothing
    and makes no boundary."""
    labels = maps()[name]
    assert boundary_weights(labels[None])[0].tolist() == plain_weights(labels.tolist())


@pytest.mark.parametrize("name", list(maps()))
def test_the_boundary_loss_is_its_definition(name: str) -> None:
    """Loss and weights by plain loops, pixel by pixel."""
    labels = maps()[name]
    logits, weights = 2 * numbers(4, *labels.shape), plain_weights(labels.tolist())
    total = 0.0
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            if weights[y][x]:
                scores = [math.exp(value) for value in logits[:, y, x].tolist()]
                p = scores[int(labels[y, x])] / sum(scores)
                total -= weights[y][x] * math.sqrt(1 - p) * math.log(p)
    expected = total / sum(map(sum, weights))
    assert boundary_focal(logits[None], labels[None]).item() == pytest.approx(expected, rel=1e-5)


def test_distances_are_exact_up_to_the_reach() -> None:
    """Squared distances equal those of a search through all points, and where that is beyond the reach they
    are, too."""
    generator = random.Random(4)
    for reach in (1, 3, 8, 64):
        for _ in range(12):
            height, width = generator.randrange(1, 90), generator.randrange(1, 90)
            points = {
                (generator.randrange(height), generator.randrange(width))
                for _ in range(generator.randrange(4))
            }
            grid = torch.zeros(1, height, width, dtype=torch.bool)
            for y, x in points:
                grid[0, y, x] = True
            found = squared_distances(grid, reach)[0].tolist()
            for y in range(height):
                for x in range(width):
                    square = min(((y - b) ** 2 + (x - a) ** 2 for b, a in points), default=10**9)
                    assert found[y][x] == square if square <= reach * reach else found[y][x] > reach * reach


@pytest.mark.parametrize("loss", list(LOSSES))
def test_a_loss_has_the_slope_of_its_values(loss: str) -> None:
    """Backward agrees with differences of forward; a pixel that is certain, or none at all, gives no
    infinity."""
    labels = torch.tensor([[[0, 0, 1], [255, 2, 1]]])
    logits = numbers(1, 3, 2, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: LOSSES[loss](x, labels), (logits,))
    for certain, known in ((200.0, labels), (1.0, torch.full_like(labels, 255))):
        logits = torch.zeros(1, 3, 2, 3)
        logits[:, 0] = certain
        logits.requires_grad_()
        value = LOSSES[loss](logits, known.clamp(max=0) if certain > 100 else known)
        value.backward()
        assert value.item() == 0
        assert logits.grad is not None
        assert not logits.grad.any()


def test_cross_entropy_is_the_mean_over_labelled_pixels() -> None:
    """The value of torch's own mean."""
    labels = maps()["ignored"][None]
    logits = numbers(1, 4, 20, 40)
    assert cross_entropy(logits, labels).item() == pytest.approx(
        F.cross_entropy(logits, labels, ignore_index=255).item()
    )


# Weights


@pytest.mark.long
@pytest.mark.parametrize("model", list(MODELS))
def test_imagenet_weights_arrive(model: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Downloaded or in a file, torchvision's weights of a model's first backbone become its encoder's, for
    each scale of a pyramid; the rest is as a seed gives it. No download is an error with the file's name.
    """
    backbone = MODELS[model].backbones[0]
    torch.manual_seed(11)
    source = BACKBONES[backbone](weights=None)
    lively(source)
    asked = []

    def download(url: str, **_: object) -> dict[str, Tensor]:
        asked.append(url)
        return copy.deepcopy(source.state_dict())

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    expected = {name.removeprefix("features."): value for name, value in source.state_dict().items()}
    fresh = of(model, 3).state_dict()
    for init in ("imagenet", str(tmp_path / "weights.pth")):
        network = build(4, init, 3, model)
        for scale in range(3 if model == "swiftnet-pyramid" else 1):
            found = of_scale(network.encoder.state_dict(), scale)
            assert {name.partition(".")[0] for name in expected.keys() - found.keys()} <= {"fc", "classifier"}
            assert all(torch.equal(found[name], expected[name]) for name in found)
        rest = {
            name: value for name, value in network.state_dict().items() if not name.startswith("encoder.")
        }
        assert all(torch.equal(value, fresh[name]) for name, value in rest.items())
    assert asked == [IMAGENET[backbone].url]
    (tmp_path / "weights.pth").unlink()

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(
        WeightsError, match=rf"(?s){IMAGENET[backbone].url.rpartition('/')[2]}.*--init random"
    ):
        build(4, "imagenet", 0, model)


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if model.scales])
def test_imagenet_weights_are_for_one_width(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another width is refused with an error: by the settings before any work, and by the weights before any
    download."""
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_, **__: pytest.fail("a download")
    )
    with pytest.raises(SettingError, match=r"(?s)width 1 only.*width 0\.5.*--init random"):
        settings(model=model, width="0.5", init="imagenet")
    with pytest.raises(WeightsError, match=r"(?s)width 1 only.*width 2.*--init random"):
        build(4, "imagenet", 0, model, width=2.0)
    assert settings(model=model, width=2).width == 2.0


@pytest.mark.long
def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    """A whole SwiftNet is no pyramid, nor a SwiftNet of another backbone or width; the error names what was
    expected."""
    file = str(tmp_path / "model.pth")
    torch.save(of("swiftnet").state_dict(), file)
    build(4, file, 1)
    with pytest.raises(
        WeightsError, match=r"a whole swiftnet-pyramid with resnet18 at width 1, for 4 classes"
    ):
        build(4, file, 1, "swiftnet-pyramid")
    with pytest.raises(WeightsError, match=r"a whole swiftnet with resnet34 at width 1,"):
        build(4, file, 1, "swiftnet", "resnet34")
    with pytest.raises(WeightsError, match=r"a whole swiftnet with resnet18 at width 0\.5,"):
        build(4, file, 1, "swiftnet", "resnet18", 0.5)
    with pytest.raises(WeightsError, match="a whole fcn-resnet50, for 4 classes"):
        build(4, file, 1, "fcn-resnet50")


@pytest.mark.parametrize("model", list(MODELS))
def test_an_encoder_with_given_weights_moves_slower(model: str) -> None:
    """The first of two groups is the encoder, at the pace and weight decay of given weights; the second is
    all the rest."""
    network = of(model)
    groups = training.make_optimiser(network, Config(model=model, pretrained_factor=0.125)).param_groups
    assert [group["pace"] for group in groups] == [0.125, 1.0]
    assert groups[0]["weight_decay"] == 0.125 * groups[1]["weight_decay"]
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    first = {names[id(parameter)] for parameter in groups[0]["params"]}
    second = {names[id(parameter)] for parameter in groups[1]["params"]}
    assert len(groups) == 2
    assert first == {name for name in names.values() if name.startswith("encoder.")}
    assert first | second == set(names.values())
    assert second


# Settings


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"model": "swiftnet-pyramide"}, r"no model “swiftnet-pyramide”(?s:.*)did you mean swiftnet-pyramid"),
        ({"backbone": "resnet181"}, r"no backbone “resnet181”(?s:.*)did you mean resnet18"),
        ({"loss": "focal"}, r"no loss “focal”(?s:.*)boundary-focal"),
        ({"width": "0"}, "cannot be this"),
        ({"width": "64"}, "cannot be this"),
        ({"widht": "1"}, "did you mean width"),
        ({"backbone": "mobilenetv3"}, r"another backbone(?s:.*)resnet18 or resnet34 or resnet50"),
        ({"model": "fcn-resnet50", "backbone": "resnet18"}, r"another backbone(?s:.*)expected: resnet50"),
        ({"model": "fcn-resnet50", "width": "2"}, "one width"),
        ({"model": "deeplabv3-resnet50", "batch": "1"}, "2 or more pictures"),
        ({"model": "deeplabv3-resnet50", "batch": "4", "accumulate": "4"}, "2 or more pictures"),
    ],
)
def test_a_model_that_cannot_be_is_an_error(changes: dict[str, str], answer: str) -> None:
    """Names that do not exist, and settings that do not go together, are refused with what to write
    instead."""
    with pytest.raises(SettingError, match=answer):
        settings(**changes)


@pytest.mark.parametrize("model", list(MODELS))
def test_settings_of_a_model_are_complete(model: str) -> None:
    """The backbone and the loss that a model has unless told otherwise are in its settings by name."""
    config = resolve_auto(settings(model=model))
    assert config.backbone == MODELS[model].backbones[0]
    assert config.loss == ("boundary-focal" if model == "swiftnet-pyramid" else "cross-entropy")
    assert resolve_auto(settings(model=model, loss="boundary-focal")).loss == "boundary-focal"
    assert parse(Config, json.loads(json.dumps(vars(config)))) == config


# Runs


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "options"),
    [
        *((model, {}) for model in MODELS),
        ("swiftnet", {"backbone": "resnet50", "width": 0.5}),
        ("swiftnet-pyramid", {"width": 0.5}),
    ],
)
def test_every_model_is_trained_and_scored(
    folder: Folder, tmp_path: Path, model: str, options: dict[str, object]
) -> None:
    """Two steps, and scores: run.json names the model, and evaluation builds it anew with the weights that
    training left."""
    run = tmp_path / "run"
    training.train(folder, run, settings(model=model, **options))
    config = json.loads((run / "run.json").read_text())["config"]
    expected = {"backbone": MODELS[model].backbones[0], "width": 1.0, "loss": MODELS[model].loss} | options
    assert {key: config[key] for key in ("model", *expected)} == {"model": model} | expected
    network, _ = load_model(run)
    assert type(network) is MODELS[model].network
    saved = load_file(run / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
    scores = score_run(run, folder).scores
    assert 0 <= scores.miou.value <= 1
    assert 0 <= scores.evaluation_sets["near"].asr.value <= 1
    shutil.rmtree(run)  # a checkpoint of a ResNet-50 holds half a gigabyte


def interrupted(folder: Folder, run: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, but for a Ctrl-C in the first step."""
    real = training.update

    def update(*arguments):  # type: ignore[no-untyped-def]
        if arguments[3] > 0:  # timed steps have no learning rate
            os.kill(os.getpid(), signal.SIGINT)
        return real(*arguments)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(training, "update", update)
        training.train(folder, run, config)


@pytest.mark.long
def test_runs_of_earlier_times_go_on(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run.json that names no model, backbone, width or loss is one of a SwiftNet with ResNet-18 and
    cross-entropy: the run is gone on with to the weights of a whole one, and scored.
    """
    training.train(folder, tmp_path / "whole", settings())
    interrupted(folder, tmp_path / "run", settings(), monkeypatch)
    file = tmp_path / "run" / "run.json"
    facts = json.loads(file.read_text())
    for key in ("model", "backbone", "width", "loss"):
        del facts["config"][key]
    file.write_text(json.dumps(facts))
    training.train(folder, tmp_path / "run", settings())
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    network, recorded = load_model(tmp_path / "run")
    config = recorded.config
    assert type(network) is SwiftNet
    assert (config.model, config.backbone, config.width, config.loss) == (
        "swiftnet",
        "resnet18",
        1.0,
        "cross-entropy",
    )


class Forgetful(Network):
    """A network that draws: half of its features are dropped, others in each step."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(3, 16, 3, padding=1)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(16, classes, 1))

    def features(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x)]

    def logits(self, features: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(features[0])
        return logits


def test_what_a_network_draws_is_drawn_again(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dropout, too, an interrupted run ends with the weights of a whole one, whatever the process drew
    before."""
    monkeypatch.setitem(
        trainer.networks.models.MODELS, "forgetful", Model(Forgetful, ("resnet18",), scales=False)
    )
    config = Config(model="forgetful", **{**SMALL, "crop": (32, 32), "epochs": 2})  # type: ignore[arg-type]
    training.train(folder, tmp_path / "whole", config)
    interrupted(folder, tmp_path / "run", config, monkeypatch)
    torch.rand(17)
    training.train(folder, tmp_path / "run", config)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    forgetful_logits = Forgetful.logits

    def without(self: Forgetful, features: list[Tensor]) -> Tensor:
        self.head.eval()
        return forgetful_logits(self, features)

    monkeypatch.setattr(Forgetful, "logits", without)
    training.train(folder, tmp_path / "without", config)
    other = load_file(tmp_path / "without" / "model.safetensors")
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


# The command


@pytest.mark.long
def test_models_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a table and as JSON, every model with its backbones and widths, and what is counted."""
    result = CliRunner().invoke(main, ["models", "--json"])
    assert result.exit_code == 0, result.output
    listed = json.loads(result.stdout)
    assert (listed["classes"], listed["height"], listed["width"]) == (19, 1024, 2048)
    assert [(size["model"], size["backbone"], size["width"]) for size in listed["models"]] == list(variants())
    first = next(size for size in listed["models"] if size["width"] == 1)
    assert (first["model"], first["backbone"], first["parameters"]) == ("swiftnet", "resnet18", 11_797_071)

    monkeypatch.setattr("trainer.networks.models.variants", lambda: [("swiftnet", "resnet18", 1.0)])
    result = CliRunner().invoke(main, ["models"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split() == [
        "swiftnet", "resnet18", "1", "11,797,071", "11.80", "M", "103.6", "G", "20.2", "G",
    ]  # fmt: skip
    assert "of 2048×1024, in its convolutions" in result.stdout
    smaller = CliRunner().invoke(main, ["models", "--classes", "4", "--size", "480x360", "--json"])
    expected = measure("swiftnet", "resnet18", 1.0, classes=4, picture=(360, 480))
    assert json.loads(smaller.stdout)["models"][0]["convolutions"] == expected.convolutions


@pytest.mark.parametrize("size", ["2048", "0x3", "x", "axb", "10X10"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    """A size is two numbers."""
    result = CliRunner().invoke(main, ["models", "--size", size])
    assert result.exit_code == 2
    assert "no size such as 2048x1024" in result.output


def test_the_command_explains_itself() -> None:
    """Help has an example and fits 80 columns."""
    result = CliRunner().invoke(main, ["models", "--help"])
    assert "python -m trainer models" in result.output
    assert all(len(line) <= 80 for line in result.output.splitlines())
