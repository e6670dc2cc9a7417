"""The kernels of gated recurrent units as one differentiable function, beside which rivals and references are set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sertoolkit.kernels import run_steps, run_steps_back


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        bias: Tensor,
        offsets: Tensor,
        lengths: Tensor,
        full: bool,
        keep: bool,
    ) -> Tensor:
        kept = torch.empty_like(gates) if keep else None
        out, hidden_new = run_steps(gates, weight, bias, offsets, lengths, full=full, kept=kept)
        ctx.full = full
        ctx.save_for_backward(weight, offsets, lengths, out, kept, hidden_new)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        weight, offsets, lengths, out, kept, hidden_new = ctx.saved_tensors
        size, batch = weight.shape[2], lengths.shape[1]
        grads, grad_new = run_steps_back(
            grad_out, weight, offsets, lengths, full=ctx.full, out=out, kept=kept, hidden_new=hidden_new
        )
        # the state before the first frame is zero: it moves no weight
        grad_weight = torch.bmm(grads[:, batch:].mT, out[:, : out.shape[1] - batch])
        grad_bias = grads.sum(1)
        grads[..., 2 * size :] = grad_new
        return grads, grad_weight.to(weight.dtype), grad_bias.to(weight.dtype), None, None, None, None


def recurrence(gates: Tensor, weight: Tensor, bias: Tensor, *, lengths: Tensor | None = None) -> Tensor:
    """States of G gated recurrent units over a padded batch, differentiable.

    Args:
        gates: what the input gives to the gates reset, update and new, (G, T, B, 3H)
        weight: recurrent weights, (G, 3H, H)
        bias: recurrent biases, (G, 3H)
        lengths: frames of each utterance, (G, B); T if not given. Programs stop at the longest of their block, so sort

    Returns:
        (G, T, B, H), zero behind the lengths

    """
    num_groups, num_frames, batch, _ = gates.shape
    keep = torch.is_grad_enabled() and any(x.requires_grad for x in (gates, weight, bias))
    offsets = torch.arange(0, num_frames * batch, max(batch, 1), dtype=torch.int32, device=gates.device)
    full = lengths is None
    if lengths is None:
        lengths = torch.full((num_groups, batch), num_frames, device=gates.device)
    rows = gates.reshape(num_groups, num_frames * batch, -1)
    out = _Recurrence.apply(rows, weight, bias, offsets, lengths.to(torch.int32), full, keep)
    return out.view(num_groups, num_frames, batch, -1)
