"""Layers of a frozen encoder, computed once an utterance and kept in ark stores.

    OUT/layer-2/pooled/    mean over valid frames, (D,) an utterance
    OUT/layer-2/frames/    (T', D) an utterance
    OUT/words/             pieces of the words that the recogniser hears, (D,) an utterance
    OUT/utt2num_frames     duration in frames of the features, which pooled stores no longer tell

Each store carries the hash of the encoder's weights and of the features, and is refused beside others.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tqdm import tqdm

from sertoolkit.config import hash_of, to_dict
from sertoolkit.errors import ArkError, ConfigError
from sertoolkit.features.loading import copy_ahead, read_ahead, split_by_frames
from sertoolkit.networks import masked_mean
from sertoolkit.storage import atomic
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.text.pieces import Pieces

if TYPE_CHECKING:
    from sertoolkit.inference.recogniser import Recogniser

logger = logging.getLogger(__name__)

WORDS = "words"
FORMS = ("pooled", "frames", WORDS)
DURATIONS = "utt2num_frames"
# frames encoded together: at the paper's size ds2 holds some 1 and 5 GB, by the sizes of its arrays
CPU_FRAMES, GPU_FRAMES = 20_000, 100_000


def layer_dir(root: Path, layer: int, form: str) -> Path:
    """Where the store of a layer stands.

    Args:
        root: folder of all layers of a corpus
        layer: from 1
        form: ``pooled``, ``frames``, or ``words``, which stand apart from all layers

    """
    return root / WORDS if form == WORDS else root / f"layer-{layer}" / form


def open_features(recogniser: Recogniser, feats_dir: Path) -> ArkReader:
    """Features that a recogniser's encoder can read.

    Raises:
        ArkError: if they were made by another frontend, or utterances are too short

    """
    encoder = recogniser.encoder
    feats = ArkReader(
        feats_dir, expect={"frontend": recogniser.frontend_name, "frontend_conf": recogniser.frontend_conf}
    )
    short = [utt_id for utt_id, length in feats.num_frames.items() if length < encoder.min_frames]
    if short:
        raise ArkError(
            f"{feats_dir}: {len(short)} utterances have fewer than the {encoder.min_frames} frames that the encoder "
            f"needs: {', '.join(short[:5])}; take them out of the data directory"
        )
    return feats


def store_layers(
    recogniser: Recogniser,
    feats_dir: Path,
    out: Path,
    needed: Iterable[tuple[int, str]],
    *,
    batch_frames: int | None = None,
    device: str | torch.device = "cpu",
) -> list[Path]:
    """Run the frozen encoder once over all utterances; write the layers that are needed and not there yet.

    Args:
        recogniser: lends its encoder
        feats_dir: features of its frontend
        out: folder of the layers
        needed: pairs (layer from 1, form); ``words`` are those of the top layer
        batch_frames: frames of the features, padding included, that are computed together, of utterances of similar
            duration; no result depends on it. None: what suits the device
        device: where the encoder runs, in float32

    Returns:
        the stores that were written

    Raises:
        ConfigError: if the encoder has no such layer
        ArkError: if the features were made by another frontend, are too short, or are damaged

    """
    encoder = recogniser.encoder.freeze()
    needed = sorted(set(needed))
    for layer, form in needed:
        if not 1 <= layer <= len(encoder.layer_dims):
            raise ConfigError(f"layer {layer}: the encoder has layers 1 to {len(encoder.layer_dims)}")
        if form not in FORMS:
            raise ConfigError(f"form {form!r}: expected one of {', '.join(FORMS)}")
    feats = open_features(recogniser, feats_dir).verify()
    metas = {
        (layer, form): {
            "kind": "layer",
            "layer": layer,
            "form": form,
            "encoder": recogniser.encoder_name,
            "encoder_hash": recogniser.encoder_hash(),
            "feats_hash": hash_of(feats.meta),
            "copies": feats.meta.get("copies", 1),
            "augmentation": feats.meta.get("augmentation"),
            "frame_shift": feats.meta["frame_shift"] * encoder.subsampling,
        }
        for layer, form in needed
    }
    for (_, form), meta in metas.items():
        if form == WORDS:
            meta |= {"pieces": to_dict(Pieces()), "recogniser_hash": recogniser.hash()}
    missing = [key for key in needed if not _is_there(layer_dir(out, *key), metas[key])]
    if missing:
        logger.info("encoding %d utterances once, for %s", len(feats), _words(missing))
        with contextlib.ExitStack() as stack:
            writers = {
                key: stack.enter_context(ArkWriter(layer_dir(out, *key), metas[key])) for key in missing
            }
            device = torch.device(device)
            recogniser.model.to(device)
            batch_frames = batch_frames or (CPU_FRAMES if device.type == "cpu" else GPU_FRAMES)
            _encode(recogniser, feats, writers, batch_frames, device)
            recogniser.model.cpu()
    durations = (f"{utt_id} {feats.num_frames[utt_id]}\n" for utt_id in sorted(feats))
    atomic.write_text(out / DURATIONS, "".join(durations))
    return [layer_dir(out, *key) for key in missing]


@torch.no_grad()
def _encode(
    recogniser: Recogniser,
    feats: ArkReader,
    writers: dict[tuple[int, str], ArkWriter],
    batch_frames: int,
    device: torch.device,
) -> None:
    batches = length_batches(feats.num_frames, batch_frames)
    on_gpu = device.type == "cuda"
    padded = read_ahead(feats.__getitem__, batches, num_workers=int(on_gpu), pin_memory=on_gpu)
    with (
        _whole_float32(),
        contextlib.closing(copy_ahead(padded, device)) as sent,
        tqdm(total=len(feats), desc="encode", unit="utt", mininterval=1) as bar,
    ):
        for batch, (_, (features, lengths)) in zip(batches, sent, strict=True):
            layers, lengths = recogniser.encoder(features, lengths)
            for (number, form), writer in writers.items():
                rows = _in_form(recogniser, form, layers[number - 1], lengths)
                for utt_id, row in zip(batch, rows, strict=True):
                    writer.write(utt_id, np.ascontiguousarray(row))
            bar.update(len(batch))


def length_batches(num_frames: Mapping[str, int], batch_frames: int) -> list[list[str]]:
    """Utterances of similar duration together, from short to long.

    Args:
        num_frames: of each utterance
        batch_frames: of a batch, padding included; an utterance that is longer comes alone

    """
    utt_ids = sorted(num_frames, key=lambda utt_id: (num_frames[utt_id], utt_id))
    batches = split_by_frames(
        np.arange(len(utt_ids)), [num_frames[utt_id] for utt_id in utt_ids], batch_frames
    )
    return [[utt_ids[index] for index in batch] for batch in batches]


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """By default cuDNN rounds the factors of its products to TF32, ten bits: layers would depend on the device."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _in_form(
    recogniser: Recogniser, form: str, layer: torch.Tensor, lengths: torch.Tensor
) -> list[np.ndarray]:
    if form == WORDS:
        return [Pieces()(text) for text in recogniser.read(layer, lengths)]
    if form == "pooled":
        return list(masked_mean(layer, lengths).cpu().numpy())
    return [row[:length].numpy() for row, length in zip(layer.cpu(), lengths.tolist(), strict=True)]


def _is_there(directory: Path, meta: dict) -> bool:
    try:
        ArkReader(directory, expect=meta)
    except ArkError:
        return False
    return True


def _words(keys: Iterable[tuple[int, str]]) -> str:
    return ", ".join(form if form == WORDS else f"layer {layer} ({form})" for layer, form in keys)
