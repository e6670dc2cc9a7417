"""Batches of features, read ahead by worker processes."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sertoolkit.errors import SertoolkitError, TrainingError


def pad(arrays: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack matrices of different lengths.

    Args:
        arrays: each (T, D)

    Returns:
        zero-padded (B, T, D) float32, and lengths (B,) int64

    """
    lengths = torch.tensor([len(array) for array in arrays])
    padded = torch.zeros(len(arrays), int(lengths.max()), arrays[0].shape[1])
    for row, array in zip(padded, arrays, strict=True):
        row[: len(array)] = torch.from_numpy(np.array(array))
    return padded, lengths


class _Batches(Dataset):
    """What a worker makes of the ids of a batch; an error is handed over, for the parent to raise."""

    def __init__(self, read: Callable[[str], np.ndarray], utt_ids: Sequence[Sequence[str]]) -> None:
        self.read, self.utt_ids = read, utt_ids

    def __len__(self) -> int:
        return len(self.utt_ids)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor] | SertoolkitError:
        try:
            return pad([self.read(utt_id) for utt_id in self.utt_ids[number]])
        except SertoolkitError as error:
            return error


def read_ahead(
    read: Callable[[str], np.ndarray],
    utt_ids: Sequence[Sequence[str]],
    *,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in their order; how many workers there are changes nothing.

    Args:
        read: features (T, D) of an utterance
        utt_ids: of each batch
        num_workers: processes, forked, of one thread each; 0: batches are read when they are asked for
        pin_memory: for a copy to a GPU that does not wait

    Yields:
        zero-padded features (B, T, D) and their lengths (B,)

    Raises:
        SertoolkitError: as ``read``
        TrainingError: if a worker died

    """
    loader = DataLoader(
        _Batches(read, utt_ids),
        batch_size=None,  # an item is a batch
        num_workers=num_workers,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),  # else it draws from that of the training
        multiprocessing_context="fork" if num_workers else None,  # they share the tables of a big corpus
    )
    try:
        for batch in loader:
            if isinstance(batch, SertoolkitError):
                raise batch
            yield batch
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"a process that reads audio died ({error}): out of memory? Shared memory (/dev/shm) too small? Lower"
            " --num_workers, or raise the limit"
        ) from error


def _start_worker(_: int) -> None:
    # The parent gets these too; it still needs the batch under way, and ends its workers itself.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threadpool_limits(1)
