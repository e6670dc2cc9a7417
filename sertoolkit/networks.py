"""Building blocks of encoders and heads that padding cannot change.

Shapes: B utterances, T frames, D values a frame, F frequencies, C channels. `lengths` is int64 of shape (B,) and
counts the valid frames of the tensor beside it.

A batch is padded to its longest utterance. Every block here reads valid frames only and writes zeros
behind them, so that a result never depends on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def frame_mask(lengths: Tensor, max_len: int) -> Tensor:
    """Mark the valid frames of a padded batch.

    Args:
        lengths: valid frames of each utterance, (B,)
        max_len: frames of the padded batch

    Returns:
        bool of shape (B, max_len), true at valid frames

    Examples:
        >>> frame_mask(torch.tensor([1, 3]), 3).int().tolist()
        [[1, 0, 0], [1, 1, 1]]

    """
    return torch.arange(max_len, device=lengths.device) < lengths[:, None]


def masked_mean(x: Tensor, lengths: Tensor) -> Tensor:
    """Mean over valid frames: the pooling over time of Lakomkin et al. 2017, section 3.1.3.

    Args:
        x: (B, T, D); what lies behind the lengths is not looked at
        lengths: valid frames, (B,), each at least 1

    Returns:
        (B, D)

    """
    mask = frame_mask(lengths, x.shape[1])[:, :, None]
    # masked_fill, not a product: padding may hold anything, also NaN
    return x.masked_fill(~mask, 0).sum(1) / lengths[:, None].to(x.dtype)


def _of_one(x: Tensor) -> Tensor:
    """The sum over one process."""
    return x


class _MaskedNorm(torch.autograd.Function):
    """Normalise over valid positions of (..., C) and write zeros elsewhere.

    Written out because the composed form keeps and reads three times as many arrays of the size of `x`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mask: Tensor,
        weight: Tensor,
        bias: Tensor,
        count: Tensor,
        eps: float,
        over_ranks: Callable[[Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.dtype = x.dtype
        x = x.to(weight.dtype)  # under autocast too, statistics are those of float32
        dims = tuple(range(x.ndim - 1))
        mean = over_ranks((x * mask).sum(dims)) / count
        centred = (x - mean).mul_(mask)
        var = over_ranks(centred.square().sum(dims)) / count
        scale = torch.rsqrt(var + eps)
        ctx.save_for_backward(centred, mask, weight, scale, count)
        ctx.over_ranks = over_ranks
        ctx.mark_non_differentiable(mean, var)
        return torch.addcmul(bias, centred, weight * scale).mul_(mask).to(ctx.dtype), mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centred, mask, weight, scale, count = ctx.saved_tensors
        dims = tuple(range(grad.ndim - 1))
        grad = grad.to(weight.dtype) * mask
        grad_bias = grad.sum(dims)
        grad_weight = (grad * centred).sum(dims) * scale
        grad_x = None
        if ctx.needs_input_grad[0]:
            # d/dx of (x - mean(x)) / std(x), both over the valid positions, those of all ranks
            to_mean, to_scale = ctx.over_ranks(torch.stack([grad_bias, grad_weight * scale])) / count
            grad_x = grad.sub_(to_mean).sub_(centred * to_scale)
            grad_x = grad_x.mul_(weight * scale).mul_(mask).to(ctx.dtype)
        return grad_x, None, grad_weight, grad_bias, None, None, None


class MaskedBatchNorm(nn.Module):
    """Batch norm whose statistics count valid frames only and whose output is zero behind them.

    Equals `torch.nn.BatchNorm1d` (or 2d) on the valid frames alone, running statistics included. It computes in the type
    of its weight and gives the type that it gets, as under autocast.

    Args:
        num_features: values to normalise: D of (B, T, D) or C of (B, C, F, T)
        momentum: share of the new batch in the running statistics
        eps: added to the variance

    Attributes:
        over_ranks: sums a tensor over the processes of a data-parallel training, whose frames then count together

    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.over_ranks: Callable[[Tensor], Tensor] = _of_one
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def running_affine(self) -> tuple[Tensor, Tensor]:
        """What it does in eval mode: a factor and a summand of each value, both (num_features,)."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Normalise.

        Args:
            x: (B, T, D) or (B, C, F, T)
            lengths: valid frames along T, (B,)

        Returns:
            as `x`; zero behind the lengths

        """
        if x.ndim == 4:
            mask = frame_mask(lengths, x.shape[3])[:, None, :, None]
            return self._normalise(x.movedim(1, -1), mask, x.shape[2]).movedim(-1, 1)
        return self._normalise(x, frame_mask(lengths, x.shape[1])[:, :, None], 1)

    def _normalise(self, x: Tensor, mask: Tensor, values_per_frame: int) -> Tensor:
        mask = mask.to(self.weight.dtype)
        if not self.training:
            scale, shift = self.running_affine()
            return torch.addcmul(shift, x.to(scale.dtype), scale).mul_(mask).to(x.dtype)
        count = self.over_ranks(mask.sum() * values_per_frame)
        y, mean, var = _MaskedNorm.apply(x, mask, self.weight, self.bias, count, self.eps, self.over_ranks)
        with torch.no_grad():
            unbiased = var * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return y
