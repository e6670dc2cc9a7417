"""The heads of Table 1 against their definition, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from sertoolkit.errors import ConfigError
from sertoolkit.heads.baseline import Baseline, BaselineConfig
from sertoolkit.heads.mean_pool import MeanPool, MeanPoolConfig
from sertoolkit.heads.progressive import Progressive, ProgressiveConfig
from sertoolkit.heads.rnn import RNN, RNNConfig

LENGTHS = torch.tensor([6, 1, 4])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


def num_parameters(head: torch.nn.Module) -> int:
    return sum(p.numel() for p in head.parameters())


def packed_mean(head: Baseline | RNN | Progressive, x: torch.Tensor) -> torch.Tensor:
    """Mean over valid frames of a packed torch GRU with the head's weights."""
    network = head.rnn
    layers = len(network.forwards)
    reference = torch.nn.GRU(x.shape[2], network.hidden_size, layers, batch_first=True, bidirectional=True)
    state = {}
    for suffix, grus in (("", network.forwards), ("_reverse", network.backwards)):
        for i, gru in enumerate(grus):
            state.update({f"{k[:-1]}{i}{suffix}": v for k, v in gru.state_dict().items()})
    reference.load_state_dict(state)
    packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
    y = pad_packed_sequence(reference(packed)[0], batch_first=True)[0]
    return torch.stack([row[:n].mean(0) for row, n in zip(y, LENGTHS, strict=True)])


def test_baseline_is_two_gru_layers_their_mean_over_time_and_a_linear_layer() -> None:
    head = Baseline(BaselineConfig(units=4), layer_dims=[], side_dim=5, num_classes=3).eval()
    side = torch.randn(3, 6, 5)
    expected = head.output(packed_mean(head, side))
    torch.testing.assert_close(head([], None, side, LENGTHS), expected, atol=1e-5, rtol=0)


def test_baseline_of_96_units_has_the_papers_size() -> None:
    head = Baseline(BaselineConfig(), layer_dims=[], side_dim=27, num_classes=4)
    assert 230e3 < num_parameters(head) < 250e3  # about 240 k


def test_mean_pool_trains_the_softmax_layer_only() -> None:
    head = MeanPool(MeanPoolConfig(), layer_dims=[2000], side_dim=None, num_classes=4)
    assert num_parameters(head) == 8004  # 2,000 values x 4 classes + 4


def test_mean_pool_is_a_linear_layer_on_the_pooled_layers_side_by_side() -> None:
    head = MeanPool(MeanPoolConfig(), layer_dims=[3, 2], side_dim=None, num_classes=4).eval()
    layers = [torch.randn(2, 3), torch.randn(2, 2)]
    expected = torch.cat(layers, 1) @ head.output.weight.t() + head.output.bias
    torch.testing.assert_close(head(layers, None, None, None), expected)


def test_rnn_is_a_new_gru_on_the_frames_its_mean_over_time_and_a_linear_layer() -> None:
    head = RNN(RNNConfig(units=4), layer_dims=[3, 2], side_dim=None, num_classes=3).eval()
    layers = [torch.randn(3, 6, 3), torch.randn(3, 6, 2)]
    expected = head.output(packed_mean(head, torch.cat(layers, 2)))
    torch.testing.assert_close(head(layers, LENGTHS, None, None), expected, atol=1e-5, rtol=0)


def test_progressive_joins_the_branch_and_the_pooled_layers() -> None:
    head = Progressive(ProgressiveConfig(units=4), layer_dims=[3], side_dim=5, num_classes=3).eval()
    layer, side = torch.randn(3, 3), torch.randn(3, 6, 5)
    expected = head.output(torch.cat([packed_mean(head, side), layer], 1))
    torch.testing.assert_close(head([layer], None, side, LENGTHS), expected, atol=1e-5, rtol=0)


def test_dropout_acts_on_the_pooled_vector_in_training_only_and_draws_from_the_global_generator() -> None:
    head = MeanPool(MeanPoolConfig(dropout=0.5), layer_dims=[50], side_dim=None, num_classes=2)
    layers = [torch.randn(1, 50)]

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return head(layers, None, None, None)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    head.eval()
    assert torch.equal(draw(1), draw(2))


@pytest.mark.parametrize("cls", [Baseline, Progressive])
def test_a_head_without_its_side_features_is_refused(cls) -> None:
    with pytest.raises(ConfigError, match=f"{cls.__name__} needs side features"):
        cls(cls.Config(), layer_dims=[3], side_dim=None, num_classes=2)


@pytest.mark.parametrize("cls", [MeanPool, RNN, Progressive])
def test_a_head_without_layers_is_refused(cls) -> None:
    with pytest.raises(ConfigError, match=f"{cls.__name__} needs layers"):
        cls(cls.Config(), layer_dims=[], side_dim=5, num_classes=2)


@pytest.mark.parametrize("config", [BaselineConfig, MeanPoolConfig, RNNConfig, ProgressiveConfig])
@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_impossible_dropout_is_named(config, dropout) -> None:
    with pytest.raises(ConfigError, match="dropout is"):
        config(dropout=dropout)


@pytest.mark.parametrize("config", [BaselineConfig, RNNConfig, ProgressiveConfig])
@pytest.mark.parametrize("name", ["units", "num_layers"])
def test_impossible_sizes_are_named(config, name) -> None:
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        config(**{name: 0})
