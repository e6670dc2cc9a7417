"""Layers and copies that the grid reads from stores."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from sertoolkit.audio.augmentation import Augmentation, plain_id
from sertoolkit.config import to_dict
from sertoolkit.corpus.protocol import read_protocol
from sertoolkit.encoders.layers import layer_dir, store_layers
from sertoolkit.errors import ArkError, CheckpointError, ConfigError, DataError
from sertoolkit.heads.mean_pool import MeanPool
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.networks import masked_mean
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.tasks.asr import pad
from sertoolkit.tasks.ser import HeadInputs, form_of
from sertoolkit.training.config import System
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Member
from tests.training.grids import (
    CLASSES,
    CONFIG,
    paths,
    write_feats,
)


def test_encoding_runs_each_utterance_once_and_changes_no_byte_of_the_encoder(
    corpus, whole, tmp_path, monkeypatch
):
    before = (corpus / "asr.safetensors").read_bytes()
    recogniser = Recogniser.load(corpus / "asr.safetensors")
    state = {name: tensor.clone() for name, tensor in recogniser.encoder.state_dict().items()}
    seen = []
    forward = type(recogniser.encoder).forward
    monkeypatch.setattr(
        type(recogniser.encoder), "forward", lambda self, x, n: (seen.append(len(n)), forward(self, x, n))[1]
    )
    needed = [(1, "pooled"), (2, "pooled"), (2, "frames")]
    assert len(store_layers(recogniser, corpus / "feats", tmp_path / "layers", needed)) == 3
    assert sum(seen) == 32  # each utterance once, for all layers and forms
    train_grid(
        CONFIG,
        GridPaths(corpus / "protocol", corpus / "side", tmp_path / "layers", tmp_path / "exp"),
        folds=["fold-02"],
    )
    assert sum(seen) == 32  # and never again for folds or seeds
    assert store_layers(recogniser, corpus / "feats", tmp_path / "layers", needed) == []
    assert sum(seen) == 32
    after = recogniser.encoder.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert (corpus / "asr.safetensors").read_bytes() == before
    assert not any(parameter.requires_grad for parameter in recogniser.encoder.parameters())
    head, _ = load_tensors(Member("mp-1", "fold-02", 1).folder(whole) / "model.safetensors")
    assert set(head) == {"output.weight", "output.bias"}


def test_stored_layers_equal_the_encoder_run_on_one_utterance_alone(corpus):
    recogniser = Recogniser.load(corpus / "asr.safetensors")
    feats = ArkReader(corpus / "feats")
    frames, pooled = (ArkReader(layer_dir(corpus / "layers", 2, form)) for form in ("frames", "pooled"))
    for utt_id in list(feats)[:5]:
        with torch.no_grad():
            layers, lengths = recogniser.encoder(*pad([feats[utt_id]]))
        np.testing.assert_allclose(frames[utt_id], layers[1][0].numpy(), atol=1e-5)
        np.testing.assert_allclose(pooled[utt_id], masked_mean(layers[1], lengths)[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("batch_frames", [1, 100])
def test_a_batch_keeps_to_its_frames_and_changes_no_layer(corpus, tmp_path, monkeypatch, batch_frames):
    recogniser, sizes = Recogniser.load(corpus / "asr.safetensors"), []
    forward = type(recogniser.encoder).forward
    monkeypatch.setattr(
        type(recogniser.encoder),
        "forward",
        lambda self, x, n: (sizes.append((len(x), x.shape[0] * x.shape[1])), forward(self, x, n))[1],
    )
    store_layers(recogniser, corpus / "feats", tmp_path, [(2, "frames")], batch_frames=batch_frames)
    assert all(count == 1 or frames <= batch_frames for count, frames in sizes)
    assert (max(sizes)[0] > 1) == (batch_frames == 100)
    usual, other = (ArkReader(layer_dir(root, 2, "frames")) for root in (corpus / "layers", tmp_path))
    assert usual.keys() == other.keys()
    for utt_id, layer in other.items():
        np.testing.assert_allclose(layer, usual[utt_id], atol=1e-5)


def test_layers_of_another_encoder_are_made_anew(corpus, tmp_path):
    shutil.copytree(corpus / "layers", tmp_path / "layers")
    recogniser = Recogniser.load(corpus / "asr.safetensors")
    with torch.no_grad():
        next(recogniser.encoder.parameters()).mul_(2)
    assert len(store_layers(recogniser, corpus / "feats", tmp_path / "layers", [(1, "pooled")])) == 1


@pytest.mark.parametrize("layer", [0, 3])
def test_a_layer_that_the_encoder_has_not_is_refused(corpus, tmp_path, layer):
    with pytest.raises(ConfigError, match="the encoder has layers 1 to 2"):
        store_layers(
            Recogniser.load(corpus / "asr.safetensors"), corpus / "feats", tmp_path, [(layer, "pooled")]
        )


def test_features_of_another_frontend_are_refused(corpus, tmp_path):
    with pytest.raises(ArkError, match="frontend"):
        store_layers(Recogniser.load(corpus / "asr.safetensors"), corpus / "side", tmp_path, [(1, "pooled")])


def test_damaged_layers_are_named_when_training_starts(corpus, tmp_path):
    shutil.copytree(corpus / "layers", tmp_path / "layers")
    path = layer_dir(tmp_path / "layers", 1, "pooled") / "feats.ark"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    damaged = GridPaths(corpus / "protocol", None, tmp_path / "layers", tmp_path / "exp")
    with pytest.raises(ArkError, match="layer-1/pooled/feats.ark: damaged"):
        train_grid(CONFIG, damaged, systems=["mp-1"])


def test_layers_of_two_encoders_are_never_mixed(corpus, tmp_path):
    shutil.copytree(corpus / "layers", tmp_path / "layers")
    recogniser = Recogniser.load(corpus / "asr.safetensors")
    with torch.no_grad():
        next(recogniser.encoder.parameters()).mul_(2)
    store_layers(recogniser, corpus / "feats", tmp_path / "layers", [(1, "pooled")])
    config = dataclasses.replace(CONFIG, systems={"mp-12": System(head="mean_pool", layers=[1, 2])})
    mixed = GridPaths(corpus / "protocol", None, tmp_path / "layers", tmp_path / "exp")
    with pytest.raises(ArkError, match="encoder_hash"):
        train_grid(config, mixed)


def test_the_first_epoch_of_pooled_systems_runs_from_short_to_long_too(corpus):
    inputs = HeadInputs(MeanPool, [1], side_dir=None, layers_dir=corpus / "layers")
    feats = ArkReader(corpus / "feats")
    assert {u: inputs.num_frames(u) for u in feats} == dict(feats.num_frames)
    (corpus / "layers/utt2num_frames").rename(corpus / "moved")
    try:
        with pytest.raises(DataError, match="run `sertoolkit encode` again"):
            HeadInputs(MeanPool, [1], side_dir=None, layers_dir=corpus / "layers")
    finally:
        (corpus / "moved").rename(corpus / "layers/utt2num_frames")


@pytest.fixture(scope="module")
def augmented(corpus, tmp_path_factory):
    """The corpus with three copies of each utterance."""
    root = tmp_path_factory.mktemp("augmented")
    truth = {
        u: label
        for fold in read_protocol(corpus / "protocol").folds.values()
        for u, label in fold.truth.items()
    }
    write_feats(root / "side", truth, "mfcc_pitch", 7, 1, copies=3)
    write_feats(root / "feats", truth, "power_spectrogram", 161, 2, copies=3)
    recogniser = Recogniser.load(corpus / "asr.safetensors")
    store_layers(recogniser, root / "feats", root / "layers", [(1, "pooled"), (2, "pooled")])
    return root


def test_layers_say_what_their_copies_were_drawn_from(augmented):
    meta = ArkReader(augmented / "layers/layer-1/pooled").meta
    assert (meta["copies"], meta["augmentation"]) == (3, to_dict(Augmentation()))


def test_a_system_trains_on_copies_and_is_told_apart_from_one_that_does_not(
    corpus, whole, augmented, tmp_path
):
    heard = GridPaths(corpus / "protocol", augmented / "side", augmented / "layers", tmp_path)
    train_grid(CONFIG, heard, systems=["progressive-2"], folds=["fold-02"])
    member = tmp_path / "progressive-2/fold-02/seed-1"
    fold = read_protocol(corpus / "protocol").folds["fold-02"]
    assert tuple(read_predictions(member / "predictions.test.tsv", CLASSES).utt_ids) == fold.test
    with pytest.raises(CheckpointError, match="another data"):
        train_grid(CONFIG, paths(corpus, tmp_path), systems=["progressive-2"], folds=["fold-02"])


def test_stores_with_other_copies_are_refused(corpus, augmented, tmp_path):
    mixed = GridPaths(corpus / "protocol", augmented / "side", corpus / "layers", tmp_path)
    with pytest.raises(ConfigError, match="(?s)copies of utterances differ between stores.*--augment"):
        train_grid(CONFIG, mixed, systems=["progressive-2"])


def test_a_missing_copy_is_named(augmented):
    inputs = HeadInputs(MeanPool, [1], side_dir=None, layers_dir=augmented / "layers")
    plain = {plain_id(utt_id) for utt_id in inputs.layers[0]}
    inputs.check(sorted(plain))
    with pytest.raises(DataError, match="(?s)3 faults.*new-u1-aug2"):
        inputs.check(["new-u1"])


def test_a_head_with_an_unknown_need_is_refused():
    class Odd(MeanPool):
        needs = frozenset({"frame"})

    with pytest.raises(ConfigError, match="frame"):
        form_of(Odd)
