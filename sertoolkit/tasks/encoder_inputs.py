"""What a head sees that runs the encoder itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sertoolkit.encoders.layers import open_features
from sertoolkit.errors import ConfigError
from sertoolkit.heads.base import Head
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.storage.ark import ArkReader
from sertoolkit.tasks.ser import HeadInputs


class EncoderInputs(HeadInputs):
    """The encoder and the features that it reads, in place of stored layers.

    Args:
        head: the class; it needs `encoder`
        layers: encoder layers, from 1
        side_dir: store of side features; only opened if the head needs it
        feats_dir: features of the encoder's frontend
        asr_exp: the recogniser, an experiment folder or a bundle

    Raises:
        ConfigError: if one of them is not given, or the encoder has no such layer
        ArkError: if a store is missing, damaged, or of another frontend, or utterances are too short
        CheckpointError: if the recogniser is missing or damaged

    """

    def __init__(
        self,
        head: type[Head],
        layers: Sequence[int],
        *,
        side_dir: Path | None,
        feats_dir: Path | None,
        asr_exp: Path | None,
    ) -> None:
        if feats_dir is None or asr_exp is None:
            raise ConfigError(f"head {head.__name__} runs the encoder itself: give --asr_exp and --asr_feats")
        self.recogniser, self.numbers = Recogniser.load(asr_exp), tuple(layers)
        count = len(self.recogniser.encoder.layer_dims)
        wrong = [layer for layer in layers if layer > count]
        if wrong:
            raise ConfigError(f"layers {wrong}: the encoder has layers 1 to {count}")
        self._feats = open_features(self.recogniser, feats_dir)
        super().__init__(head, layers, side_dir=side_dir, layers_dir=feats_dir)

    def _open_layers(self, root: Path | None, layers: Sequence[int]) -> list[ArkReader]:
        return [self._feats]

    @property
    def layer_dims(self) -> list[int]:
        """Values a frame of each chosen layer."""
        return [self.recogniser.encoder.layer_dims[layer - 1] for layer in self.numbers]

    @cached_property  # every member asks for it, and nothing changes the recogniser: heads train a copy
    def encoder_hash(self) -> str:
        """Hash of the encoder that training begins with."""
        return self.recogniser.encoder_hash()

    @property
    def head_arguments(self) -> dict[str, Any]:
        """What the head is built with."""
        return {**super().head_arguments, "encoder": self.recogniser.encoder, "layers": self.numbers}
