"""What a training loop needs to know of a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

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

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, and how fast.

        Returns:
            groups of ``params`` with a learning rate of ``factor`` times the training's; the rate of the first stands in
            the history

        """
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "factor": 1.0}]

    def begin_epoch(self, epoch: int, batches: Sequence[np.ndarray]) -> None:  # noqa: B027 # most need nothing
        """Get ready for an epoch, before its first loss.

        Here a task sets by ``requires_grad`` what is trained, chooses how utterances sound, reads ahead. All of it
        follows from the epoch alone, so that a resumed training is the same. Parameters outside
        :meth:`parameter_groups` are never trained.

        Args:
            epoch: the one that begins or goes on, from 1
            batches: those that :meth:`loss` will get, in this order

        """

    def fetch(self) -> None:  # noqa: B027 # most have all at hand
        """Read what the next :meth:`loss` needs, where that can fail."""

    @abstractmethod
    def loss(self, indices: np.ndarray) -> torch.Tensor:
        """Loss of one batch, a scalar.

        Args:
            indices: into ``utt_ids``, shape (B,)

        """

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Metrics on the validation set, ``selects`` among them; the model is in eval mode."""
