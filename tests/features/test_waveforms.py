"""Features of batches on a device against those that the frontend computes of each utterance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sertoolkit import registry
from sertoolkit.audio.augmentation import PLAIN, Augmentation, Variant, amplify
from sertoolkit.features.waveforms import Waveforms

SPECTROGRAM = registry.get("frontend", "power_spectrogram")
FRONTEND = SPECTROGRAM(SPECTROGRAM.Config())
LENGTHS = (16000, 320, 4801, 9999, 325, 30000)
VARIANTS = [
    Variant(tempo=tempo, gain=gain)
    for tempo, gain in zip((0.85, 1.0, 1.15, 1.0371, 0.9, 1.1499), (6, 0, -3, 4.2, 5, -1.7), strict=True)
]


def recordings(dtype: str = "float32") -> list[np.ndarray]:
    """Noises with a quiet part, loud enough that a gain would clip one of them."""
    generator = np.random.default_rng(0)
    found = []
    for number, length in enumerate(LENGTHS):
        waveform = generator.normal(scale=0.05 * (1 + number), size=length).clip(-0.99, 0.99)
        waveform[length // 3 : length // 2] *= 0.01
        found.append(np.round(waveform * 32768).astype(np.int16))
    return found if dtype == "int16" else [waveform / np.float32(32768) for waveform in found]


def expected_of(waveform: np.ndarray, variant: Variant, frontend=FRONTEND) -> np.ndarray:
    return frontend(amplify(waveform, variant.gain), 16000, tempo=variant.tempo)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("normalise", [True, False])
def test_a_batch_has_the_features_of_its_utterances_at_their_tempo_and_gain(dtype, normalise) -> None:
    frontend = SPECTROGRAM(SPECTROGRAM.Config(normalise=normalise))
    batch = Waveforms.pad(list(zip(recordings(dtype), VARIANTS, strict=True)), frontend)
    features = batch.to_features(frontend)
    assert features.dtype == torch.float32
    for row, length, waveform, variant in zip(features, batch.lengths, recordings(), VARIANTS, strict=True):
        expected = expected_of(waveform, variant, frontend)
        assert length == len(expected)
        torch.testing.assert_close(row[:length], torch.from_numpy(expected), atol=1e-4, rtol=1e-5)
        assert not row[length:].any()


def test_padding_and_company_change_nothing() -> None:
    pairs = list(zip(recordings(), VARIANTS, strict=True))
    together = Waveforms.pad(pairs, FRONTEND)
    together = together._replace(samples=torch.nn.functional.pad(together.samples, (0, 777)))
    features = together.to_features(FRONTEND)
    for number, pair in enumerate(pairs):
        alone = Waveforms.pad([pair], FRONTEND).to_features(FRONTEND)[0]
        torch.testing.assert_close(features[number, : len(alone)], alone, atol=1e-5, rtol=1e-5)


def test_every_drawn_tempo_cuts_the_frames_of_the_frontend() -> None:
    waveform = recordings()[0]
    variants = [Augmentation().draw(f"s-{number}", 1) for number in range(50)]
    batch = Waveforms.pad([(waveform, variant) for variant in variants], FRONTEND)
    assert batch.lengths.tolist() == [len(expected_of(waveform, variant)) for variant in variants]
    assert len(set(batch.lengths.tolist())) > 20


def test_silence_is_zero_not_nan() -> None:
    silent = np.zeros(4000, np.float32)
    assert not Waveforms.pad([(silent, Variant(gain=6.0))], FRONTEND).to_features(FRONTEND).any()
    assert not Waveforms.pad([(silent, PLAIN)], FRONTEND).to_features(FRONTEND).any()
