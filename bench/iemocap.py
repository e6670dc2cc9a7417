"""Synthetic utterances with the durations of IEMOCAP's; nothing measured here depends on what their values are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

RATE = 100  # frames a second of side features
NUM_UTTERANCES = 6416
# log-normal with mean 4.46 s and median 3.6 s; shortest and longest are IEMOCAP's
MEDIAN, SPREAD, SHORTEST, LONGEST = 3.6, 0.654, 0.6, 34.0


def frames_like_iemocap(count: int, *, seed: int = 1) -> np.ndarray:
    """Durations of utterances in frames at 100 a second.

    Args:
        count: utterances
        seed: of the draws

    Returns:
        (count,) int64, from 60 to 3,400

    """
    draws = np.random.default_rng(seed).standard_normal(count)
    seconds = (MEDIAN * np.exp(SPREAD * draws)).clip(SHORTEST, LONGEST)
    return np.rint(seconds * RATE).astype(np.int64)


def write_features(
    folder: Path, frames: dict[str, int], dim: int, *, offsets: dict[str, np.ndarray], **meta: Any
) -> None:
    """Write a store of normal values.

    Args:
        folder: the store
        frames: of each utterance
        dim: values a frame
        offsets: what is added to every frame of an utterance, (dim,); may lack utterances
        meta: for its meta.yaml

    """
    from sertoolkit.storage.ark import ArkWriter

    generator = np.random.default_rng(2)
    with ArkWriter(folder, meta) as writer:
        for utt_id, count in frames.items():
            values = generator.standard_normal((count, dim), np.float32)
            writer.write(utt_id, values + offsets.get(utt_id, np.float32(0)))
