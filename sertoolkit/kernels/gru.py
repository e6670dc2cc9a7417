"""Triton kernels of a gated recurrent unit that stays on the chip for a whole sequence.

Shapes: G groups, T frames, B utterances, H units, N packed rows: row `offsets[t] + i` is frame t of utterance i, there
while t is below `lengths[g, i]`. A program owns one group and BLOCK of its utterances. It loads the recurrent
weights once, as three H x H tiles padded to WIDTH, then walks through time up to its own longest utterance: the state
never leaves the chip and no step is a launch. Programs share nothing, so none waits for another.

What a step reads is asked for one step ahead, so that memory answers while the step before is computed. The loops are
`for`, not `while`: only then does the compiler keep the weights in shared memory (Triton 3.6).
"""

# mypy: allow-untyped-defs

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _first_row(offsets, num_rows, t, there):
    """Row of the first utterance at frame t; 64 bits, as 200 members have more values than 32 can count."""
    return tl.program_id(0).to(tl.int64) * num_rows + tl.load(offsets + t, there, other=0)


@triton.jit
def _weights(at, rows, columns, SIZE: tl.constexpr):
    """Weights of reset, update and new, each (WIDTH, WIDTH)."""
    at += tl.program_id(0).to(tl.int64) * 3 * SIZE * SIZE + rows * SIZE + columns
    inside = (rows < SIZE) & (columns < SIZE)
    reset = tl.load(at, inside, other=0.0)
    update = tl.load(at + SIZE * SIZE, inside, other=0.0)
    return reset, update, tl.load(at + 2 * SIZE * SIZE, inside, other=0.0)


@triton.jit
def _gates(at, first, utterances, units, valid, SIZE: tl.constexpr):
    """Reset, update and new of (N, 3H), each (BLOCK, WIDTH)."""
    at = at + first * 3 * SIZE + (utterances * 3 * SIZE + units)
    reset = tl.load(at, valid, other=0.0)
    update = tl.load(at + SIZE, valid, other=0.0)
    return reset, update, tl.load(at + 2 * SIZE, valid, other=0.0)


@triton.jit
def _store_gates(at, first, utterances, units, valid, reset, update, new, SIZE: tl.constexpr):
    at = at + first * 3 * SIZE + (utterances * 3 * SIZE + units)
    tl.store(at, reset, valid)
    tl.store(at + SIZE, update, valid)
    tl.store(at + 2 * SIZE, new, valid)


@triton.jit(do_not_specialize=["num_rows", "batch"])  # one compilation for batches of all sizes
def forward_kernel(
    gates,  # (G, N, 3H) in the order reset, update, new: what the input gives to the gates
    weight,  # (G, 3H, H)
    bias,  # (G, 3H)
    offsets,  # (T,)
    lengths,  # (G, B)
    out,  # (G, N, H): the states
    kept,  # (G, N, 3H): the gates after their functions; may be `gates` itself; written if KEEP
    hidden_new,  # (G, N, H): what the state gives to the new gate before reset; written if KEEP
    num_rows,
    batch,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
    KEEP: tl.constexpr,
):
    """Walk forward."""
    group = tl.program_id(0).to(tl.int64)
    utterances = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[:, None]
    units = tl.arange(0, WIDTH)[None]
    here = utterances * SIZE + units
    ends = tl.load(lengths + group * batch + utterances, utterances < batch, other=0)
    steps = tl.max(ends)
    # transposed: what a state is multiplied by
    weight_reset, weight_update, weight_new = _weights(weight, units, tl.arange(0, WIDTH)[:, None], SIZE)
    biases = bias + group * 3 * SIZE + units
    bias_reset = tl.load(biases, units < SIZE, other=0.0).to(tl.float32)
    bias_update = tl.load(biases + SIZE, units < SIZE, other=0.0).to(tl.float32)
    bias_new = tl.load(biases + 2 * SIZE, units < SIZE, other=0.0).to(tl.float32)
    state = tl.zeros((BLOCK, WIDTH), tl.float32)
    valid = (ends > 0) & (units < SIZE)
    first = _first_row(offsets, num_rows, 0, steps > 0)
    in_reset, in_update, in_new = _gates(gates, first, utterances, units, valid, SIZE)
    for t in tl.range(0, steps, num_stages=1):
        next_valid = (t + 1 < ends) & (units < SIZE)
        next_first = _first_row(offsets, num_rows, t + 1, t + 1 < steps)
        next_reset, next_update, next_new = _gates(gates, next_first, utterances, units, next_valid, SIZE)
        before = state.to(weight.dtype.element_ty)
        hidden = tl.dot(before, weight_new) + bias_new
        reset = tl.dot(before, weight_reset) + bias_reset
        reset = tl.sigmoid(reset + in_reset.to(tl.float32))
        update = tl.dot(before, weight_update) + bias_update
        update = tl.sigmoid(update + in_update.to(tl.float32))
        new = 2 * tl.sigmoid(2 * (in_new.to(tl.float32) + reset * hidden)) - 1  # tanh
        state = new + update * (state - new)
        tl.store(out + first * SIZE + here, state, valid)
        if KEEP:
            _store_gates(kept, first, utterances, units, valid, reset, update, new, SIZE)
            tl.store(hidden_new + first * SIZE + here, hidden, valid)
        first, valid = next_first, next_valid
        in_reset, in_update, in_new = next_reset, next_update, next_new


@triton.jit(do_not_specialize=["num_rows", "batch"])  # one compilation for batches of all sizes
def backward_kernel(
    grad_out,  # (G, N, H)
    weight,  # (G, 3H, H)
    offsets,  # (T,)
    lengths,  # (G, B)
    out,  # (G, N, H)
    kept,  # (G, N, 3H)
    hidden_new,  # (G, N, H)
    grad_hidden,  # (G, N, 3H): what the state gave to the gates
    grad_new,  # (G, N, H): what the input gave to the new gate; to the others as above
    num_rows,
    batch,
    SIZE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Walk backward; the gradients of weight and bias are products of what it writes, left to the caller."""
    group = tl.program_id(0).to(tl.int64)
    utterances = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)[:, None]
    units = tl.arange(0, WIDTH)[None]
    here = utterances * SIZE + units
    ends = tl.load(lengths + group * batch + utterances, utterances < batch, other=0)
    steps = tl.max(ends)
    weight_reset, weight_update, weight_new = _weights(weight, tl.arange(0, WIDTH)[:, None], units, SIZE)
    kind = weight.dtype.element_ty
    # stays zero behind an utterance's end: all that is read there is zero
    carried = tl.zeros((BLOCK, WIDTH), tl.float32)
    t = steps - 1
    valid = (t < ends) & (units < SIZE) & (t >= 0)
    first = _first_row(offsets, num_rows, t, t >= 0)
    reset, update, new = _gates(kept, first, utterances, units, valid, SIZE)
    hidden = tl.load(hidden_new + first * SIZE + here, valid, other=0.0)
    grad = tl.load(grad_out + first * SIZE + here, valid, other=0.0)
    for i in tl.range(0, steps, num_stages=1):
        t = steps - 2 - i
        next_valid = (t < ends) & (units < SIZE) & (t >= 0)
        next_first = _first_row(offsets, num_rows, t, t >= 0)
        next_reset, next_update, next_new = _gates(kept, next_first, utterances, units, next_valid, SIZE)
        next_hidden = tl.load(hidden_new + next_first * SIZE + here, next_valid, other=0.0)
        next_grad = tl.load(grad_out + next_first * SIZE + here, next_valid, other=0.0)
        before = tl.load(out + next_first * SIZE + here, next_valid, other=0.0)
        reset, update, new = reset.to(tl.float32), update.to(tl.float32), new.to(tl.float32)
        full = grad.to(tl.float32) + carried
        to_new = full * (1 - update) * (1 - new * new)
        to_reset = to_new * hidden.to(tl.float32) * reset * (1 - reset)
        to_update = full * (before.to(tl.float32) - new) * update * (1 - update)
        to_hidden = to_new * reset
        _store_gates(grad_hidden, first, utterances, units, valid, to_reset, to_update, to_hidden, SIZE)
        tl.store(grad_new + first * SIZE + here, to_new, valid)
        carried = tl.dot(to_reset.to(kind), weight_reset, full * update)
        carried = tl.dot(to_update.to(kind), weight_update, carried)
        carried = tl.dot(to_hidden.to(kind), weight_new, carried)
        first, valid = next_first, next_valid
        reset, update, new, hidden, grad = next_reset, next_update, next_new, next_hidden, next_grad
