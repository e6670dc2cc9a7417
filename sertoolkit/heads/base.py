"""What every head states and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from sertoolkit.errors import ConfigError

NEEDS = frozenset({"side", "pooled", "frames", "words", "encoder", "text"})


def check_settings(name: str, config: Any) -> None:
    """Refuse impossible values of the settings that heads share.

    Raises:
        ConfigError: if `units` or `num_layers` is below 1, or `dropout` outside [0, 1)

    """
    for field in ("units", "num_layers"):
        if getattr(config, field, 1) < 1:
            raise ConfigError(f"{name}: {field} is {getattr(config, field)}, expected at least 1")
    if not 0 <= config.dropout < 1:
        raise ConfigError(f"{name}: dropout is {config.dropout}, expected at least 0 and below 1")


class Head(nn.Module, ABC):
    """A small network from an encoder's layers and side features to classes.

    A plugin sets:

    * `Config`: frozen dataclass of its settings, with the field `dropout`
    * `needs`: which of `side` (features of the utterance, no encoder), `pooled` (layers averaged over time)
      and `frames` (layers with all frames) it reads; the runner stores the cheapest thing that serves. `words`: what
      the recogniser hears, one vector an utterance, which comes as the last of the pooled layers. `encoder`: it
      runs the encoder itself, to train it further; it is built with two more arguments, `encoder` (the recogniser's, of
      which it takes a copy) and `layers` (numbers of the chosen ones), and gets the encoder's features, (B, T, D), as
      its only layer. `sertoolkit/heads/unfreeze.py` is the pattern. `text`, beside `encoder`: it learns to transcribe
      too. It is built with a fourth argument, `output` (the recogniser's layer from its top layer to tokens, to be
      copied), has `ctc_weight` among its settings, and defines `listen`; `sertoolkit/heads/joint.py` is the pattern
    * `stackable`: true if `represent` also runs with a leading axis of members before every shape named here, weights
      included: it uses `BiGRU`, `nn.Linear` and `nn.Dropout` modules and counts axes from the end. Members of such a
      head are trained together, several times faster

    and defines `represent`, one vector an utterance; dropout and a linear layer to the classes follow
    (Lakomkin et al. 2017, section 3.1). Padding, batch order and batch size must not change its results:
    `sertoolkit.testing.check_head` tells.

    Args:
        config: settings
        layer_dims: values a frame of each chosen layer
        side_dim: values a frame of the side features; None where there are none
        num_classes: logits to compute
        num_values: values of the vector that `represent` returns

    Raises:
        ConfigError: if layers or side features are missing that it needs

    """

    Config: ClassVar[type]
    needs: ClassVar[frozenset[str]]
    stackable: ClassVar[bool] = False

    def __init__(
        self,
        config: Any,
        *,
        layer_dims: Sequence[int],
        side_dim: int | None,
        num_classes: int,
        num_values: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.check_inputs(layer_dims, side_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(num_values, num_classes)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained, and how fast.

        Returns:
            groups of ``params`` with a learning rate of ``factor`` times the training's; the head's own come first

        """
        return [{"params": [p for p in self.parameters() if p.requires_grad], "factor": 1.0}]

    def begin_epoch(self, epoch: int) -> None:
        """Set by ``requires_grad`` which of these are trained in an epoch; of no effect in a cohort.

        Args:
            epoch: the one that begins or goes on, from 1; what is set follows from it alone

        """

    @classmethod
    def check_inputs(cls, layer_dims: Sequence[int], side_dim: int | None) -> None:
        """Refuse to be built without what `needs` names.

        Raises:
            ConfigError: if layers or side features are missing

        """
        if "side" in cls.needs and not side_dim:
            raise ConfigError(f"{cls.__name__} needs side features; name their frontend in the config")
        if cls.needs & {"pooled", "frames", "encoder"} and not layer_dims:
            raise ConfigError(f"{cls.__name__} needs layers of an encoder; choose at least one layer")

    @abstractmethod
    def represent(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """One vector an utterance, before dropout; the arguments are those of `forward`.

        Returns:
            (B, num_values)

        """

    def forward(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """Compute logits.

        Args:
            layers: the chosen layers: each (B, D) if the head needs `pooled`, (B, T, D) if it needs
                `frames`, the encoder's features if it needs `encoder`, else empty
            lengths: valid frames of the layers, (B,); None if pooled or absent
            side: side features, (B, S, side_dim), or None
            side_lengths: their valid frames, (B,), or None

        Returns:
            (B, num_classes)

        """
        return self.output(self.dropout(self.represent(layers, lengths, side, side_lengths)))
