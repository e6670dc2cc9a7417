"""Log power spectrogram: what the paper's recogniser reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from sertoolkit.features.base import Frontend, frames

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 320  # samples: 20 ms (Lakomkin et al. 2017, 3.1.1)
STEP = 160  # samples: 10 ms
# Power of 16-bit rounding noise under this window: 1/12 of a squared step times the window's squared sum.
# Below it a recording holds no speech, and digital silence would otherwise dominate the deviation.
FLOOR = 1e-8


@dataclass(frozen=True)
class PowerSpectrogramConfig:
    """Settings of `power_spectrogram`.

    Args:
        normalise: each value to mean 0 and deviation 1 over the utterance

    """

    normalise: bool = True


class PowerSpectrogram(Frontend):
    """161 log powers of a 20 ms Hamming window every 10 ms.

    Frames are not centred: frame i covers samples 160 i to 160 i + 319, and the rest of the recording
    is left out. The paper states no compression; the logarithm is our choice.

    Examples:
        >>> frontend = PowerSpectrogram(PowerSpectrogramConfig())
        >>> frontend(np.random.default_rng(0).normal(size=1600).astype(np.float32), 16000).shape
        (9, 161)

    """

    name = "power_spectrogram"
    Config = PowerSpectrogramConfig
    dim = WINDOW // 2 + 1
    min_samples = WINDOW

    # periodic Hamming window
    _window = (0.54 - 0.46 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)

    def compute(self, waveform: np.ndarray, *, tempo: float) -> np.ndarray:
        """Log powers, (num_frames, 161)."""
        spectrum = scipy.fft.rfft(frames(waveform, window=WINDOW, step=STEP * tempo) * self._window)
        power = spectrum.real**2 + spectrum.imag**2
        return np.log(np.maximum(power, np.float32(FLOOR)))

    def compute_frames(self, frames: Tensor) -> Tensor:
        """Log powers of frames on their device, (..., 320) -> (..., 161)."""
        import torch  # late: extraction does without

        window = torch.hamming_window(WINDOW, device=frames.device)  # periodic, 0.54 and 0.46
        spectrum = torch.view_as_real(torch.fft.rfft(frames * window))
        return spectrum.square().sum(-1).clamp(min=FLOOR).log()
