"""Bidirectional GRUs on packed frames: one network, or many of equal shape side by side.

Shapes: M members (networks side by side), B utterances, T frames, D values a frame, H units, G = 2 M groups (the two
directions of each member), N packed frames (`sertoolkit.packing`). A single network is M = 1 without the leading axis.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sertoolkit import kernels
from sertoolkit.kernels import cpu
from sertoolkit.packing import Packing

PIECE = 2**16  # values


class _Layer(torch.autograd.Function):
    """One bidirectional layer of all members.

    torch.nn.GRU keeps an autograd node for every operation of every step. Here a step is seven calls forward and four
    backward, on the buffers that hold the result.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        packing: Packing,
    ) -> Tensor:
        # x (M, N, D); weights (M, 2, 3H, D) and (M, 2, 3H, H); biases (M, 2, 3H); gates in order reset, update, new
        members, num_rows, _ = x.shape
        size = weight_hh.shape[3]
        gates = x.new_empty(members, 2, num_rows, 3 * size)
        for direction, inputs in enumerate((x, _mirrored(x, packing))):
            torch.baddbmm(
                bias_ih[:, direction, None], inputs, weight_ih[:, direction].mT, out=gates[:, direction]
            )
        if kernels.applies(x.device, x.dtype, size):
            rows = gates.flatten(0, 1)
            states, hidden = kernels.run_steps(
                rows, weight_hh.flatten(0, 1), bias_hh.flatten(0, 1), kept=rows, **packing.for_kernels()
            )
            out, hidden_new = (buffer.view(members, 2, num_rows, size) for buffer in (states, hidden))
        else:
            hidden_new, out = _run_steps(gates, weight_hh, bias_hh, packing)
        ctx.packing = packing
        ctx.save_for_backward(x, weight_ih, weight_hh, gates, hidden_new, out)
        return torch.cat([out[:, 0], _mirrored(out[:, 1], packing)], 2)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_ih, weight_hh, gates, hidden_new, out = ctx.saved_tensors
        packing = ctx.packing
        size = weight_hh.shape[3]
        grad_out = torch.stack([grad[..., :size], _mirrored(grad[..., size:], packing)], 1)
        before = torch.zeros_like(out)
        before[:, :, packing.sizes[0] :] = out.index_select(2, packing.before)
        if kernels.applies(x.device, x.dtype, size):
            kept = {"out": out, "kept": gates, "hidden_new": hidden_new}
            factors, grad_new = kernels.run_steps_back(
                grad_out.flatten(0, 1),
                weight_hh.flatten(0, 1),
                **{name: buffer.flatten(0, 1) for name, buffer in kept.items()},
                **packing.for_kernels(),
            )
            factors, grad_new = factors.view(gates.shape), grad_new.view(out.shape)
        else:
            factors, new_factor = _gate_factors(gates, hidden_new, before)
            _run_steps_back(grad_out, factors, gates[..., size : 2 * size], weight_hh, packing)
            grad_new = grad_out.mul_(new_factor)
        # `factors` now holds the gradients of the gates on the hidden path
        flat = factors.flatten(0, 1)
        grad_weight_hh = torch.bmm(flat.mT, before.flatten(0, 1)).view_as(weight_hh)
        grad_bias_hh = factors.sum(2)
        # the new gate's input path is not multiplied by reset
        factors[..., 2 * size :] = grad_new
        grad_weight_ih, grad_x = torch.empty_like(weight_ih), None
        for direction, inputs in enumerate((x, _mirrored(x, packing))):
            grads = factors[:, direction]
            grad_weight_ih[:, direction] = torch.bmm(grads.mT, inputs)
            if ctx.needs_input_grad[0]:
                part = torch.bmm(grads, weight_ih[:, direction])
                grad_x = part if grad_x is None else grad_x.add_(_mirrored(part, packing))
        return grad_x, grad_weight_ih, grad_weight_hh, factors.sum(2), grad_bias_hh, None


class _CompiledLayer(torch.autograd.Function):
    """The same on a CPU with compiled steps, which walk both directions in the order of the frames."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        packing: Packing,
    ) -> Tensor:
        members, num_rows, _ = x.shape
        size = weight_hh.shape[3]
        both = 2 * size  # reset and update add their biases, new does not
        bias = torch.cat(
            [bias_ih[..., :both] + bias_hh[..., :both], bias_ih[..., both:], bias_hh[..., both:]], 2
        )
        gates = x.new_empty(members, 2, num_rows, 4 * size)
        for direction in (0, 1):
            torch.bmm(x, weight_ih[:, direction].mT, out=gates[:, direction, :, : 3 * size])
        out = cpu.run_steps(gates, weight_hh, bias, **packing.for_cpu)
        ctx.packing = packing
        ctx.save_for_backward(x, weight_ih, weight_hh, gates, out)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_ih, weight_hh, gates, out = ctx.saved_tensors
        size = weight_hh.shape[3]
        grads, grad_weight_hh, grad_bias = cpu.run_steps_back(
            grad.contiguous(), weight_hh, gates, out, **ctx.packing.for_cpu
        )
        grad_weight_hh, grad_bias = grad_weight_hh.to(x.dtype), grad_bias.to(x.dtype)
        grad_bias_hh = torch.cat([grad_bias[..., : 2 * size], grad_bias[..., 3 * size :]], 2)
        # transposed, as such products are faster; zeros are added to, as autocast lets such products alone
        grad_weight_ih = weight_ih.new_zeros(*weight_ih.shape[:2], x.shape[2], 3 * size)
        grad_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        for direction in (0, 1):
            of_input = grads[:, direction, :, size:]
            grad_weight_ih[:, direction].baddbmm_(x.mT, of_input)
            if grad_x is not None:
                grad_x.baddbmm_(of_input, weight_ih[:, direction])
        grad_weight_ih = grad_weight_ih.mT
        return grad_x, grad_weight_ih, grad_weight_hh, grad_bias[..., : 3 * size], grad_bias_hh, None


def _mirrored(x: Tensor, packing: Packing) -> Tensor:
    return x.reshape(-1, x.shape[-1]).index_select(0, packing.mirror).view(x.shape)


def _run_steps(gates: Tensor, weight: Tensor, bias: Tensor, packing: Packing) -> tuple[Tensor, Tensor]:
    """Step forward; input gates (M, 2, N, 3H) become reset, update and new.

    Returns:
        the hidden part of the new gate before reset, and the states; both (M, 2, N, H)

    """
    size = weight.shape[3]
    shape = (*gates.shape[:3], size)
    hidden_new, out = gates.new_empty(shape), gates.new_empty(shape)
    # contiguous: a third off the time of the product (measured)
    weight_t, bias = weight.flatten(0, 1).mT.contiguous(), bias.flatten(0, 1)[:, None]
    reset, update, new = gates.chunk(3, 3)
    views = (packing.steps(x) for x in (gates[..., : 2 * size], reset, update, new, hidden_new, out))
    state = gates.new_zeros(len(weight_t), packing.sizes[0] if packing.sizes else 0, size)
    hidden = state[:, :0]
    for gates_, reset_, update_, new_, hidden_new_, out_ in zip(*views, strict=True):
        rows = gates_.shape[1]
        if rows != hidden.shape[1]:
            state, hidden = state[:, :rows], gates.new_empty(len(weight_t), rows, 3 * size)
            hidden_gates, hidden_candidate = hidden.split([2 * size, size], 2)
        torch.baddbmm(bias, state, weight_t, out=hidden)
        gates_.add_(hidden_gates).sigmoid_()
        hidden_new_.copy_(hidden_candidate)
        new_.addcmul_(reset_, hidden_candidate).tanh_()
        state = torch.lerp(new_, state, update_, out=out_)
    return hidden_new, out


def _gate_factors(gates: Tensor, hidden_new: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of a gate = gradient of the state times its factor.

    Returns:
        factors of reset, update and new on the hidden path, (M, 2, N, 3H); that of new on the input path, (M, 2, N, H)

    """
    factors, new_factors = torch.empty_like(gates), torch.empty_like(before)
    inputs = (gates, hidden_new, before, factors, new_factors)
    # by pieces that stay in the cache with what is made on the way
    for gate, hidden, state, factor, new_factor in zip(
        *(x.flatten(0, 2).split(max(1, PIECE // before.shape[-1])) for x in inputs), strict=True
    ):
        reset, update, new = gate.chunk(3, 1)
        reset_factor, update_factor, hidden_factor = factor.chunk(3, 1)
        rest = 1 - update
        torch.sub(state, new, out=update_factor).mul_(update).mul_(rest)
        torch.mul(new.square().neg_().add_(1), rest, out=new_factor)
        torch.mul(new_factor, reset, out=hidden_factor)
        torch.mul(hidden_factor, hidden, out=reset_factor).mul_(1 - reset)
    return factors, new_factors


def _run_steps_back(
    grad_out: Tensor, factors: Tensor, update: Tensor, weight: Tensor, packing: Packing
) -> None:
    """Step backward; ``grad_out`` becomes the gradient of the states, ``factors`` that of the hidden gates."""
    size = weight.shape[3]
    apart = factors.unflatten(3, (3, size))
    views = (packing.steps(x) for x in (grad_out, grad_out.unsqueeze(3), factors, apart, update))
    weight = weight.flatten(0, 1)
    carried = grad_out.new_zeros(len(weight), 0, size)
    for grad_, each_, factors_, apart_, update_ in reversed(list(zip(*views, strict=True))):
        more = grad_.shape[1] - carried.shape[1]
        if more:  # contiguous, or the product would be made group by group
            carried = functional.pad(carried, (0, 0, 0, more))
        grad_.add_(carried)
        apart_.mul_(each_)
        torch.mul(grad_, update_, out=carried)
        carried.baddbmm_(factors_, weight)


_PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def _paired(pair: tuple[nn.GRU, nn.GRU], name: str) -> Tensor:
    """A parameter of both directions: (M, 2, 3H, ...)."""
    dims = 2 if name.startswith("weight") else 1
    both = torch.stack([getattr(gru, name) for gru in pair], -1 - dims)
    return both if both.ndim == dims + 2 else both[None]


def set_precision(module: nn.Module, dtype: torch.dtype | None) -> None:
    """Let all BiGRUs of a module take their products in a type; weights, and what they return, stay as they are.

    Args:
        module: any
        dtype: e.g. bfloat16; None: that of weights and input

    """
    for part in module.modules():
        if isinstance(part, BiGRU):
            part.precision = dtype


class BiGRU(nn.Module):
    """Bidirectional GRU: in each layer two one-way GRUs, the second on the input reversed inside its length.

    Equals a packed `torch.nn.GRU(bidirectional=True)`. A GPU runs a single network by `torch.nn.GRU`; everything else
    runs here. Where its parameters are stacked on a leading axis of M members, so are inputs and outputs.

    Args:
        input_size: D of the input
        hidden_size: units H of a direction
        num_layers: stacked layers

    Attributes:
        precision: what its products are taken in where it runs here; None: the type of weights and input

    """

    precision: torch.dtype | None = None

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.forwards = nn.ModuleList(nn.GRU(size, hidden_size, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.GRU(size, hidden_size, batch_first=True) for size in sizes)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Run all layers.

        Args:
            x: (B, T, D), or (M, B, T, D)
            lengths: valid frames, (B,), or (M, B)

        Returns:
            (B, T, 2H) or (M, B, T, 2H): the two directions concatenated, zero behind the lengths

        """
        if x.ndim == 3 and x.device.type != "cpu":
            return self._run_apart(x, lengths)
        packed, packing = self._run(x, lengths)
        y = packing.unpack(packed).to(x.dtype)
        return y if x.ndim == 4 else y[0]

    def mean(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Mean over time of the last layer: as `masked_mean` of `forward`, without unpacking.

        Returns:
            (B, 2H), or (M, B, 2H); zero for an utterance without frames

        """
        if x.ndim == 3 and x.device.type != "cpu":
            return self._run_apart(x, lengths).sum(1) / lengths.clamp(min=1)[:, None].to(x.dtype)
        packed, packing = self._run(x, lengths)
        y = packing.mean(packed).to(x.dtype)
        return y if x.ndim == 4 else y[0]

    def _run(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Packing]:
        if x.ndim == 3:
            x, lengths = x[None], lengths[None]
        packing = Packing.of(lengths, x.shape[2])
        dtype = self.precision or x.dtype
        x = packing.pack(x).to(dtype)
        compiled = cpu.applies(x.device, dtype) and not kernels.applies(x.device, dtype, self.hidden_size)
        layer = _CompiledLayer if compiled else _Layer
        for pair in zip(self.forwards, self.backwards, strict=True):
            x = layer.apply(x, *(_paired(pair, name).to(dtype) for name in _PARAMETERS), packing)
        return x, packing

    def _run_apart(self, x: Tensor, lengths: Tensor) -> Tensor:
        time = torch.arange(x.shape[1], device=x.device)
        inside = time < lengths[:, None]
        flip = torch.where(inside, lengths[:, None] - 1 - time, time)
        for forwards, backwards in zip(self.forwards, self.backwards, strict=True):
            reverse = x.gather(1, flip[:, :, None].expand_as(x))
            ahead, behind = forwards(x)[0], backwards(reverse)[0]
            behind = behind.gather(1, flip[:, :, None].expand_as(behind))
            x = torch.cat([ahead, behind], 2).masked_fill(~inside[:, :, None], 0)
        return x
