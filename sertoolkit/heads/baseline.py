"""The paper's baseline: recurrent layers on emotion features, no encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sertoolkit.gru import BiGRU
from sertoolkit.heads.base import Head, check_settings


@dataclass(frozen=True)
class BaselineConfig:
    """Settings of `baseline`.

    Args:
        units: GRU units of a direction; 64, 96 and 128 in the paper's Table 1
        num_layers: bidirectional GRU layers
        dropout: on the pooled vector

    """

    units: int = 96
    num_layers: int = 2
    dropout: float = 0.25

    def __post_init__(self) -> None:
        check_settings("baseline", self)


class Baseline(Head):
    """Side features -> bidirectional GRUs -> mean over time -> dropout -> classes.

    Lakomkin et al. 2017, section 3.1.2.

    Args:
        config: settings
        layer_dims: not used
        side_dim: values a frame of the side features
        num_classes: logits to compute

    """

    Config = BaselineConfig
    needs = frozenset({"side"})
    stackable = True

    def __init__(
        self, config: BaselineConfig, *, layer_dims: Sequence[int], side_dim: int | None, num_classes: int
    ) -> None:
        super().__init__(
            config,
            layer_dims=layer_dims,
            side_dim=side_dim,
            num_classes=num_classes,
            num_values=2 * config.units,
        )
        self.rnn = BiGRU(side_dim, config.units, config.num_layers)

    def represent(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """Mean over time of the last GRU layer, (B, 2 * units)."""
        return self.rnn.mean(side, side_lengths)
