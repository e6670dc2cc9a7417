"""In what type products are taken while a model trains."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch

from sertoolkit.kernels import cpu
from sertoolkit.training.config import Training

logger = logging.getLogger(__name__)


def precision_of(training: Training) -> torch.dtype | None:
    """What recurrent layers take their products in, as :func:`~sertoolkit.gru.set_precision` takes it."""
    return torch.bfloat16 if training.precision == "bfloat16" else None


def warn_where_slow(trainings: Iterable[Training], device: torch.device | None) -> None:
    """Say so where bfloat16 costs time instead of saving it.

    Args:
        trainings: as they are set
        device: trained on; None: the CPU

    """
    on_cpu = device is None or device.type == "cpu"
    if on_cpu and any(map(precision_of, trainings)) and not cpu.applies(torch.device("cpu"), torch.bfloat16):
        logger.warning(
            "training.precision=bfloat16: no steps for it are compiled that this CPU can run (`sertoolkit doctor` lists "
            "those that are); recurrent layers train slower than in float32"
        )
