"""Blocks against plain torch on the valid frames alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sertoolkit.networks import MaskedBatchNorm, frame_mask, masked_mean

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


@pytest.mark.parametrize("shape", [(4, 11, 3), (4, 3, 2, 11)])
def test_batch_norm_of_bfloat16_takes_its_statistics_in_float32(shape) -> None:
    exact, norm = MaskedBatchNorm(3), MaskedBatchNorm(3)
    x = (
        torch.randn(shape) * 0.1 + 20
    )  # in bfloat16 the mean of such values would be off by more than they vary
    rounded = x.bfloat16().requires_grad_()
    y = norm(rounded, LENGTHS)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact(rounded.detach().float(), LENGTHS), atol=0.02, rtol=0.02)
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(norm, name), getattr(exact, name), atol=0, rtol=1e-6)
    y.float().square().sum().backward()
    assert rounded.grad.dtype == torch.bfloat16
    assert norm.weight.grad.dtype == torch.float32
    norm.eval()
    assert norm(rounded, LENGTHS).dtype == torch.bfloat16
