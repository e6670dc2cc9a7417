"""The encoder ds2: shapes, lengths, invariance, freezing."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sertoolkit.encoders.ds2 import DS2, DS2Config
from sertoolkit.errors import ConfigError
from sertoolkit.gru import BiGRU

SMALL = DS2Config(conv_channels=3, num_layers=3, hidden_size=5)
LENGTHS = torch.tensor([30, 1, 23, 8])


def make_encoder(config: DS2Config = SMALL) -> DS2:
    torch.manual_seed(3)
    return DS2(config)


def make_batch() -> torch.Tensor:
    return torch.randn(len(LENGTHS), 30, 161, generator=torch.Generator().manual_seed(4))


def reference(encoder: DS2, features: torch.Tensor) -> list[torch.Tensor]:
    """One utterance through plain torch, in training statistics."""
    x = features.t()[None, None]
    for block in encoder.convs:
        x = functional.conv2d(x, block.conv.weight, None, block.conv.stride, block.conv.padding)
        x = functional.batch_norm(x, None, None, block.norm.weight, block.norm.bias, True).clamp(0, 20)
    x = x[0].permute(2, 1, 0).flatten(1)
    layers = []
    for i, gru in enumerate(encoder.grus):
        if i:
            norm = encoder.norms[i - 1]
            x = functional.batch_norm(x, None, None, norm.weight, norm.bias, True)
        both = nn.GRU(x.shape[1], 5, bidirectional=True)
        state = {**gru.forwards[0].state_dict()}
        state.update({f"{k}_reverse": v for k, v in gru.backwards[0].state_dict().items()})
        both.load_state_dict(state)
        x = both(x)[0]
        layers.append(x)
    return layers


def test_layers_equal_plain_torch_on_one_utterance() -> None:
    encoder, features = make_encoder(), make_batch()
    layers, _ = encoder(features[:1], LENGTHS[:1])
    for layer, expected in zip(layers, reference(encoder, features[0]), strict=True):
        torch.testing.assert_close(layer[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
def test_padding_holds_anything_and_changes_nothing(training) -> None:
    encoder, features = make_encoder(), make_batch()
    encoder.train(training)
    layers, lengths = encoder(features, LENGTHS)
    wide = functional.pad(features, (0, 0, 0, 9))
    for row, length in zip(wide, LENGTHS, strict=True):
        row[length:] = 1e3
    again, again_lengths = encoder(wide, LENGTHS)
    assert torch.equal(lengths, again_lengths)
    for one, other in zip(layers, again, strict=True):
        torch.testing.assert_close(other[:, : one.shape[1]], one, atol=1e-5, rtol=0)
        assert not other[:, one.shape[1] :].any()


def test_layers_without_a_graph_are_those_with_one() -> None:
    encoder, features = make_encoder(), make_batch()
    for _ in range(20):  # running statistics and weights of the norms that are not those of the start
        encoder(features * 2 + 1, LENGTHS)
    for norm in [*encoder.norms, *(block.norm for block in encoder.convs)]:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -1, 1)
    encoder.eval()
    wide = functional.pad(features, (0, 0, 0, 9))
    for row, length in zip(wide, LENGTHS, strict=True):
        row[length:] = torch.nan
    expected, expected_lengths = encoder(wide, LENGTHS)
    with torch.no_grad():
        layers, lengths = encoder(wide, LENGTHS)
    assert torch.equal(lengths, expected_lengths)
    for layer, other in zip(layers, expected, strict=True):
        torch.testing.assert_close(layer, other.detach(), atol=1e-5, rtol=0)


def test_batch_order_and_size_change_nothing() -> None:
    encoder, features = make_encoder(), make_batch()
    encoder(features, LENGTHS)
    encoder.eval()
    layers, lengths = encoder(features, LENGTHS)
    order = torch.tensor([2, 0, 3, 1])
    shuffled, _ = encoder(features[order], LENGTHS[order])
    for layer, other in zip(layers, shuffled, strict=True):
        torch.testing.assert_close(other, layer[order], atol=1e-5, rtol=0)
    for i, length in enumerate(LENGTHS):
        alone, _ = encoder(features[i : i + 1, :length], LENGTHS[i : i + 1])
        for layer, other in zip(layers, alone, strict=True):
            torch.testing.assert_close(other[0], layer[i, : lengths[i]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("num_frames", [1, 2, 3, 10, 11, 12, 25])
def test_output_lengths_are_those_of_the_convolutions(num_frames) -> None:
    encoder = make_encoder()
    layers, lengths = encoder(torch.randn(1, num_frames, 161), torch.tensor([num_frames]))
    conv = nn.Conv1d(1, 1, 11, stride=2, padding=5)(torch.zeros(1, 1, num_frames))
    assert lengths.tolist() == [conv.shape[2]] == encoder.output_lengths(torch.tensor([num_frames])).tolist()
    assert layers[0].shape == (1, conv.shape[2], encoder.layer_dims[0])


def test_the_papers_size_has_its_documented_shapes() -> None:
    with torch.device("meta"):
        encoder = DS2(DS2Config())
    assert encoder.layer_dims == [2000] * 5
    assert encoder.grus[0].forwards[0].input_size == 1312  # 161 bins -> 81 -> 41, 32 maps
    assert 80e6 < sum(p.numel() for p in encoder.parameters()) < 90e6


def test_gradients_reach_every_parameter() -> None:
    encoder = make_encoder()
    layers, _ = encoder(make_batch(), LENGTHS)
    layers[-1].square().sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_dropout_draws_from_the_global_generator_in_training_only() -> None:
    encoder = make_encoder(DS2Config(conv_channels=3, num_layers=2, hidden_size=5, dropout=0.5))
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(encoder(make_batch(), LENGTHS)[0][-1])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    encoder.eval()
    assert torch.equal(encoder(make_batch(), LENGTHS)[0][-1], encoder(make_batch(), LENGTHS)[0][-1])


def test_a_frozen_encoder_stays_the_same_bytes_in_a_module_that_trains() -> None:
    config = DS2Config(conv_channels=3, num_layers=2, hidden_size=5, dropout=0.5)
    encoder = make_encoder(config).freeze()
    model = nn.Sequential(encoder, nn.Linear(10, 2)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    layers, _ = encoder(make_batch(), LENGTHS)
    model[1](layers[-1]).sum().backward()
    optimiser.step()
    assert not any(module.training for module in encoder.modules())
    assert not layers[-1].requires_grad
    assert all(p.grad is None and not p.requires_grad for p in encoder.parameters())
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_a_frozen_encoder_builds_no_graph_even_for_features_that_need_gradients() -> None:
    encoder = make_encoder().freeze()
    layers, _ = encoder(make_batch().requires_grad_(), LENGTHS)
    assert not layers[0].requires_grad


def test_an_encoder_that_is_not_frozen_trains() -> None:
    encoder = make_encoder()
    encoder(make_batch(), LENGTHS)
    assert encoder.norms[0].running_mean.any()
    assert encoder.train() is encoder and encoder.training


@pytest.mark.parametrize(
    ("name", "value"), [("num_layers", 0), ("hidden_size", 0), ("dropout", 1.0), ("dropout", -0.1)]
)
def test_impossible_settings_are_named(name, value) -> None:
    with pytest.raises(ConfigError, match=name):
        DS2Config(**{name: value})


@pytest.mark.parametrize("run", [BiGRU.forward, BiGRU._run_apart], ids=["as on a CPU", "as on a GPU"])
def test_under_autocast_layers_are_bfloat16_and_stay_near_those_of_float32(run, monkeypatch) -> None:
    monkeypatch.setattr(BiGRU, "forward", run)
    torch.manual_seed(0)
    encoder = DS2(DS2Config(conv_channels=4, num_layers=3, hidden_size=16))
    features, lengths = torch.randn(3, 60, 161), torch.tensor([60, 41, 20])
    gradients = []
    for enabled in (False, True):
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            layers, _ = encoder(features, lengths)
        layers[-1].float().square().sum().backward()
        gradients.append(torch.cat([weight.grad.flatten() for weight in encoder.parameters()]))
        if not enabled:
            exact = [layer.detach() for layer in layers]
    for expected, layer in zip(exact, layers, strict=True):
        assert layer.dtype == torch.bfloat16
        assert ((layer.float() - expected).norm() / expected.norm()).item() < 0.03
        assert not layer[2, 10:].any()
    assert gradients[1].dtype == torch.float32
    assert torch.cosine_similarity(*gradients, dim=0).item() > 0.995
    assert all(weight.dtype == torch.float32 for weight in encoder.parameters())
