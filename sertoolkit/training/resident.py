"""Inputs of heads on a GPU: a corpus that fits lies there whole, and a batch is one gather.

Shapes: R frames of the corpus, B utterances, T frames, D values.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sertoolkit.storage.ark import ArkReader
from sertoolkit.tasks.ser import HeadInputs, Inputs

logger = logging.getLogger(__name__)


TABLE_SHARE = 0.5  # of the free memory of a GPU that features may take
STEP_SHARE = 0.7  # that features and a step of a cohort may take together; blocks of many sizes leave holes


def table_budget(device: torch.device) -> int:
    """Bytes that the features of a system may take on a GPU."""
    return int(TABLE_SHARE * torch.cuda.mem_get_info(device)[0])


def step_budget(inputs: HeadInputs, device: torch.device) -> int:
    """Bytes that a step of a cohort may take on a GPU beside the features."""
    tables = table_bytes(inputs)
    resident = tables if tables <= table_budget(device) else 0
    return int(STEP_SHARE * torch.cuda.mem_get_info(device)[0]) - resident


def table_bytes(inputs: HeadInputs) -> int:
    """Memory that the stores of a system take as tables."""
    return sum(4 * store.dim * (1 + sum(store.num_frames.values())) for store in inputs.stores)


class _Table:
    """All frames of a store, one utterance after another; row 0 is zero."""

    def __init__(self, store: ArkReader, device: torch.device) -> None:
        self.counts: dict[str | None, int] = {None: 0, **store.num_frames}
        self.firsts: dict[str | None, int] = {None: 0}
        self.rows = torch.zeros(1 + sum(self.counts.values()), store.dim, device=device)
        end = 1
        for utt_id, count in store.num_frames.items():
            self.firsts[utt_id] = end
            self.rows[end : end + count] = torch.from_numpy(store[utt_id]).view(count, -1)
            end += count

    def vectors(self, utt_ids: Sequence[str | None]) -> Tensor:
        """(B, D), of a store of vectors."""
        return self.rows[torch.tensor([self.firsts[utt_id] for utt_id in utt_ids], device=self.rows.device)]

    def frames(self, utt_ids: Sequence[str | None]) -> tuple[Tensor, Tensor]:
        """(B, T, D), zero behind the lengths, and the lengths, (B,)."""
        where = torch.tensor([[self.firsts[utt_id], self.counts[utt_id]] for utt_id in utt_ids])
        longest = int(where[:, 1].max())
        first, lengths = where.to(self.rows.device, non_blocking=True).unbind(1)
        time = torch.arange(longest, device=self.rows.device)
        rows = torch.where(time < lengths[:, None], first[:, None] + time, 0)
        return self.rows.index_select(0, rows.flatten()).view(*rows.shape, -1), lengths


class DeviceInputs:
    """What :class:`~sertoolkit.tasks.ser.HeadInputs` gives, on a device.

    Args:
        inputs: from stores on the disk
        device: where batches are wanted
        budget: bytes that the whole corpus may take there; beyond, each batch is read from the disk and sent

    """

    def __init__(self, inputs: HeadInputs, device: torch.device, *, budget: int) -> None:
        self.inputs, self.device = inputs, device
        self.is_resident = table_bytes(inputs) <= budget
        stores = inputs.stores if self.is_resident else []
        self._tables = {store.directory: _Table(store, device) for store in stores}
        if not self.is_resident:
            logger.warning(
                "%.1f GB of features do not fit into the %.1f GB that %s has for them; "
                "each batch is read from the disk, which is slower",
                table_bytes(inputs) / 1e9,
                budget / 1e9,
                device,
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inputs, name)  # all that is not a batch

    def batch(self, utt_ids: Sequence[str | None]) -> Inputs:
        """As :meth:`HeadInputs.batch`, equal in every value."""
        if not self.is_resident:
            layers, *others = self.inputs.batch(utt_ids)
            return [self._send(layer) for layer in layers], *map(self._send, others)
        layers, lengths, side, side_lengths = [], None, None, None
        for layer in self.inputs.layers:
            table = self._tables[layer.directory]
            if self.inputs.form == "pooled":
                layers.append(table.vectors(utt_ids))
            else:
                frames, lengths = table.frames(utt_ids)
                layers.append(frames)
        if self.inputs.side is not None:
            side, side_lengths = self._tables[self.inputs.side.directory].frames(utt_ids)
        return layers, lengths, side, side_lengths

    def _send(self, x: Tensor | None) -> Tensor | None:
        if x is None or self.device.type == "cpu":
            return x
        return x.pin_memory().to(self.device, non_blocking=True)
