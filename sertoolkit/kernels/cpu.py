"""The steps of GRUs on a CPU, compiled where the toolkit is installed with a C++ compiler at hand.

`cpu.cpp` has them for float32 and float64, `amx.cpp` for bfloat16 on CPUs with matrix units.
Shapes: M members, N packed frames, H units; see `sertoolkit.packing` for what packed means.
"""

from __future__ import annotations

import ctypes
import functools
import sysconfig
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sertoolkit.errors import SertoolkitError

FOLDER = Path(__file__).parent
INSTRUCTIONS = ("avx512", "avx2", "any")
"""What `cpu.cpp` is compiled for, the fastest first; an installation has those that its compiler knows."""


class Packing(ctypes.Structure):
    """What the steps need to know of packed frames; `cpu.hpp` has the same fields."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("members", "rows", "batch", "units", "steps")),
        *((name, ctypes.c_void_p) for name in ("offsets", "lengths")),
    ]


def applies(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether steps of this type can run compiled."""
    return device.type == "cpu" and library(dtype) is not None


@functools.cache
def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The fastest compiled steps of a type that this CPU can run; None where there are none, or of other sources."""
    if dtype == torch.bfloat16:
        found = load("amx") if known_instructions()[0] == "avx512" else None
        return found if found is not None and found.is_usable() else None
    if dtype not in (torch.float32, torch.float64):
        return None
    return next(filter(None, map(load, known_instructions())), None)


def known_instructions() -> Sequence[str]:
    """Those of `INSTRUCTIONS` that this CPU knows.

    As torch chooses its own, so that ATEN_CPU_CAPABILITY=avx2 makes both compute as on an older machine.
    """
    capability = torch.backends.cpu.get_cpu_capability().lower()
    return INSTRUCTIONS[INSTRUCTIONS.index(capability) if capability in INSTRUCTIONS else -1 :]


def load(instructions: str) -> ctypes.CDLL | None:
    """Steps compiled from these sources; None where there are none that load."""
    file = FOLDER / f"_cpu_{instructions}{sysconfig.get_config_var('EXT_SUFFIX')}"
    try:
        found = ctypes.CDLL(str(file))
    except OSError:  # not compiled, or on a machine with newer libraries
        return None
    sources = (FOLDER / ("amx.cpp" if instructions == "amx" else "cpu.cpp"), FOLDER / "cpu.hpp")
    written = b"".join(source.read_bytes() for source in sources)
    return found if found.source_checksum() == zlib.crc32(written) & 0x7FFFFFFF else None


def run_steps(gates: Tensor, weight: Tensor, bias: Tensor, offsets: Tensor, lengths: Tensor) -> Tensor:
    """Step forward. All tensors are contiguous, and of one type but for integers.

    Args:
        gates: what the input gives to reset, update and new gate, and room for one more, (M, 2, N, 4H); becomes these
            gates after their functions, as `run_steps_back` reads them, and the hidden part of new before reset
        weight: (M, 2, 3H, H)
        bias: of reset, update, new and its hidden part, (M, 2, 4H)
        offsets: first row of each step, (T,), int64
        lengths: frames of each utterance, from long to short, (M, B), int64

    Returns:
        the states, (M, N, 2H), zero in rows without a frame

    """
    out = gates.new_empty(len(gates), gates.shape[2], 2 * weight.shape[3])
    tensors = [gates, weight, bias, out]
    _call("forward", _ranges(*lengths.shape), tensors, gates.shape[2], offsets, lengths)
    return out


def run_steps_back(
    grad_out: Tensor, weight: Tensor, gates: Tensor, out: Tensor, offsets: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Step backward. All tensors are contiguous.

    Args:
        grad_out: (M, N, 2H)
        weight: as in `run_steps`
        gates: as `run_steps` left them
        out: what it returned
        offsets: as in `run_steps`
        lengths: as in `run_steps`

    Returns:
        gradients of the hidden part of new, of reset, update and new, (M, 2, N, 4H), zero in rows without a frame; of the
        weight, (M, 2, 3H, H); of the bias, (M, 2, 4H); these two in float32 where the rest is bfloat16

    """
    grads = torch.empty_like(gates)
    ranges = _ranges(*lengths.shape)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    grad_weight = torch.zeros(ranges, *weight.shape, dtype=dtype)
    grad_bias = torch.zeros(ranges, len(weight), 2, gates.shape[3], dtype=dtype)
    tensors = [grad_out, weight, gates, out, grads, grad_weight, grad_bias]
    _call("backward", ranges, tensors, gates.shape[2], offsets, lengths)
    return grads, grad_weight.sum(0), grad_bias.sum(0)


def _ranges(members: int, batch: int) -> int:
    """Into how many ranges the utterances of a direction are cut, that all threads have work."""
    return max(1, min(batch, -(-torch.get_num_threads() // (2 * members))))


def _call(
    name: str, ranges: int, tensors: list[Tensor], num_rows: int, offsets: Tensor, lengths: Tensor
) -> None:
    weight = tensors[1]
    members, batch = lengths.shape
    pointers = offsets.data_ptr(), lengths.data_ptr()
    packing = Packing(members, num_rows, batch, weight.shape[3], len(offsets), *pointers)
    function = getattr(library(weight.dtype), f"{name}_{str(weight.dtype).removeprefix('torch.')}")
    counts = (ctypes.c_int64(count) for count in (ranges, torch.get_num_threads()))
    function.restype = ctypes.c_bool
    if not function(*counts, packing, *(ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors)):
        raise SertoolkitError("not enough memory for the steps of a recurrent layer")
