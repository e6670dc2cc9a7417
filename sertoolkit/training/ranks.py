"""The processes of a data-parallel training, as torchrun starts them; a training in one process has one rank.

A batch is chosen for all ranks together, and each takes its share. Losses, gradients and the statistics of batch norm
are summed over the ranks, so that a step is that of one process with the whole batch, to rounding. Wherever one of
them may fail alone they tell each other, so that none waits for one that has gone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sertoolkit import errors
from sertoolkit.errors import ConfigError, SertoolkitError, TrainingError
from sertoolkit.networks import MaskedBatchNorm


class Ranks:
    """One of ``count`` processes.

    Args:
        number: which, from 0; the first one writes
        count: of all, on all machines

    """

    def __init__(self, number: int = 0, count: int = 1) -> None:
        self.number, self.count = number, count

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and tells the user."""
        return self.number == 0

    def share(self, batch: np.ndarray) -> np.ndarray:
        """Utterances of a batch that fall to this rank, at least one.

        Where there are fewer utterances than ranks each rank takes all of them.
        """
        return batch[self.number :: self.count] if self.is_shared(batch) else batch

    def is_shared(self, batch: np.ndarray) -> bool:
        """Whether the utterances of a batch are enough for all ranks."""
        return len(batch) >= self.count

    def weight(self, batch: np.ndarray) -> float:
        """Part of this rank's loss, a mean over its share, in that of the batch."""
        return len(self.share(batch)) / len(batch) if self.is_shared(batch) else 1 / self.count

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum over the ranks, in place."""
        if self.count > 1:
            with _partners():
                distributed.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give all ranks the sum of their gradients."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        whole = self.sum(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = whole.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def check(self, model: nn.Module) -> None:
        """Refuse a model whose steps would differ from those in one process.

        Raises:
            ConfigError: if it holds batch norm of torch

        """
        found = [type(module).__name__ for module in model.modules() if isinstance(module, _BatchNorm)]
        if found and self.count > 1:
            raise ConfigError(
                f"{found[0]} in the encoder: its statistics would be those of one process alone; use"
                " sertoolkit.networks.MaskedBatchNorm there, or train in one process"
            )

    def join_norms(self, model: nn.Module, batch: np.ndarray) -> None:
        """Let batch norm count the frames of all ranks, or of this one where each has the whole batch."""
        if self.count == 1:
            return
        for module in model.modules():
            if isinstance(module, MaskedBatchNorm):
                module.over_ranks = self.sum if self.is_shared(batch) else ALONE.sum

    def gather(self, value: Any) -> list[Any]:
        """A value of each rank, plain as JSON holds it, on all of them."""
        if self.count == 1:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.count)]
        with _partners():
            distributed.all_gather(sizes, torch.tensor([len(own)]))
            padded = own.new_zeros(int(max(sizes)))
            padded[: len(own)] = own
            texts = [torch.empty_like(padded) for _ in sizes]
            distributed.all_gather(texts, padded)
        return [json.loads(text[:size].numpy().tobytes()) for text, size in zip(texts, sizes, strict=True)]

    def agree(self, stop: int, due: bool) -> tuple[int, bool]:
        """What all ranks do after a step.

        Args:
            stop: number of the signal that this rank got, or 0
            due: whether to save; the first rank's word counts

        Returns:
            number of a signal that any rank got, and whether to save

        """
        if self.count == 1:
            return stop, due
        wishes = torch.tensor([stop, int(due and self.is_first)])
        with _partners():
            distributed.all_reduce(wishes, distributed.ReduceOp.MAX)
        return int(wishes[0]), bool(wishes[1])

    @contextmanager
    def together(self) -> Iterator[None]:
        """Work in which a rank may fail alone, and which needs no other rank.

        Raises:
            SertoolkitError: of the first rank that failed, on rank 0; an OSError of its own too
            SystemExit: on the other ranks, without a word, if any rank failed

        """
        if self.count == 1:
            yield
            return
        failed: SertoolkitError | OSError | None = None
        try:
            yield
        except (SertoolkitError, OSError) as error:
            failed = error
        one_failed = torch.tensor(int(failed is not None))
        with _partners():
            distributed.all_reduce(one_failed)
        if not one_failed:
            return
        told = failed and (type(failed).__name__, str(failed), getattr(failed, "exit_code", 1))
        kind, text, exit_code = next(found for found in self.gather(told) if found is not None)
        if self.is_first:
            raise failed or getattr(errors, kind, SertoolkitError)(text)
        time.sleep(1)  # torchrun names the first one that ends: rank 0, which says why
        raise SystemExit(exit_code)


ALONE = Ranks()


def need_gpus(count: int) -> None:
    """See that this machine has enough GPUs.

    Args:
        count: that are wanted, from 1

    Raises:
        ConfigError: if PyTorch finds fewer

    """
    found = torch.cuda.device_count()
    if found < count:
        have, advice = "no CUDA GPU", ""
        if found:
            have, advice = f"{found} CUDA GPU{'s' if found > 1 else ''}", f"give at most {found}, or "
        raise ConfigError(
            f"--ngpu {count}: PyTorch finds {have} here (`sertoolkit doctor` says more); {advice}leave it out for the CPU"
        )


@contextmanager
def start_ranks(*, on_gpu: bool) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the other processes that torchrun started; without torchrun this one is alone.

    Args:
        on_gpu: each process takes the GPU of its number on its machine

    Yields:
        this process's rank and device

    Raises:
        ConfigError: if there is no GPU for it

    """
    count, number, local = (int(os.environ.get(name, default)) for name, default in _VARIABLES)
    if on_gpu and torch.cuda.device_count() <= local:
        raise ConfigError(
            f"--ngpu: PyTorch finds {torch.cuda.device_count()} CUDA GPUs here, process {local} of this machine needs"
            " one of its own (`sertoolkit doctor` says more)"
        )
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if count == 1:
        yield ALONE, device
        return
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield Ranks(number, count), device
    finally:
        distributed.destroy_process_group()


_VARIABLES = (("WORLD_SIZE", 1), ("RANK", 0), ("LOCAL_RANK", 0))  # as torchrun sets them


@contextmanager
def _partners() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            "another process of this training has ended; what it said stands above, or in its own log. Start the same"
            f" command again to go on ({str(error).splitlines()[0]})"
        ) from error
