"""How weights move: the optimiser, its learning rate at each step, and the average of the weights."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainer.config import Config
from trainer.dataset.folder import IGNORE
from trainer.networks.losses import LOSSES
from trainer.networks.network import Network
from trainer.training.augment import Batch, assemble
from trainer.training.parallel import SINGLE, Group

POLY = 0.9  # the exponent of the poly schedule (Chen et al., DeepLab, TPAMI 2018)


def make_optimiser(model: Network, config: Config) -> torch.optim.Adam:
    """Adam with two groups: the encoder, slower if it starts from given weights, and the rest. ``pace``
    scales the learning rate."""
    pace = 1.0 if config.init == "random" else config.pretrained_factor
    of_encoder = set(model.encoder.parameters())
    slower = {
        "params": [p for p in model.parameters() if p in of_encoder],
        "weight_decay": config.weight_decay * pace,
        "pace": pace,
    }
    others = {
        "params": [p for p in model.parameters() if p not in of_encoder],
        "weight_decay": config.weight_decay,
        "pace": 1.0,
    }
    return torch.optim.Adam([slower, others], lr=config.lr, betas=config.betas, fused=True)


def learning_rate(config: Config, step: int, total: int) -> float:
    """The learning rate of step 0 … total - 1.

    It rises in ``warmup`` equal steps to ``lr``; from there it falls to ``lr_final`` at the last step, along
    half a cosine (Loshchilov & Hutter, ICLR 2017) or as the power 0.9 of what is left to do (poly).
    """
    warmup = min(config.warmup, total - 1)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, total - 1 - warmup)
    height = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else (1 - done) ** POLY
    return config.lr_final + (config.lr - config.lr_final) * height


def update(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[Batch],
    lr: float,
    config: Config,
    device: torch.device,
    group: Group = SINGLE,
) -> Tensor:
    """One step: augment, forward, loss, backward, Adam. Returns this process's share of the loss, a scalar on
    the device.

    ``parts`` go through the network one after the other. Their gradients, and those of all processes, add up
    to that of the mean over all labelled pixels of the batch, however many each part has.
    """
    loss = LOSSES[config.loss]
    augmented = [assemble(part, IGNORE, device) for part in parts]  # (N, 3, h, w), (N, h, w)
    weights = [loss.weights(labels) for _, labels in augmented]
    sums = torch.stack([each.sum().double() for each in weights])
    whole = group.add(sums.sum()).clamp(min=1).float()  # of the batch, over all processes
    value = torch.zeros((), device=device)
    optimiser.zero_grad(set_to_none=True)
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    for (x, labels), weight in zip(augmented, weights, strict=True):
        with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = model(x.contiguous(memory_format=layout))  # (N, K, h, w), float32
        part = loss.total(logits, labels, weight) / whole
        part.backward()
        value += part.detach()
    parameters = [parameter for some in optimiser.param_groups for parameter in some["params"]]
    group.share_gradients(parameters)
    if config.clip:
        torch.nn.utils.clip_grad_norm_(parameters, config.clip)
    for some in optimiser.param_groups:
        some["lr"] = config.lr_final + (lr - config.lr_final) * some["pace"] if some["pace"] else 0.0
    optimiser.step()
    return value


def average_of(model: Network, config: Config) -> AveragedModel | None:
    """The exponential moving average of weights and statistics, if the settings want one: after each step,
    ``ema`` of it stays."""
    if not config.ema:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema), use_buffers=True)
