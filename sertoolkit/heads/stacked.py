"""Heads of many members side by side: weights stacked on a leading axis.

Shapes: M members, B utterances, V values.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sertoolkit.errors import PluginError
from sertoolkit.heads.base import Head


def can_stack(head: Head) -> bool:
    """Whether members of this head can be trained together.

    Its class says so, all its parameters are trained, and it keeps no running statistics.
    """
    return (
        head.stackable
        and not list(head.buffers())
        and all(weight.requires_grad for weight in head.parameters())
    )


class Draws:
    """Utterances and generator of each member in the step under way."""

    members: Sequence[tuple[int, torch.Generator]] = ()

    def seed(self, counts: Sequence[int], seeds: Sequence[int]) -> None:
        """Begin a step.

        Args:
            counts: utterances of each member
            seeds: of each member's draws

        """
        self.members = [
            (count, torch.Generator().manual_seed(seed)) for count, seed in zip(counts, seeds, strict=True)
        ]


class _Linear(nn.Module):
    """Linear layers side by side."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        between = [1] * (x.ndim - 2)  # axes of x between that of the members and its values
        y = x @ self.weight.mT.unflatten(0, (-1, *between[1:]))
        return y if self.bias is None else y + self.bias.unflatten(0, (-1, *between))


class _Dropout(nn.Module):
    """Dropout that draws each member's mask from that member's generator, as `nn.Dropout` would for it alone."""

    def __init__(self, p: float, draws: Draws) -> None:
        super().__init__()
        self.p, self.draws = p, draws

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.ndim != 3:
            raise PluginError(
                f"dropout of a stackable head on values of shape {tuple(x.shape)}: expected (members, utterances, "
                "values), so that the draws do not depend on the padding; pool before it, or set stackable = False"
            )
        mask = torch.zeros(x.shape, dtype=x.dtype)
        for rows, (count, generator) in zip(mask, self.draws.members, strict=True):
            rows[:count].bernoulli_(1 - self.p, generator=generator).div_(1 - self.p)
        return x * mask.to(x.device)


def stacked(head: Head, draws: Draws) -> Head:
    """A copy of a head that runs on stacked weights, given by :func:`torch.func.functional_call`.

    Args:
        head: one for which :func:`can_stack` holds
        draws: of dropout; seeded before every step of training

    Returns:
        a head whose inputs and results have a leading axis of M members; rows behind a member's utterances are zeros
        going in and mean nothing coming out

    """
    template = copy.deepcopy(head)
    for module in list(template.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, _Linear(child))
            elif isinstance(child, nn.Dropout):
                setattr(module, name, _Dropout(child.p, draws))
    return template
