"""The grid of emotion systems: members, resume, leaks, processes, signals."""

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

import numpy as np
import pytest
import torch

from sertoolkit.commands import train_ser
from sertoolkit.config import dump_yaml, load_yaml, to_dict
from sertoolkit.corpus.protocol import read_protocol
from sertoolkit.errors import ArkError, ConfigError, DataError, PluginError, Stopped
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.training import grid
from sertoolkit.training.config import System, Training
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Member, list_members
from tests.training.grids import (
    CLASSES,
    CONFIG,
    assert_same_predictions,
    contents,
    paths,
    write_feats,
)


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
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ConfigError, match="--ngpu 1: PyTorch finds no CUDA GPU here"):
        train_ser.run(argparse.Namespace(ngpu=1))


def test_a_grid_started_again_trains_only_what_is_missing(corpus, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "exp")
    shutil.rmtree(tmp_path / "exp/rnn-2/fold-02/seed-2")
    (tmp_path / "exp/mp-1/fold-02/seed-1/member.yaml").unlink()  # killed just before its end
    assert train_grid(CONFIG, paths(corpus, tmp_path / "exp"), folds=["fold-02"], seeds=[1, 2]) == 2
    assert_same_predictions(tmp_path / "exp", whole)  # trained without its cohort: the same but for rounding


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
