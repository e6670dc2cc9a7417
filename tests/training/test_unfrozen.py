"""Systems that train the encoder further, in the grid: what moves, resume, bundles."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.corpus.protocol import write_protocol
from sertoolkit.errors import ArkError, CheckpointError, ConfigError, Stopped
from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.text.tokens import make_tokens
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


@pytest.fixture
def paths(tmp_path: Path, resolved) -> GridPaths:
    """Features of 18 utterances and an untrained recogniser of three layers."""
    write_protocol(resolved, tmp_path / "protocol")
    generator = np.random.default_rng(1)
    meta = {"kind": "features", "frontend": "power_spectrogram", "frontend_conf": {}, "frame_shift": 0.01}
    truth = resolved.folds["fold-01"].truth
    with ArkWriter(tmp_path / "feats", meta) as writer:
        for utt_id, name in truth.items():
            array = generator.standard_normal((int(generator.integers(8, 20)), 161))
            array[:, 40 * CLASSES.index(name) : 40 * CLASSES.index(name) + 40] += 1.0
            writer.write(utt_id, array.astype(np.float32))
    torch.manual_seed(0)
    recogniser = Recogniser.build(
        encoder="ds2",
        encoder_conf={"conv_channels": 1, "num_layers": 3, "hidden_size": 3},
        frontend="power_spectrogram",
        frontend_conf={},
        tokens=make_tokens(["AB"]),
    )
    recogniser.save(tmp_path / "asr.safetensors")
    return GridPaths(
        tmp_path / "protocol",
        None,
        None,
        tmp_path / "exp",
        asr_exp=tmp_path / "asr.safetensors",
        asr_feats=tmp_path / "feats",
    )


def train(paths: GridPaths, config: SerConfig = CONFIG) -> Path:
    train_grid(config, paths, folds=["fold-01"])
    return MEMBER.folder(paths.exp)


def test_released_layers_have_moved_and_the_recogniser_is_as_it_was(paths) -> None:
    before = paths.asr_exp.read_bytes()
    weights, meta = load_tensors(train(paths) / "model.safetensors")
    original = Recogniser.load(paths.asr_exp).encoder.state_dict()
    encoder = {name.removeprefix("encoder."): t for name, t in weights.items() if name.startswith("encoder.")}
    assert {name.split(".")[0] for name in encoder} == {"grus", "norms"}
    assert not any(torch.equal(tensor, original[name]) for name, tensor in encoder.items())
    assert meta["hashes"]["encoder"] == Recogniser.load(paths.asr_exp).encoder_hash()
    assert paths.asr_exp.read_bytes() == before


class _StopAfter:
    """Asks to stop from the given question on."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> int:
        self.count -= 1
        return signal.SIGTERM if self.count <= 0 else 0


# The loop asks after each of two steps, and twice at the end of an epoch: steps of the first epoch (nothing is
# released), of the second (layer 2) and of the third (layers 2 and 1)
@pytest.mark.parametrize("count", [1, 5, 9])
def test_a_stopped_training_goes_on_to_the_same_bytes(paths, tmp_path, count) -> None:
    expected = (train(paths) / "model.safetensors").read_bytes()
    again = dataclasses.replace(paths, exp=tmp_path / "again")
    grid: Grid = again.open(CONFIG)
    with pytest.raises(Stopped):
        list(grid.train([MEMBER], _StopAfter(count)))
    assert list(MEMBER.folder(again.exp).glob("checkpoint-*"))
    assert (train(again) / "model.safetensors").read_bytes() == expected


def test_a_bundle_says_what_the_grid_said(paths, tmp_path, monkeypatch) -> None:
    train(paths)
    member = best_member(paths.exp, "unfreeze-2")
    EmotionModel.from_member(member, paths.asr_exp).save(tmp_path / "ser.safetensors")
    model = EmotionModel.load(tmp_path / "ser.safetensors")
    feats = ArkReader(paths.asr_feats)
    predictions = read_predictions(member / "predictions.test.tsv", CLASSES)
    for utt_id, row in zip(predictions.utt_ids, predictions.posteriors, strict=True):
        monkeypatch.setattr(Recogniser, "build_frontend", lambda self, u=utt_id: lambda *_: feats[u])
        said = model.predict(np.zeros(16000, np.float32), 16000)
        np.testing.assert_allclose([said[name] for name in CLASSES], row, atol=1e-5)


def test_another_recogniser_than_the_one_it_began_with_is_refused(paths, tmp_path) -> None:
    train(paths)
    Recogniser.load(paths.asr_exp).untrained(seed=7).save(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="the head was trained on"):
        EmotionModel.from_member(MEMBER.folder(paths.exp), tmp_path / "other.safetensors")


def test_a_member_counts_what_it_trains(paths) -> None:
    grid = paths.open(CONFIG)
    (_, summary), *_ = grid.train([MEMBER])
    weights, _ = load_tensors(MEMBER.folder(paths.exp) / "model.safetensors")
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
def test_what_is_missing_is_named_before_training(paths, changes, layers, error, message) -> None:
    system = dataclasses.replace(CONFIG.systems["unfreeze-2"], layers=layers)
    with pytest.raises(error, match=message):
        train(
            dataclasses.replace(paths, **changes), dataclasses.replace(CONFIG, systems={"unfreeze-2": system})
        )


def test_features_of_another_frontend_are_refused(paths, tmp_path) -> None:
    feats = ArkReader(paths.asr_feats)
    meta = {"kind": "features", "frontend": "mfcc_pitch", "frontend_conf": {}, "frame_shift": 0.01}
    with ArkWriter(tmp_path / "others", meta) as writer:
        for utt_id in feats:
            writer.write(utt_id, feats[utt_id])
    with pytest.raises(ArkError, match="frontend"):
        train(dataclasses.replace(paths, asr_feats=tmp_path / "others"))
