"""Cepstra against torchaudio's Kaldi port, deltas against torchaudio, pitch against known tones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio

import sertoolkit
from sertoolkit.errors import AudioError
from sertoolkit.features.base import frame_starts
from sertoolkit.features.mfcc_pitch import (
    MfccPitch,
    MfccPitchConfig,
    align_pitch,
    deltas,
    mfcc,
)

FRONTEND = MfccPitch(MfccPitchConfig(normalise=False))


def noise(num_samples: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).normal(size=num_samples)).astype(np.float32)


def voice(pitch: np.ndarray) -> np.ndarray:
    """Seven harmonics that follow a pitch in Hz given for each sample; silence where it is 0."""
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    return (0.1 * (pitch > 0) * sum(np.sin(k * phase) / k for k in range(1, 8))).astype(np.float32)


def test_cepstra_equal_kaldis() -> None:
    waveform = noise(4321)
    expected = torchaudio.compliance.kaldi.mfcc(
        torch.from_numpy(waveform)[None] * 32768,
        frame_length=20,
        frame_shift=10,
        num_ceps=13,
        num_mel_bins=23,
        window_type="hamming",
        cepstral_lifter=0,
        dither=0,
    )
    np.testing.assert_allclose(mfcc(waveform), expected.numpy(), atol=2e-3)


def test_deltas_equal_torchaudios() -> None:
    x = np.random.default_rng(1).normal(size=(9, 13)).astype(np.float32)
    expected = torchaudio.functional.compute_deltas(torch.from_numpy(x.T.copy()), win_length=5)
    np.testing.assert_allclose(deltas(x), expected.numpy().T, atol=1e-6)


def test_deltas_of_one_frame_are_zero() -> None:
    assert not deltas(np.ones((1, 13), np.float32)).any()


def test_columns_are_cepstra_deltas_and_pitch() -> None:
    waveform = noise(8000)
    features = FRONTEND(waveform, 16000)
    assert features.shape == (49, 27)
    np.testing.assert_allclose(features[:, :13], mfcc(waveform), atol=1e-5)
    np.testing.assert_allclose(features[:, 13:26], deltas(mfcc(waveform)), atol=1e-5)
    np.testing.assert_allclose(features[:, 26], FRONTEND.pitch(waveform))


@pytest.mark.parametrize("pitch", [100, 200, 400])
@pytest.mark.parametrize("tempo", [0.9, 1.0, 1.1])
def test_pitch_of_a_steady_voice_is_its_own_at_any_tempo(pitch, tempo) -> None:
    found = FRONTEND(voice(np.full(16000, pitch)), 16000, tempo=tempo)[:, 26]
    # at the ends the average takes in up to ten frames of nothing
    np.testing.assert_allclose(found[11:-11], pitch, rtol=0.01)


@pytest.mark.parametrize("tempo", [0.85, 0.9, 0.987, 1.0, 1.0033, 1.1, 1.15])
def test_pitch_is_aligned_with_the_cepstra_at_any_tempo(tempo) -> None:
    # a rising voice: the pitch of a frame is that at the centre of its 20 ms; one frame off is 1 Hz
    contour = 100 + 100 * np.arange(48000) / 16000
    found = FRONTEND.pitch(voice(contour), step=160 * tempo)
    expected = contour[frame_starts(48000, window=320, step=160 * tempo) + 160]
    inner = slice(20, -20)
    # openSMILE's own deviation on this voice is 0.3 Hz, whether it rises or falls
    assert abs((found - expected)[inner].mean() - 0.3) < 0.05
    assert abs((found - expected)[inner]).max() < 1


def test_voicing_lies_symmetrically_about_the_voice() -> None:
    pitch = np.zeros(24000)
    pitch[8000:16000] = 200
    found = FRONTEND.pitch(voice(pitch))
    centres = frame_starts(24000, window=320, step=160) + 160
    assert np.sum(centres * found) / np.sum(found) == pytest.approx(12000, abs=40)


def test_the_moving_average_takes_15_frames_and_crosses_unvoiced_ones() -> None:
    pitch = np.zeros(24000)
    pitch[8000:16000] = 200
    plain = FRONTEND.pitch(voice(pitch))
    voiced = MfccPitch(MfccPitchConfig(voiced_only=True, normalise=False)).pitch(voice(pitch))
    rise = plain[np.argmax(plain > 0) : np.argmax(plain > 199)]
    np.testing.assert_allclose(rise, 200 * np.arange(1, 15) / 15, rtol=0.01)
    np.testing.assert_allclose(voiced[voiced > 0], 200, rtol=0.01)


def test_alignment_repeats_the_outermost_pitch_where_no_long_window_is_centred() -> None:
    pitch = np.concatenate([np.arange(1.0, 5.0), np.full(7, -1.0)])  # four windows, and seven frames to cut
    starts = frame_starts(320 + 160 * 8, window=320, step=160)
    assert align_pitch(pitch, starts, pitch_step=160).tolist() == [1, 1, 1, 2, 3, 4, 4, 4, 4]


def test_full_scale_samples_do_not_wrap_around() -> None:
    tone = voice(np.full(16000, 200.0))
    loud = np.clip(tone * 100, -1, 1)
    np.testing.assert_allclose(FRONTEND.pitch(loud)[10:-10], 200, rtol=0.01)


@pytest.mark.parametrize("tempo", [0.5, 1.0, 2.0])
def test_the_shortest_audio_gives_finite_values(tempo) -> None:
    features = FRONTEND(noise(FRONTEND.min_samples), 16000, tempo=tempo)
    assert len(features) >= 1
    assert np.isfinite(features).all()


def test_audio_below_one_pitch_window_is_named() -> None:
    with pytest.raises(AudioError, match="found 1279 samples, expected at least 1280"):
        FRONTEND(noise(1279), 16000)


def test_silence_gives_finite_zeros() -> None:
    assert not MfccPitch(MfccPitchConfig())(np.zeros(16000, np.float32), 16000).any()


def test_the_same_audio_gives_the_same_bytes_whatever_came_before() -> None:
    waveform = noise(8000)
    first = FRONTEND(waveform, 16000)
    FRONTEND(voice(np.full(16000, 300.0)), 16000, tempo=0.9)
    assert FRONTEND(waveform, 16000).tobytes() == first.tobytes()


def test_only_this_frontend_imports_opensmile() -> None:
    code = "import sys, sertoolkit.features.power_spectrogram; sys.exit('opensmile' in sys.modules)"
    root = str(Path(sertoolkit.__file__).parent.parent)
    result = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=False)
    assert result.returncode == 0
