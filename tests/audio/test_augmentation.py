"""Tempo and gain: what is drawn, and what it does to speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit import registry
from sertoolkit.audio.augmentation import Augmentation, amplify, stretch
from sertoolkit.errors import ConfigError

RATE = 16000


def vowel(pitch: float, *, seconds: float = 1.0) -> np.ndarray:
    """Harmonics of a pitch in Hz, loud at half of the time and soft before."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    return (0.1 * wave * np.where(time < seconds / 2, 0.1, 1.0)).astype(np.float32)


def pitch_of(waveform: np.ndarray) -> float:
    """Pitch in Hz by the highest peak of the autocorrelation between 70 and 400 Hz."""
    spectrum = np.abs(np.fft.rfft(waveform, 4 * len(waveform))) ** 2
    lags = np.fft.irfft(spectrum)[: RATE // 70]
    return RATE / (RATE // 400 + np.argmax(lags[RATE // 400 :]))


def test_draws_depend_on_seed_epoch_and_utterance() -> None:
    plain = Augmentation().draw("a-1", 1)
    assert Augmentation().draw("a-1", 1) == plain
    others = [
        Augmentation(seed=2).draw("a-1", 1),
        Augmentation().draw("a-1", 2),
        Augmentation().draw("a-2", 1),
    ]
    assert len({plain, *others}) == 4


def test_a_draw_is_the_same_on_every_machine_and_version() -> None:
    drawn = Augmentation(seed=1).draw("03-a01Fa", 1)
    assert (drawn.tempo, drawn.gain) == pytest.approx((0.868102958373669, 1.1372039262661575), rel=1e-12)


def test_draws_fill_their_ranges_evenly_and_independently() -> None:
    drawn = [Augmentation().draw(f"a-{number}", 3) for number in range(4000)]
    tempo, gain = np.array([(variant.tempo, variant.gain) for variant in drawn]).T
    for values, low, high in ((tempo, 0.85, 1.15), (gain, -3, 6)):
        assert low <= values.min() < values.max() < high
        counts, _ = np.histogram(values, 10, (low, high))
        assert ((counts - 400) ** 2 / 400).sum() < 27.9  # 0.1 % of chi-square with 9 degrees of freedom
    assert abs(np.corrcoef(tempo, gain)[0, 1]) < 0.05


def test_epochs_choose_each_copy_equally_often() -> None:
    chosen = [Augmentation().copy_of_epoch("a-1", epoch, 4) for epoch in range(2000)]
    ids, counts = np.unique(chosen, return_counts=True)
    assert ids.tolist() == ["a-1", "a-1-aug1", "a-1-aug2", "a-1-aug3"]
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # 0.1 % of chi-square with 3 degrees of freedom


@pytest.mark.parametrize(
    "ranges", [{"tempo": [1.2, 0.8]}, {"tempo": [0.4, 1.0]}, {"gain": [1.0]}, {"gain": [0.0, float("nan")]}]
)
def test_ranges_that_are_none_are_refused(ranges: dict) -> None:
    with pytest.raises(ConfigError, match=r"expected \[lowest, highest\]"):
        Augmentation(**ranges)


@pytest.mark.parametrize("tempo", [0.85, 0.93, 1.07, 1.15])
@pytest.mark.parametrize("num_samples", [1, 500, 16001])
def test_stretched_audio_has_the_exact_length(tempo: float, num_samples: int) -> None:
    stretched = stretch(vowel(120)[:num_samples] if num_samples < RATE else np.ones(num_samples), RATE, tempo)
    assert len(stretched) == int(num_samples / tempo + 0.5)
    assert stretched.dtype == np.float32


@pytest.mark.parametrize("tempo", [0.85, 1.15])
def test_stretching_keeps_the_pitch_and_moves_events(tempo: float) -> None:
    stretched = stretch(vowel(120), RATE, tempo)
    assert pitch_of(stretched) == pytest.approx(120, rel=0.01)
    loud = np.abs(stretched) > 0.1
    assert np.argmax(loud) / RATE == pytest.approx(0.5 / tempo, abs=0.03)


def test_tempo_1_and_0_db_change_nothing() -> None:
    waveform = vowel(120)
    assert np.array_equal(stretch(waveform, RATE, 1.0), waveform)
    assert np.array_equal(amplify(waveform, 0.0), waveform)


def test_a_frame_step_and_a_stretched_recording_give_alike_features(corpora: Path) -> None:
    """They differ less than frames that lie 5 ms elsewhere."""
    path = sorted((corpora / "EmoDB" / "wav").glob("*.wav"))[0]
    waveform, rate = soundfile.read(path, dtype="float32")
    cls = registry.get("frontend", "power_spectrogram")
    frontend = cls(cls.Config(normalise=False))
    for tempo in (0.85, 1.15):
        by_step, by_stretch = (
            frontend(waveform, rate, tempo=tempo),
            frontend(stretch(waveform, rate, tempo), rate),
        )
        num_frames = min(len(by_step), len(by_stretch))
        correlation = np.corrcoef(by_step[:num_frames].ravel(), by_stretch[:num_frames].ravel())[0, 1]
        moved = frontend(waveform[80:], rate, tempo=tempo)
        reference = np.corrcoef(by_step[: len(moved)].ravel(), moved[: len(by_step)].ravel())[0, 1]
        assert correlation > reference


@pytest.mark.parametrize(
    ("gain", "peak", "expected"),
    [
        (6.0206, 0.25, 0.5),
        (-6.0206, 0.5, 0.25),
        (6.0, 0.8, 1.0),  # as far as full scale
        (6.0, 1.2, 1.2),  # above it already: no further
        (-6.0206, 1.2, 0.6),
        (6.0, 0.0, 0.0),
    ],
)
def test_gain_ends_at_full_scale(gain: float, peak: float, expected: float) -> None:
    amplified = amplify(np.array([0, -peak, peak / 2], np.float32), gain)
    assert amplified.dtype == np.float32
    np.testing.assert_allclose(amplified, [0, -expected, expected / 2], rtol=1e-5)


def test_gain_hardly_moves_normalised_log_features(corpora: Path) -> None:
    path = sorted((corpora / "EmoDB" / "wav").glob("*.wav"))[0]
    waveform, rate = soundfile.read(path, dtype="float32")
    cls = registry.get("frontend", "power_spectrogram")
    plain, louder = (cls(cls.Config())(amplify(waveform, gain), rate) for gain in (0.0, -3.0))
    assert np.abs(plain - louder).mean() < 0.02
