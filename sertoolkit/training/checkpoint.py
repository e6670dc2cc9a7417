"""Checkpoints of one training: the newest two, each whole or absent."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sertoolkit.errors import CheckpointError
from sertoolkit.storage.tensors import load_tensors, save_tensors

logger = logging.getLogger(__name__)

KEEP = 2  # while one is written, or found damaged, the other still stands
NAME = re.compile(r"checkpoint-(\d{9})\.safetensors")


def save_checkpoint(
    folder: Path,
    number: int,
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    meta: Mapping[str, Any],
    best: Mapping[str, torch.Tensor],
) -> None:
    """Write the state of a training and drop all but the newest two.

    Args:
        folder: of the training
        number: of this save, counted from 1; it orders the files
        model: current weights and buffers
        optimiser: its state
        meta: plain data
        best: weights of the best epoch so far; may be empty

    """
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    scalars: dict[str, Any] = {}
    for index, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser.{index}.{key}"] = value
            else:
                scalars[f"{index}.{key}"] = value
    save_tensors(folder / f"checkpoint-{number:09d}.safetensors", tensors, {**meta, "optimiser": scalars})
    for old in sorted(_checkpoints(folder))[:-KEEP]:
        _checkpoints(folder)[old].unlink()


def load_checkpoint(
    folder: Path,
    model: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    fingerprint: str,
    *,
    newest: int | None = None,
) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Restore the newest checkpoint that is undamaged.

    Args:
        folder: of the training
        model: gets the weights and buffers
        optimiser: gets its state
        fingerprint: what the checkpoint must have been made with
        newest: pass over those of a later save than this

    Returns:
        its plain data and the weights of the best epoch, or None where the folder holds no checkpoint

    Raises:
        CheckpointError: if all are damaged, or they belong to a training with other data or settings

    """
    found = _checkpoints(folder)
    refused = []
    for step in sorted(found, reverse=True):
        try:
            tensors, meta = load_tensors(found[step])
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for message in refused:
            logger.warning("%s; going on from %s", message, found[step].name)
        if meta["fingerprint"] != fingerprint:
            raise CheckpointError(
                f"{found[step]}: made with other data or settings than this training; "
                "remove the folder or train into another one"
            )
        if newest is not None and meta["progress"]["saves"] > newest:
            continue
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "best": {}, "optimiser": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition(".")
            parts[part][rest] = tensor
        model.load_state_dict(parts["model"])
        state: dict[int, dict[str, Any]] = {}
        for name, value in (parts["optimiser"] | meta["optimiser"]).items():
            index, _, key = name.partition(".")
            state.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        return meta, parts["best"]
    if refused:
        raise CheckpointError("no checkpoint can be used:\n  " + "\n  ".join(refused))
    return None


def newest_progress(folder: Path) -> dict[str, Any] | None:
    """Where the newest undamaged checkpoint stands, or None where there is none."""
    for _, path in sorted(_checkpoints(folder).items(), reverse=True):
        with contextlib.suppress(CheckpointError):
            return load_tensors(path)[1]["progress"]
    return None


def remove_checkpoints(folder: Path) -> None:
    """Drop all checkpoints of a training that has ended, halves that a kill left behind too."""
    for path in [*_checkpoints(folder).values(), *folder.glob(".checkpoint-*.tmp")]:
        path.unlink()


def _checkpoints(folder: Path) -> dict[int, Path]:
    """By number of the save, which orders them, never the clock."""
    matches = ((NAME.fullmatch(path.name), path) for path in folder.glob("checkpoint-*.safetensors"))
    return {int(match[1]): path for match, path in matches if match}
