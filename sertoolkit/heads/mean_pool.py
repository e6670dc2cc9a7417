"""The paper's MP-x: a softmax layer on a frozen layer averaged over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sertoolkit.heads.base import Head, check_settings


@dataclass(frozen=True)
class MeanPoolConfig:
    """Settings of `mean_pool`.

    Args:
        dropout: on the pooled vector

    """

    dropout: float = 0.25

    def __post_init__(self) -> None:
        check_settings("mean_pool", self)


class MeanPool(Head):
    """Layers averaged over time -> dropout -> classes (MP-x).

    Lakomkin et al. 2017, section 3.1.3.

    Args:
        config: settings
        layer_dims: values of each chosen layer; more than one are concatenated
        side_dim: not used
        num_classes: logits to compute

    """

    Config = MeanPoolConfig
    needs = frozenset({"pooled"})
    stackable = True

    def __init__(
        self, config: MeanPoolConfig, *, layer_dims: Sequence[int], side_dim: int | None, num_classes: int
    ) -> None:
        super().__init__(
            config,
            layer_dims=layer_dims,
            side_dim=side_dim,
            num_classes=num_classes,
            num_values=sum(layer_dims),
        )

    def represent(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """The pooled layers side by side, (B, sum of layer_dims)."""
        return torch.cat(layers, -1)
