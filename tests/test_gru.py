"""Bidirectional GRUs against torch's packed ones, alone and side by side."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sertoolkit.gru import BiGRU
from sertoolkit.networks import frame_mask, masked_mean

LENGTHS = torch.tensor([5, 1, 9, 3])
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


def padded(dim: int, padding: float = 0.0) -> torch.Tensor:
    x = torch.randn(len(LENGTHS), 11, dim, generator=torch.Generator().manual_seed(2))
    return x.masked_fill(~frame_mask(LENGTHS, 11)[:, :, None], padding)


def packed_reference(network: BiGRU, dim: int) -> nn.GRU:
    layers = len(network.forwards)
    reference = nn.GRU(dim, network.hidden_size, layers, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for suffix, grus in (("", network.forwards), ("_reverse", network.backwards)):
            for i, gru in enumerate(grus):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(reference, f"{name}_l{i}{suffix}").copy_(getattr(gru, f"{name}_l0"))
    return reference


@pytest.mark.parametrize("num_layers", [1, 2])
def test_bigru_equals_a_packed_gru_in_values_and_gradients(num_layers) -> None:
    network = BiGRU(6, 8, num_layers)
    reference = packed_reference(network, 6)
    x = padded(6).requires_grad_()
    target = torch.randn(len(LENGTHS), 11, 16)
    y = network(x, LENGTHS)
    (y * target).sum().backward()
    grad, x.grad = x.grad, None
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    expected = pad_packed_sequence(reference(packed)[0], batch_first=True, total_length=11)[0]
    (expected * target).sum().backward()
    torch.testing.assert_close(y, expected, atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(grad, x.grad, atol=TOLERANCE, rtol=1e-4)
    for i, gru in enumerate(network.backwards):
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            theirs = getattr(reference, f"{name}_l{i}_reverse").grad
            torch.testing.assert_close(getattr(gru, f"{name}_l0").grad, theirs, atol=TOLERANCE, rtol=1e-4)


def test_the_way_of_a_gpu_gives_the_same() -> None:
    network = BiGRU(6, 8, 2)
    x = padded(6)
    torch.testing.assert_close(network._run_apart(x, LENGTHS), network(x, LENGTHS), atol=TOLERANCE, rtol=0)


def test_the_mean_over_time_equals_that_of_the_frames_in_values_and_gradients() -> None:
    network = BiGRU(6, 8, 2).double()
    x = padded(6).double().requires_grad_()
    weights = torch.randn(len(LENGTHS), 16, dtype=torch.float64)
    y = network.mean(x, LENGTHS)
    (y * weights).sum().backward()
    grads = [x.grad, *(parameter.grad for parameter in network.parameters())]
    x.grad = None
    network.zero_grad()
    expected = masked_mean(network(x, LENGTHS), LENGTHS)
    (expected * weights).sum().backward()
    torch.testing.assert_close(y, expected)
    for ours, theirs in zip(grads, [x.grad, *(p.grad for p in network.parameters())], strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("of", ["forward", "mean"])
def test_members_side_by_side_equal_each_alone_also_with_ragged_and_empty_rows(of) -> None:
    alone = [BiGRU(6, 8, 2).double() for _ in range(3)]
    lengths = torch.tensor([[5, 1, 9, 3], [2, 0, 4, 7], [1, 1, 0, 0]])
    x = torch.randn(3, 4, 11, 6, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(3, 4, *([11] if of == "forward" else []), 16, dtype=torch.float64)
    template = BiGRU(6, 8, 2)
    names = [name for name, _ in template.named_parameters()]
    stacked = {
        name: torch.stack([network.get_parameter(name) for network in alone]).detach().requires_grad_()
        for name in names
    }
    for name, value in stacked.items():
        module, _, own = name.rpartition(".")
        del template.get_submodule(module)._parameters[own]
        setattr(template.get_submodule(module), own, value)
    y = getattr(template, of)(x, lengths)
    (y * weights).sum().backward()
    together, x.grad = x.grad, None
    for member, network in enumerate(alone):
        rows = lengths[member] > 0
        expected = getattr(network, of)(x[member][rows], lengths[member][rows])
        (expected * weights[member][rows]).sum().backward()
        torch.testing.assert_close(y[member][rows], expected, atol=1e-12, rtol=0)
        assert not y[member][~rows].any()
        for name in names:
            torch.testing.assert_close(
                stacked[name].grad[member], network.get_parameter(name).grad, atol=1e-12, rtol=1e-9
            )
    torch.testing.assert_close(together, x.grad, atol=1e-12, rtol=1e-9)


def test_bigru_does_not_see_padding() -> None:
    network = BiGRU(6, 8)
    y = network(padded(6, 100.0), LENGTHS)
    for i, n in enumerate(LENGTHS):
        alone = network(padded(6)[i : i + 1, :n], LENGTHS[i : i + 1])
        torch.testing.assert_close(y[i, :n], alone[0], atol=TOLERANCE, rtol=0)
        assert not y[i, n:].any()


def test_bigru_gradients_pass_a_numeric_check() -> None:
    network = BiGRU(2, 3).double()
    lengths = torch.tensor([3, 2])
    x = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: network(x, lengths), (x, *network.parameters()))


@pytest.mark.parametrize("of", ["forward", "mean"])
def test_products_in_bfloat16_leave_values_and_gradients_in_float32_and_near(of) -> None:
    network = BiGRU(6, 8, 2)
    found = []
    for precision in (None, torch.bfloat16):
        network.precision = precision
        y = getattr(network, of)(padded(6), LENGTHS)
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), list(network.parameters()))])
    for exact, near in zip(*found, strict=True):
        assert near.dtype == torch.float32
        assert 0 < (near - exact).norm() <= 0.02 * exact.norm()
