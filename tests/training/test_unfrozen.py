"""Systems that train the encoder further, in the grid: what moves, resume, bundles."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.errors import ArkError, CheckpointError, ConfigError, Stopped
from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Grid, Member

CLASSES = ("anger", "sadness")
CONFIG = SerConfig(
    systems={
        "unfreeze-2": System(
            head="unfreeze", layers=[2], head_conf={"release_every": 1, "encoder_learning_rate": 0.5}
        )
    },
    training=Training(learning_rate=0.02, batch_size=4, max_epochs=3),
)
MEMBER = Member("unfreeze-2", "fold-01", 1)


def train(recognised: GridPaths, config: SerConfig = CONFIG) -> Path:
    train_grid(config, recognised, folds=["fold-01"])
    return MEMBER.folder(recognised.exp)


def test_released_layers_have_moved_and_the_recogniser_is_as_it_was(recognised) -> None:
    before = recognised.asr_exp.read_bytes()
    weights, meta = load_tensors(train(recognised) / "model.safetensors")
    original = Recogniser.load(recognised.asr_exp).encoder.state_dict()
    encoder = {name.removeprefix("encoder."): t for name, t in weights.items() if name.startswith("encoder.")}
    assert {name.split(".")[0] for name in encoder} == {"grus", "norms"}
    assert not any(torch.equal(tensor, original[name]) for name, tensor in encoder.items())
    assert meta["hashes"]["encoder"] == Recogniser.load(recognised.asr_exp).encoder_hash()
    assert recognised.asr_exp.read_bytes() == before


class _StopAfter:
    """Asks to stop from the given question on."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> int:
        self.count -= 1
        return signal.SIGTERM if self.count <= 0 else 0


# The loop asks after each of two steps, and at the end of an epoch: steps of the first epoch (nothing is
# released), of the second (layer 2) and of the third (layers 2 and 1)
@pytest.mark.parametrize("count", [1, 4, 7])
def test_a_stopped_training_goes_on_to_the_same_bytes(recognised, tmp_path, count) -> None:
    expected = (train(recognised) / "model.safetensors").read_bytes()
    again = dataclasses.replace(recognised, exp=tmp_path / "again")
    grid: Grid = again.open(CONFIG)
    with pytest.raises(Stopped):
        list(grid.train([MEMBER], _StopAfter(count)))
    assert list(MEMBER.folder(again.exp).glob("checkpoint-*"))
    assert (train(again) / "model.safetensors").read_bytes() == expected


def test_a_bundle_says_what_the_grid_said(recognised, tmp_path, monkeypatch) -> None:
    train(recognised)
    member = best_member(recognised.exp, "unfreeze-2")
    EmotionModel.from_member(member, recognised.asr_exp).save(tmp_path / "ser.safetensors")
    model = EmotionModel.load(tmp_path / "ser.safetensors")
    feats = ArkReader(recognised.asr_feats)
    predictions = read_predictions(member / "predictions.test.tsv", CLASSES)
    for utt_id, row in zip(predictions.utt_ids, predictions.posteriors, strict=True):
        monkeypatch.setattr(Recogniser, "build_frontend", lambda self, u=utt_id: lambda *_: feats[u])
        said = model.predict(np.zeros(16000, np.float32), 16000)
        np.testing.assert_allclose([said[name] for name in CLASSES], row, atol=1e-5)


def test_another_recogniser_than_the_one_it_began_with_is_refused(recognised, tmp_path) -> None:
    train(recognised)
    Recogniser.load(recognised.asr_exp).untrained(seed=7).save(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="the head was trained on"):
        EmotionModel.from_member(MEMBER.folder(recognised.exp), tmp_path / "other.safetensors")


def test_a_member_counts_what_it_trains(recognised) -> None:
    grid = recognised.open(CONFIG)
    (_, summary), *_ = grid.train([MEMBER])
    weights, _ = load_tensors(MEMBER.folder(recognised.exp) / "model.safetensors")
    assert summary["num_parameters"] == sum(tensor.numel() for tensor in weights.values())


@pytest.mark.parametrize(
    ("changes", "layers", "error", "message"),
    [
        ({"asr_exp": None}, [2], ConfigError, "give --asr_exp and --asr_feats"),
        ({"asr_feats": None}, [2], ConfigError, "give --asr_exp and --asr_feats"),
        ({}, [], ConfigError, "name them by `layers: "),
        ({}, [4], ConfigError, "the encoder has layers 1 to 3"),
    ],
)
def test_what_is_missing_is_named_before_training(recognised, changes, layers, error, message) -> None:
    system = dataclasses.replace(CONFIG.systems["unfreeze-2"], layers=layers)
    with pytest.raises(error, match=message):
        train(
            dataclasses.replace(recognised, **changes),
            dataclasses.replace(CONFIG, systems={"unfreeze-2": system}),
        )


def test_features_of_another_frontend_are_refused(recognised, tmp_path) -> None:
    feats = ArkReader(recognised.asr_feats)
    meta = {"kind": "features", "frontend": "mfcc_pitch", "frontend_conf": {}, "frame_shift": 0.01}
    with ArkWriter(tmp_path / "others", meta) as writer:
        for utt_id in feats:
            writer.write(utt_id, feats[utt_id])
    with pytest.raises(ArkError, match="frontend"):
        train(dataclasses.replace(recognised, asr_feats=tmp_path / "others"))
