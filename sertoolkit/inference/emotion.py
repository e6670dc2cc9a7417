"""An emotion system in one file: frozen recogniser, head, frontends and classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typeguard import typechecked

from sertoolkit import registry
from sertoolkit.config import from_dict, load_yaml
from sertoolkit.decoding.greedy import greedy_decode
from sertoolkit.encoders.layers import WORDS
from sertoolkit.errors import CheckpointError, ConfigError, suggest
from sertoolkit.features.base import Frontend
from sertoolkit.heads.base import Head
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.networks import masked_mean
from sertoolkit.storage.tensors import load_tensors, save_tensors
from sertoolkit.tasks.asr import pad
from sertoolkit.tasks.ser import form_of
from sertoolkit.text.pieces import Pieces
from sertoolkit.training.members import MEMBER_FILE, MODEL_FILE

_ENCODER = "recogniser."
_HEAD = "head."


@dataclasses.dataclass
class EmotionModel:
    """Hears emotion in a recording.

    Attributes:
        head: the trained head
        meta: system, classes, dims and side frontend, as its member wrote them
        recogniser: lends its layers; None for heads that need none

    """

    head: Head
    meta: dict[str, Any]
    recogniser: Recogniser | None

    @classmethod
    def from_member(cls, folder: Path, asr_exp: Path | None) -> EmotionModel:
        """The result of one training.

        Args:
            folder: of the member
            asr_exp: the recogniser that it was trained on

        Raises:
            CheckpointError: if a file is missing or damaged, or the recogniser is another one
            ConfigError: if the head needs a recogniser and none is given

        """
        tensors, meta = load_tensors(folder / MODEL_FILE)
        encoder_hash = meta["hashes"]["encoder"]
        recogniser = None
        if encoder_hash is not None:
            if asr_exp is None:
                raise ConfigError(f"{folder}: the head reads layers of a recogniser; name it by --asr_exp")
            recogniser = Recogniser.load(asr_exp)
            if recogniser.encoder_hash() != encoder_hash:
                raise CheckpointError(
                    f"{asr_exp}: its encoder is {recogniser.encoder_hash()}, the head was trained on {encoder_hash}"
                )
            whole = meta["hashes"].get("recogniser")
            if whole is not None and recogniser.hash() != whole:
                raise CheckpointError(
                    f"{asr_exp}: the recogniser is {recogniser.hash()}, the head was trained on {whole}"
                )
        return cls._build(tensors, meta, recogniser)

    @classmethod
    def load(cls, path: str | Path) -> EmotionModel:
        """Read a bundle.

        Raises:
            CheckpointError: if it is missing, damaged, or no emotion model

        """
        tensors, meta = load_tensors(path)
        if meta.get("kind") != "ser":
            raise CheckpointError(f"{path}: holds a model of kind {meta.get('kind')!r}, expected 'ser'")
        recogniser = None
        if meta["recogniser"] is not None:
            recogniser = Recogniser.from_state(_part(tensors, _ENCODER), meta["recogniser"])
        return cls._build(_part(tensors, _HEAD), meta["member"], recogniser)

    @classmethod
    def _build(
        cls, tensors: dict[str, torch.Tensor], meta: dict[str, Any], recogniser: Recogniser | None
    ) -> EmotionModel:
        head = build_head(tensors, meta, recogniser)
        if recogniser is not None:
            recogniser.encoder.freeze()
        return cls(head, meta, recogniser)

    def save(self, path: str | Path) -> None:
        """Write one file with all that inference needs."""
        tensors = {_HEAD + name: tensor for name, tensor in self.head.state_dict().items()}
        recogniser = None
        if self.recogniser is not None:
            weights, recogniser = self.recogniser.state()
            tensors |= {_ENCODER + name: tensor for name, tensor in weights.items()}
        save_tensors(path, tensors, {"kind": "ser", "member": self.meta, "recogniser": recogniser})

    @property
    def classes(self) -> list[str]:
        """In the order of the posteriors."""
        return self.meta["classes"]

    @property
    def sampling_rate(self) -> int:
        """Of the recordings that it takes, in Hz."""
        return self._frontends()[0].sampling_rate

    @property
    def transcribes(self) -> bool:
        """Whether it gives the words too."""
        return "text" in self.head.needs

    def predict(self, waveform: np.ndarray, sampling_rate: int) -> dict[str, float]:
        """Posterior of each class; see :meth:`listen`."""
        return self.listen(waveform, sampling_rate)[0]

    @torch.no_grad()
    @typechecked
    def listen(self, waveform: np.ndarray, sampling_rate: int) -> tuple[dict[str, float], str | None]:
        """Emotion and, of a system that transcribes, the words, by one pass of the encoder.

        Args:
            waveform: mono (num_samples,), in [-1, 1]
            sampling_rate: in Hz; see :attr:`sampling_rate`

        Returns:
            posterior of each class, in [0, 1], summing to 1; and the transcript, or None

        """
        form = form_of(type(self.head))
        layers: list[torch.Tensor] = []
        lengths = side = side_lengths = None
        if self.recogniser is not None:
            features, lengths = pad([self.recogniser.build_frontend()(waveform, sampling_rate)])
            if form == "encoder":
                layers = [features]
            else:
                outputs, lengths = self.recogniser.encoder(features, lengths)
                layers = [outputs[number - 1] for number in self.meta["system"]["layers"]]
            if form == "pooled":
                layers = [masked_mean(layer, lengths) for layer in layers]
                if WORDS in self.head.needs:
                    texts = self.recogniser.read(outputs[-1], lengths)
                    layers.append(torch.from_numpy(np.stack([Pieces()(text) for text in texts])))
                lengths = None
        if self.meta["side"] is not None:
            side, side_lengths = pad([self._side_frontend()(waveform, sampling_rate)])
        inputs, transcript = (layers, lengths, side, side_lengths), None
        if self.transcribes:
            logits, log_probs, lengths = self.head.listen(*inputs)
            transcript = self.recogniser.tokens.decode(greedy_decode(log_probs, lengths)[0])
        else:
            logits = self.head(*inputs)
        posterior = logits.double().softmax(1)[0]
        return dict(zip(self.classes, posterior.tolist(), strict=True)), transcript

    def _side_frontend(self) -> Frontend:
        frontend = registry.get("frontend", self.meta["side"]["frontend"])
        return frontend(from_dict(frontend.Config, self.meta["side"]["frontend_conf"], "frontend_conf"))

    def _frontends(self) -> list[Frontend]:
        frontends = [self.recogniser.build_frontend()] if self.recogniser is not None else []
        return frontends + ([self._side_frontend()] if self.meta["side"] is not None else [])


def build_head(
    tensors: dict[str, torch.Tensor], meta: dict[str, Any], recogniser: Recogniser | None = None
) -> Head:
    """The trained head of a member, in eval mode.

    Args:
        tensors: its weights
        meta: what the member wrote beside them
        recogniser: lends its encoder to a head that runs a copy of it

    """
    head_class = registry.get("head", meta["system"]["head"])
    more: dict[str, Any] = {}
    if form_of(head_class) == "encoder" and recogniser is not None:
        more = {"encoder": recogniser.encoder, "layers": meta["system"]["layers"]}
        if "text" in head_class.needs:
            more["output"] = recogniser.model.output
    head = head_class(
        from_dict(head_class.Config, meta["system"]["head_conf"], "head_conf"),
        layer_dims=meta["layer_dims"],
        side_dim=meta["side_dim"],
        num_classes=len(meta["classes"]),
        **more,
    )
    head.load_state_dict(tensors)
    return head.eval()


def best_member(
    exp: Path, system: str, *, folds: Sequence[str] | None = None, seeds: Sequence[int] | None = None
) -> Path:
    """Folder of the member of a system with the lowest validation cross-entropy.

    Args:
        exp: emotion experiment
        system: its name
        folds: where to look; None: everywhere
        seeds: where to look; None: everywhere

    Raises:
        ConfigError: if the system has no finished member there

    """
    found = sorted((exp / system).glob(f"*/*/{MEMBER_FILE}"))
    runs = None if seeds is None else {f"seed-{seed}" for seed in seeds}
    members = [
        path
        for path in found
        if (folds is None or path.parts[-3] in folds) and (runs is None or path.parts[-2] in runs)
    ]
    if found and not members:
        raise ConfigError(f"{exp}: no finished member of system {system!r} in the folds and seeds asked for")
    if not members:
        known = sorted({path.parents[2].name for path in exp.glob(f"*/*/*/{MEMBER_FILE}")})
        raise ConfigError(
            f"{exp}: no finished member of system {system!r}{suggest(system, known)} (trained: {', '.join(known)})"
        )
    return min(members, key=lambda path: load_yaml(path)["valid_loss"]).parent


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
