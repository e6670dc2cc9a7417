"""The paper's progressive net-x: the baseline's branch beside frozen layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sertoolkit.gru import BiGRU
from sertoolkit.heads.base import Head, check_settings


@dataclass(frozen=True)
class ProgressiveConfig:
    """Settings of `progressive`; the paper does not state the branch's width.

    Args:
        units: GRU units of a direction in the branch
        num_layers: bidirectional GRU layers of the branch
        dropout: on the concatenated pooled vector

    """

    units: int = 96
    num_layers: int = 2
    dropout: float = 0.25

    def __post_init__(self) -> None:
        check_settings("progressive", self)


class Progressive(Head):
    """The baseline's branch and the layers, each averaged over time -> dropout -> classes.

    Args:
        config: settings
        layer_dims: values of each chosen layer; more than one are concatenated
        side_dim: values a frame of the side features
        num_classes: logits to compute

    """

    Config = ProgressiveConfig
    needs = frozenset({"side", "pooled"})
    stackable = True

    def __init__(
        self,
        config: ProgressiveConfig,
        *,
        layer_dims: Sequence[int],
        side_dim: int | None,
        num_classes: int,
    ) -> None:
        super().__init__(
            config,
            layer_dims=layer_dims,
            side_dim=side_dim,
            num_classes=num_classes,
            num_values=2 * config.units + sum(layer_dims),
        )
        self.rnn = BiGRU(side_dim, config.units, config.num_layers)

    def represent(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """The branch's mean over time and the pooled layers, (B, 2 * units + sum of layer_dims)."""
        branch = self.rnn.mean(side, side_lengths)
        return torch.cat([branch, *layers], -1)
