"""Batches of recordings, made into features on the device that they lie on.

Processes that read audio leave the arithmetic to a GPU so. Every utterance has its own tempo and gain, and its
features are those that the frontend computes of it alone, to float32's rounding.

Shapes: B utterances, N samples, T frames, D values a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sertoolkit.audio.augmentation import Variant
from sertoolkit.features.base import STD_FLOOR, Frontend, frame_starts
from sertoolkit.networks import frame_mask


class Waveforms(NamedTuple):
    """A padded batch of recordings.

    Attributes:
        samples: float32 in [-1, 1], or int16, (B, N), zero behind each recording
        gain: in dB, float64, (B,)
        starts: first sample of each frame, (B, T); any that exists behind the lengths
        lengths: frames of each utterance, (B,)

    """

    samples: Tensor
    gain: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def pad(cls, recordings: Sequence[tuple[np.ndarray, Variant]], frontend: Frontend) -> Waveforms:
        """Stack recordings; tempo becomes a frame step.

        Args:
            recordings: samples of each, (num_samples,), float32 in [-1, 1] or int16, at the rate of the frontend, and
                how they are to sound
            frontend: its window and step cut the frames

        """
        waveforms, variants = zip(*recordings, strict=True)
        step = frontend.frame_shift * frontend.sampling_rate
        starts = [
            torch.from_numpy(
                frame_starts(len(waveform), window=frontend.min_samples, step=step * variant.tempo)
            )
            for waveform, variant in zip(waveforms, variants, strict=True)
        ]
        return cls(
            pad_sequence([torch.from_numpy(waveform) for waveform in waveforms], batch_first=True),
            torch.tensor([variant.gain for variant in variants], dtype=torch.float64),
            pad_sequence(starts, batch_first=True),
            torch.tensor([len(row) for row in starts]),
        )

    def to_features(self, frontend: Frontend) -> Tensor:
        """Features of a frontend that has `compute_frames`, zero behind the lengths, float32 (B, T, D)."""
        samples = self.samples / 32768 if self.samples.dtype == torch.int16 else self.samples
        rows = torch.arange(len(samples), device=samples.device)[:, None]
        frames = _amplify(samples, self.gain).unfold(1, frontend.min_samples, 1)[rows, self.starts]
        features = frontend.compute_frames(frames)
        mask = frame_mask(self.lengths, features.shape[1])[:, :, None]
        if not frontend.config.normalise:
            return features.masked_fill(~mask, 0)
        return _normalise(features, mask)


def _amplify(samples: Tensor, gain: Tensor) -> Tensor:
    """As :func:`sertoolkit.audio.augmentation.amplify`."""
    factor = torch.pow(10, gain / 20)
    peak = samples.abs().amax(1).double()
    loudest = torch.where(peak > 0, 1 / peak, 1).clamp(min=1)
    return samples * factor.minimum(loudest).to(samples.dtype)[:, None]


def _normalise(features: Tensor, mask: Tensor) -> Tensor:
    """As :func:`sertoolkit.features.base.normalise`."""
    count = mask.sum(1, keepdim=True)
    features = features.double().masked_fill(~mask, 0)
    features = (features - features.sum(1, keepdim=True) / count).masked_fill(~mask, 0)
    std = (features.square().sum(1, keepdim=True) / count).sqrt()
    return torch.where(std < STD_FLOOR, 0, features / std).float()
