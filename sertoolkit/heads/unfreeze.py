"""The encoder's layers trained together with the head, from the top down.

What Lakomkin et al. 2017, section 5, name as future work: "fine-tune the ASR layers together with the emotion branch".
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sertoolkit.encoders.base import Encoder
from sertoolkit.errors import ConfigError
from sertoolkit.gru import BiGRU
from sertoolkit.heads.base import Head, check_settings
from sertoolkit.networks import masked_mean


@dataclass(frozen=True)
class UnfreezeConfig:
    """Settings of `unfreeze`.

    Args:
        release_every: epochs that the head trains alone; after as many again, the next layer down joins it (gradual
            unfreezing, Howard and Ruder 2018, section 3.3)
        lowest: the last layer to be released; 1 leaves what stands before layer 1 (the convolutions of `ds2`) frozen
            for good, 0 releases that too
        encoder_learning_rate: of released layers, as a factor of the head's
        dropout: on the pooled vector

    """

    release_every: int = 5
    lowest: int = 1
    encoder_learning_rate: float = 0.1
    dropout: float = 0.25

    def __post_init__(self) -> None:
        check_settings("unfreeze", self)
        if self.release_every < 1:
            raise ConfigError(f"unfreeze: release_every is {self.release_every}, expected at least 1 epoch")
        if self.lowest < 0:
            raise ConfigError(f"unfreeze: lowest is {self.lowest}, expected 0 or the number of a layer")
        if not self.encoder_learning_rate > 0:
            raise ConfigError(
                f"unfreeze: encoder_learning_rate is {self.encoder_learning_rate}, expected above 0"
            )


class Unfreeze(Head):
    """Encoder -> layer x -> mean over time -> dropout -> classes (MP-x), with layers up to x released one by one.

    The head owns a copy of the encoder, cut above layer x, which stays in eval mode: batch-norm statistics, also those
    of released layers, are the recogniser's to the end, and its dropout is off. So an utterance is heard alike in
    training and in prediction, whatever else is in its batch, and a few hundred utterances do not bend statistics that
    many hours of speech have made. Scale and shift of a released layer's norm are trained.

    The state holds the head and the layers down to `lowest`. All else is the recogniser's, byte for byte.

    Args:
        config: settings
        encoder: of the recogniser; is copied
        layers: numbers of the chosen layers, from 1; x is the highest, more than one are concatenated
        layer_dims: values a frame of each
        side_dim: not used
        num_classes: logits to compute
        branch_values: values that a subclass puts before the pooled layers

    Raises:
        ConfigError: if `lowest` lies above layer x, or the encoder does not say which modules make which layer

    """

    Config = UnfreezeConfig
    needs = frozenset({"encoder"})
    whole: ClassVar[bool] = False
    """Layers above x are kept, and released together with it."""

    def __init__(
        self,
        config: UnfreezeConfig,
        *,
        encoder: Encoder,
        layers: Sequence[int],
        layer_dims: Sequence[int],
        side_dim: int | None,
        num_classes: int,
        branch_values: int = 0,
    ) -> None:
        super().__init__(
            config,
            layer_dims=layer_dims,
            side_dim=side_dim,
            num_classes=num_classes,
            num_values=branch_values + sum(layer_dims),
        )
        self.layers, top = tuple(layers), max(layers)
        if config.lowest > top:
            raise ConfigError(f"unfreeze: lowest is {config.lowest}, above the chosen layer {top}")
        self.encoder = copy.deepcopy(encoder).freeze()
        if not self.whole:
            self.encoder.drop_layers_above(top)
        parts = self.encoder.parts()
        self.release_order = [
            [weight for module in parts[layer] for weight in module.parameters()]
            for layer in range(top, config.lowest - 1, -1)
        ]
        if self.whole:
            above = itertools.chain(*parts[top + 1 :])
            self.release_order[0] += [weight for module in above for weight in module.parameters()]
        trained = {id(weight) for weights in self.release_order for weight in weights}
        tensors = nn.Module.state_dict(self, keep_vars=True)
        self._frozen = {
            name for name in tensors if name.startswith("encoder.") and id(tensors[name]) not in trained
        }

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The head's weights, then those of the layers in the order of their release."""
        of_recogniser = {
            id(weight) for weight in itertools.chain(self.encoder.parameters(), *self.release_order)
        }
        own = [weight for weight in self.parameters() if id(weight) not in of_recogniser]
        rate = self.config.encoder_learning_rate
        released = [{"params": weights, "factor": rate} for weights in self.release_order]
        return [{"params": own, "factor": 1.0}, *released]

    def begin_epoch(self, epoch: int) -> None:
        """Release layer x after `release_every` epochs, and one below after as many again."""
        num_released = (epoch - 1) // self.config.release_every
        self.encoder.frozen = num_released == 0
        for number, weights in enumerate(self.release_order):
            for weight in weights:
                weight.requires_grad_(number < num_released)

    def train(self, mode: bool = True) -> Unfreeze:
        """Set the mode of all but the encoder."""
        super().train(mode)
        self.encoder.eval()
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """All that differs from the recogniser."""
        state = super().state_dict(*args, **kwargs)
        return {name: tensor for name, tensor in state.items() if name not in self._frozen}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Take over what :meth:`state_dict` gave; the rest stays as it is."""
        own = super().state_dict()
        return super().load_state_dict(
            {name: own[name] for name in self._frozen} | dict(state_dict), *args, **kwargs
        )

    def represent(
        self,
        layers: list[Tensor],
        lengths: Tensor | None,
        side: Tensor | None,
        side_lengths: Tensor | None,
    ) -> Tensor:
        """The pooled layers side by side, (B, sum of layer_dims)."""
        return self.pool(*self.encoder(layers[0], lengths))

    def pool(self, outputs: Sequence[Tensor], lengths: Tensor) -> Tensor:
        """The chosen ones of all layers, averaged over time, side by side: (B, sum of layer_dims)."""
        return torch.cat([masked_mean(outputs[layer - 1], lengths) for layer in self.layers], -1)


@dataclass(frozen=True)
class UnfreezeProgressiveConfig(UnfreezeConfig):
    """Settings of `unfreeze_progressive`: those of `unfreeze` and of the branch.

    Args:
        units: GRU units of a direction in the branch
        num_layers: bidirectional GRU layers of the branch

    """

    units: int = 96
    num_layers: int = 2


class UnfreezeProgressive(Unfreeze):
    """The baseline's branch beside layers that are released one by one (progressive net-x, unfrozen).

    Args:
        config: settings
        side_dim: values a frame of the side features
        inputs: as :class:`Unfreeze` has them

    """

    Config = UnfreezeProgressiveConfig
    needs = frozenset({"encoder", "side"})

    def __init__(self, config: UnfreezeProgressiveConfig, *, side_dim: int | None, **inputs: Any) -> None:
        super().__init__(config, side_dim=side_dim, branch_values=2 * config.units, **inputs)
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
        return torch.cat([branch, super().represent(layers, lengths, side, side_lengths)], -1)
