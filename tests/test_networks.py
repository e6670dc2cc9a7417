"""Blocks against plain torch on the valid frames alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sertoolkit.networks import BiGRU, MaskedBatchNorm, frame_mask, masked_mean

LENGTHS = torch.tensor([5, 1, 9, 3])
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


def padded(dim: int, padding: float = 0.0) -> torch.Tensor:
    x = torch.randn(len(LENGTHS), 11, dim, generator=torch.Generator().manual_seed(2))
    return x.masked_fill(~frame_mask(LENGTHS, 11)[:, :, None], padding)


@pytest.mark.parametrize(
    ("lengths", "max_len", "expected"),
    [([0], 2, [[0, 0]]), ([2], 2, [[1, 1]]), ([1, 3], 3, [[1, 0, 0], [1, 1, 1]])],
)
def test_frame_mask_marks_valid_frames(lengths, max_len, expected) -> None:
    assert frame_mask(torch.tensor(lengths), max_len).int().tolist() == expected


def test_masked_mean_is_the_mean_of_the_valid_frames_whatever_the_padding_holds() -> None:
    x = padded(3, float("nan"))
    expected = torch.stack([x[i, :n].mean(0) for i, n in enumerate(LENGTHS)])
    torch.testing.assert_close(masked_mean(x, LENGTHS), expected)


def test_masked_mean_gives_padding_no_gradient() -> None:
    x = padded(3).requires_grad_()
    masked_mean(x, LENGTHS).sum().backward()
    assert torch.equal(x.grad[:, :, 0] != 0, frame_mask(LENGTHS, 11))


@pytest.mark.parametrize("padding", [0.0, 1e3])
def test_batch_norm_of_frames_equals_torch_on_the_valid_frames(padding) -> None:
    ours, theirs = MaskedBatchNorm(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        for module in (ours, theirs):
            module.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
            module.bias.copy_(torch.tensor([0.3, 0.0, -1.0]))
    x = (padded(3, padding) * 2 + 5).requires_grad_()
    mask = frame_mask(LENGTHS, 11)
    target = torch.randn(int(mask.sum()), 3)
    y = ours(x, LENGTHS)
    ((y[mask] - target) ** 2).sum().backward()
    grad, x.grad = x.grad, None
    expected = theirs(x[mask])
    ((expected - target) ** 2).sum().backward()
    torch.testing.assert_close(y[mask], expected, atol=TOLERANCE, rtol=0)
    assert torch.equal(y[~mask], torch.zeros_like(y[~mask]))
    torch.testing.assert_close(grad, x.grad, atol=1e-4, rtol=1e-4)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name))
    for name in ("weight", "bias"):
        torch.testing.assert_close(getattr(ours, name).grad, getattr(theirs, name).grad, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_batch_norm_of_channels_equals_torch_on_an_unpadded_batch(memory_format) -> None:
    ours, theirs = MaskedBatchNorm(4), nn.BatchNorm2d(4)
    x = torch.randn(2, 4, 6, 5).contiguous(memory_format=memory_format)
    torch.testing.assert_close(ours(x, torch.tensor([5, 5])), theirs(x), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_batch_norm_statistics_of_channels_do_not_change_with_padding() -> None:
    tight, loose = MaskedBatchNorm(4), MaskedBatchNorm(4)
    x = torch.randn(1, 4, 6, 5)
    wide = torch.cat([x, torch.full((1, 4, 6, 7), 50.0)], 3)
    lengths = torch.tensor([5])
    torch.testing.assert_close(loose(wide, lengths)[..., :5], tight(x, lengths), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(loose.running_mean, tight.running_mean)
    torch.testing.assert_close(loose.running_var, tight.running_var)


def test_batch_norm_in_eval_uses_the_running_statistics_and_keeps_them() -> None:
    norm = MaskedBatchNorm(3)
    norm(padded(3) * 3 + 1, LENGTHS)
    before = norm.running_var.clone()
    norm.eval()
    x = padded(3)
    mask = frame_mask(LENGTHS, 11)
    expected = (x - norm.running_mean) * torch.rsqrt(norm.running_var + norm.eps)
    torch.testing.assert_close(norm(x, LENGTHS)[mask], expected[mask])
    assert torch.equal(norm.running_var, before)


def test_batch_norm_of_one_single_frame_is_finite() -> None:
    norm = MaskedBatchNorm(2)
    assert torch.isfinite(norm(torch.randn(1, 1, 2), torch.tensor([1]))).all()
    assert torch.isfinite(norm.running_var).all()


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


def test_bigru_runs_the_same_with_directions_together_and_apart(monkeypatch) -> None:
    network = BiGRU(6, 8, 2)
    x = padded(6)
    together = network(x, LENGTHS)
    monkeypatch.setattr(network, "_together", network._apart)
    torch.testing.assert_close(network(x, LENGTHS), together, atol=TOLERANCE, rtol=0)


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
