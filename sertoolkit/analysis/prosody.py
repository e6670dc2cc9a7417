"""Curves of loudness and pitch by openSMILE, which is free for research only and imported when a curve is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import opensmile

    from sertoolkit.features.pitch import ShsPitch

LOUDNESS = "loudness"
PITCH = "pitch"
LABELS = {LOUDNESS: "loudness (auditory, no unit)", PITCH: "pitch (semitones over 27.5 Hz)"}

_CONFIGS = Path(__file__).parents[1] / "features" / "opensmile"
_STEP = 0.010  # s, frameStep of both configs
_WINDOWS = {LOUDNESS: 0.020, PITCH: 0.060}  # s, frameSize of both configs
_LOWEST_TONE = 27.5  # Hz, where eGeMAPS begins to count semitones (Eyben et al. 2016)
_LARGEST = 1 - 2**-15  # openSMILE's 16 bits wrap around at +1


@dataclass(frozen=True)
class Curve:
    """A value over time.

    Args:
        times: centres of the frames in seconds, rising, (N,)
        values: (N,); NaN where there is none

    """

    times: np.ndarray
    values: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """Values at other times, from the frames before and after; NaN outside, and where one of them is NaN."""
        return np.interp(times, self.times, self.values, left=np.nan, right=np.nan)


class Prosody:
    """Computes curves of recordings.

    Loudness is that of eGeMAPS, pitch that of the frontend ``mfcc_pitch`` before its moving average, in
    semitones and for voiced frames alone.
    """

    sampling_rate = 16000

    def curves(self, waveform: np.ndarray) -> dict[str, Curve]:
        """Loudness and pitch.

        Args:
            waveform: mono (num_samples,), in [-1, 1], 16 kHz

        """
        samples = np.clip(waveform, -1, _LARGEST)
        pitch = self._pitch(samples).astype(np.float64)
        with np.errstate(divide="ignore"):
            semitones = np.where(pitch > 0, 12 * np.log2(pitch / _LOWEST_TONE), np.nan)
        return {
            LOUDNESS: _curve(LOUDNESS, self._loudness(samples, self.sampling_rate)[0, 0].astype(np.float64)),
            PITCH: _curve(PITCH, semitones),
        }

    @cached_property
    def _loudness(self) -> opensmile.Smile:
        import opensmile

        return opensmile.Smile(str(_CONFIGS / "loudness.conf"), "loudness")

    @cached_property
    def _pitch(self) -> ShsPitch:
        from sertoolkit.features.pitch import ShsPitch

        return ShsPitch(smooth=False)


def _curve(name: str, values: np.ndarray) -> Curve:
    return Curve(np.arange(len(values)) * _STEP + _WINDOWS[name] / 2, values)
