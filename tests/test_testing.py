"""Every built-in plugin passes the conformance checks, and each check can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sertoolkit import registry
from sertoolkit.encoders.base import Encoder
from sertoolkit.features.power_spectrogram import PowerSpectrogram, PowerSpectrogramConfig
from sertoolkit.heads.base import Head
from sertoolkit.heads.baseline import Baseline, BaselineConfig
from sertoolkit.heads.joint import Joint, JointConfig
from sertoolkit.testing import check_encoder, check_frontend, check_head

# Small settings of every built-in; a new one must be added here.
ENCODERS = {"ds2": {"conv_channels": 3, "num_layers": 2, "hidden_size": 4, "dropout": 0.2}}
HEADS: dict[str, dict[str, Any]] = {
    "baseline": {"units": 4},
    "mean_pool": {},
    "rnn": {"units": 4, "num_layers": 2},
    "progressive": {"units": 4},
    "words": {},
    "words_progressive": {"units": 4},
    "joint": {},
    "unfreeze": {"release_every": 1},
    "unfreeze_progressive": {"units": 4},
}
FRONTENDS: dict[str, dict[str, Any]] = {"power_spectrogram": {}, "mfcc_pitch": {}}


@pytest.mark.parametrize(
    ("kind", "tested"), [("encoder", ENCODERS), ("head", HEADS), ("frontend", FRONTENDS)]
)
def test_no_built_in_is_forgotten(kind, tested) -> None:
    assert sorted(registry.BUILT_IN[kind]) == sorted(tested)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_keeps_its_contract(name) -> None:
    cls = registry.get("encoder", name)
    check_encoder(cls, cls.Config(**ENCODERS[name]))


@pytest.mark.parametrize("name", HEADS)
def test_head_keeps_its_contract(name) -> None:
    cls = registry.get("head", name)
    check_head(cls, cls.Config(**HEADS[name]))


@pytest.mark.parametrize("name", FRONTENDS)
def test_frontend_keeps_its_contract(name) -> None:
    cls = registry.get("frontend", name)
    check_frontend(cls, cls.Config(**FRONTENDS[name]))
    assert cls.name == name


@pytest.mark.parametrize("name", ENCODERS)
def test_encoder_names_a_frontend_that_gives_what_it_reads(name) -> None:
    cls = registry.get("encoder", name)
    encoder = cls(cls.Config(**ENCODERS[name]))
    assert registry.get("frontend", encoder.frontend).dim == encoder.input_dim


@dataclass(frozen=True)
class _EncoderConfig:
    fault: str = ""


class _Encoder(Encoder):
    """One linear layer, with a fault of choice."""

    Config = _EncoderConfig
    frontend = "power_spectrogram"
    input_dim = 3
    subsampling = 1

    def __init__(self, config: _EncoderConfig) -> None:
        super().__init__()
        self.fault = config.fault
        self.layer_dims = [5 if config.fault == "dims" else 4]
        self.linear = nn.Linear(3, 4)
        self.register_buffer("calls", torch.zeros(()))

    def output_lengths(self, lengths):
        return lengths - 1 if self.fault == "lengths" else lengths

    def freeze(self):
        return self if self.fault == "freeze" else super().freeze()

    def forward(self, features, lengths):
        mask = torch.arange(features.shape[1]) < lengths[:, None]
        y = self.linear(features)
        if self.fault == "padding":
            y = y + features.mean(1, keepdim=True)[..., :1]
        if self.fault == "batch":
            y = y + 0.1 * features.masked_fill(~mask[:, :, None], 0)[0].sum() / lengths[0]
        if self.fault == "buffer":
            self.calls += 1
        return [y if self.fault == "zeros" else y * mask[:, :, None]], lengths


def test_a_correct_encoder_of_ones_own_passes() -> None:
    check_encoder(_Encoder, _EncoderConfig())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("padding", "padding changes the result"),
        ("batch", "batch size changes the result"),
        ("lengths", "output_lengths says"),
        ("dims", "layer_dims says"),
        ("zeros", "not zero behind its lengths"),
        ("freeze", "frozen, a weight needs a gradient"),
        ("buffer", "frozen, it changes calls"),
    ],
)
def test_a_fault_of_an_encoder_is_named(fault, message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_encoder(_Encoder, _EncoderConfig(fault))


class _MeanOverPadding(Baseline):
    def represent(self, layers, lengths, side, side_lengths):
        return self.rnn(side, side_lengths).mean(1)


class _MeanOverBatch(Baseline):
    def represent(self, layers, lengths, side, side_lengths):
        x = super().represent(layers, lengths, side, side_lengths)
        return x - x.mean(0)


class _UnusedWeight(Baseline):
    def __init__(self, config, **kwargs) -> None:
        super().__init__(config, **kwargs)
        self.extra = nn.Linear(2, 2)


class _UnknownNeed(Baseline):
    needs = frozenset({"side", "gestures"})


class _DeafToItself(Joint):
    def listen(self, *inputs):
        logits, log_probs, lengths = super().listen(*inputs)
        return logits + 1, log_probs - log_probs.mean(), lengths


class _WrongClasses(Baseline):
    def forward(self, *args):
        return super().forward(*args)[:, :2]


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (_MeanOverPadding, "padding changes the result"),
        (_MeanOverBatch, "batch size changes the result"),
        (_UnusedWeight, "no gradient reaches extra.weight, extra.bias"),
        (_UnknownNeed, "needs is"),
        (_WrongClasses, "logits have shape"),
    ],
)
def test_a_fault_of_a_head_is_named(cls: type[Head], message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_head(cls, BaselineConfig(units=4))


@pytest.mark.parametrize("message", ["`listen` instead of `forward` changes", "padding changes the result"])
def test_a_fault_of_a_head_that_transcribes_is_named(message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_head(_DeafToItself, JointConfig())


def test_a_config_that_does_not_survive_being_written_is_named() -> None:
    @dataclass(frozen=True)
    class Forgetful(BaselineConfig):
        def __post_init__(self) -> None:
            object.__setattr__(self, "units", self.units + 1)

    class Forgetting(Baseline):
        Config = Forgetful

    with pytest.raises(AssertionError, match="does not survive being written"):
        check_head(Forgetting, Forgetful(units=4))


class _Double(PowerSpectrogram):
    def __call__(self, waveform, sampling_rate, *, tempo=1.0):
        return super().__call__(waveform, sampling_rate, tempo=tempo).astype(np.float64)


class _Transposed(PowerSpectrogram):
    def __call__(self, waveform, sampling_rate, *, tempo=1.0):
        return np.asfortranarray(super().__call__(waveform, sampling_rate, tempo=tempo))


class _NoTempo(PowerSpectrogram):
    def compute(self, waveform, *, tempo):
        return super().compute(waveform, tempo=1.0)


class _WrongDim(PowerSpectrogram):
    dim = 160


class _Dither(PowerSpectrogram):
    def compute(self, waveform, *, tempo):
        return super().compute(waveform, tempo=tempo) + np.random.default_rng().normal()


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (_Double, "type is float64"),
        (_Transposed, "not C-contiguous"),
        (_NoTempo, "tempo 0.9 gives"),
        (_WrongDim, "dim says 160"),
        (_Dither, "the same audio gives other values"),
    ],
)
def test_a_fault_of_a_frontend_is_named(cls, message) -> None:
    with pytest.raises(AssertionError, match=message):
        check_frontend(cls, PowerSpectrogramConfig(normalise=False))
