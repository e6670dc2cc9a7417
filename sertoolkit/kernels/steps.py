"""The steps of many gated recurrent units side by side on a GPU: one launch for a whole sequence.

Shapes: G groups (members x directions), T frames, B utterances, H units, N packed rows. Row `offsets[t] + i` is frame
t of utterance i, there while t is below `lengths[g, i]`. Utterances sorted from long to short may be packed without
gaps; a plain (T, B) batch has `offsets` 0, B, 2B, ...

Products are taken in the type of the gates (float32: as TF32) and added up in float32, and so is the state carried.
At most 128 units: the weights of one group have to fit into one multiprocessor (`applies`).

So far these kernels have run in Triton's interpreter alone, against torch.nn.GRU, and through its compiler for compute
capability 8.0 and 9.0. They have not yet run on a GPU; `bench/gpu.sh` checks them against cuDNN there and times them.
"""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import torch
from torch import Tensor

MAX_SIZE = 128
NUM_WARPS = 8
BLOCKS = (32, 16)  # utterances of a program, best first; 64 do not fit into the registers (compiled for 9.0)


def applies(device: torch.device, dtype: torch.dtype, size: int) -> bool:
    """Whether the kernels take this work; torch.nn.GRU does all other.

    Args:
        device: where the tensors are
        dtype: of the gates
        size: units H

    Returns:
        true on a CUDA GPU of compute capability 8.0 or above with Triton installed, where the weights fit: up to 128
        units in bfloat16 and float16 (112 kB of shared memory: A100, H100), up to 64 on smaller GPUs (40 kB); float32
        up to 128 units on an H100 (224 kB), up to 64 elsewhere, and only where torch.backends.cudnn.allow_tf32 is
        set, as it is by default, since it is multiplied as TF32

    """
    if device.type != "cuda" or torch.version.cuda is None or not _has_triton():
        return False
    if dtype not in (torch.float32, torch.bfloat16, torch.float16) or size > MAX_SIZE:
        return False
    if dtype == torch.float32 and not torch.backends.cudnn.allow_tf32:
        return False
    modern = torch.cuda.get_device_properties(device).major >= 8
    return modern and block_of(size, dtype.itemsize, _shared_memory(device)) is not None


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _shared_memory(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin  # type: ignore[attr-defined]


def block_of(size: int, itemsize: int, shared_memory: int) -> int | None:
    """Utterances of a program, or None if the weights do not fit.

    Args:
        size: units H
        itemsize: bytes of a value
        shared_memory: bytes that a program may have

    """
    width = _width(size)
    for block in BLOCKS:
        # three tiles of weights, and what the compiler takes to change layouts (read off its output, Triton 3.6)
        if (3 * width + 4 * block) * width * itemsize <= shared_memory:
            return block
    return None


def _width(size: int) -> int:
    return max(16, 1 << (size - 1).bit_length())  # the matrix units take powers of two from 16


def _launch(
    kernel: Any, tensors: tuple[Tensor, ...], num_rows: int, lengths: Tensor, **constants: Any
) -> None:
    size, first = constants["SIZE"], tensors[0]
    block = BLOCKS[-1]
    if first.is_cuda:
        block = block_of(size, first.itemsize, _shared_memory(first.device)) or block
    num_groups, batch = lengths.shape
    grid = (num_groups, -(-batch // block))
    with torch.cuda.device_of(first):
        kernel[grid](
            *tensors, num_rows, batch, WIDTH=_width(size), BLOCK=block, num_warps=NUM_WARPS, **constants
        )


def run_steps(
    gates: Tensor,
    weight: Tensor,
    bias: Tensor,
    offsets: Tensor,
    lengths: Tensor,
    *,
    full: bool,
    kept: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Step forward.

    Args:
        gates: what the input gives to the gates reset, update and new, (G, N, 3H)
        weight: recurrent weights, (G, 3H, H)
        bias: recurrent biases, (G, 3H)
        offsets: first row of each frame, int32, (T,)
        lengths: int32, (G, B), at most T
        full: every group has a frame in every row; otherwise rows without one are set to zero
        kept: receives the gates after their functions, for :func:`run_steps_back`; may be ``gates`` itself

    Returns:
        the states, (G, N, H); and, with ``kept``, what the state gave to the new gate before reset, (G, N, H), of which
        rows without a frame hold anything

    """
    from sertoolkit.kernels.gru import forward_kernel

    size = weight.shape[2]
    out = _made(gates, size, full=full)
    hidden_new = None if kept is None else torch.empty_like(out)
    tensors = (
        gates.contiguous(),
        weight.to(gates.dtype).contiguous(),
        bias.contiguous(),
        offsets,
        lengths.contiguous(),
        out,
        out if kept is None else kept,
        out if hidden_new is None else hidden_new,
    )
    _launch(forward_kernel, tensors, gates.shape[1], lengths, SIZE=size, KEEP=kept is not None)
    return out, hidden_new


def run_steps_back(
    grad_out: Tensor,
    weight: Tensor,
    offsets: Tensor,
    lengths: Tensor,
    *,
    full: bool,
    out: Tensor,
    kept: Tensor,
    hidden_new: Tensor,
) -> tuple[Tensor, Tensor]:
    """Step backward.

    Args:
        grad_out: gradient of the states, (G, N, H)
        weight: as in :func:`run_steps`
        offsets: as there
        lengths: as there
        full: as there
        out: as it returned
        kept: as it filled
        hidden_new: as it returned

    Returns:
        gradients of what the state gave to the gates, (G, N, 3H), and of what the input gave to the new gate,
        (G, N, H); what the input gave to the other two has the same gradient as what the state gave

    """
    from sertoolkit.kernels.gru import backward_kernel

    size = weight.shape[2]
    grad_hidden, grad_new = _made(out, 3 * size, full=full), _made(out, size, full=full)
    tensors = (
        grad_out.contiguous(),
        weight.to(out.dtype).contiguous(),
        offsets,
        lengths.contiguous(),
        out,
        kept,
        hidden_new,
        grad_hidden,
        grad_new,
    )
    _launch(backward_kernel, tensors, out.shape[1], lengths, SIZE=size)
    return grad_hidden, grad_new


def _made(like: Tensor, dim: int, *, full: bool) -> Tensor:
    shape = (*like.shape[:2], dim)
    return like.new_empty(shape) if full else like.new_zeros(shape)
