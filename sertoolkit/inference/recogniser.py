"""A recogniser in one file: frontend, encoder, output layer and tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typeguard import typechecked

from sertoolkit import registry
from sertoolkit.config import from_dict, hash_of, to_dict
from sertoolkit.decoding.greedy import greedy_decode
from sertoolkit.encoders.base import Encoder
from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.errors import CheckpointError, ConfigError
from sertoolkit.features.base import Frontend
from sertoolkit.features.loading import pad
from sertoolkit.storage.tensors import load_tensors, save_tensors, tensors_hash
from sertoolkit.text.tokens import Tokens, tokens_from_state

MODEL_FILE = "model.safetensors"
# log probabilities (B, T, V) and valid frames (B,) -> numbers of the tokens, a list an utterance
Search = Callable[[torch.Tensor, torch.Tensor], list[list[int]]]


@dataclasses.dataclass
class Recogniser:
    """What a recogniser needs to hear audio, or to lend its layers.

    Attributes:
        model: encoder and output layer
        tokens: the token list
        frontend_name: plugin name of the frontend
        frontend_conf: its settings
        encoder_name: plugin name of the encoder

    """

    model: CtcModel
    tokens: Tokens
    frontend_name: str
    frontend_conf: dict[str, Any]
    encoder_name: str

    @classmethod
    def build(
        cls,
        *,
        encoder: str,
        encoder_conf: Mapping[str, Any],
        frontend: str,
        frontend_conf: Mapping[str, Any],
        tokens: Tokens,
    ) -> Recogniser:
        """An untrained recogniser, its weights drawn from torch's generator.

        Raises:
            ConfigError: if a setting is wrong, or the encoder reads another frontend

        """
        encoder_class = registry.get("encoder", encoder)
        config = from_dict(encoder_class.Config, encoder_conf, "encoder_conf")
        network = encoder_class(config)
        if network.frontend != frontend:
            raise ConfigError(
                f"encoder {encoder!r} reads {network.frontend!r}, the features are {frontend!r}"
            )
        return cls(CtcModel(network, tokens.size), tokens, frontend, dict(frontend_conf), encoder)

    @classmethod
    def load(cls, path: str | Path) -> Recogniser:
        """Read a bundle, or the model in an experiment folder.

        Raises:
            CheckpointError: if it is missing, damaged, or no recogniser

        """
        path = Path(path)
        tensors, meta = load_tensors(path / MODEL_FILE if path.is_dir() else path)
        if meta.get("kind") != "asr":
            raise CheckpointError(f"{path}: holds a model of kind {meta.get('kind')!r}, expected 'asr'")
        return cls.from_state(tensors, meta)

    @classmethod
    def from_state(cls, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> Recogniser:
        """The recogniser that :meth:`state` describes, in eval mode."""
        recogniser = cls.build(
            encoder=meta["encoder"],
            encoder_conf=meta["encoder_conf"],
            frontend=meta["frontend"],
            frontend_conf=meta["frontend_conf"],
            tokens=tokens_from_state(meta["tokens"]),
        )
        recogniser.model.load_state_dict(tensors)
        recogniser.model.eval()
        return recogniser

    def untrained(self, *, seed: int) -> Recogniser:
        """The same recogniser with fresh random weights, as a control."""
        torch.manual_seed(seed)
        return type(self).build(
            encoder=self.encoder_name,
            encoder_conf=to_dict(self.encoder.config),
            frontend=self.frontend_name,
            frontend_conf=self.frontend_conf,
            tokens=self.tokens,
        )

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights and plain data, as :meth:`load` reads them."""
        meta = {
            "kind": "asr",
            "encoder": self.encoder_name,
            "encoder_conf": to_dict(self.encoder.config),
            "encoder_hash": self.encoder_hash(),
            "frontend": self.frontend_name,
            "frontend_conf": self.frontend_conf,
            "tokens": self.tokens.to_state(),
        }
        return self.model.state_dict(), meta

    def save(self, path: str | Path, **more: Any) -> None:
        """Write one file.

        Args:
            path: the file
            more: plain data to keep beside (results, versions)

        """
        tensors, meta = self.state()
        save_tensors(path, tensors, meta | more)

    @property
    def encoder(self) -> Encoder:
        """The network that lends its layers."""
        return self.model.encoder

    def encoder_hash(self) -> str:
        """First 16 digits of the SHA-256 of the encoder's weights and batch-norm statistics."""
        return tensors_hash(self.encoder.state_dict())[:16]

    def hash(self) -> str:
        """First 16 digits of the SHA-256 of all weights, statistics and settings."""
        weights, meta = self.state()
        return tensors_hash(weights, hash_of(meta))[:16]

    def build_frontend(self) -> Frontend:
        """The frontend that the encoder was trained on."""
        frontend_class = registry.get("frontend", self.frontend_name)
        return frontend_class(from_dict(frontend_class.Config, self.frontend_conf, "frontend_conf"))

    @torch.no_grad()
    def read(self, layer: torch.Tensor, lengths: torch.Tensor) -> list[str]:
        """Transcripts by the best path, from the top layer where it has been computed already.

        Args:
            layer: (B, T', D)
            lengths: valid frames (B,)

        """
        return [self.tokens.decode(ids) for ids in greedy_decode(self.model.output(layer), lengths)]

    @torch.no_grad()
    def decode(self, features: Sequence[np.ndarray], *, search: Search = greedy_decode) -> list[str]:
        """Transcripts of one batch.

        Args:
            features: each (T, D)
            search: from log probabilities to tokens; the best path, or a
                :class:`~sertoolkit.decoding.beam.BeamSearch`

        """
        log_probs, lengths = self.model(*pad(features))
        return [self.tokens.decode(ids) for ids in search(log_probs, lengths)]

    @typechecked
    def transcribe(self, waveform: np.ndarray, sampling_rate: int) -> str:
        """Transcript of a recording.

        Args:
            waveform: mono (num_samples,), in [-1, 1]
            sampling_rate: in Hz; the frontend refuses another than its own

        """
        return self.decode([self.build_frontend()(waveform, sampling_rate)])[0]
