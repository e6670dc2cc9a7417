"""Tensors and plain data in one file: the format of checkpoints and bundles.

A safetensors file whose header carries the plain data as JSON, and the SHA-256 over both. Never pickle. A single
flipped bit anywhere is found when the file is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertoolkit.errors import CheckpointError
from sertoolkit.storage import atomic

if TYPE_CHECKING:
    import torch

HEADER = "sertoolkit"  # name of our entry in the header


def save_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: file to write
        tensors: by name, on any device; stored contiguous
        meta: plain data that JSON holds

    Raises:
        OSError: if it cannot be written

    """
    import safetensors.torch

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(meta, sort_keys=True)
    digest = tensors_hash(plain, text)
    # one entry: of several, safetensors does not keep the order, and the same content would give other bytes
    header = json.dumps({"meta": text, "sha256": digest}, sort_keys=True)
    atomic.write_bytes(path, safetensors.torch.save(plain, metadata={HEADER: header}))


def load_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and plain data of a file, checked.

    Raises:
        CheckpointError: if the file is missing, damaged or of another kind

    """
    import safetensors.torch

    path = Path(path)
    header = _read_header(path)
    try:
        tensors = safetensors.torch.load_file(str(path))
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: {error}") from error
    if tensors_hash(tensors, header["meta"]) != header["sha256"]:
        raise CheckpointError(
            f"{path}: damaged: its checksum does not hold; restore it, or remove it and make it again"
        )
    return tensors, json.loads(header["meta"])


def load_meta(path: str | Path) -> dict[str, Any]:
    """Plain data of a file, without the time that tensors take; their checksum is not compared.

    Raises:
        CheckpointError: if the file is missing, or its header is damaged or of another kind

    """
    try:
        return json.loads(_read_header(Path(path))["meta"])
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged: {error}") from error


def _read_header(path: Path) -> dict[str, Any]:
    import safetensors

    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "{}"))
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: {error}") from error
    if not isinstance(header, dict) or not {"meta", "sha256"} <= set(header):
        raise CheckpointError(f"{path}: not written by sertoolkit (its header lacks the checksum)")
    return header


def tensors_hash(tensors: Mapping[str, torch.Tensor], text: str = "") -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, and a text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(dtype=_bytes()).numpy() if tensor.numel() else b"")
    return digest.hexdigest()


def _bytes() -> torch.dtype:
    import torch

    return torch.uint8
