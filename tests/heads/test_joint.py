"""Joint heads: which loss moves what, what stays, and that recognition begins as the recogniser's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.encoders.ds2 import DS2, DS2Config
from sertoolkit.errors import ConfigError
from sertoolkit.heads.joint import Joint, JointConfig
from sertoolkit.heads.unfreeze import Unfreeze, UnfreezeConfig

LENGTHS = torch.tensor([20, 7, 13])
FEATURES = torch.randn(3, 20, 41, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> CtcModel:
    """A recogniser of three layers and four tokens, with batch-norm statistics of its own."""
    torch.manual_seed(2)
    encoder = DS2(DS2Config(conv_channels=2, num_layers=3, hidden_size=3, dropout=0.5, input_dim=41))
    encoder(FEATURES, LENGTHS)
    return CtcModel(encoder, 4).eval()


def make_head(model: CtcModel, *, epoch: int = 100, **settings) -> Joint:
    config = JointConfig(**({"release_every": 1, "dropout": 0.0} | settings))
    inputs = {"layers": [2], "layer_dims": [6], "side_dim": None, "num_classes": 2}
    torch.manual_seed(3)
    head = Joint(config, encoder=model.encoder, output=model.output, **inputs)
    head.begin_epoch(epoch)
    return head.train()


def moved_by(head: Joint, what: str) -> set[str]:
    """Modules that the gradient of one of the two losses reaches."""
    logits, log_probs, _ = head.listen([FEATURES], LENGTHS, None, None)
    (logits if what == "emotion" else log_probs).square().sum().backward()
    moved = {name for name, p in head.named_parameters() if p.grad is not None and p.grad.any()}
    head.zero_grad()
    return {".".join(name.split(".")[: 3 if name.startswith("encoder") else 1]) for name in moved}


SHARED = {"encoder.grus.0", "encoder.grus.1", "encoder.norms.0"}


def test_emotion_moves_layer_x_and_those_below_and_recognition_all_layers(model) -> None:
    head = make_head(model)
    assert moved_by(head, "emotion") == SHARED | {"output"}
    assert moved_by(head, "recognition") == SHARED | {"encoder.grus.2", "encoder.norms.1", "ctc"}


def test_what_stands_above_layer_x_is_released_with_it(model) -> None:
    assert moved_by(make_head(model, epoch=1), "emotion") == {"output"}
    head = make_head(model, epoch=2)
    assert moved_by(head, "emotion") == {"output", "encoder.grus.1", "encoder.norms.0"}
    assert {"encoder.grus.2", "ctc"} < moved_by(head, "recognition")
    own, *released = head.parameter_groups()
    assert [len(own["params"]), own["factor"]] == [2, 1.0]
    assert all(group["factor"] == 0.1 for group in released)
    weights = [id(weight) for group in head.parameter_groups() for weight in group["params"]]
    trained = {name for name, p in head.named_parameters() if id(p) in weights}
    assert len(weights) == len(set(weights)) and trained == set(head.state_dict())


def test_before_training_it_transcribes_as_the_recogniser(model) -> None:
    log_probs, lengths = model(FEATURES, LENGTHS)
    _, found, found_lengths = make_head(model).listen([FEATURES], LENGTHS, None, None)
    assert torch.equal(found, log_probs) and torch.equal(found_lengths, lengths)


def test_in_double_precision_tokens_are_double_too(model) -> None:
    _, found, _ = make_head(model).double().listen([FEATURES.double()], LENGTHS, None, None)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.exp().sum(2), torch.ones(found.shape[:2]).double(), atol=1e-12, rtol=0)


def test_it_begins_as_unfreeze_does(model) -> None:
    joint = make_head(model, epoch=1)  # of a frozen encoder, both are convolved alike to the bit
    torch.manual_seed(3)
    config = UnfreezeConfig(release_every=1, dropout=0.0)
    head = Unfreeze(config, encoder=model.encoder, layers=[2], layer_dims=[6], side_dim=None, num_classes=2)
    inputs = ([FEATURES], LENGTHS, None, None)
    assert torch.equal(joint(*inputs), head(*inputs))
    assert [group["factor"] for group in joint.parameter_groups()] == [
        group["factor"] for group in head.parameter_groups()
    ]


def test_frozen_layers_and_all_statistics_stay_and_the_recogniser_is_left_alone(model) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    head = make_head(model, lowest=2)
    optimiser = torch.optim.SGD(head.parameter_groups(), lr=1.0)
    logits, log_probs, _ = head.listen([FEATURES], LENGTHS, None, None)
    (functional.cross_entropy(logits, torch.tensor([0, 1, 0])) + log_probs.square().mean()).backward()
    optimiser.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    after = nn.Module.state_dict(head)
    moved = {n for n in after if n.startswith("encoder.") and not torch.equal(after[n], before[n])}
    assert moved == {
        n
        for n, _ in head.named_parameters()
        if n.startswith(("encoder.grus.1", "encoder.grus.2", "encoder.norms"))
    }


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_impossible_weights_are_named(weight) -> None:
    with pytest.raises(ConfigError, match="joint: ctc_weight is"):
        JointConfig(ctc_weight=weight)
