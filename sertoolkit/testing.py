"""Conformance checks for plugin authors: call them in a test of your own.

    from sertoolkit.testing import check_head

    def test_my_head():
        check_head(MyHead, MyHead.Config())

Each check runs the plugin on small random data and raises AssertionError with all that it found wrong.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sertoolkit.config import from_dict, to_dict
from sertoolkit.encoders.base import Encoder
from sertoolkit.encoders.ds2 import DS2, DS2Config
from sertoolkit.features.base import Frontend
from sertoolkit.heads.base import NEEDS, Head

TOLERANCE = 1e-5  # absolute, in float32
_SEED = 1
_JUNK = 100.0  # what padding holds in the checks


class _Faults:
    """Collects what is wrong, so that one run names everything."""

    def __init__(self, cls: type) -> None:
        self._name = cls.__name__
        self._faults: list[str] = []

    def expect(self, holds: bool, fault: str) -> None:
        if not holds:
            self._faults.append(fault)

    def expect_close(self, found: Tensor, expected: Tensor, what: str) -> None:
        if found.shape != expected.shape:
            self._faults.append(f"{what}: shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
            return
        difference = float((found - expected).detach().abs().max())
        if not difference <= TOLERANCE:  # also catches NaN
            self._faults.append(f"{what} changes the result by {difference:.2g}, allowed {TOLERANCE:.0e}")

    def report(self) -> None:
        if self._faults:
            raise AssertionError("\n".join([f"{self._name} breaks its contract:", *self._faults]))


def check_encoder(cls: type[Encoder], config: Any) -> None:
    """Check an encoder: config, shapes, lengths, padding, batch order and size, freezing.

    Args:
        cls: encoder class
        config: its settings; take small ones

    Raises:
        AssertionError: with all faults, if there are any

    """
    faults = _Faults(cls)
    _check_config(faults, cls, config)
    torch.manual_seed(_SEED)
    encoder = cls(config)
    shortest = encoder.min_frames
    lengths = torch.tensor([shortest + 3 * encoder.subsampling, shortest, shortest + 1])
    features = torch.randn(len(lengths), int(lengths.max()), encoder.input_dim)
    layers, out_lengths = encoder(features, lengths)  # in train mode: statistics move away from their start
    faults.expect(
        torch.equal(out_lengths, encoder.output_lengths(lengths)),
        f"forward returns lengths {out_lengths.tolist()}, "
        f"output_lengths says {encoder.output_lengths(lengths).tolist()}",
    )
    dims = [layer.shape[-1] for layer in layers]
    faults.expect(
        dims == list(encoder.layer_dims), f"layers have {dims} values, layer_dims says {encoder.layer_dims}"
    )
    for layer in layers:
        faults.expect(
            all(not row[length:].any() for row, length in zip(layer, out_lengths, strict=True)),
            "a layer is not zero behind its lengths",
        )
    encoder.eval()

    def run(rows: list[int], padding: int) -> list[list[Tensor]]:
        some = lengths[rows]
        found, found_lengths = encoder(_pad(features[rows], some, padding), some)
        return [[layer[i, :n] for layer in found] for i, n in enumerate(found_lengths)]

    _check_invariance(faults, run, len(lengths))
    _check_frozen(faults, encoder, features, lengths)
    faults.report()


def check_head(cls: type[Head], config: Any) -> None:
    """Check a head: config, needs, shapes, gradients, padding, batch order and size.

    Args:
        cls: head class
        config: its settings; take small ones

    Raises:
        AssertionError: with all faults, if there are any

    """
    faults = _Faults(cls)
    _check_config(faults, cls, config)
    faults.expect(
        bool(cls.needs) and cls.needs <= NEEDS, f"needs is {set(cls.needs)}, known are {set(NEEDS)}"
    )
    faults.expect(
        len(cls.needs & {"pooled", "frames", "encoder"}) <= 1,
        "needs names more than one of pooled, frames and encoder; choose one",
    )
    torch.manual_seed(_SEED)
    dims, side_dim, num_classes = [6, 4], 5, 3
    more: dict[str, Any] = {}
    if "encoder" in cls.needs:
        encoder = DS2(DS2Config(conv_channels=2, num_layers=2, hidden_size=3, input_dim=41))
        more, dims = {"encoder": encoder, "layers": [1, 2]}, encoder.layer_dims
    if "text" in cls.needs:
        more["output"] = nn.Linear(dims[-1], 4)  # tokens, the blank included
    head = cls(config, layer_dims=dims, side_dim=side_dim, num_classes=num_classes, **more)
    lengths, side_lengths = torch.tensor([7, 1, 4]), torch.tensor([12, 2, 9])
    frames = [torch.randn(3, 7, dim) for dim in dims]
    pooled = [torch.randn(3, dim) for dim in dims]
    side = torch.randn(3, 12, side_dim)
    features = torch.randn(3, 12, 41)  # of the encoder

    def inputs_of(rows: list[int], padding: int) -> tuple:
        layers, layer_lengths, side_part, side_part_lengths = [], None, None, None
        if "pooled" in cls.needs:
            layers = [layer[rows] for layer in pooled]
        if "frames" in cls.needs:
            layer_lengths = lengths[rows]
            layers = [_pad(layer[rows], layer_lengths, padding) for layer in frames]
        if "encoder" in cls.needs:
            layer_lengths = side_lengths[rows]
            layers = [_pad(features[rows], layer_lengths, padding)]
        if "side" in cls.needs:
            side_part_lengths = side_lengths[rows]
            side_part = _pad(side[rows], side_part_lengths, padding)
        return layers, layer_lengths, side_part, side_part_lengths

    def run(rows: list[int], padding: int) -> list[list[Tensor]]:
        """Results of each row: logits, and of a head that transcribes, what it says by `listen`."""
        inputs = inputs_of(rows, padding)
        logits = head(*inputs)
        if "text" not in cls.needs:
            return [[row] for row in logits]
        again, log_probs, counts = head.listen(*inputs)
        faults.expect_close(again, logits, "`listen` instead of `forward`")
        return [[row, tokens[:count]] for row, tokens, count in zip(again, log_probs, counts, strict=True)]

    logits = head(*inputs_of([0, 1, 2], 0))
    faults.expect(
        logits.shape == (3, num_classes), f"logits have shape {tuple(logits.shape)}, expected (3, 3)"
    )
    logits.square().sum().backward()
    idle = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    faults.expect(not idle, f"no gradient reaches {', '.join(idle)}")
    head.eval()
    with torch.no_grad():
        _check_invariance(faults, run, 3)
    faults.report()


def check_frontend(cls: type[Frontend], config: Any) -> None:
    """Check a frontend: config, shapes, type, determinism, shortest audio, tempo.

    Args:
        cls: frontend class
        config: its settings

    Raises:
        AssertionError: with all faults, if there are any

    """
    faults = _Faults(cls)
    _check_config(faults, cls, config)
    frontend = cls(config)
    rate = frontend.sampling_rate
    noise = np.random.default_rng(_SEED).normal(scale=0.1, size=rate).astype(np.float32)
    features = frontend(noise, rate)
    faults.expect(features.dtype == np.float32, f"type is {features.dtype}, expected float32")
    faults.expect(bool(features.flags.c_contiguous), "the matrix is not C-contiguous")
    shape = features.shape
    faults.expect(len(shape) == 2 and shape[1] == frontend.dim, f"shape is {shape}, dim says {frontend.dim}")
    faults.expect(bool(np.isfinite(features).all()), "values are not finite")
    expected = 1 / frontend.frame_shift  # of one second
    faults.expect(
        abs(shape[0] - expected) <= 0.1 * expected,
        f"one second gives {shape[0]} frames, frame_shift says {expected:.0f}",
    )
    kept = noise.copy()
    faults.expect(np.array_equal(frontend(noise, rate), features), "the same audio gives other values")
    faults.expect(np.array_equal(kept, noise), "the audio is changed")
    shortest = frontend(noise[: frontend.min_samples], rate)
    faults.expect(len(shortest) >= 1, "min_samples samples give no frame")
    faults.expect(bool(np.isfinite(shortest).all()), "min_samples samples give values that are not finite")
    for tempo in (0.9, 1.1):
        found = len(frontend(noise, rate, tempo=tempo))
        faults.expect(
            math.isclose(found, shape[0] / tempo, abs_tol=2),
            f"tempo {tempo} gives {found} frames, expected about {shape[0] / tempo:.0f}",
        )
    faults.report()


def _check_config(faults: _Faults, cls: type, config: Any) -> None:
    faults.expect(
        isinstance(config, cls.Config), f"config is a {type(config).__name__}, not a {cls.Config.__name__}"
    )
    again = from_dict(cls.Config, to_dict(config), where=cls.__name__)
    faults.expect(again == config, f"the config does not survive being written: {config} becomes {again}")


def _pad(x: Tensor, lengths: Tensor, extra: int) -> Tensor:
    """Cut a batch to its longest row, add frames, and fill what lies behind the lengths with junk."""
    x = nn.functional.pad(x[:, : int(lengths.max())], (0, 0, 0, extra))
    mask = torch.arange(x.shape[1]) < lengths[:, None]
    return x.masked_fill(~mask[:, :, None], _JUNK)


def _check_invariance(
    faults: _Faults, run: Callable[[list[int], int], list[list[Tensor]]], batch: int
) -> None:
    """`run(rows, padding)` gives the results of each chosen row; they must not depend on its company."""
    order = list(range(batch))
    together = run(order, 0)
    for what, rows, padding in [("padding", order, 5), ("batch order", order[::-1], 0)]:
        for row, result in zip(rows, run(rows, padding), strict=True):
            for found, expected in zip(result, together[row], strict=True):
                faults.expect_close(found, expected, what)
    for row in order:
        for found, expected in zip(run([row], 0)[0], together[row], strict=True):
            faults.expect_close(found, expected, "batch size")


def _check_frozen(faults: _Faults, encoder: Encoder, features: Tensor, lengths: Tensor) -> None:
    encoder.freeze()
    parent = nn.Sequential(encoder).train()
    before = copy.deepcopy(encoder.state_dict())
    layers, _ = parent[0](features.clone().requires_grad_(), lengths)
    faults.expect(not any(m.training for m in encoder.modules()), "frozen, it still goes into train mode")
    faults.expect(not any(p.requires_grad for p in encoder.parameters()), "frozen, a weight needs a gradient")
    faults.expect(not any(layer.requires_grad for layer in layers), "frozen, it still builds a graph")
    changed = [name for name, value in encoder.state_dict().items() if not torch.equal(value, before[name])]
    faults.expect(not changed, f"frozen, it changes {', '.join(changed)}")
