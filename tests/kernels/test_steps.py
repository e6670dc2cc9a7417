"""The persistent kernels against torch.nn.GRU: in Triton's interpreter, or on a GPU where there is one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import interpreter
from bench.recurrence import recurrence
from sertoolkit import kernels
from sertoolkit.gru import BiGRU
from sertoolkit.kernels import applies, run_steps, run_steps_back
from sertoolkit.kernels.steps import block_of

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs Triton: pip install triton (PyTorch for GPUs brings it)", allow_module_level=True)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    interpreter.use()
TOLERANCE = (
    {"atol": 1e-5, "rtol": 1e-4} if DEVICE.type == "cpu" else {"atol": 5e-3, "rtol": 5e-3}
)  # there TF32


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


def inputs(groups: int, frames: int, batch: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    shapes = [(groups, frames, batch, 3 * size), (groups, 3 * size, size), (groups, 3 * size)]
    scales = [1.0, size**-0.5, 1.0]
    return tuple(
        (torch.randn(shape, device=DEVICE) * scale).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    )


def reference(gates: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """torch.nn.GRU of each group, whose input product passes the gates through."""
    size = weight.shape[2]
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    gru = nn.GRU(3 * size, size, device=DEVICE)
    through, nothing = torch.eye(3 * size, device=DEVICE), torch.zeros(3 * size, device=DEVICE)
    outs = []
    for group_gates, group_weight, group_bias in zip(gates, weight, bias, strict=True):
        values = dict(zip(names, (through, group_weight, nothing, group_bias), strict=True))
        outs.append(torch.func.functional_call(gru, values, (group_gates,))[0])
    return torch.stack(outs)


def values_and_gradients(out: Tensor, target: Tensor, leaves: tuple[Tensor, ...]) -> list[Tensor]:
    return [out, *torch.autograd.grad((out * target).sum(), leaves)]


def assert_same(ours: list[Tensor], theirs: list[Tensor], **tolerance: float) -> None:
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, other, **(tolerance or TOLERANCE))


@pytest.mark.parametrize(
    ("groups", "frames", "batch", "size"),
    [(1, 1, 1, 6), (3, 7, 5, 6), (1, 1, 2, 96), (2, 4, 19, 16), (2, 3, 4, 96), (1, 2, 3, 128)],
)
def test_states_and_gradients_are_those_of_torch(groups, frames, batch, size) -> None:
    leaves = inputs(groups, frames, batch, size)
    target = torch.randn(groups, frames, batch, size, device=DEVICE)

    ours = values_and_gradients(recurrence(*leaves), target, leaves)

    assert_same(ours, values_and_gradients(reference(*leaves), target, leaves))


# of two groups, 18 utterances: two blocks of a program each; one group without a frame in its second block
LENGTHS = torch.tensor([[5] + [3] * 16 + [1], [2] * 16 + [0, 0]], device=DEVICE)


def behind_lengths(frames: int) -> Tensor:
    return torch.arange(frames, device=DEVICE)[:, None] >= LENGTHS[:, None]


def test_each_utterance_ends_at_its_length_whatever_stands_behind() -> None:
    leaves = inputs(2, 6, 18, 6)
    behind = behind_lengths(6)[..., None]
    target = torch.randn(2, 6, 18, 6, device=DEVICE)
    expected = values_and_gradients(reference(*leaves).masked_fill(behind, 0), target, leaves)
    with torch.no_grad():
        leaves[0].masked_fill_(behind, float("nan"))

    assert_same(values_and_gradients(recurrence(*leaves, lengths=LENGTHS), target, leaves), expected)


def test_packed_rows_give_what_padded_ones_give() -> None:
    gates, weight, bias = inputs(2, 6, 18, 6)
    target = torch.randn(2, 6, 18, 6, device=DEVICE)
    expected = values_and_gradients(
        recurrence(gates, weight, bias, lengths=LENGTHS), target, (gates, weight, bias)
    )
    rows = ~behind_lengths(6).all(0)  # (T, B): there is a frame in some group
    sizes = rows.sum(1)
    offsets = (sizes.cumsum(0) - sizes).int()

    kept = gates.detach()[:, rows].clone()
    ragged = {"offsets": offsets, "lengths": LENGTHS.int(), "full": False}
    out, hidden_new = run_steps(kept, weight.detach(), bias.detach(), kept=kept, **ragged)
    grads, grad_new = run_steps_back(
        target[:, rows], weight.detach(), out=out, kept=kept, hidden_new=hidden_new, **ragged
    )

    assert_same([out], [expected[0][:, rows]])
    assert_same([torch.cat([grads[..., :12], grad_new], 2)], [expected[1][:, rows]])
    assert_same([grads.sum(1)], [expected[3]])


def test_states_are_the_same_where_no_gradient_is_asked_for() -> None:
    leaves = inputs(2, 4, 3, 6)
    with torch.no_grad():
        plain = recurrence(*leaves)

    assert not plain.requires_grad
    assert torch.equal(plain, recurrence(*leaves))


def test_16_bits_round_and_hand_weights_gradients_of_their_own_type() -> None:
    dtype = (
        torch.bfloat16 if DEVICE.type == "cuda" else torch.float16
    )  # Triton 3.6 interprets no bfloat16 product
    leaves = inputs(2, 5, 4, 16)
    target = torch.randn(2, 5, 4, 16, device=DEVICE)
    expected = values_and_gradients(reference(*leaves), target, leaves)

    out = recurrence(leaves[0].to(dtype), *leaves[1:])

    assert out.dtype == dtype
    rounding = {"atol": 0.1, "rtol": 0.05} if DEVICE.type == "cuda" else {"atol": 0.02, "rtol": 0.01}
    assert_same(values_and_gradients(out.float(), target, leaves), expected, **rounding)


class Mean(nn.Module):
    def __init__(self, network: BiGRU) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.network.mean(x, lengths)


@pytest.mark.parametrize("lengths", [[[4, 4], [4, 4], [4, 4]], [[5, 3], [2, 7], [1, 0]]])
def test_members_side_by_side_step_the_same_with_and_without_the_kernels(lengths, monkeypatch) -> None:
    lengths = torch.tensor(lengths, device=DEVICE)
    module = Mean(BiGRU(5, 6, 2)).to(DEVICE)
    stacked = {
        name: (torch.randn(3, *value.shape, device=DEVICE) * 0.4).requires_grad_()
        for name, value in module.named_parameters()
    }
    x = torch.randn(3, 2, int(lengths.max()), 5, device=DEVICE, requires_grad=True)
    target = torch.randn(3, 2, 12, device=DEVICE)
    calls = []
    monkeypatch.setattr(kernels, "run_steps", lambda *a, **k: calls.append(1) or run_steps(*a, **k))
    found = []
    for applied in (True, False):
        monkeypatch.setattr(kernels, "applies", lambda *_, applied=applied: applied)
        out = torch.func.functional_call(module, stacked, (x, lengths))
        found.append(values_and_gradients(out, target, (x, *stacked.values())))

    assert len(calls) == 2  # a layer each, of the first turn alone
    assert_same(*found)


@pytest.mark.parametrize(
    ("size", "itemsize", "shared_memory", "block"),
    [
        (128, 2, 232_448, 32),  # H100, H200
        (96, 4, 232_448, 16),
        (96, 2, 166_912, 32),  # A100
        (96, 4, 166_912, None),
        (64, 4, 101_376, 32),  # a card for desks
        (96, 2, 101_376, None),
        (6, 2, 101_376, 32),
    ],
)
def test_a_program_takes_as_many_utterances_as_the_chip_has_room_for(
    size, itemsize, shared_memory, block
) -> None:
    assert block_of(size, itemsize, shared_memory) == block


@pytest.mark.parametrize(("dtype", "size"), [(torch.float64, 96), (torch.bfloat16, 129)])
def test_other_types_and_sizes_are_left_to_torch(dtype, size) -> None:
    assert not applies(DEVICE, dtype, size)


def test_the_cpu_is_left_to_torch() -> None:
    assert not applies(torch.device("cpu"), torch.float32, 96)


@pytest.fixture(scope="module")
def compiled() -> dict[str, dict[str, int]]:
    script = Path(__file__).with_name("compile_kernels.py")
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, script], env=env, stdout=subprocess.PIPE, check=True, timeout=100)
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernel", ["forward_kernel", "backward_kernel"])
@pytest.mark.parametrize(
    ("dtype", "capability", "shared_memory"),
    [("bf16", 90, 232_448), ("bf16", 80, 166_912), ("fp32", 90, 232_448)],
)
def test_weights_of_96_units_stay_on_the_chip_beside_the_work(
    compiled, kernel, dtype, capability, shared_memory
) -> None:
    found = compiled[f"{kernel} {dtype} {capability}"]

    weights = 3 * 128 * 128 * (2 if dtype == "bf16" else 4)
    assert weights < found["shared_memory"] <= shared_memory
    assert found["matrix_instructions"] > 0
    assert found["spilt_bytes"] <= 16  # a value or two of 250: the compiler's choice of the day
