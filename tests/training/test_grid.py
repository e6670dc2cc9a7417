"""The grid of emotion systems: members, resume, leaks, frozen encoder, stored layers, bundles."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.audio.augmentation import Augmentation, copy_id, plain_id
from sertoolkit.commands import train_ser
from sertoolkit.config import dump_yaml, load_yaml, to_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import load_protocol, read_protocol, resolve, write_protocol
from sertoolkit.encoders.layers import layer_dir, store_layers
from sertoolkit.errors import ArkError, CheckpointError, ConfigError, DataError, PluginError, Stopped
from sertoolkit.heads.mean_pool import MeanPool
from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.networks import masked_mean
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.tasks.asr import pad
from sertoolkit.tasks.ser import HeadInputs, form_of
from sertoolkit.text.tokens import make_tokens
from sertoolkit.training import grid
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Member, list_members

CLASSES = ("anger", "happiness", "neutral", "sadness")
CODES = dict(zip(CLASSES, ("ang", "hap", "neu", "sad"), strict=True))
CONFIG = SerConfig(
    systems={
        "baseline-96": System(head="baseline", head_conf={"units": 6}),
        "mp-1": System(head="mean_pool", layers=[1]),
        "rnn-2": System(head="rnn", layers=[2], head_conf={"units": 6}),
        "progressive-2": System(head="progressive", layers=[2], head_conf={"units": 6}),
    },
    training=Training(learning_rate=0.02, batch_size=16, max_epochs=4),
)
PROTOCOL = Path(__file__).parents[2] / "conf" / "protocols" / "iemocap4-consensus.yaml"


def write_feats(path, utterances, frontend, dim, seed, copies=1):
    """Features whose mean tells the class a little."""
    generator = np.random.default_rng(seed)
    meta = {"kind": "features", "frontend": frontend, "frontend_conf": {}, "frame_shift": 0.01}
    if copies > 1:
        meta |= {"copies": copies, "augmentation": to_dict(Augmentation())}
    with ArkWriter(path, meta) as writer:
        for utt_id, name in [(copy_id(u, n), name) for u, name in utterances.items() for n in range(copies)]:
            length = int(generator.integers(20, 50))
            array = generator.standard_normal((length, dim))
            array[:, CLASSES.index(name)] += 2.0
            writer.write(utt_id, array.astype(np.float32))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two sessions, four speakers, eight utterances each; features, an untrained recogniser, its layers."""
    root = tmp_path_factory.mktemp("ser")
    speakers = [f"Ses0{session}{gender}" for session in (1, 2) for gender in "FM"]
    truth = {f"{spk}-u{i}": CLASSES[i % 4] for spk in speakers for i in range(8)}
    data = DataDir(
        wav={u: f"{u}.wav" for u in truth},
        utt2spk={u: u.partition("-")[0] for u in truth},
        utt2emo={u: CODES[name] for u, name in truth.items()},
        utt2ses={u: u[:5] for u in truth},
        text=dict.fromkeys(truth, "A"),
    )
    write_protocol(resolve(load_protocol(PROTOCOL), data), root / "protocol")
    write_feats(root / "side", truth, "mfcc_pitch", 7, 1)
    write_feats(root / "feats", truth, "power_spectrogram", 161, 2)
    torch.manual_seed(0)
    recogniser = Recogniser.build(
        encoder="ds2",
        encoder_conf={"conv_channels": 2, "num_layers": 2, "hidden_size": 8},
        frontend="power_spectrogram",
        frontend_conf={},
        tokens=make_tokens(["AB"]),
    )
    recogniser.save(root / "asr.safetensors")
    store_layers(recogniser, root / "feats", root / "layers", [(1, "pooled"), (2, "pooled"), (2, "frames")])
    return root


def paths(corpus, exp):
    return GridPaths(corpus / "protocol", corpus / "side", corpus / "layers", exp)


def contents(exp):
    """Every file of the members but costs in seconds, as bytes."""
    found = {}
    for path in sorted(exp.glob("*/*/*/*")):
        if path.name == "member.yaml":
            found[str(path.relative_to(exp))] = {k: v for k, v in load_yaml(path).items() if k != "seconds"}
        else:
            found[str(path.relative_to(exp))] = path.read_bytes()
    return found


def assert_same_predictions(exp, expected):
    files = sorted(expected.glob("*/*/*/predictions.*.tsv"))
    assert files and len(files) == len(list(exp.glob("*/*/*/predictions.*.tsv")))
    for path in files:
        ours = read_predictions(exp / path.relative_to(expected), CLASSES)
        theirs = read_predictions(path, CLASSES)
        np.testing.assert_allclose(ours.posteriors, theirs.posteriors, atol=1e-4)


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The grid of one fold and two seeds, trained in one process."""
    exp = tmp_path_factory.mktemp("whole")
    train_grid(CONFIG, paths(corpus, exp), folds=["fold-02"], seeds=[1, 2])
    return exp


def test_every_member_leaves_predictions_of_its_fold_and_nothing_else(corpus, whole):
    fold = read_protocol(corpus / "protocol").folds["fold-02"]
    for member in list_members(list(CONFIG.systems), ["fold-02"], [1, 2]):
        names = {path.name for path in member.folder(whole).iterdir()}
        assert names == {
            "predictions.valid.tsv",
            "predictions.test.tsv",
            "model.safetensors",
            "train.jsonl",
            "member.yaml",
        }
        for name in ("valid", "test"):
            predictions = read_predictions(member.folder(whole) / f"predictions.{name}.tsv", CLASSES)
            assert tuple(predictions.utt_ids) == tuple(getattr(fold, name))
            assert predictions.truth == [fold.truth[u] for u in predictions.utt_ids]


def test_systems_learn_what_the_features_tell(corpus, whole):
    predictions = read_predictions(whole / "baseline-96/fold-02/seed-1/predictions.test.tsv", CLASSES)
    assert np.mean(np.array(predictions.truth) == np.array(predictions.predicted)) >= 0.75


def test_seeds_differ_and_processes_do_not_matter(corpus, whole, tmp_path):
    train_grid(
        CONFIG,
        paths(corpus, tmp_path),
        systems=["mp-1", "rnn-2"],
        folds=["fold-02"],
        seeds=[1, 2],
        num_jobs=2,
    )
    expected = contents(whole)
    assert contents(tmp_path) == {k: v for k, v in expected.items() if k.startswith(("mp-1", "rnn-2"))}
    one, other = (expected[f"mp-1/fold-02/seed-{seed}/model.safetensors"] for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize("free", [10**9, 0])
def test_a_device_gives_the_same_whether_features_fit_into_it_or_not(
    corpus, whole, tmp_path, monkeypatch, caplog, free
):
    """The device is the CPU here, its memory told."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    device = torch.device("cpu")
    train_grid(
        CONFIG, paths(corpus, tmp_path), folds=["fold-02"], seeds=[1, 2], device=device, num_jobs=2, cohort=2
    )
    assert ("do not fit" in caplog.text) == (free == 0)
    assert "one process trains on the GPU, not 2" in caplog.text
    if free:
        assert contents(tmp_path) == contents(whole)
    else:  # no cohort fits either
        assert_same_predictions(tmp_path, whole)


def test_a_gpu_that_is_not_there_is_named_before_anything_is_read(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="--ngpu 1: PyTorch finds no CUDA GPU here"):
        train_ser.run(argparse.Namespace(ngpu=1))


def test_a_grid_started_again_trains_only_what_is_missing(corpus, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "exp")
    shutil.rmtree(tmp_path / "exp/rnn-2/fold-02/seed-2")
    (tmp_path / "exp/mp-1/fold-02/seed-1/member.yaml").unlink()  # killed just before its end
    assert train_grid(CONFIG, paths(corpus, tmp_path / "exp"), folds=["fold-02"], seeds=[1, 2]) == 2
    assert_same_predictions(tmp_path / "exp", whole)  # trained without its cohort: the same but for rounding


def test_results_of_other_settings_are_refused_by_name(corpus, whole):
    config = dataclasses.replace(CONFIG, training=Training(learning_rate=0.01, batch_size=16, max_epochs=4))
    with pytest.raises(CheckpointError, match="another config; remove"):
        train_grid(config, paths(corpus, whole), folds=["fold-02"], seeds=[1])


def test_a_system_with_settings_of_its_own_trains_by_them(corpus, whole, tmp_path):
    own = dataclasses.replace(CONFIG.systems["mp-1"], training={"max_epochs": 2})
    config = dataclasses.replace(CONFIG, systems=CONFIG.systems | {"mp-1": own})
    train_grid(config, paths(corpus, tmp_path), systems=["mp-1", "baseline-96"], folds=["fold-02"])
    assert load_yaml(tmp_path / "mp-1/fold-02/seed-1/member.yaml")["epochs"] == 2
    name = "baseline-96/fold-02/seed-1/model.safetensors"
    assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"systems": ["mp-9"]}, ConfigError, "did you mean 'mp-1'"),
        ({"folds": ["fold-2"]}, ConfigError, "did you mean 'fold-02'"),
    ],
)
def test_unknown_systems_and_folds_are_refused(corpus, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        train_grid(CONFIG, paths(corpus, tmp_path), **change)


@pytest.mark.parametrize(
    ("system", "error", "message"),
    [
        (System(head="mean_pool"), ConfigError, "name them by `layers: "),
        (System(head="mean_pol", layers=[1]), PluginError, "did you mean 'mean_pool'"),
        (System(head="rnn", layers=[2], head_conf={"unit": 3}), ConfigError, "did you mean 'units'"),
        (System(head="rnn", layers=[1]), ArkError, "layer-1"),  # frames of layer 1 were not stored
    ],
)
def test_a_wrong_system_is_refused_before_any_training(corpus, tmp_path, system, error, message):
    config = dataclasses.replace(CONFIG, systems={"good": CONFIG.systems["mp-1"], "bad": system})
    with pytest.raises(error, match=message):
        train_grid(config, paths(corpus, tmp_path))
    assert not list(tmp_path.glob("*/*/*"))


def test_heads_without_an_encoder_need_no_layers_and_others_say_so(corpus, tmp_path):
    without = GridPaths(corpus / "protocol", corpus / "side", None, tmp_path)
    train_grid(CONFIG, without, systems=["baseline-96"], folds=["fold-01"])
    with pytest.raises(ConfigError, match="--layers"):
        train_grid(CONFIG, without, systems=["mp-1"])


def test_a_speaker_in_two_sets_is_refused_when_training_starts(corpus, tmp_path):
    shutil.copytree(corpus / "protocol", tmp_path / "protocol")
    path = tmp_path / "protocol/folds/fold-01.tsv"
    lines = path.read_text().splitlines()
    index = next(i for i, line in enumerate(lines) if line.endswith("\ttrain"))
    speaker = next(line for line in lines if line.endswith("\ttest")).split("\t")[1]
    fields = lines[index].split("\t")
    lines[index] = "\t".join([fields[0], speaker, *fields[2:]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=speaker):
        train_grid(CONFIG, GridPaths(tmp_path / "protocol", corpus / "side", None, tmp_path / "exp"))


def test_a_missing_utterance_is_named(corpus, tmp_path):
    truth = read_protocol(corpus / "protocol").folds["fold-01"].truth
    kept = {u: name for u, name in truth.items() if u != "Ses01F-u3"}
    write_feats(tmp_path / "side", kept, "mfcc_pitch", 7, 1)
    with pytest.raises(DataError, match="Ses01F-u3"):
        train_grid(
            CONFIG, GridPaths(corpus / "protocol", tmp_path / "side", None, tmp_path), systems=["baseline-96"]
        )


def test_test_utterances_do_not_touch_training(corpus, whole, tmp_path):
    """Other test features give the same weights, byte for byte: no statistic sees the test fold."""
    truth = read_protocol(corpus / "protocol").folds["fold-02"].truth
    test = set(read_protocol(corpus / "protocol").folds["fold-02"].test)
    side = ArkReader(corpus / "side")
    with ArkWriter(
        tmp_path / "side", {k: side.meta[k] for k in ("kind", "frontend", "frontend_conf", "frame_shift")}
    ) as w:
        for utt_id in truth:
            w.write(utt_id, side[utt_id] * (5 if utt_id in test else 1))
    other = GridPaths(corpus / "protocol", tmp_path / "side", None, tmp_path / "exp")
    train_grid(CONFIG, other, systems=["baseline-96"], folds=["fold-02"])
    member = Member("baseline-96", "fold-02", 1)
    one, _ = load_tensors(member.folder(whole) / "model.safetensors")
    two, _ = load_tensors(member.folder(tmp_path / "exp") / "model.safetensors")
    assert all(torch.equal(one[name], two[name]) for name in one)


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


def test_a_damaged_member_is_named(corpus, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "exp")
    path = tmp_path / "exp/mp-1/fold-02/seed-1/model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="mp-1/fold-02/seed-1/model.safetensors: damaged"):
        EmotionModel.from_member(path.parent, corpus / "asr.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "predictions.test.tsv", "predictions.valid.tsv"])
def test_a_damaged_member_is_named_and_trained_again(corpus, whole, tmp_path, caplog, name):
    shutil.copytree(whole, tmp_path / "exp")
    path = tmp_path / "exp/mp-1/fold-02/seed-1" / name
    path.write_bytes(path.read_bytes()[:-1])
    assert train_grid(CONFIG, paths(corpus, tmp_path / "exp"), folds=["fold-02"], seeds=[1, 2]) == 1
    assert f"{path}: damaged" in caplog.text
    assert_same_predictions(tmp_path / "exp", whole)


def test_a_member_that_lost_its_predictions_is_trained_again(corpus, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "exp")
    (tmp_path / "exp/mp-1/fold-02/seed-1/predictions.test.tsv").unlink()
    assert train_grid(CONFIG, paths(corpus, tmp_path / "exp"), folds=["fold-02"], seeds=[1, 2]) == 1
    assert_same_predictions(tmp_path / "exp", whole)


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


def start_grid(corpus, exp, tmp_path):
    """The command in a process group of its own; a checkpoint a step makes it slow on any machine."""
    config = dataclasses.replace(
        CONFIG, training=Training(learning_rate=0.02, batch_size=1, max_epochs=8, checkpoint_seconds=0.02)
    )
    (tmp_path / "ser.yaml").write_text(dump_yaml(to_dict(config)))
    command = [
        sys.executable,
        "-m",
        "sertoolkit",
        "train-ser",
        "--ser_config",
        tmp_path / "ser.yaml",
        "--systems",
        "rnn-2 mp-1",
        "--folds",
        "fold-01 fold-02",
        "--protocol_dir",
        corpus / "protocol",
        "--layers",
        corpus / "layers",
        "--out",
        exp,
        "--nj",
        "2",
    ]
    return subprocess.Popen(
        [str(word) for word in command], start_new_session=True, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.05)


def is_group_empty(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_grid_that_is_stopped_or_killed_goes_on_to_the_same_files(corpus, tmp_path, number):
    undisturbed = start_grid(corpus, tmp_path / "whole", tmp_path)
    assert undisturbed.wait(300) == 0, undisturbed.stderr.read()
    process = start_grid(corpus, tmp_path / "exp", tmp_path)
    wait_for(lambda: list((tmp_path / "exp").glob("*/*/*/checkpoint-*")) or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(number)
    code = process.wait(60)
    assert code == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    wait_for(lambda: is_group_empty(process.pid), 30)  # no orphan goes on
    again = start_grid(corpus, tmp_path / "exp", tmp_path)
    assert again.wait(300) == 0, again.stderr.read()
    assert contents(tmp_path / "exp") == contents(tmp_path / "whole")


@pytest.mark.parametrize("num_jobs", [1, 2])
def test_a_stop_request_is_raised_with_its_signal_and_leaves_no_half_member(
    corpus, tmp_path, monkeypatch, num_jobs
):
    monkeypatch.setattr(grid, "stop_requests", lambda: contextlib.nullcontext(lambda: signal.SIGTERM))
    with pytest.raises(Stopped) as error:
        train_grid(
            CONFIG,
            paths(corpus, tmp_path),
            systems=["rnn-2"],
            folds=["fold-01"],
            seeds=[1, 2],
            num_jobs=num_jobs,
        )
    assert error.value.exit_code == 143
    assert len(list(tmp_path.glob("*/*/*/member.yaml"))) < 2


def choosing(*choices):
    mean_pool = dataclasses.replace(CONFIG.systems["mp-1"], choices=list(choices))
    return dataclasses.replace(CONFIG, systems={"mp-1": mean_pool})


def test_a_member_keeps_the_choice_with_the_lowest_validation_loss_of_its_fold(corpus, tmp_path):
    rates = [1e-6, 0.05, 2.0]
    config = choosing(*({"learning_rate": rate} for rate in rates))
    train_grid(config, paths(corpus, tmp_path / "exp"), folds=["fold-01", "fold-02", "fold-01"], seeds=[1, 2])
    for member in list_members(["mp-1"], ["fold-01", "fold-02"], [1, 2]):
        folder = member.folder(tmp_path / "exp")
        summary = load_yaml(folder / "member.yaml")
        losses = {entry["learning_rate"]: entry["valid_loss"] for entry in summary["choices"]}
        assert list(losses) == rates
        assert summary["choice"] == {"learning_rate": min(losses, key=losses.__getitem__)}
        assert summary["valid_loss"] == min(losses.values())
        valid = read_predictions(folder / "predictions.valid.tsv", CLASSES)
        chosen = valid.posteriors[np.arange(len(valid.truth)), [CLASSES.index(name) for name in valid.truth]]
        np.testing.assert_allclose(-np.log(chosen).mean(), min(losses.values()), rtol=1e-3)
        assert sorted(path.name for path in folder.iterdir()) == sorted(
            [
                "member.yaml",
                "model.safetensors",
                "predictions.test.tsv",
                "predictions.valid.tsv",
                "train.jsonl",
            ]
        )
    alone = choosing({"learning_rate": 0.05})
    train_grid(alone, paths(corpus, tmp_path / "one"), folds=["fold-01"])
    assert load_yaml(tmp_path / "one/mp-1/fold-01/seed-1/member.yaml")["choice"] == {"learning_rate": 0.05}


@pytest.mark.parametrize("cohort", [None, 1])
def test_choices_that_are_stopped_go_on_to_the_same_files(corpus, tmp_path, monkeypatch, cohort):
    config = choosing({"learning_rate": 0.01}, {"learning_rate": 0.05})
    train_grid(config, paths(corpus, tmp_path / "whole"), folds=["fold-01", "fold-02"], cohort=cohort)
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return signal.SIGTERM if asked > 9 else 0

    monkeypatch.setattr(grid, "stop_requests", lambda: contextlib.nullcontext(stop))
    with pytest.raises(Stopped):
        train_grid(config, paths(corpus, tmp_path / "exp"), folds=["fold-01", "fold-02"], cohort=cohort)
    assert list((tmp_path / "exp").glob("*/*/*/choice-*/checkpoint-*"))
    monkeypatch.undo()
    train_grid(config, paths(corpus, tmp_path / "exp"), folds=["fold-01", "fold-02"], cohort=cohort)
    assert contents(tmp_path / "exp") == contents(tmp_path / "whole")


def test_settings_that_change_no_result_leave_finished_members_as_they_are(corpus, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "exp")
    training = dataclasses.replace(CONFIG.training, checkpoint_seconds=1.0)
    config = dataclasses.replace(CONFIG, training=training)
    assert train_grid(config, paths(corpus, tmp_path / "exp"), folds=["fold-02"], seeds=[1, 2]) == 0
