"""What every frontend states and does, and what frontends share: frames and normalisation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from sertoolkit.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

STD_FLOOR = 1e-4  # a value that varies less over an utterance counts as constant and becomes 0


def frame_starts(num_samples: int, *, window: int, step: float) -> np.ndarray:
    """First samples of the frames that fit into a recording.

    The step may be a fraction, as tempo makes it; starts are rounded to samples, so that they never drift.

    Args:
        num_samples: length of the recording
        window: length of a frame in samples
        step: from frame to frame, in samples

    Returns:
        int64 of shape (num_frames,); at step 160: 1 + (num_samples - window) // 160 frames

    Examples:
        >>> frame_starts(700, window=320, step=160).tolist()
        [0, 160, 320]
        >>> frame_starts(700, window=320, step=100.5).tolist()
        [0, 101, 201, 302]

    """
    if num_samples < window:
        return np.zeros(0, np.int64)
    # half up, not numpy's half to even: the distances of frames then take at most two values
    starts = np.floor(np.arange((num_samples - window) / step + 2) * step + 0.5).astype(np.int64)
    return starts[starts + window <= num_samples]


def frames(waveform: np.ndarray, *, window: int, step: float) -> np.ndarray:
    """Cut a recording into overlapping frames.

    Args:
        waveform: (num_samples,)
        window: length of a frame in samples
        step: from frame to frame, in samples

    Returns:
        copy of shape (num_frames, window)

    """
    starts = frame_starts(len(waveform), window=window, step=step)
    return np.lib.stride_tricks.sliding_window_view(waveform, window)[starts]


def normalise(features: np.ndarray) -> np.ndarray:
    """Bring each value to mean 0 and standard deviation 1 over the utterance (Lakomkin et al. 2017, section 3.3).

    Args:
        features: (num_frames, dim)

    Returns:
        float32 (num_frames, dim); zero where a value is constant over the utterance

    """
    features = features.astype(np.float64)
    features -= features.mean(0)
    std = features.std(0)
    constant = std < STD_FLOOR
    features[:, constant] = 0
    return np.ascontiguousarray(features / np.where(constant, 1, std), np.float32)


class Frontend(ABC):
    """Audio to a feature matrix.

    A plugin sets, as class attributes or in its constructor:

    * `name`: as registered
    * `Config`: frozen dataclass of its settings, among them `normalise`; the class is built as `cls(config)`
    * `sampling_rate` in Hz, `frame_shift` in seconds, `dim` values a frame
    * `min_samples`: fewest samples that give a frame

    and defines `compute`. Check it by `sertoolkit.testing.check_frontend`.

    Args:
        config: settings

    """

    name: ClassVar[str]
    Config: ClassVar[type]
    sampling_rate: int = 16000
    frame_shift: float = 0.01
    dim: int
    min_samples: int
    compute_frames: Callable[[Tensor], Tensor] | None = None
    """A frontend that reads frames of `min_samples` one by one may define this method too, from tensors of them,
    (..., window), to (..., dim): then a GPU can compute whole batches (:mod:`sertoolkit.features.waveforms`)."""

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def compute(self, waveform: np.ndarray, *, tempo: float) -> np.ndarray:
        """Compute plain features.

        Args:
            waveform: float32 (num_samples,), checked
            tempo: factor on the frame step: above 1 the speech seems faster

        Returns:
            (num_frames, dim), before normalisation

        """

    def __call__(self, waveform: np.ndarray, sampling_rate: int, *, tempo: float = 1.0) -> np.ndarray:
        """Compute features, normalised over the utterance if the config says so.

        Args:
            waveform: (num_samples,), in [-1, 1]
            sampling_rate: of the waveform, in Hz
            tempo: factor on the frame step, 0.5 to 2 ; 1.1 gives about 1/1.1 of the frames

        Returns:
            float32 (num_frames, dim), C-contiguous

        Raises:
            AudioError: if the sampling rate is another, the recording is too short, has more than one
                dimension, or holds values that are not finite
            ConfigError: if the tempo is outside 0.5 to 2

        """
        self.check(waveform, sampling_rate, tempo=tempo)
        features = self.compute(np.asarray(waveform, np.float32), tempo=tempo)
        if self.config.normalise:
            return normalise(features)
        return np.ascontiguousarray(features, np.float32)

    def check(self, waveform: np.ndarray, sampling_rate: int, *, tempo: float = 1.0) -> None:
        """Refuse what has no features; arguments and errors as those of the frontend itself."""
        if sampling_rate != self.sampling_rate:
            raise AudioError(
                f"{self.name}: found {sampling_rate} Hz, expected {self.sampling_rate} Hz; resample first"
            )
        if waveform.ndim != 1:
            raise AudioError(f"{self.name}: found audio of shape {waveform.shape}, expected one channel")
        if len(waveform) < self.min_samples:
            raise AudioError(
                f"{self.name}: found {len(waveform)} samples, expected at least {self.min_samples}; "
                "it is too short"
            )
        if not np.isfinite(waveform).all():
            raise AudioError(f"{self.name}: audio holds values that are not finite")
        if not 0.5 <= tempo <= 2:
            raise ConfigError(f"{self.name}: tempo is {tempo}, expected 0.5 to 2")
