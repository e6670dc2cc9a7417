"""Unfreezing: the order of release, what moves and what stays, byte for byte."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sertoolkit.encoders.base import Encoder
from sertoolkit.encoders.ds2 import DS2, DS2Config
from sertoolkit.errors import ConfigError
from sertoolkit.heads.unfreeze import Unfreeze, UnfreezeConfig, UnfreezeProgressive, UnfreezeProgressiveConfig
from sertoolkit.networks import masked_mean

LENGTHS = torch.tensor([20, 7, 13])
FEATURES = torch.randn(3, 20, 41, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def encoder() -> DS2:
    """Three layers, with batch-norm statistics of its own."""
    torch.manual_seed(2)
    encoder = DS2(DS2Config(conv_channels=2, num_layers=3, hidden_size=3, dropout=0.5, input_dim=41))
    encoder(FEATURES, LENGTHS)
    return encoder.eval()


def make_head(encoder: DS2, *, layer: int = 2, **settings) -> Unfreeze:
    config = UnfreezeConfig(**({"release_every": 2, "dropout": 0.0} | settings))
    return Unfreeze(config, encoder=encoder, layers=[layer], layer_dims=[6], side_dim=None, num_classes=2)


def train_epoch(head: Unfreeze, epoch: int) -> set[str]:
    """One epoch of one step, as the training loop has it; the names of all that it changed."""
    before = {name: tensor.clone() for name, tensor in nn.Module.state_dict(head).items()}
    optimiser = torch.optim.SGD(head.parameter_groups(), lr=1.0)
    head.begin_epoch(epoch)
    head.train()
    head([FEATURES], LENGTHS, None, None).square().sum().backward()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    after = nn.Module.state_dict(head)
    return {name for name in before if not torch.equal(before[name], after[name])}


def weights_of(prefixes: tuple[str, ...], head: Unfreeze) -> set[str]:
    return {name for name, _ in head.named_parameters() if name.startswith(prefixes)}


OWN = ("output",)
LAYER_2 = ("encoder.grus.1.", "encoder.norms.0.")
LAYER_1 = ("encoder.grus.0.",)


@pytest.mark.parametrize(
    ("epoch", "moving"),
    [(1, OWN), (2, OWN), (3, OWN + LAYER_2), (4, OWN + LAYER_2), (5, OWN + LAYER_2 + LAYER_1)],
)
def test_each_epoch_trains_exactly_the_layers_released_by_then(encoder, epoch, moving) -> None:
    head = make_head(encoder)
    assert train_epoch(head, epoch) == weights_of(moving, head)


@pytest.mark.parametrize(
    ("lowest", "moving"),
    [
        (0, OWN + LAYER_2 + LAYER_1 + ("encoder.convs.",)),
        (1, OWN + LAYER_2 + LAYER_1),
        (2, OWN + LAYER_2),
    ],
)
def test_layers_below_the_lowest_never_move(encoder, lowest, moving) -> None:
    head = make_head(encoder, lowest=lowest)
    assert train_epoch(head, 100) == weights_of(moving, head)


def test_statistics_of_batch_norm_stay_in_released_layers_too(encoder) -> None:
    head = make_head(encoder, lowest=0)
    train_epoch(head, 100)
    for name, value in encoder.state_dict().items():
        if "running" in name and not name.startswith("norms.1"):
            assert torch.equal(head.encoder.state_dict()[name], value), name


def test_the_recognisers_own_encoder_is_left_as_it_is(encoder) -> None:
    before = copy.deepcopy(encoder.state_dict())
    train_epoch(make_head(encoder, lowest=0), 100)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_going_back_to_an_earlier_epoch_freezes_again(encoder) -> None:
    head = make_head(encoder)
    head.begin_epoch(100)
    assert train_epoch(head, 1) == weights_of(OWN, head)


def test_released_layers_learn_at_a_rate_of_their_own(encoder) -> None:
    groups = make_head(encoder, encoder_learning_rate=0.2).parameter_groups()
    assert [group["factor"] for group in groups] == [1.0, 0.2, 0.2]
    assert sum(len(group["params"]) for group in groups[:1]) == 2  # weight and bias of the softmax


def test_before_any_release_it_says_what_mean_pooling_of_the_layer_says(encoder) -> None:
    head = make_head(encoder)
    layers, lengths = encoder(FEATURES, LENGTHS)
    expected = head.output(masked_mean(layers[1], lengths))
    head.train()
    torch.testing.assert_close(head([FEATURES], LENGTHS, None, None), expected, atol=1e-6, rtol=0)


def test_layers_above_the_chosen_one_are_left_out(encoder) -> None:
    assert not any("grus.2" in name for name, _ in make_head(encoder).named_parameters())


def test_the_state_holds_what_may_change_and_makes_the_same_head_from_the_same_encoder(encoder) -> None:
    head = make_head(encoder)
    train_epoch(head, 100)
    assert set(head.state_dict()) == weights_of(OWN + LAYER_2 + LAYER_1, head)
    again = make_head(encoder)
    again.load_state_dict(head.state_dict())
    for name, value in nn.Module.state_dict(head).items():
        assert torch.equal(nn.Module.state_dict(again)[name], value), name


def test_a_state_that_lacks_a_weight_of_the_head_is_refused(encoder) -> None:
    head = make_head(encoder)
    state = head.state_dict()
    del state["output.bias"]
    with pytest.raises(RuntimeError, match=r"output\.bias"):
        head.load_state_dict(state)


def test_the_branch_stands_beside_the_unfrozen_layers(encoder) -> None:
    head = UnfreezeProgressive(
        UnfreezeProgressiveConfig(units=4, dropout=0.0),
        encoder=encoder,
        layers=[2],
        layer_dims=[6],
        side_dim=5,
        num_classes=2,
    )
    side, side_lengths = torch.randn(3, 9, 5), torch.tensor([9, 4, 6])
    layers, lengths = encoder(FEATURES, LENGTHS)
    expected = torch.cat([head.rnn.mean(side, side_lengths), masked_mean(layers[1], lengths)], 1)
    torch.testing.assert_close(head([FEATURES], LENGTHS, side, side_lengths), head.output(expected))
    assert {id(p) for p in head.rnn.parameters()} <= {id(p) for p in head.parameter_groups()[0]["params"]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lowest": 3}, "above the chosen layer 2"),
        ({"lowest": -1}, "lowest is -1"),
        ({"release_every": 0}, "release_every is 0"),
        ({"encoder_learning_rate": 0.0}, "encoder_learning_rate is 0"),
        ({"dropout": 1.0}, "dropout is 1"),
    ],
)
def test_impossible_settings_are_named(encoder, settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_head(encoder, **settings)


def test_an_encoder_that_does_not_name_its_parts_is_refused(encoder, monkeypatch) -> None:
    monkeypatch.setattr(DS2, "parts", Encoder.parts)
    with pytest.raises(ConfigError, match="does not say which modules make which layer"):
        make_head(encoder)
