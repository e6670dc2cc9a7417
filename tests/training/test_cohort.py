"""Members trained together against the same members alone."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from sertoolkit import registry
from sertoolkit.audio.augmentation import Augmentation, plain_id
from sertoolkit.corpus.protocol import Fold
from sertoolkit.errors import ConfigError, Stopped, TrainingError
from sertoolkit.heads.base import Head
from sertoolkit.heads.stacked import can_stack
from sertoolkit.tasks.ser import HeadInputs, SerTask
from sertoolkit.training import cohort
from sertoolkit.training.checkpoint import newest_progress
from sertoolkit.training.cohort import cohort_limit, train_alone, train_cohort
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.loop import Trainer

CLASSES = ("anger", "neutral", "sadness")
HEADS = {
    "baseline": {"units": 5},
    "mean_pool": {},
    "rnn": {"units": 5},
    "progressive": {"units": 5, "num_layers": 1},
    "words": {},
    "words_progressive": {"units": 5, "num_layers": 1},
}
TRAINING = Training(
    learning_rate=0.05,
    batch_size=8,
    max_epochs=8,
    patience=1,
    stop_patience=2,
    anneal_factor=0.3,
    clip_norm=0.5,
)


class Inputs:
    """Drawn features of ragged utterances and their copies, in double precision."""

    copies_of, copy_of_epoch = HeadInputs.copies_of, HeadInputs.copy_of_epoch
    _augmentation, _epoch = Augmentation(seed=5), 0

    def __init__(self, form: str | None, side: bool, copies: int) -> None:
        generator = np.random.default_rng(1)
        self.form, self.side, self.copies = form, side, copies
        self.durations = {
            copy: int(generator.integers(1, 20)) for i in range(60) for copy in self.copies_of(f"u{i:02d}")
        }
        self.values = {
            utt_id: (generator.standard_normal((count, 4)), generator.standard_normal((2 * count, 3)))
            for utt_id, count in self.durations.items()
        }

    def num_frames(self, utt_id: str) -> int:
        return self.durations[utt_id]

    def batch(self, utt_ids):
        def pad(which, dim):
            rows = [self.values[u][which] if u else np.zeros((0, dim)) for u in utt_ids]
            lengths = torch.tensor([len(row) for row in rows])
            padded = torch.full((len(rows), int(lengths.max()), dim), 9.0, dtype=torch.float64)  # never read
            for target, row in zip(padded, rows, strict=True):
                target[: len(row)] = torch.from_numpy(row)
            return padded, lengths

        layers, lengths, side, side_lengths = [], None, None, None
        if self.form == "pooled":
            layers = [
                torch.from_numpy(np.stack([self.values[u][0].mean(0) if u else np.zeros(4) for u in utt_ids]))
            ]
        if self.form == "frames":
            frames, lengths = pad(0, 4)
            layers = [frames]
        if self.side:
            side, side_lengths = pad(1, 3)
        return layers, lengths, side, side_lengths


def make_trainers(head: str, folder, training=TRAINING, stop=lambda: 0, rates=(0.3, 0.002, 0.05), copies=1):
    """Three members of one system: other folds of other sizes, other seeds, other learning rates."""
    cls = registry.get("head", head)
    inputs = Inputs(
        "frames" if "frames" in cls.needs else "pooled" if "pooled" in cls.needs else None,
        "side" in cls.needs,
        copies,
    )
    ids = [utt_id for utt_id in sorted(inputs.durations) if utt_id == plain_id(utt_id)]
    truth = {utt_id: CLASSES[number % 3] for number, utt_id in enumerate(ids)}
    trainers = []
    for seed, (size, rate) in enumerate(zip((20, 33, 41), rates, strict=True), 1):
        fold = Fold(
            name="fold",
            train=tuple(ids[:size]),
            valid=tuple(ids[size : size + 9 + seed]),
            test=tuple(ids[50:]),
            truth=truth,
            speakers={},
        )
        torch.manual_seed(seed)
        model = cls(
            cls.Config(**HEADS[head]),
            layer_dims=[4] if inputs.form else [],
            side_dim=3 if inputs.side else None,
            num_classes=3,
        ).double()
        task = SerTask(model, inputs, fold, CLASSES, batch_size=8, fingerprint=f"{head}-{seed}")
        own = dataclasses.replace(training, learning_rate=rate)
        trainers.append(Trainer(task, own, seed=seed, folder=folder / f"{seed}", stop=stop))
    return trainers


def histories(trainers):
    return [
        [
            list(json.loads(line).values())
            for line in (trainer.folder / "train.jsonl").read_text().splitlines()
        ]
        for trainer in trainers
    ]


def assert_equal(ours, theirs, tolerance=1e-9):
    for history, expected in zip(histories(ours), histories(theirs), strict=True):
        np.testing.assert_allclose(history, expected, rtol=0, atol=tolerance)
    for trainer, expected in zip(ours, theirs, strict=True):
        for name, value in expected.task.model.state_dict().items():
            torch.testing.assert_close(
                trainer.task.model.state_dict()[name], value, rtol=0, atol=tolerance, msg=name
            )


def in_single_precision(trainers):
    """Weights, and what their inputs give, in float32."""
    batch = trainers[0].task.inputs.batch

    def narrow(x):
        return x if x is None or not x.is_floating_point() else x.float()

    def batch_of(utt_ids):
        layers, *rest = batch(utt_ids)
        return [narrow(layer) for layer in layers], *map(narrow, rest)

    trainers[0].task.inputs.batch = batch_of  # the members share it
    for trainer in trainers:
        trainer.task.model.float()
    return trainers


@pytest.mark.parametrize("head", ["baseline", "rnn", "progressive", "mean_pool"])
def test_in_single_precision_the_first_50_losses_agree(tmp_path, monkeypatch, head):
    losses, count_step = {}, Trainer.count_step

    def note(trainer, loss):
        losses.setdefault(trainer.folder, []).append(loss)
        count_step(trainer, loss)

    monkeypatch.setattr(Trainer, "count_step", note)
    training = dataclasses.replace(TRAINING, max_epochs=17, patience=100, stop_patience=0)
    alone, together = (
        in_single_precision(make_trainers(head, tmp_path / name, training, rates=(0.02, 0.002, 0.01)))
        for name in ("alone", "together")
    )
    for trainer in alone:
        train_alone(trainer)
    assert len(list(train_cohort(together))) == 3
    for ours, theirs in zip(together, alone, strict=True):
        assert len(losses[ours.folder]) > 50
        np.testing.assert_allclose(losses[ours.folder][:50], losses[theirs.folder][:50], rtol=0, atol=1e-4)


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_every_optimiser_steps_as_torch_has_it(tmp_path, optimiser):
    training = dataclasses.replace(TRAINING, optimiser=optimiser, weight_decay=0.1, max_epochs=3)
    alone = [train_alone(t) for t in make_trainers("mean_pool", tmp_path / "alone", training)]
    together = make_trainers("mean_pool", tmp_path / "together", training)
    assert len(list(train_cohort(together))) == 3
    assert_equal(together, alone)


@pytest.mark.parametrize(("head", "copies"), [*((head, 1) for head in HEADS), ("progressive", 3)])
def test_a_cohort_equals_its_members_alone_over_whole_trainings(tmp_path, head, copies):
    alone = [train_alone(trainer) for trainer in make_trainers(head, tmp_path / "alone", copies=copies)]
    together = make_trainers(head, tmp_path / "together", copies=copies)
    ended = list(train_cohort(together))
    assert sorted(map(id, ended)) == sorted(map(id, together))
    assert len({trainer.progress.epoch for trainer in together}) > 1  # they stop at different epochs
    assert len({len(trainer.batches()) for trainer in together}) > 1  # and have unequal epochs
    assert_equal(together, alone)


def test_copies_are_those_of_the_epoch_whatever_the_member_and_validation_is_plain(tmp_path):
    training = dataclasses.replace(TRAINING, max_epochs=2)
    trainers = make_trainers("mean_pool", tmp_path, training, copies=3)
    heard = []
    for trainer in trainers:
        inputs, epochs = trainer.task.inputs, {}
        batch = inputs.batch

        def read(utt_ids, trainer=trainer, epochs=epochs, batch=batch):
            key = trainer.progress.epoch if trainer.task.model.training else "valid"
            epochs.setdefault(key, set()).update(utt_ids)
            return batch(utt_ids)

        inputs.batch = read
        train_alone(trainer)
        inputs.batch = batch
        fold = trainer.task.fold
        assert epochs.pop("valid") == set(fold.valid)
        assert all(sorted(map(plain_id, utt_ids)) == sorted(fold.train) for utt_ids in epochs.values())
        heard.append(epochs)
    assert heard[0][1] <= heard[1][1] <= heard[2][1]  # other seeds, the same copies
    assert {utt_id[4:] for utt_id in heard[2][1]} == {"", "aug1", "aug2"}
    assert heard[2][1] != heard[2][2]


def test_batches_of_the_first_epoch_run_from_short_to_long_plain_utterances(tmp_path):
    trainer = make_trainers("mean_pool", tmp_path, copies=3)[2]
    inputs = trainer.task.inputs
    order = [index for batch in trainer.begin_epoch() for index in batch]
    plain = [inputs.num_frames(trainer.task.fold.train[index]) for index in order]
    assert plain == sorted(plain)
    heard = [inputs.num_frames(trainer.task.utt_ids[index]) for index in order]
    assert heard != sorted(heard)


def test_members_that_have_ended_are_handed_over_after_one_save_of_all(tmp_path):
    trainers, ends = make_trainers("mean_pool", tmp_path), []
    for trainer in train_cohort(trainers):
        ends.append(trainer.progress.epoch)
        assert not trainer.optimiser.state  # nothing of it keeps the stacks in memory
        assert all(weight.untyped_storage().nbytes() == weight.nbytes for weight in trainer.parameters)
    assert len(set(ends)) > 1
    assert [trainer.progress.saves for trainer in trainers] == [1, 1, 1]


def test_every_stackable_head_is_compared_here():
    stackable = {name for name in registry.names("head") if registry.get("head", name).stackable}
    assert stackable == set(HEADS)


def test_a_cohort_stopped_in_the_middle_goes_on_to_the_same_bytes(tmp_path):
    whole = make_trainers("baseline", tmp_path / "whole")
    list(train_cohort(whole))
    for after in (3, 9, 14):  # steps of the cohort: within an epoch, at its end, after a member has ended
        asked = 0

        def stop(after=after):
            nonlocal asked
            asked += 1
            return 15 if asked > after else 0

        folder = tmp_path / f"stopped-{after}"
        with pytest.raises(Stopped):
            list(train_cohort(make_trainers("baseline", folder), stop))
        again = make_trainers("baseline", folder)
        list(train_cohort(again))
        assert histories(again) == histories(whole)
        for trainer, expected in zip(again, whole, strict=True):
            for name, value in expected.task.model.state_dict().items():
                assert torch.equal(trainer.task.model.state_dict()[name], value)


def test_a_kill_between_two_files_of_one_save_is_undone(tmp_path, monkeypatch):
    training = dataclasses.replace(TRAINING, checkpoint_seconds=1e-9)  # a save a step
    whole = make_trainers("mean_pool", tmp_path / "whole", training)
    list(train_cohort(whole))
    killed = make_trainers("mean_pool", tmp_path / "killed", training)
    save, saved = Trainer.save, 0

    def save_or_die(trainer):
        nonlocal saved
        saved += 1
        if saved == 14:  # the second of three members of the fifth save
            raise KeyboardInterrupt
        save(trainer)

    monkeypatch.setattr(Trainer, "save", save_or_die)
    with pytest.raises(KeyboardInterrupt):
        list(train_cohort(killed))
    monkeypatch.undo()
    assert sorted(newest_progress(t.folder)["saves"] for t in killed) == [4, 4, 5]
    again = make_trainers("mean_pool", tmp_path / "killed", training)
    restore, positions = Trainer.restore, []

    def restore_and_note(trainer, newest=None):
        restore(trainer, newest)
        positions.append(trainer.progress.saves)

    monkeypatch.setattr(Trainer, "restore", restore_and_note)
    list(train_cohort(again))
    assert positions == [4, 4, 4]
    assert histories(again) == histories(whole)


def test_a_cohort_may_go_on_from_members_trained_alone(tmp_path):
    alone = [train_alone(trainer) for trainer in make_trainers("mean_pool", tmp_path / "alone")]
    asked = 0

    def stop():
        nonlocal asked
        asked += 1
        return 15 if asked > 5 else 0

    for trainer in make_trainers("mean_pool", tmp_path / "mixed", stop=stop):
        with pytest.raises(Stopped):
            trainer.run()
        asked = 0
    mixed = make_trainers("mean_pool", tmp_path / "mixed")
    list(train_cohort(mixed))
    assert_equal(mixed, alone)


def test_a_loss_that_is_not_finite_names_the_member_and_its_utterances(tmp_path):
    trainers = make_trainers("mean_pool", tmp_path)
    bad = trainers[1].task.utt_ids[4]
    trainers[1].task.inputs.values[bad][0][:] = np.nan
    for trainer in (trainers[0], trainers[2]):
        trainer.task.fold = dataclasses.replace(
            trainer.task.fold, train=tuple(u for u in trainer.task.fold.train if u != bad)
        )
        trainer.task.utt_ids = list(trainer.task.fold.train)
        trainer.task.lengths = [trainer.task.inputs.num_frames(u) for u in trainer.task.utt_ids]
    with pytest.raises(TrainingError, match="loss is not finite"):
        list(train_cohort(trainers))
    assert bad in json.loads((trainers[1].folder / "not_finite.json").read_text())["utt_ids"]
    assert not (trainers[0].folder / "not_finite.json").exists()


def test_a_cohort_is_as_large_as_memory_and_cache_hold():
    inputs = Inputs(None, True, 1)
    cls = registry.get("head", "baseline")

    def limit(units):
        head = cls(cls.Config(units=units), layer_dims=[], side_dim=3, num_classes=3).double()
        return cohort_limit(head, inputs, sorted(inputs.durations)[:8])

    assert limit(4) > limit(64) >= 1


def test_on_a_gpu_memory_alone_bounds_a_cohort(monkeypatch):
    inputs, cls = Inputs(None, True, 1), registry.get("head", "baseline")

    def limit(**budget):
        head = cls(cls.Config(units=64), layer_dims=[], side_dim=3, num_classes=3).double()
        return cohort_limit(head, inputs, sorted(inputs.durations)[:8], **budget)

    assert limit(gpu_bytes=-1) == limit(gpu_bytes=0) == 1
    assert limit(gpu_bytes=2**31) == pytest.approx(2 * limit(gpu_bytes=2**30), abs=1)
    monkeypatch.setattr(cohort, "CACHE_BYTES", 2**40)
    assert limit(gpu_bytes=cohort.STEP_BYTES) > 2 * limit()  # in bfloat16 a step takes less


def test_a_head_with_running_statistics_is_trained_alone():
    class Normed(Head):
        Config = registry.get("head", "mean_pool").Config
        needs = frozenset({"pooled"})
        stackable = True

        def __init__(self) -> None:
            super().__init__(self.Config(), layer_dims=[4], side_dim=None, num_classes=3, num_values=4)
            self.norm = nn.BatchNorm1d(4)

        def represent(self, layers, lengths, side, side_lengths):
            return self.norm(layers[0])

    assert not can_stack(Normed())


@pytest.mark.parametrize("other", [{"optimiser": "sgd"}, {"precision": "bfloat16"}])
def test_choices_may_differ_in_anything_but_the_optimiser_and_the_precision(other):
    choices = [{"learning_rate": 0.1}, other]
    config = SerConfig(systems={"mp": System(head="mean_pool", layers=[1], choices=choices)})
    with pytest.raises(ConfigError, match="but the optimiser"):
        config.trainings_of("mp")
