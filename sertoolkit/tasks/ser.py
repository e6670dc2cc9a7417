"""Task ``ser``: emotion classes by cross-entropy; the epoch with the lowest validation cross-entropy is kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from sertoolkit.audio.augmentation import Augmentation, copy_id, plain_id
from sertoolkit.config import from_dict
from sertoolkit.corpus.protocol import Fold
from sertoolkit.encoders.layers import DURATIONS, WORDS, layer_dir
from sertoolkit.errors import ConfigError, DataError, report_faults
from sertoolkit.features.loading import pad
from sertoolkit.heads.base import NEEDS, Head
from sertoolkit.scoring.emotion import score_emotion
from sertoolkit.storage.ark import ArkReader
from sertoolkit.tasks.base import Task

Inputs = tuple[list[torch.Tensor], torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]


class HeadInputs:
    """What a head sees of each utterance, from stores: side features, pooled layers, or frames of layers.

    Args:
        head: the class, which states its needs
        layers: encoder layers, from 1
        side_dir: store of side features; only opened if the head needs it
        layers_dir: folder of the encoder's layers; only opened if the head needs it

    Raises:
        ConfigError: if the head needs a store that is not given, or stores hold different copies
        ArkError: if a store is missing or damaged

    """

    def __init__(
        self, head: type[Head], layers: Sequence[int], *, side_dir: Path | None, layers_dir: Path | None
    ) -> None:
        self.form, self.words = form_of(head), WORDS in head.needs
        if self.form and not layers and not self.words:
            raise ConfigError(f"head {head.__name__} reads encoder layers: name them by `layers: [2]`")
        if self.form and layers_dir is None:
            raise ConfigError(
                f"head {head.__name__} reads encoder layers: give --layers (and --asr_exp to a recipe)"
            )
        if "side" in head.needs and side_dir is None:
            raise ConfigError(f"head {head.__name__} reads side features: give --side")
        self.side = ArkReader(side_dir, expect={"kind": "features"}) if "side" in head.needs else None
        self.layers = self._open_layers(layers_dir, layers)
        self.copies, self._augmentation = self._read_copies()
        self._epoch, self._heard = 0, {}
        self._num_frames = self._durations(layers_dir)
        self._rows: dict[str | None, int] = {None: 0}
        self._pooled: list[torch.Tensor] = []
        if self.form == "pooled":  # small, and read at every step; row 0 is nobody's
            self._rows |= {utt_id: row for row, utt_id in enumerate(self.layers[0], 1)}
            self._pooled = [self._read_pooled(layer) for layer in self.layers]

    def _open_layers(self, root: Path | None, layers: Sequence[int]) -> list[ArkReader]:
        if self.form is None or root is None:
            return []
        keys = [(layer, self.form) for layer in layers] + ([(0, WORDS)] if self.words else [])
        stores = [ArkReader(layer_dir(root, *key)) for key in keys]
        same = {name: stores[0].meta[name] for name in ("kind", "encoder_hash", "feats_hash")}
        return [ArkReader(store.directory, expect=same) for store in stores]

    def _read_copies(self) -> tuple[int, Augmentation]:
        """How many copies of each utterance all stores hold, and what these were drawn from."""
        # A store that does not speak of copies holds the utterances as they are.
        made = {
            (store.meta.get("copies", 1), str(store.meta.get("augmentation"))): store for store in self.stores
        }
        if len(made) > 1:
            found = "; ".join(f"{store.directory}: {n} drawn from {aug}" for (n, aug), store in made.items())
            raise ConfigError(
                f"copies of utterances differ between stores ({found}): extract both features by the same --copies"
                " and --augment (--extract_args of a recipe) and encode again"
            )
        meta = self.stores[0].meta
        return meta.get("copies", 1), from_dict(Augmentation, meta.get("augmentation") or {}, "augmentation")

    def _durations(self, root: Path | None) -> dict[str, int]:
        if self.form != "pooled" or root is None:
            return (self.side if self.form is None else self.layers[0]).num_frames
        path = root / DURATIONS
        if not path.is_file():
            raise DataError(f"{path}: no such file; run `sertoolkit encode` again, which makes it")
        return {utt_id: int(count) for utt_id, count in map(str.split, path.read_text().splitlines())}

    def _read_pooled(self, layer: ArkReader) -> torch.Tensor:
        values = torch.zeros(len(self._rows), layer.dim)
        for utt_id, row in list(self._rows.items())[1:]:
            values[row] = torch.from_numpy(np.array(layer[utt_id]))
        return values

    @property
    def stores(self) -> list[ArkReader]:
        """All stores that are read."""
        return [*self.layers, *([self.side] if self.side is not None else [])]

    @property
    def layer_dims(self) -> list[int]:
        """Values of each layer."""
        return [layer.dim for layer in self.layers]

    @property
    def side_dim(self) -> int | None:
        """Values a frame of the side features."""
        return self.side.dim if self.side is not None else None

    @property
    def head_arguments(self) -> dict[str, Any]:
        """What the head is built with."""
        return {"layer_dims": self.layer_dims, "side_dim": self.side_dim}

    @property
    def encoder_hash(self) -> str | None:
        """Hash of the frozen encoder, or None for heads without one."""
        return self.layers[0].meta["encoder_hash"] if self.layers else None

    def check_texts(self, folds: Sequence[Fold]) -> None:
        """Raise if a transcript of these folds cannot be learnt: here none is read."""

    def hashes_of(self, fold: Fold) -> dict[str, str]:
        """What a training on a fold depends on beside stores and encoder: nothing here."""
        return {}

    @property
    def description(self) -> dict[str, Any]:
        """What must stand beside the weights of a head beside what all have: nothing here."""
        return {}

    def num_frames(self, utt_id: str) -> int:
        """Duration of an utterance: batches are made by it."""
        return self._num_frames[utt_id]

    def copies_of(self, utt_id: str) -> list[str]:
        """Ids of all copies of an utterance, the plain one first."""
        return [copy_id(utt_id, number) for number in range(self.copies)]

    def copy_of_epoch(self, utt_id: str, epoch: int) -> str:
        """Id of the copy that every training reads in an epoch, counted from 1; no seed of a member takes part."""
        if self.copies == 1:
            return utt_id
        if epoch != self._epoch:  # members of a cohort ask for the same
            self._epoch, self._heard = epoch, {}
        if utt_id not in self._heard:
            self._heard[utt_id] = self._augmentation.copy_of_epoch(utt_id, epoch - 1, self.copies)
        return self._heard[utt_id]

    def check(self, utt_ids: Sequence[str]) -> None:
        """Raise if a store lacks a copy of an utterance.

        Raises:
            DataError: names every one

        """
        faults = [
            f"utterance {copy}: not in {store.directory}"
            for store in self.stores
            for utt_id in utt_ids
            for copy in self.copies_of(utt_id)
            if copy not in store
        ]
        report_faults(
            "utterances of the protocol without features (run the stages before again)", faults, DataError
        )

    def batch(self, utt_ids: Sequence[str | None]) -> Inputs:
        """What :meth:`sertoolkit.heads.base.Head.forward` takes, of these utterances.

        Args:
            utt_ids: of each row; None leaves a row empty, its length 0

        """
        layers: list[torch.Tensor] = []
        lengths = side = side_lengths = None
        if self.form == "pooled":
            rows = torch.tensor([self._rows[utt_id] for utt_id in utt_ids])
            layers = [values[rows] for values in self._pooled]
        for layer in self.layers if self.form != "pooled" else []:
            frames, lengths = pad([_frames(layer, utt_id) for utt_id in utt_ids])
            layers.append(frames)
        if self.side is not None:
            side, side_lengths = pad([_frames(self.side, utt_id) for utt_id in utt_ids])
        return layers, lengths, side, side_lengths


def _frames(store: ArkReader, utt_id: str | None) -> np.ndarray:
    return np.zeros((0, store.dim), np.float32) if utt_id is None else store[utt_id]


def form_of(head: type[Head]) -> str | None:
    """The cheapest form of encoder layers that serves a head.

    Returns:
        ``pooled``, ``frames``, ``encoder`` where the head runs the encoder itself, or None

    Raises:
        ConfigError: if the head asks for more than one, or for something unknown

    """
    unknown = sorted(head.needs - NEEDS)
    if unknown:
        raise ConfigError(f"head {head.__name__} needs {unknown}; known are {sorted(NEEDS)}")
    forms = sorted(
        (head.needs | ({"pooled"} if WORDS in head.needs else set())) & {"pooled", "frames", "encoder"}
    )
    if "text" in head.needs and forms != ["encoder"]:
        raise ConfigError(f"head {head.__name__} needs text: only a head that needs the encoder can learn it")
    if len(forms) > 1:
        raise ConfigError(
            f"head {head.__name__} needs {' and '.join(forms)}; one will do: the encoder gives frames, and frames can be"
            " pooled"
        )
    return forms[0] if forms else None


class SerTask(Task):
    """Cross-entropy training of a head on one fold.

    Args:
        model: the head
        inputs: what it sees
        fold: utterances, classes and speakers
        classes: in the order of the output units
        batch_size: of validation and prediction
        fingerprint: hash of everything that a resumed training must share

    """

    selects = "valid_loss"

    def __init__(
        self,
        model: Head,
        inputs: HeadInputs,
        fold: Fold,
        classes: Sequence[str],
        *,
        batch_size: int,
        fingerprint: str,
    ) -> None:
        self.model, self.inputs, self.fold, self.classes = model, inputs, fold, tuple(classes)
        self.batch_size, self.fingerprint = batch_size, fingerprint
        self.utt_ids = list(fold.train)
        self.lengths = [inputs.num_frames(utt_id) for utt_id in self.utt_ids]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """As the head says."""
        return self.model.parameter_groups()

    def begin_epoch(self, epoch: int, batches: Sequence[np.ndarray]) -> None:
        """Let each training utterance sound as its copy of this epoch; batches are made by the plain durations."""
        self.model.begin_epoch(epoch)
        self.utt_ids = [self.inputs.copy_of_epoch(utt_id, epoch) for utt_id in self.fold.train]

    def loss(self, indices: np.ndarray) -> torch.Tensor:
        """Mean cross-entropy."""
        utt_ids = [self.utt_ids[index] for index in indices]
        logits = self.model(*self.inputs.batch(utt_ids))
        return functional.cross_entropy(logits, self.targets(utt_ids).to(logits.device))

    def targets(self, utt_ids: Sequence[str]) -> torch.Tensor:
        """Index of each utterance's class, (B,); copies have that of their utterance."""
        truth = self.fold.truth
        labels = [truth[utt_id if utt_id in truth else plain_id(utt_id)] for utt_id in utt_ids]
        return torch.tensor([self.classes.index(label) for label in labels])

    def validate(self) -> dict[str, float]:
        """Cross-entropy and unweighted average recall."""
        return self.metrics(self.posteriors(self.fold.valid))

    def metrics(self, posteriors: torch.Tensor) -> dict[str, float]:
        """Cross-entropy and unweighted average recall, from posteriors of the validation set."""
        targets = self.targets(self.fold.valid)
        chosen = posteriors[torch.arange(len(targets)), targets]
        predicted = [self.classes[index] for index in posteriors.argmax(1)]
        truth = [self.fold.truth[utt_id] for utt_id in self.fold.valid]
        scores = score_emotion(truth, predicted, self.classes)
        return {"valid_loss": -chosen.log().mean().item(), "valid_uar": scores["uar"]}

    @torch.no_grad()
    def posteriors(self, utt_ids: Sequence[str]) -> torch.Tensor:
        """Posterior of each class.

        Args:
            utt_ids: any utterances of the stores

        Returns:
            (N, C) float64, rows in the order of ``utt_ids``

        """
        self.model.eval()
        logits = torch.empty(len(utt_ids), len(self.classes), dtype=torch.float64)
        for rows in self.chunks(utt_ids):
            found = self.model(*self.inputs.batch([utt_ids[row] for row in rows]))
            logits[rows] = found.double().to(logits.device)
        return logits.softmax(1)

    def transcripts(self) -> dict[str, dict[str, str]]:
        """What the model and the recogniser that it began with hear of the test set: nothing here.

        Returns:
            text by utterance, of each file of a member

        """
        return {}

    def chunks(self, utt_ids: Sequence[str]) -> list[list[int]]:
        """Batches to infer in, of similar duration: indices into ``utt_ids``."""
        order = sorted(range(len(utt_ids)), key=lambda index: self.inputs.num_frames(utt_ids[index]))
        return [order[start : start + self.batch_size] for start in range(0, len(order), self.batch_size)]
