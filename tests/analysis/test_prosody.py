"""Curves of loudness and pitch: openSMILE's own eGeMAPS set, and signals whose answer is known."""

from __future__ import annotations

import numpy as np
import opensmile

from sertoolkit.analysis.prosody import LOUDNESS, PITCH, Curve, Prosody

RATE = 16000


def tone(hertz: float) -> np.ndarray:
    """A second of silence, then a second of a harmonic sound."""
    time = np.arange(2 * RATE) / RATE
    sound = sum(np.sin(2 * np.pi * hertz * h * time) / h for h in range(1, 10))
    return (0.1 * sound * (time >= 1)).astype(np.float32)


def test_loudness_is_that_of_egemaps() -> None:
    waveform = np.random.default_rng(1).normal(size=8000).astype(np.float32) * np.linspace(0, 0.3, 8000)
    egemaps = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.LowLevelDescriptors
    )
    expected = egemaps(waveform.astype(np.float32), RATE)[0, egemaps.feature_names.index("Loudness_sma3")]

    loudness = Prosody().curves(waveform.astype(np.float32))[LOUDNESS].values

    np.testing.assert_allclose(loudness[: len(expected)], expected, rtol=1e-6)


def test_pitch_counts_semitones_and_is_absent_in_silence() -> None:
    pitch = Prosody().curves(tone(220))[PITCH]

    assert np.isnan(pitch.values[pitch.times < 0.95]).all()
    np.testing.assert_allclose(pitch.values[pitch.times > 1.05], 36, atol=0.2)  # three octaves over 27.5 Hz


def test_both_curves_rise_when_the_sound_begins() -> None:
    curves = Prosody().curves(tone(150))

    loudness, pitch = curves[LOUDNESS], curves[PITCH]
    half = loudness.values.max() / 2
    assert abs(loudness.times[np.argmax(loudness.values > half)] - 1.0) <= 0.015
    assert abs(pitch.times[np.argmax(pitch.values > 0)] - 1.0) <= 0.03


def test_curve_has_values_between_its_frames_alone() -> None:
    curve = Curve(np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0, np.nan, 40.0]))

    np.testing.assert_array_equal(
        curve.at(np.array([0.9, 1.5, 2.5, 4.0, 4.1])), [np.nan, 15, np.nan, 40, np.nan]
    )
