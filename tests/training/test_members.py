"""Results of members: refused, damaged, chosen."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import signal

import numpy as np
import pytest

from sertoolkit.config import hash_of, load_yaml, to_dict
from sertoolkit.errors import CheckpointError, Stopped
from sertoolkit.gru import set_precision
from sertoolkit.inference.emotion import EmotionModel
from sertoolkit.kernels import cpu
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.training import grid
from sertoolkit.training.config import Training
from sertoolkit.training.grid import train_grid
from sertoolkit.training.members import list_members
from tests.training.grids import (
    CLASSES,
    CONFIG,
    assert_same_predictions,
    contents,
    paths,
)


def test_results_of_other_settings_are_refused_by_name(corpus, whole):
    config = dataclasses.replace(CONFIG, training=Training(learning_rate=0.01, batch_size=16, max_epochs=4))
    with pytest.raises(CheckpointError, match="another config; remove"):
        train_grid(config, paths(corpus, whole), folds=["fold-02"], seeds=[1])


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


@pytest.mark.parametrize("cohort", [None, 1])
def test_what_trains_in_bfloat16_predicts_in_single_precision(corpus, whole, tmp_path, cohort):
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, precision="bfloat16"))
    with pytest.raises(CheckpointError, match="another config; remove"):
        train_grid(config, paths(corpus, whole), folds=["fold-02"], seeds=[1])
    own = paths(corpus, tmp_path)
    systems = ["baseline-96", "rnn-2"]
    train_grid(config, own, systems=systems, folds=["fold-02"], seeds=[1, 2], cohort=cohort)
    for member in list_members(systems, ["fold-02"], [1, 2]):
        files = [member.folder(exp) / "predictions.test.tsv" for exp in (tmp_path, whole)]
        ours, single = (read_predictions(file, CLASSES).posteriors for file in files)
        assert not np.array_equal(ours, single)
        np.testing.assert_allclose(ours, single, atol=0.05)
        (trainer,) = own.open(config).trainers(member)
        weights, _ = load_tensors(member.folder(tmp_path) / "model.safetensors")
        trainer.task.model.load_state_dict(weights)
        set_precision(trainer.task.model, None)
        np.testing.assert_allclose(ours, trainer.task.posteriors(trainer.task.fold.test), atol=1e-6)


def test_results_made_before_there_was_a_choice_of_precision_remain_valid(corpus, whole):
    """Their settings had no such key."""
    (member,) = list_members(["rnn-2"], ["fold-02"], [1])
    training = {
        k: v for k, v in to_dict(CONFIG.training).items() if k not in ("checkpoint_seconds", "precision")
    }
    system = {k: v for k, v in to_dict(CONFIG.systems["rnn-2"]).items() if k not in ("training", "choices")}
    expected = hash_of({"system": system, "training": [training]})
    assert paths(corpus, whole).open(CONFIG).hashes(member)["config"] == expected


def test_bfloat16_without_steps_for_it_is_warned_of_where_layers_are_recurrent(
    corpus, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(cpu, "library", lambda dtype: None)
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, precision="bfloat16"))
    for name, chosen, number in (("rnn-2", CONFIG, 0), ("mp-1", config, 0), ("rnn-2", config, 1)):
        exp = tmp_path / f"{name}-{number}"
        train_grid(chosen, paths(corpus, exp), systems=[name], folds=["fold-02"])
        assert caplog.text.count("no steps for it are compiled") == number
