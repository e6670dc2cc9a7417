"""The training loop: exact resume, stops, damage, schedules."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from sertoolkit.errors import CheckpointError, Stopped, TrainingError
from sertoolkit.tasks.base import Task
from sertoolkit.training import checkpoint, loop
from sertoolkit.training.config import Training
from sertoolkit.training.loop import Trainer


class Toy(Task):
    """Regression with dropout and batch norm; the validation value can be dictated."""

    selects = "valid_loss"
    fingerprint = "toy"

    def __init__(self, values=None, bad_step=None):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.x = torch.randn(10, 3)
        self.y = self.x.sum(1, keepdim=True)
        self.utt_ids = [f"utt-{i}" for i in range(10)]
        self.lengths = list(range(10, 20))
        self.values = iter(values) if values else None
        self.bad_step, self.steps, self.losses = bad_step, 0, []

    def loss(self, indices: np.ndarray) -> torch.Tensor:
        self.steps += 1
        loss = (self.model(self.x[indices]) - self.y[indices]).square().mean()
        if self.steps == self.bad_step:
            loss = loss * float("nan")
        self.losses.append(loss.item())
        return loss

    def validate(self):
        assert not self.model.training
        value = next(self.values) if self.values else (self.model(self.x) - self.y).square().mean().item()
        return {"valid_loss": value}


SETTINGS = {"learning_rate": 0.05, "batch_size": 4, "max_epochs": 4}


def trainer(task, folder, stop=lambda: 0, **settings):
    return Trainer(task, Training(**(SETTINGS | settings)), seed=3, folder=folder, stop=stop)


def states_equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    task = Toy()
    progress = trainer(task, tmp_path_factory.mktemp("whole")).run()
    return task, progress


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("stop_at", range(1, 13))
def test_a_training_stopped_at_any_step_resumes_to_the_same_losses_and_bytes(tmp_path, stop_at, optimiser):
    whole = Toy()
    progress = trainer(whole, tmp_path / "whole", optimiser=optimiser).run()
    first = Toy()
    halted = trainer(first, tmp_path / "a", lambda: 15 if first.steps >= stop_at else 0, optimiser=optimiser)
    if stop_at < 12:
        with pytest.raises(Stopped) as error:
            halted.run()
        assert error.value.exit_code == 143
    else:  # stopped at the very last step: after it, only validation is left
        with pytest.raises(Stopped):
            halted.run()
    second = Toy()
    resumed = trainer(second, tmp_path / "a", optimiser=optimiser).run()
    assert first.losses + second.losses == whole.losses
    assert resumed.history == progress.history
    assert states_equal(second.model, whole.model)


def test_a_signal_during_validation_stops_with_its_own_exit_code(tmp_path, whole):
    first, asked = Toy(), []
    validate = first.validate
    first.validate = lambda: (asked.append(15), validate())[1]
    with pytest.raises(Stopped) as error:
        trainer(first, tmp_path, lambda: asked[-1] if asked else 0).run()
    assert error.value.exit_code == 143
    second = Toy()
    trainer(second, tmp_path).run()
    assert first.losses + second.losses == whole[0].losses


@pytest.mark.parametrize("lost", ["optimiser", "learning_rate"])
def test_a_resume_without_part_of_the_state_would_be_noticed(tmp_path, whole, lost, monkeypatch):
    first = Toy()
    with pytest.raises(Stopped):
        trainer(first, tmp_path, lambda: 15 if first.steps >= 5 else 0).run()
    load = checkpoint.load_tensors

    def forget(path):
        tensors, meta = load(path)
        if lost == "optimiser":
            tensors = {k: v * 0 + 1 if k.startswith("optimiser") else v for k, v in tensors.items()}
        else:
            meta["progress"]["learning_rate"] *= 2
        return tensors, meta

    monkeypatch.setattr(checkpoint, "load_tensors", forget)
    second = Toy()
    trainer(second, tmp_path).run()
    assert first.losses + second.losses != whole[0].losses


def test_a_kill_without_notice_resumes_from_the_last_checkpoint(tmp_path, whole):
    first = Toy(bad_step=8)
    with pytest.raises(TrainingError):  # dies here; checkpoints of earlier steps are there
        trainer(first, tmp_path, checkpoint_seconds=1e-9).run()
    second = Toy()
    trainer(second, tmp_path, checkpoint_seconds=1e-9).run()
    assert second.losses == whole[0].losses[7:]
    assert states_equal(second.model, whole[0].model)


def test_memory_of_processes_that_end_within_the_last_step_of_an_epoch_is_counted(tmp_path, monkeypatch):
    task, left = Toy(), []
    monkeypatch.setattr(task, "begin_epoch", lambda epoch, batches: left.extend(batches))
    monkeypatch.setattr(task, "fetch", left.pop)
    monkeypatch.setattr(
        loop, "peak_memory", lambda *, earlier: {**earlier, **({"worker": 7} if left else {})}
    )
    assert trainer(task, tmp_path).run().peak_memory == {"worker": 7}


def test_at_most_two_checkpoints_are_kept_and_none_after_the_end(tmp_path):
    done = trainer(Toy(), tmp_path, checkpoint_seconds=1e-9)
    done.run()
    assert len(list(tmp_path.glob("checkpoint-*"))) == 2
    done.finish()
    assert not list(tmp_path.glob("checkpoint-*"))


def flip(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 4
    path.write_bytes(bytes(data))


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(tmp_path, whole, caplog):
    first = Toy()
    with pytest.raises(Stopped):
        trainer(first, tmp_path, lambda: 15 if first.steps >= 5 else 0, checkpoint_seconds=1e-9).run()
    newest = sorted(tmp_path.glob("checkpoint-*"))[-1]
    flip(newest)
    second = Toy()
    trainer(second, tmp_path).run()
    assert newest.name in caplog.text
    assert states_equal(second.model, whole[0].model)


def test_with_all_checkpoints_damaged_nothing_starts_from_zero(tmp_path):
    first = Toy()
    with pytest.raises(Stopped):
        trainer(first, tmp_path, lambda: 15 if first.steps >= 5 else 0, checkpoint_seconds=1e-9).run()
    for path in tmp_path.glob("checkpoint-*"):
        flip(path)
    with pytest.raises(CheckpointError, match="no checkpoint can be used"):
        trainer(Toy(), tmp_path).run()


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    first = Toy()
    with pytest.raises(Stopped):
        trainer(first, tmp_path, lambda: 15).run()
    other = Toy()
    other.fingerprint = "other"
    with pytest.raises(CheckpointError, match="other data or settings"):
        trainer(other, tmp_path).run()


def test_a_loss_that_is_not_finite_stops_before_the_step_and_names_utterances(tmp_path):
    task = Toy(bad_step=5)
    running = trainer(task, tmp_path)
    with pytest.raises(TrainingError, match=r"loss is not finite at epoch 2, step 2 \(utterances utt-"):
        running.run()
    assert all(torch.isfinite(p).all() for p in task.model.parameters())
    assert len(json.loads((tmp_path / "not_finite.json").read_text())["utt_ids"]) == 4


def test_the_best_epoch_is_kept_not_the_last(tmp_path):
    task = Toy(values=[3.0, 1.0, 2.0, 2.0])
    snapshots = []
    validate = task.validate
    task.validate = lambda: (snapshots.append(task.model[0].weight.clone()), validate())[1]
    progress = trainer(task, tmp_path).run()
    assert (progress.best_epoch, progress.best) == (2, 1.0)
    assert torch.equal(task.model[0].weight, snapshots[1])


def rates(tmp_path, values, **settings):
    progress = trainer(
        Toy(values=values), tmp_path, max_epochs=len(values), learning_rate=1.0, **settings
    ).run()
    return [entry["learning_rate"] for entry in progress.history]


def test_the_rate_halves_after_two_epochs_without_improvement(tmp_path):
    assert rates(tmp_path, [5, 4, 4, 4, 3, 3, 3, 3, 3]) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_training_ends_once_the_rate_falls_below_its_limit(tmp_path):
    assert rates(tmp_path, [5, 5, 5, 5, 5, 5, 5], stop_learning_rate=0.4) == [1, 1, 1, 0.5, 0.5]


def test_the_epoch_schedule_divides_after_every_epoch(tmp_path):
    assert rates(tmp_path, [3, 2, 1], schedule="epoch", anneal_factor=0.5) == [1, 0.5, 0.25]


def test_patience_ends_a_training(tmp_path):
    assert len(rates(tmp_path, [3, 2, 4, 4, 4, 4], schedule="epoch", stop_patience=2)) == 4


def test_the_linear_schedule_rises_and_falls_to_zero(tmp_path):
    task = Toy()
    seen = []
    running = trainer(task, tmp_path, schedule="linear", warmup_steps=3, learning_rate=1.0, max_epochs=3)
    task_loss = task.loss
    task.loss = lambda batch: (seen.append(running.optimiser.param_groups[0]["lr"]), task_loss(batch))[1]
    running.run()
    assert seen == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_a_finished_training_started_again_takes_no_step(tmp_path):
    trainer(Toy(), tmp_path, checkpoint_seconds=1e-9).run()
    again = Toy()
    trainer(again, tmp_path).run()
    assert again.steps == 0
