"""Heads of many members side by side against each alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from sertoolkit.errors import PluginError
from sertoolkit.gru import BiGRU
from sertoolkit.heads.base import Head
from sertoolkit.heads.mean_pool import MeanPoolConfig
from sertoolkit.heads.stacked import Draws, can_stack, stacked

MEMBERS = BATCH = 3  # equal: axes that are mixed up would fit


class OnFrames(Head):
    """A plugin of a user: a linear layer on frames before the GRU."""

    Config = MeanPoolConfig
    needs = frozenset({"frames"})
    stackable = True

    def __init__(self, config, *, layer_dims, side_dim, num_classes) -> None:
        super().__init__(
            config, layer_dims=layer_dims, side_dim=side_dim, num_classes=num_classes, num_values=8
        )
        self.before = nn.Linear(layer_dims[0], 5)
        self.rnn = BiGRU(5, 4)

    def represent(self, layers, lengths, side, side_lengths):
        return self.rnn.mean(self.before(layers[0]), lengths)


class DropoutOnFrames(OnFrames):
    def represent(self, layers, lengths, side, side_lengths):
        return self.rnn.mean(self.dropout(self.before(layers[0])), lengths)


def build(cls):
    return cls(MeanPoolConfig(dropout=0.5), layer_dims=[6], side_dim=None, num_classes=4)


def run(heads, frames, lengths, seeds, *, training):
    draws = Draws()
    template = stacked(heads[0], draws).train(training)
    draws.seed([BATCH] * len(heads), seeds)
    models = [dict(head.named_parameters()) for head in heads]
    weights = {name: torch.stack([model[name] for model in models]) for name in models[0]}
    return functional_call(template, weights, ([frames], lengths, None, None))


@pytest.mark.parametrize("training", [False, True])
def test_a_linear_layer_on_frames_and_dropout_give_what_each_member_gives_alone(training) -> None:
    torch.manual_seed(1)
    heads = [build(OnFrames).train(training) for _ in range(MEMBERS)]
    frames = torch.randn(MEMBERS, BATCH, 7, 6)
    lengths = torch.tensor([[7, 2, 4], [1, 3, 7], [5, 5, 6]])
    seeds = [11, 12, 13]
    together = run(heads, frames, lengths, seeds, training=training)
    for member, head in enumerate(heads):
        torch.manual_seed(seeds[member])
        alone = head([frames[member]], lengths[member], None, None)
        torch.testing.assert_close(together[member], alone, atol=1e-6, rtol=0)


def test_dropout_whose_draws_would_depend_on_padding_is_refused() -> None:
    heads = [build(DropoutOnFrames) for _ in range(2)]
    with pytest.raises(PluginError, match="stackable = False"):
        run(heads, torch.randn(2, BATCH, 7, 6), torch.full((2, BATCH), 7), [1, 2], training=True)


def test_a_head_with_a_frozen_weight_is_trained_alone() -> None:
    head = build(OnFrames)
    assert can_stack(head)
    head.before.weight.requires_grad_(False)
    assert not can_stack(head)
