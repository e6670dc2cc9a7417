"""The paper's RNN-x: a new recurrent layer on the frames of a frozen layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sertoolkit.gru import BiGRU
from sertoolkit.heads.base import Head, check_settings


@dataclass(frozen=True)
class RNNConfig:
    """Settings of `rnn`; the paper states neither width nor depth.

    Args:
        units: GRU units of a direction
        num_layers: bidirectional GRU layers
        dropout: on the pooled vector

    """

    units: int = 96
    num_layers: int = 1
    dropout: float = 0.25

    def __post_init__(self) -> None:
        check_settings("rnn", self)


class RNN(Head):
    """Frames of layers -> bidirectional GRU -> mean over time -> dropout -> classes (RNN-x).

    Lakomkin et al. 2017, section 3.1.3.

    Args:
        config: settings
        layer_dims: values a frame of each chosen layer; more than one are concatenated
        side_dim: not used
        num_classes: logits to compute

    """

    Config = RNNConfig
    needs = frozenset({"frames"})
    stackable = True

    def __init__(
        self, config: RNNConfig, *, layer_dims: Sequence[int], side_dim: int | None, num_classes: int
    ) -> None:
        super().__init__(
            config,
            layer_dims=layer_dims,
            side_dim=side_dim,
            num_classes=num_classes,
            num_values=2 * config.units,
        )
        self.rnn = BiGRU(sum(layer_dims), config.units, config.num_layers)

    def represent(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """Mean over time of the last GRU layer, (B, 2 * units)."""
        frames = layers[0] if len(layers) == 1 else torch.cat(layers, -1)
        return self.rnn.mean(frames, lengths)
