"""What a training loop needs to know of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch


class Task(ABC):
    """Target, loss and the metric that selects.

    Attributes:
        model: what is trained; its frozen parts have ``requires_grad`` off
        utt_ids: training utterances
        lengths: their durations in frames, as batches are made by them
        selects: name of the validation metric that selects the best epoch; lower is better
        fingerprint: hash of all data and settings; a checkpoint of another fingerprint is refused

    """

    model: torch.nn.Module
    utt_ids: Sequence[str]
    lengths: Sequence[int]
    selects: str
    fingerprint: str

    @abstractmethod
    def loss(self, indices: np.ndarray) -> torch.Tensor:
        """Loss of one batch, a scalar.

        Args:
            indices: into ``utt_ids``, shape (B,)

        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Metrics on the validation set, ``selects`` among them; the model is in eval mode."""
