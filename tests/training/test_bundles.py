"""What is packed says what the grid said."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sertoolkit.config import load_yaml
from sertoolkit.errors import CheckpointError, ConfigError
from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader
from tests.training.grids import (
    CLASSES,
    CONFIG,
)


@pytest.mark.parametrize("system", list(CONFIG.systems))
def test_a_bundle_says_what_the_grid_said(corpus, whole, tmp_path, system, monkeypatch):
    member = best_member(whole, system)
    EmotionModel.from_member(member, corpus / "asr.safetensors").save(tmp_path / "ser.safetensors")
    model = EmotionModel.load(tmp_path / "ser.safetensors")
    side, feats = ArkReader(corpus / "side"), ArkReader(corpus / "feats")
    predictions = read_predictions(member / "predictions.test.tsv", CLASSES)
    for utt_id, row in zip(predictions.utt_ids, predictions.posteriors, strict=True):
        monkeypatch.setattr(EmotionModel, "_side_frontend", lambda self, u=utt_id: lambda *_: side[u])
        monkeypatch.setattr(Recogniser, "build_frontend", lambda self, u=utt_id: lambda *_: feats[u])
        said = model.predict(np.zeros(16000, np.float32), 16000)
        np.testing.assert_allclose([said[name] for name in CLASSES], row, atol=1e-5)


def test_the_member_with_the_lowest_validation_loss_is_packed(whole):
    losses = {
        seed: load_yaml(whole / f"mp-1/fold-02/seed-{seed}/member.yaml")["valid_loss"] for seed in (1, 2)
    }
    assert best_member(whole, "mp-1").name == f"seed-{min(losses, key=losses.__getitem__)}"
    with pytest.raises(ConfigError, match="did you mean 'mp-1'"):
        best_member(whole, "mp-l")


def test_another_recogniser_than_the_trained_one_is_refused(corpus, whole, tmp_path):
    recogniser = Recogniser.load(corpus / "asr.safetensors")
    with torch.no_grad():
        next(recogniser.encoder.parameters()).mul_(2)
    recogniser.save(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="the head was trained on"):
        EmotionModel.from_member(best_member(whole, "mp-1"), tmp_path / "other.safetensors")
