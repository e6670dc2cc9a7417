"""The log power spectrogram against torchaudio, and its frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from sertoolkit.errors import AudioError, ConfigError
from sertoolkit.features.base import frame_starts, normalise
from sertoolkit.features.power_spectrogram import PowerSpectrogram, PowerSpectrogramConfig

PLAIN = PowerSpectrogram(PowerSpectrogramConfig(normalise=False))
NORMALISED = PowerSpectrogram(PowerSpectrogramConfig())


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=num_samples)).astype(np.float32)


@pytest.mark.parametrize(
    ("num_samples", "step", "expected"),
    [
        (319, 160, []),
        (320, 160, [0]),
        (479, 160, [0]),
        (480, 160, [0, 160]),
        (640, 160, [0, 160, 320]),
        (700, 176, [0, 176, 352]),
        (671, 176, [0, 176]),
        (672, 176, [0, 176, 352]),
        (624, 101.3, [0, 101, 203, 304]),
        (623, 101.3, [0, 101, 203]),
    ],
)
def test_frames_start_at_rounded_multiples_of_the_step_and_fit(num_samples, step, expected) -> None:
    assert frame_starts(num_samples, window=320, step=step).tolist() == expected


@pytest.mark.parametrize("tempo", [0.85, 0.9, 1.0, 1.1, 1.15])
def test_frame_starts_never_drift(tempo) -> None:
    starts = frame_starts(160000, window=320, step=160 * tempo)
    assert np.abs(starts - np.arange(len(starts)) * 160 * tempo).max() <= 0.5
    assert len(starts) == pytest.approx((160000 - 320) / (160 * tempo) + 0.5, abs=0.51)


def test_values_equal_torchaudios_spectrogram() -> None:
    waveform = noise(4321)
    spectrogram = torchaudio.transforms.Spectrogram(
        n_fft=320, hop_length=160, window_fn=torch.hamming_window, power=2.0, center=False
    )
    expected = spectrogram(torch.from_numpy(waveform)).clamp(min=1e-8).log().t().numpy()
    np.testing.assert_allclose(PLAIN(waveform, 16000), expected, atol=1e-3)


def test_a_tone_peaks_in_its_bin() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    assert (PLAIN(tone, 16000).argmax(1) == 20).all()  # 16000 / 320 = 50 Hz a bin


def test_values_are_normalised_over_the_utterance() -> None:
    features = NORMALISED(noise(16000), 16000)
    assert features.dtype == np.float32 and features.flags.c_contiguous
    np.testing.assert_allclose(features.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(0), 1, atol=1e-5)


def test_gain_does_not_change_normalised_values() -> None:
    waveform = noise(16000)
    np.testing.assert_allclose(NORMALISED(2 * waveform, 16000), NORMALISED(waveform, 16000), atol=1e-3)


@pytest.mark.parametrize("waveform", [np.zeros(1600, np.float32), noise(320)])
def test_constant_values_become_zero(waveform) -> None:
    assert not NORMALISED(waveform, 16000).any()


def test_normalise_leaves_its_argument_alone() -> None:
    features = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)
    assert normalise(features).tolist() == [[-1, 0], [1, 0]]
    assert features.tolist() == [[1, 5], [3, 5]]


@pytest.mark.parametrize("tempo", [0.9, 1.1])
def test_tempo_takes_the_same_window_at_another_step(tempo) -> None:
    waveform = noise(8000)
    features = PLAIN(waveform, 16000, tempo=tempo)
    start = int(10 * 160 * tempo + 0.5)
    np.testing.assert_allclose(features[10], PLAIN(waveform[start : start + 320], 16000)[0], atol=1e-4)
    assert len(features) == 1 + int((8000 - 320) / (160 * tempo))


@pytest.mark.parametrize(
    ("waveform", "sampling_rate", "message"),
    [
        (np.zeros(0, np.float32), 16000, "found 0 samples, expected at least 320"),
        (np.zeros(319, np.float32), 16000, "found 319 samples"),
        (np.zeros(16000, np.float32), 8000, "found 8000 Hz, expected 16000 Hz; resample"),
        (np.zeros((16000, 2), np.float32), 16000, "expected one channel"),
        (np.full(16000, np.nan, np.float32), 16000, "not finite"),
    ],
)
def test_audio_that_cannot_be_used_is_named(waveform, sampling_rate, message) -> None:
    with pytest.raises(AudioError, match=message):
        PLAIN(waveform, sampling_rate)


@pytest.mark.parametrize("tempo", [0.0, -1.0, 0.49, 2.01, float("nan")])
def test_impossible_tempo_is_named(tempo) -> None:
    with pytest.raises(ConfigError, match="tempo is"):
        PLAIN(noise(1600), 16000, tempo=tempo)
