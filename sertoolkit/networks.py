"""Building blocks of encoders and heads that padding cannot change.

Shapes: B utterances, T frames, D values a frame, F frequencies, C channels, H units, G groups (directions)
that step together. `lengths` is int64 of shape (B,) and counts the valid frames of the tensor beside it.

A batch is padded to its longest utterance. Every block here reads valid frames only and writes zeros
behind them, so that a result never depends on what else is in the batch.
"""

from __future__ import annotations

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


class _MaskedNorm(torch.autograd.Function):
    """Normalise over valid positions of (..., C) and write zeros elsewhere.

    Written out because the composed form keeps and reads three times as many arrays of the size of `x`.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, count: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dims = tuple(range(x.ndim - 1))
        mean = (x * mask).sum(dims) / count
        centred = (x - mean).mul_(mask)
        var = centred.square().sum(dims) / count
        scale = torch.rsqrt(var + eps)
        ctx.save_for_backward(centred, mask, weight, scale, count)
        ctx.mark_non_differentiable(mean, var)
        return torch.addcmul(bias, centred, weight * scale).mul_(mask), mean, var

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centred, mask, weight, scale, count = ctx.saved_tensors
        dims = tuple(range(grad.ndim - 1))
        grad = grad * mask
        grad_bias = grad.sum(dims)
        grad_weight = (grad * centred).sum(dims) * scale
        grad_x = None
        if ctx.needs_input_grad[0]:
            # d/dx of (x - mean(x)) / std(x), both over the valid positions
            grad_x = grad.sub_(grad_bias / count).sub_(centred * (grad_weight * scale / count))
            grad_x = grad_x.mul_(weight * scale).mul_(mask)
        return grad_x, None, grad_weight, grad_bias, None, None


class MaskedBatchNorm(nn.Module):
    """Batch norm whose statistics count valid frames only and whose output is zero behind them.

    Equals `torch.nn.BatchNorm1d` (or 2d) on the valid frames alone, running statistics included.

    Args:
        num_features: values to normalise: D of (B, T, D) or C of (B, C, F, T)
        momentum: share of the new batch in the running statistics
        eps: added to the variance

    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

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
            return self._normalise(x.movedim(1, -1), mask.to(x.dtype), x.shape[2]).movedim(-1, 1)
        return self._normalise(x, frame_mask(lengths, x.shape[1])[:, :, None].to(x.dtype), 1)

    def _normalise(self, x: Tensor, mask: Tensor, values_per_frame: int) -> Tensor:
        if not self.training:
            scale = self.weight * torch.rsqrt(self.running_var + self.eps)
            return torch.addcmul(self.bias - self.running_mean * scale, x, scale) * mask
        count = mask.sum() * values_per_frame
        y, mean, var = _MaskedNorm.apply(x, mask, self.weight, self.bias, count, self.eps)
        with torch.no_grad():
            unbiased = var * (count / (count - 1).clamp(min=1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return y


class _Permute(torch.autograd.Function):
    """Reorder rows; the gradient is reordered back, which is faster than adding rows up by index."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return x.index_select(0, order)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _Recurrence(torch.autograd.Function):
    """The steps of G gated recurrent units side by side, from their input gates.

    torch.nn.GRU keeps an autograd node for every operation of every step. Here a step is four calls forward
    and four backward; whatever does not depend on the step before is done for all steps at once.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # gates (G, T, B, 3H) in the order reset, update, new; weight (G, 3H, H); bias (G, 3H)
        num_groups, num_frames, batch, width = gates.shape
        size = width // 3
        shape = (num_groups, num_frames, batch, size)
        reset_update = gates.new_empty(*shape[:3], 2 * size)
        new, hidden_new, out = gates.new_empty(shape), gates.new_empty(shape), gates.new_empty(shape)
        state = gates.new_zeros(num_groups, batch, size)
        # contiguous: a third off the time of the product (measured)
        weight_t, bias = weight.transpose(1, 2).contiguous(), bias[:, None]
        steps = zip(
            gates[..., : 2 * size].unbind(1),
            gates[..., 2 * size :].unbind(1),
            reset_update.unbind(1),
            reset_update[..., :size].unbind(1),
            reset_update[..., size:].unbind(1),
            hidden_new.unbind(1),
            new.unbind(1),
            out.unbind(1),
            strict=True,
        )
        for in_gates, in_new, both, reset, update, hid_new, new_t, out_t in steps:
            hidden = torch.baddbmm(bias, state, weight_t)
            torch.sigmoid(hidden[..., : 2 * size].add_(in_gates), out=both)
            hid_new.copy_(hidden[..., 2 * size :])
            torch.tanh(torch.addcmul(in_new, reset, hid_new), out=new_t)
            state = torch.lerp(new_t, state, update, out=out_t)
        ctx.save_for_backward(weight, reset_update, hidden_new, new, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, reset_update, hidden_new, new, out = ctx.saved_tensors
        num_groups, num_frames, batch, size = out.shape
        reset, update = reset_update[..., :size], reset_update[..., size:]
        before = torch.cat([torch.zeros_like(out[:, :1]), out[:, :-1]], 1)
        # gradient of a gate = gradient of the state times its factor; rows: reset, update, new
        factors = out.new_empty(num_groups, num_frames, batch, 3, size)
        new_factor = (1 - update) * (1 - new.square())
        torch.mul(new_factor * hidden_new, reset * (1 - reset), out=factors[..., 0, :])
        torch.mul(before - new, update * (1 - update), out=factors[..., 1, :])
        torch.mul(new_factor, reset, out=factors[..., 2, :])
        grad_state = torch.empty_like(out)
        carried = torch.zeros_like(out[:, 0])
        steps = zip(
            *(list(x.unbind(1))[::-1] for x in (grad_out, update, factors, grad_state)),
            strict=True,
        )
        for grad_t, update_t, factors_t, state_t in steps:
            torch.add(grad_t, carried, out=state_t)
            factors_t.mul_(state_t.unsqueeze(2))
            carried = torch.baddbmm(state_t * update_t, factors_t.flatten(2), weight)
        # `factors` now holds the gradients of the hidden gates
        rows = factors.view(num_groups, num_frames * batch, 3 * size)
        grad_weight = torch.bmm(rows.transpose(1, 2), before.view(num_groups, -1, size))
        grad_bias = rows.sum(1)
        grad_gates = factors.flatten(3)
        # the new gate's input path is not multiplied by reset: its gradient may replace the other here
        torch.mul(grad_state, new_factor, out=grad_gates[..., 2 * size :])
        return grad_gates, grad_weight, grad_bias


def _time_orders(lengths: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
    """Rows (B, T) read in time-major order, plain and reversed inside each length; and the way back.

    Returns:
        two index tensors of shape (2, T * B): to time-major from batch-major, and the inverse

    """
    time = torch.arange(num_frames, device=lengths.device)[:, None]
    row = torch.arange(len(lengths), device=lengths.device)[None]
    reverse = torch.where(time < lengths, lengths - 1 - time, time)
    there = torch.stack([(row * num_frames + t).expand(num_frames, -1) for t in (time, reverse)])
    back = torch.stack([(t * len(lengths) + row).t() for t in (time, reverse)])
    return there.flatten(1), back.flatten(1)


class BiGRU(nn.Module):
    """Bidirectional GRU: in each layer two one-way GRUs, the second on the input reversed inside its length.

    Equals a packed `torch.nn.GRU(bidirectional=True)`, without the cost of packing. On the CPU both
    directions step together in one batched product; elsewhere `torch.nn.GRU` runs. Both read the same
    parameters.

    Args:
        input_size: D of the input
        hidden_size: units H of a direction
        num_layers: stacked layers

    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.forwards = nn.ModuleList(nn.GRU(size, hidden_size, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.GRU(size, hidden_size, batch_first=True) for size in sizes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run all layers.

        Args:
            x: (B, T, D)
            lengths: valid frames, (B,)

        Returns:
            (B, T, 2H): the two directions concatenated, zero behind the lengths

        """
        there, back = _time_orders(lengths, x.shape[1])
        mask = frame_mask(lengths, x.shape[1])[:, :, None]
        layer = self._together if x.device.type == "cpu" else self._apart
        for forwards, backwards in zip(self.forwards, self.backwards, strict=True):
            x = layer(x, (forwards, backwards), there, back).masked_fill(~mask, 0)
        return x

    def _together(self, x: Tensor, pair: tuple[nn.GRU, nn.GRU], there: Tensor, back: Tensor) -> Tensor:
        batch, num_frames, dim = x.shape
        size = self.hidden_size
        rows = x.reshape(-1, dim)
        inputs = torch.stack([_Permute.apply(rows, there[i], back[i]) for i in range(2)])
        weight = torch.stack([gru.weight_ih_l0 for gru in pair])
        bias = torch.stack([gru.bias_ih_l0 for gru in pair])
        gates = torch.baddbmm(bias[:, None], inputs, weight.transpose(1, 2))
        out = _Recurrence.apply(
            gates.view(2, num_frames, batch, 3 * size),
            torch.stack([gru.weight_hh_l0 for gru in pair]),
            torch.stack([gru.bias_hh_l0 for gru in pair]),
        ).view(2, -1, size)
        halves = [_Permute.apply(out[i], back[i], there[i]) for i in range(2)]
        return torch.cat(halves, 1).view(batch, num_frames, 2 * size)

    def _apart(self, x: Tensor, pair: tuple[nn.GRU, nn.GRU], there: Tensor, back: Tensor) -> Tensor:
        batch, num_frames, dim = x.shape
        # reversal alone, batch-major: to time-major reversed, then back in plain order; it is its own inverse
        flip = there[1].index_select(0, back[0])
        reverse = _Permute.apply(x.reshape(-1, dim), flip, flip).view(batch, num_frames, dim)
        ahead, behind = pair[0](x)[0], pair[1](reverse)[0]
        behind = _Permute.apply(behind.reshape(-1, self.hidden_size), flip, flip)
        return torch.cat([ahead, behind.view(batch, num_frames, -1)], 2)
