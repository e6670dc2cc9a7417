"""MFCC, their deltas and pitch: what the paper's emotion branch reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.fft

from sertoolkit.features.base import Frontend, frame_starts, frames
from sertoolkit.features.pitch import AVERAGE, FULL_SCALE, PITCH_WINDOW, RATE, ShsPitch

WINDOW = 320  # samples: 20 ms (Lakomkin et al. 2017, 3.3)
STEP = 160  # samples: 10 ms
NUM_CEPS = 13
# The paper leaves the cepstra's details open: Kaldi's defaults, without lifter, which normalisation undoes.
NUM_MELS = 23
NUM_FFT = 512
LOWEST = 20.0  # Hz
PREEMPHASIS = 0.97
LOG_FLOOR = float(np.finfo(np.float32).eps)  # of samples in 16-bit steps, as Kaldi counts


@dataclass(frozen=True)
class MfccPitchConfig:
    """Settings of `mfcc_pitch`.

    Args:
        voiced_only: the moving average of pitch leaves unvoiced frames, which are 0, out; the paper does not
            say, the plain average is our choice
        normalise: each value to mean 0 and deviation 1 over the utterance

    """

    voiced_only: bool = False
    normalise: bool = True


@cache
def _mel_filters() -> np.ndarray:
    """Kaldi's triangular filters, (NUM_FFT // 2 + 1, NUM_MELS)."""

    def mel(hertz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(hertz / 700.0)

    edges = np.linspace(*mel(np.array([LOWEST, RATE / 2])), NUM_MELS + 2)
    bins = mel(np.arange(NUM_FFT // 2 + 1) * RATE / NUM_FFT)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (bins - left) / (centre - left), (right - bins) / (right - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def mfcc(waveform: np.ndarray, *, step: float = STEP) -> np.ndarray:
    """Mel-frequency cepstra 0 to 12 as Kaldi computes them, without dither and lifter.

    Args:
        waveform: (num_samples,), in [-1, 1], 16 kHz
        step: from frame to frame, in samples

    Returns:
        (num_frames, 13)

    """
    x = frames(waveform * np.float32(FULL_SCALE), window=WINDOW, step=step)
    x -= x.mean(1, keepdims=True)
    x = np.concatenate([x[:, :1] * (1 - PREEMPHASIS), x[:, 1:] - PREEMPHASIS * x[:, :-1]], 1)
    x *= np.hamming(WINDOW).astype(np.float32)
    spectrum = scipy.fft.rfft(x.astype(np.float32), NUM_FFT)
    energies = (spectrum.real**2 + spectrum.imag**2) @ _mel_filters()
    cepstra = scipy.fft.dct(np.log(np.maximum(energies, LOG_FLOOR)), norm="ortho")
    return cepstra[:, :NUM_CEPS]


def deltas(features: np.ndarray) -> np.ndarray:
    """Slope over five frames, the edge frames repeated (HTK's formula).

    Args:
        features: (num_frames, dim)

    Returns:
        as `features`

    """
    num_frames = len(features)
    x = np.pad(features, ((2, 2), (0, 0)), mode="edge")
    near = x[3 : 3 + num_frames] - x[1 : 1 + num_frames]
    far = x[4 : 4 + num_frames] - x[:num_frames]
    return (near + 2 * far) / 10


def align_pitch(pitch: np.ndarray, starts: np.ndarray, *, pitch_step: int) -> np.ndarray:
    """The pitch at the centre of each frame of the cepstra.

    The only place that knows how openSMILE's frames lie: window k covers samples `k * pitch_step` to
    `k * pitch_step + 959`, and the moving average adds (15 - 1) / 2 frames at the end, which are cut.
    At tempo 1 frame i of the cepstra has the pitch of window i - 2; at other tempos centres lie between
    windows and the pitch is interpolated. At the edges, where no 60 ms window is centred, the outermost
    pitch is repeated.

    Args:
        pitch: openSMILE's smoothed pitch, (num_pitch_frames + 7,)
        starts: first samples of the frames of the cepstra, (num_frames,)
        pitch_step: from window to window of the pitch, in samples

    Returns:
        (num_frames,)

    """
    pitch = pitch[: len(pitch) - AVERAGE // 2]
    centres = np.arange(len(pitch)) * pitch_step + PITCH_WINDOW / 2
    return np.interp(starts + WINDOW / 2, centres, pitch)


class MfccPitch(Frontend):
    """13 MFCC, their 13 deltas and the smoothed pitch in Hz, every 10 ms (Lakomkin et al. 2017, section 3.3).

    The pitch is that of openSMILE's subharmonic summation, 0 where unvoiced, under a moving average of
    15 frames. Its windows of 60 ms are centred on the windows of 20 ms of the cepstra.
    """

    name = "mfcc_pitch"
    Config = MfccPitchConfig
    sampling_rate = RATE
    dim = 2 * NUM_CEPS + 1
    # openSMILE gives no frame below one window and one step; tempo 2 doubles the step
    min_samples = PITCH_WINDOW + 2 * STEP

    def __init__(self, config: MfccPitchConfig) -> None:
        super().__init__(config)
        self._pitch: dict[int, ShsPitch] = {}

    def pitch(self, waveform: np.ndarray, *, step: float = STEP) -> np.ndarray:
        """Smoothed pitch in Hz for each frame of the cepstra.

        Args:
            waveform: (num_samples,), in [-1, 1], 16 kHz
            step: from frame to frame, in samples

        Returns:
            (num_frames,)

        """
        pitch_step = round(step)  # in whole samples, as openSMILE cuts frames itself
        if pitch_step not in self._pitch:
            self._pitch[pitch_step] = ShsPitch(step=pitch_step, voiced_only=self.config.voiced_only)
        smoothed = self._pitch[pitch_step](waveform)
        starts = frame_starts(len(waveform), window=WINDOW, step=step)
        return align_pitch(smoothed, starts, pitch_step=pitch_step)

    def compute(self, waveform: np.ndarray, *, tempo: float) -> np.ndarray:
        """MFCC, deltas, pitch: (num_frames, 27)."""
        cepstra = mfcc(waveform, step=STEP * tempo)
        pitch = self.pitch(waveform, step=STEP * tempo)
        return np.concatenate([cepstra, deltas(cepstra), pitch[:, None]], 1)
