"""Batches of features: their size, their padding, and reading ahead by worker processes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sertoolkit.errors import SertoolkitError, TrainingError

Batch = TypeVar("Batch", bound=tuple)  # named, of tensors, `lengths` among them


class Padded(NamedTuple):
    """Features (B, T, D), zero behind the lengths, and lengths (B,)."""

    features: Tensor
    lengths: Tensor


def pad(arrays: Sequence[np.ndarray]) -> Padded:
    """Stack matrices of different lengths.

    Args:
        arrays: each (T, D)

    Returns:
        zero-padded (B, T, D) float32, and lengths (B,) int64

    """
    lengths = torch.tensor([len(array) for array in arrays])
    padded = torch.empty(len(arrays), int(lengths.max()), arrays[0].shape[1])
    for row, array in zip(padded.numpy(), arrays, strict=True):
        row[: len(array)] = array
        row[len(array) :] = 0
    return Padded(padded, lengths)


def split_by_frames(order: np.ndarray, lengths: Sequence[int], batch_frames: int) -> list[np.ndarray]:
    """Cut an order into batches, each as long as its padded size allows.

    Args:
        order: indices into ``lengths``
        lengths: frames of each utterance
        batch_frames: most frames of a batch, padding included; a longer utterance is a batch of its own

    Returns:
        parts of ``order``, none of them empty

    Examples:
        >>> [batch.tolist() for batch in split_by_frames(np.arange(4), [2, 3, 3, 9], 6)]
        [[0, 1], [2], [3]]

    """
    starts, longest = [], 0
    for place, index in enumerate(order):
        longest = max(longest, lengths[index])
        if not starts or longest * (place - starts[-1] + 1) > batch_frames:
            starts.append(place)
            longest = lengths[index]
    return np.split(order, starts[1:]) if starts else []


class _Batches(Dataset):
    """What a worker makes of the ids of a batch; an error is handed over, for the parent to raise."""

    def __init__(
        self, read: Callable[[str], Any], utt_ids: Sequence[Sequence[str]], stack: Callable[[list], Any]
    ) -> None:
        self.read, self.utt_ids, self.stack = read, utt_ids, stack

    def __len__(self) -> int:
        return len(self.utt_ids)

    def __getitem__(self, number: int) -> Any:
        try:
            return self.stack([self.read(utt_id) for utt_id in self.utt_ids[number]])
        except SertoolkitError as error:
            return error


def read_ahead(
    read: Callable[[str], Any],
    utt_ids: Sequence[Sequence[str]],
    *,
    stack: Callable[[list], Batch] = pad,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Batches in their order; how many workers there are changes nothing.

    Args:
        read: what is read of an utterance, such as its features (T, D)
        utt_ids: of each batch
        stack: makes a batch, a named tuple of tensors, of what was read
        num_workers: processes, forked, of one thread each; 0: batches are read when they are asked for
        pin_memory: for a copy to a GPU that does not wait

    Yields:
        what ``stack`` makes

    Raises:
        SertoolkitError: as ``read``
        TrainingError: if a worker died

    """
    loader = DataLoader(
        _Batches(read, utt_ids, stack),
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


def copy_ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[tuple[Batch, Batch]]:
    """Send batches to a device, each during the step before its own; on the CPU they are handed on.

    Args:
        batches: as :func:`read_ahead` gives them, in pinned memory for a GPU; closed with this iterator
        device: where they are wanted

    Yields:
        a batch as it was, and on the device

    """
    with contextlib.closing(batches):
        if device.type == "cpu":
            yield from ((batch, batch) for batch in batches)
            return
        stream = torch.cuda.Stream(device)
        waiting = None
        for batch in batches:
            with torch.cuda.stream(stream):
                copy = type(batch)(*(tensor.to(device, non_blocking=True) for tensor in batch))
            begun = batch, copy, stream.record_event()
            if waiting is not None:
                yield _arrived(*waiting)
            waiting = begun
        if waiting is not None:
            yield _arrived(*waiting)


def _arrived(batch: Batch, copy: Batch, event: torch.cuda.Event) -> tuple[Batch, Batch]:
    current = torch.cuda.current_stream()
    current.wait_event(event)
    for tensor in copy:
        # else its memory could be given to the next copy while a step still reads it
        tensor.record_stream(current)
    return batch, copy


def _start_worker(_: int) -> None:
    # The parent gets these too; it still needs the batch under way, and ends its workers itself.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threadpool_limits(1)
