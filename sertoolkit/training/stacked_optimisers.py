"""The optimisers of :mod:`torch.optim` for members side by side: each with its own step count and learning rate.

Shapes: a members; a weight is (a, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from sertoolkit.training.loop import Trainer

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # as torch.optim has them


def step_optimisers(
    trainers: Sequence[Trainer], weight: Tensor, grad: Tensor, state: dict[str, Tensor]
) -> None:
    """Update one weight of all members, and its state, in place.

    Args:
        trainers: of each member; all with the same kind of optimiser
        weight: (a, ...)
        grad: (a, ...); is overwritten
        state: as ``torch.optim`` names it, each (a, ...)

    """

    def column(values: Tensor) -> Tensor:
        return values.to(weight).view(-1, *[1] * (weight.ndim - 1))

    rates = torch.tensor(
        [trainer.optimiser.param_groups[0]["lr"] for trainer in trainers], dtype=torch.float64
    )
    settings = [trainer.training for trainer in trainers]
    decay = torch.tensor([training.weight_decay for training in settings], dtype=torch.float64)
    if settings[0].optimiser == "adamw":
        weight.mul_(column(1 - rates * decay))
    elif decay.any():
        grad.add_(weight * column(decay))
    if settings[0].optimiser == "sgd":
        momentum = column(torch.tensor([training.momentum for training in settings], dtype=torch.float64))
        state["momentum_buffer"].mul_(momentum).add_(grad)
        weight.sub_(grad.add_(state["momentum_buffer"] * momentum).mul_(column(rates)))
        return
    steps = state["step"].add_(1).double().cpu()
    state["exp_avg"].lerp_(grad, 1 - BETA1)
    state["exp_avg_sq"].mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
    divisor = state["exp_avg_sq"].sqrt().div_(column((1 - BETA2**steps).sqrt())).add_(EPSILON)
    weight.sub_(column(rates / (1 - BETA1**steps)) * state["exp_avg"] / divisor)
