"""What every encoder states and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sertoolkit.errors import ConfigError


class Encoder(nn.Module, ABC):
    """A network from features to a list of layers, which may be frozen.

    A plugin sets:

    * `Config`: frozen dataclass of its settings; the class is built as `cls(config)`
    * `frontend`: name of the frontend that it reads
    * `input_dim`: values a frame that it reads
    * `subsampling`: input frames to one output frame
    * `layer_dims`: values a frame of each layer, layer 1 first
    * `min_frames`: fewest input frames that it can read

    and defines `forward` and `output_lengths`, and for heads that train it further `parts`. Padding, batch order
    and batch size must not change its results: `sertoolkit.testing.check_encoder` tells.
    """

    Config: ClassVar[type]
    frontend: str
    input_dim: int
    subsampling: int
    layer_dims: list[int]
    min_frames: int = 1

    def __init__(self) -> None:
        super().__init__()
        self.frozen = False

    @abstractmethod
    def forward(self, features: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        """Compute all layers.

        Args:
            features: (B, T, input_dim)
            lengths: valid frames, (B,), int64

        Returns:
            the layers, each (B, T', D') and zero behind their lengths, and these lengths (B,)

        """

    @abstractmethod
    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of the layers from frames of the features.

        Args:
            lengths: frames before the encoder, any shape

        Returns:
            frames after it, same shape

        """

    def parts(self) -> list[list[nn.Module]]:
        """The modules behind each layer, for training that takes up layer after layer.

        Returns:
            what stands before layer 1 (may be empty), then the modules of each layer

        Raises:
            ConfigError: if the encoder does not say

        """
        raise ConfigError(
            f"encoder {type(self).__name__} does not say which modules make which layer (`parts`), so no head can"
            " train it further; choose a head that leaves it frozen"
        )

    def drop_layers_above(self, layer: int) -> None:
        """Save the work of layers that nobody reads; `forward` may then leave them out, or go on computing them.

        Args:
            layer: the highest that is read, from 1

        """

    def freeze(self) -> Encoder:
        """Keep weights, statistics and dropout as they are, for good, byte for byte (Lakomkin et al. 2017, section 3.1.1).

        A frozen encoder has no gradient and stays in eval mode, also inside a module in train mode.

        Returns:
            the encoder itself

        """
        self.frozen = True
        self.requires_grad_(False)
        self.train(False)
        return self

    def train(self, mode: bool = True) -> Encoder:
        """Set the mode, unless frozen: then eval mode stays."""
        return super().train(mode and not self.frozen)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `forward`, without a graph if frozen."""
        # here and not in forward, so that a plugin's own forward is covered too
        if not self.frozen:
            return super().__call__(*args, **kwargs)
        with torch.no_grad():
            return super().__call__(*args, **kwargs)
