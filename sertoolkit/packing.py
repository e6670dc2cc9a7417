"""Packed frames: those of a batch of utterances of different lengths, without padding.

Shapes: M members (networks side by side), B utterances, T frames, D values a frame, N packed frames.

Step t holds the rows of all utterances that are longer than t, longest first, and steps follow one another. Work is
proportional to speech, not to the longest utterance of a batch, and whatever does not depend on the step before is one
product over all N frames.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


@dataclasses.dataclass(frozen=True)
class Packing:
    """Where each packed frame comes from.

    Attributes:
        sizes: rows of each step, falling
        offsets: first packed row of each step
        source: row of the padded batch, flattened (M * B * T), behind each packed row, (M * N,)
        mirror: packed row of the same utterance counted from its end, (M * N,); its own inverse
        valid: (M, N, 1), false where a member has no frame though another has; None if every row is valid
        before: packed row of the frame before, for all rows behind the first step, (N - sizes[0],)
        order: utterances from long to short, (M, B)
        rank: place of each utterance in that order, (M, B)
        lengths: (M, B)
        num_frames: T of the padded batch

    """

    sizes: list[int]
    offsets: list[int]
    source: Tensor
    mirror: Tensor
    valid: Tensor | None
    before: Tensor
    order: Tensor
    rank: Tensor
    lengths: Tensor
    num_frames: int

    @classmethod
    def of(cls, lengths: Tensor, num_frames: int) -> Packing:
        """Pack a batch; what has N rows is made on the device of the lengths.

        Args:
            lengths: valid frames, (M, B)
            num_frames: T of the padded batch

        """
        device, on_cpu = lengths.device, lengths.cpu()
        members, batch = lengths.shape
        ranked, order = on_cpu.sort(dim=1, descending=True, stable=True)
        longest = ranked.amax(0)  # of each rank over the members: falls as well
        sizes = batch - torch.bincount(longest, minlength=1).cumsum(0)[:-1]
        offsets = sizes.cumsum(0) - sizes
        full, num_rows, num_first = bool((ranked == longest).all()), int(sizes.sum()), int(sizes[:1].sum())
        size_of, start_of, order, ranked = (x.to(device) for x in (sizes, offsets, order, ranked))
        time = torch.arange(len(sizes), device=device)
        step = torch.repeat_interleave(time, size_of, output_size=num_rows)
        row = torch.arange(num_rows, device=device)
        rank = row - start_of[step]
        length = ranked[:, rank]
        valid = step < length
        member = torch.arange(members, device=device)[:, None]
        source = (member * batch + order[:, rank]) * num_frames + torch.where(valid, step, 0)
        mirror = start_of[(length - 1 - step).clamp(min=0)] + rank if num_rows else source
        mirror = member * num_rows + torch.where(valid, mirror, row)
        return cls(
            sizes.tolist(),
            offsets.tolist(),
            source.flatten(),
            mirror.flatten(),
            None if full else valid[:, :, None],
            (start_of[(step - 1).clamp(min=0)] + rank)[num_first:],
            order,
            order.argsort(1),
            lengths,
            num_frames,
        )

    def pack(self, x: Tensor) -> Tensor:
        """(M, B, T, D) -> (M, N, D)."""
        return _Pack.apply(x, self)

    def unpack(self, x: Tensor) -> Tensor:
        """(M, N, D) -> (M, B, T, D), zero behind the lengths."""
        return _Unpack.apply(x, self)

    def mean(self, x: Tensor) -> Tensor:
        """(M, N, D) -> mean over the frames of each utterance, (M, B, D); zero where there is no frame."""
        return _Mean.apply(x, self)

    @functools.cached_property
    def padding(self) -> Tensor:
        """True behind the lengths, (M, B, T, 1)."""
        time = torch.arange(self.num_frames, device=self.lengths.device)
        return (time >= self.lengths[:, :, None])[..., None]

    @functools.cached_property
    def target(self) -> Tensor:
        """Packed row of each frame of the padded batch, (M * B * T,); 0 at padding."""
        starts = torch.tensor(self.offsets, dtype=torch.int64, device=self.lengths.device)
        starts = functional.pad(starts, (0, self.num_frames - len(starts)))
        target = self._first_rows[:, :, None] + starts
        return target.masked_fill_(self.padding[..., 0], 0).flatten()

    @functools.cached_property
    def utterances(self) -> tuple[Tensor, Tensor]:
        """Packed rows of all utterances, one utterance after another, and where each begins, (M * B,)."""
        lengths = self.lengths.flatten()
        ends = lengths.cumsum(0)
        starts, num_rows = ends - lengths, sum(self.sizes) * len(self.lengths)
        if self.valid is not None:
            num_rows = int(ends[-1])
        which = torch.repeat_interleave(lengths, output_size=num_rows)
        time = torch.arange(num_rows, device=lengths.device) - starts[which]
        offsets = torch.tensor(self.offsets, device=lengths.device)
        return self._first_rows.flatten()[which] + offsets[time], starts

    @property
    def _first_rows(self) -> Tensor:
        """Packed row of the first frame of each utterance, (M, B)."""
        member = torch.arange(len(self.lengths), device=self.lengths.device)[:, None]
        return member * sum(self.sizes) + self.rank

    def steps(self, x: Tensor) -> Sequence[Tensor]:
        """The rows of each step, of all groups: views of (M, 2, N, ...), each (G, rows, ...).

        Made at once: cutting them out one by one takes a fifth of the time of a training (measured).
        """
        return x.flatten(0, 1).split(self.sizes, 1)

    def for_kernels(self) -> dict[str, Any]:
        """The same as `sertoolkit.kernels` takes it: utterances from long to short, for both directions."""
        ranked = self.lengths.gather(1, self.order).int()
        return {
            "offsets": torch.tensor(self.offsets, dtype=torch.int32, device=ranked.device),
            "lengths": ranked.repeat_interleave(2, 0),
            "full": self.valid is None,
        }

    @functools.cached_property
    def for_cpu(self) -> dict[str, Tensor]:
        """The same as `sertoolkit.kernels.cpu` takes it."""
        offsets = torch.tensor(self.offsets, dtype=torch.int64)
        return {"offsets": offsets, "lengths": self.lengths.gather(1, self.order).long()}


class _Pack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return x.reshape(-1, x.shape[-1]).index_select(0, packing.source).view(len(x), -1, x.shape[-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _unpack(grad, ctx.packing), None


class _Unpack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return _unpack(x, packing)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        packing, dim = ctx.packing, grad.shape[-1]
        packed = grad.reshape(-1, dim).index_select(0, packing.source).view(len(grad), -1, dim)
        return packed if packing.valid is None else packed.mul_(packing.valid), None


def _unpack(x: Tensor, packing: Packing) -> Tensor:
    padded = x.reshape(-1, x.shape[-1]).index_select(0, packing.target)
    return padded.view(*packing.padding.shape[:3], -1).masked_fill_(packing.padding, 0)


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packing: Packing) -> Tensor:
        ctx.packing, ctx.dtype = packing, x.dtype
        if x.device.type == "cpu" and x.dtype == torch.bfloat16:
            x = x.float()  # there sum and mean would be rounded, which costs half of their digits
        total = functional.embedding_bag(
            packing.utterances[0], x.flatten(0, 1), packing.utterances[1], mode="sum"
        )
        return total.view(*packing.lengths.shape, -1) / packing.lengths.clamp(min=1)[:, :, None]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        packing = ctx.packing
        each = (grad / packing.lengths.clamp(min=1)[:, :, None]).flatten(0, 1).to(ctx.dtype)
        utterance = packing.source // packing.num_frames
        packed = each.index_select(0, utterance).view(len(grad), -1, grad.shape[2])
        return packed if packing.valid is None else packed.mul_(packing.valid), None
