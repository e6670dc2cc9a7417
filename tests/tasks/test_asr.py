"""Task asr, and training of a recogniser from stores to a file."""

from __future__ import annotations

import dataclasses
import itertools
import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sertoolkit import registry
from sertoolkit.audio.augmentation import Augmentation
from sertoolkit.config import load_config, load_yaml
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.encoders.ds2 import DS2
from sertoolkit.errors import CheckpointError, ConfigError, DataError, Stopped
from sertoolkit.features.dump import ExtractOptions, extract
from sertoolkit.features.loading import pad
from sertoolkit.features.on_the_fly import AudioFeatures
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.kernels import cpu
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.tasks.asr import AsrTask, Transcribed
from sertoolkit.text.tokens import make_tokens
from sertoolkit.training import loop
from sertoolkit.training import recogniser as training_recogniser
from sertoolkit.training.checkpoint import newest_progress
from sertoolkit.training.config import AsrConfig, AsrTraining
from sertoolkit.training.loop import Trainer
from sertoolkit.training.recogniser import train_recogniser

SMALL = {"conv_channels": 2, "num_layers": 1, "hidden_size": 24}
FRONTEND = {"kind": "features", "frontend": "power_spectrogram", "frontend_conf": {}, "frame_shift": 0.01}
TOKENS = make_tokens(["AB A"], "char")
SPECTROGRAM = registry.get("frontend", "power_spectrogram")
PAPER = Path(__file__).parents[2] / "egs" / "librispeech_tedlium_voxforge" / "asr" / "conf" / "asr.yaml"


def store(path, lengths, dim=161, **meta):
    generator = np.random.default_rng(0)
    with ArkWriter(path, FRONTEND | meta) as writer:
        for utt_id, length in lengths.items():
            writer.write(utt_id, generator.standard_normal((length, dim)).astype(np.float32))
    return path


@pytest.fixture
def encoder():
    return DS2(DS2.Config(**SMALL))


@pytest.mark.parametrize(
    ("length", "text", "message"),
    [
        (40, None, "no transcript"),
        (40, " ", "no transcript"),
        (40, "ABC", "C"),
        (6, "ABAB", "too short for its text: 3 frames after the encoder, CTC needs 4"),
        (
            4,
            "AA",
            "too short for its text: 2 frames after the encoder, CTC needs 3",
        ),  # a blank between equal ones
    ],
)
def test_utterances_that_ctc_cannot_learn_from_are_named_before_training(
    tmp_path, encoder, length, text, message
):
    feats = ArkReader(store(tmp_path / "f", {"s-bad": length, "s-good": 40}))
    texts = {"s-good": "AB"} | ({"s-bad": text} if text is not None else {})
    with pytest.raises(DataError, match=f"(?s)1 fault.*s-bad.*{message}"):
        Transcribed.check(feats, texts, TOKENS, encoder)


@pytest.mark.parametrize(("length", "text"), [(5, "AA"), (7, "ABAB"), (1, "A")])
def test_the_shortest_possible_utterances_are_kept(tmp_path, encoder, length, text):
    feats = ArkReader(store(tmp_path / "f", {"s-u": length}))
    kept = Transcribed.check(feats, {"s-u": text}, TOKENS, encoder)
    log_probs = torch.zeros(-(-length // 2), 1, TOKENS.size).log_softmax(2)
    loss = torch.nn.functional.ctc_loss(
        log_probs, torch.tensor(kept.targets), torch.tensor([len(log_probs)]), torch.tensor([len(text)])
    )
    assert torch.isfinite(loss)  # torch agrees that it can be aligned


def test_all_faults_come_at_once_and_dropping_is_counted(tmp_path, encoder, caplog):
    feats = ArkReader(store(tmp_path / "f", {"s-1": 40, "s-2": 40, "s-3": 4}))
    texts = {"s-1": "AB", "s-3": "ABABAB"}
    with pytest.raises(DataError, match="(?s)2 faults.*s-2.*s-3"):
        Transcribed.check(feats, texts, TOKENS, encoder)
    assert Transcribed.check(feats, texts, TOKENS, encoder, drop_bad=True).utt_ids == ["s-1"]
    assert "kept 1 of 3 utterances" in caplog.text


def test_an_utterance_must_be_long_enough_at_its_highest_tempo(tmp_path, encoder):
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(size=1280) / 10, 16000)  # 7 frames
    data = DataDir(wav={"s-1": str(tmp_path / "a.wav")}, utt2spk={"s-1": "s"})

    def check(tempo):
        feats = AudioFeatures(
            data,
            SPECTROGRAM(SPECTROGRAM.Config()),
            options=ExtractOptions(),
            augmentation=Augmentation(tempo=(0.85, tempo)),
            drop_list=tmp_path / "bad",
        )
        return Transcribed.check(feats, {"s-1": "ABAB"}, TOKENS, encoder)

    assert check(1.0).lengths == [8]  # at the lowest tempo: a batch must hold it as it may come
    with pytest.raises(
        DataError, match="s-1: too short for its text: 3 frames after the encoder, CTC needs 4"
    ):
        check(1.3)


def test_copies_share_the_transcript(tmp_path, encoder):
    feats = ArkReader(store(tmp_path / "f", {"s-1": 40, "s-1-tempo0.9": 44, "s-1-aug1": 42}))
    assert Transcribed.check(feats, {"s-1": "AB"}, TOKENS, encoder).texts == ["AB", "AB", "AB"]


def test_padding_stacks_and_counts():
    padded, lengths = pad([np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)])
    assert padded.tolist() == [[[1, 1], [0, 0], [0, 0]], [[1, 1], [1, 1], [1, 1]]]
    assert lengths.tolist() == [1, 3]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Utterances whose letters are patterns of frames: learnable in a few epochs."""
    root = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(1)
    patterns = {letter: generator.standard_normal(161) for letter in "AB "}
    for name, count in (("train", 30), ("valid", 6)):
        texts = {f"s-{name}{i:02d}": "".join(generator.choice(list("AB"), 4)) for i in range(count)}
        with ArkWriter(root / f"{name}_feats", FRONTEND) as writer:
            for utt_id, text in texts.items():
                rows = [patterns[letter] for letter in " ".join(text) for _ in range(6)]
                noise = generator.standard_normal((len(rows), 161)) * 0.3
                writer.write(utt_id, (np.array(rows) + noise).astype(np.float32))
        DataDir(wav={u: f"{u}.wav" for u in texts}, text=texts, utt2spk=dict.fromkeys(texts, "s")).write(
            root / name
        )
    TOKENS.save(root / "tokens")
    return root


@pytest.fixture(scope="module")
def recordings(corpus, tmp_path_factory):
    """Noises with transcripts, and the stored features of the validation set."""
    root = tmp_path_factory.mktemp("recordings")
    generator = np.random.default_rng(2)
    for name, count in (("train", 7), ("valid", 2)):
        data = DataDir()
        for utt_id in (f"s-{name}{i}" for i in range(count)):
            data.wav[utt_id], data.utt2spk[utt_id] = str(root / f"{utt_id}.wav"), "s"
            data.text[utt_id] = "AB A"
            noise = generator.normal(scale=0.1, size=int(generator.integers(4000, 7000)))
            soundfile.write(root / f"{utt_id}.wav", noise, 16000)
        data.write(root / name)
    extract(root / "valid", SPECTROGRAM(SPECTROGRAM.Config()), root / "valid_feats")
    return root


def settings(**training):
    options = {
        "optimiser": "adam",
        "learning_rate": 0.01,
        "clip_norm": 100.0,
        "batch_size": 5,
        "max_epochs": 12,
        "bucket": True,
    }
    return AsrConfig(encoder_conf=SMALL, training=AsrTraining(**(options | training)))


def train(corpus, out, config=None):
    return train_recogniser(
        config or settings(),
        train_data=corpus / "train",
        train_feats=corpus / "train_feats",
        valid_data=corpus / "valid",
        valid_feats=corpus / "valid_feats",
        tokens_dir=corpus / "tokens",
        out=out,
    )


def train_on_the_fly(recordings, corpus, out, *, augment=True, train_feats=None, config=None, **options):
    plain = settings(max_epochs=2, batch_size=2)
    return train_recogniser(
        config or dataclasses.replace(plain, augment=Augmentation() if augment else None),
        train_data=recordings / "train",
        train_feats=train_feats,
        valid_data=recordings / "valid",
        valid_feats=recordings / "valid_feats",
        tokens_dir=corpus / "tokens",
        out=out,
        **options,
    )


@pytest.fixture(scope="module")
def on_the_fly(recordings, corpus, tmp_path_factory):
    return train_on_the_fly(recordings, corpus, tmp_path_factory.mktemp("exp"))


def assert_same_model(path, expected):
    one, other = (load_tensors(file) for file in (path, expected))
    assert one[1]["fingerprint"] == other[1]["fingerprint"]
    assert all(torch.equal(one[0][name], other[0][name]) for name in other[0])


def test_workers_that_read_ahead_change_nothing(recordings, corpus, on_the_fly, tmp_path):
    assert_same_model(train_on_the_fly(recordings, corpus, tmp_path, num_workers=2), on_the_fly)


def test_a_training_on_audio_that_was_stopped_resumes_to_the_same_bytes(
    recordings, corpus, on_the_fly, tmp_path, monkeypatch
):
    class StoppingTrainer(training_recogniser.Trainer):
        def run(self):
            self.stop = lambda: 15 if self.progress.total_steps >= 6 else 0  # within the second epoch
            return super().run()

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training_recogniser, "Trainer", StoppingTrainer)
        train_on_the_fly(recordings, corpus, tmp_path, num_workers=1)
    assert not multiprocessing.active_children()  # at its end, python would wait for them
    assert_same_model(train_on_the_fly(recordings, corpus, tmp_path), on_the_fly)


def test_features_computed_where_the_model_is_train_the_same_recogniser(
    recordings, corpus, on_the_fly, tmp_path, monkeypatch
):
    def refuse(*_):
        raise AssertionError("features were computed by the processes that read")

    monkeypatch.setattr(AudioFeatures, "of_epoch", refuse)
    one, two = (
        train_on_the_fly(recordings, corpus, tmp_path / str(n), num_workers=n, device_features=True)
        for n in (0, 1)
    )
    assert_same_model(one, two)
    found, expected = (load_tensors(path) for path in (one, on_the_fly))
    assert found[1]["fingerprint"] == expected[1]["fingerprint"]
    for name, weight in expected[0].items():
        torch.testing.assert_close(found[0][name], weight, atol=1e-3, rtol=1e-3)


def test_costs_of_a_training_stand_beside_it_and_count_all_its_runs(
    recordings, corpus, on_the_fly, tmp_path, monkeypatch
):
    class StoppingTrainer(training_recogniser.Trainer):
        def run(self):
            self.stop = lambda: 15 if self.progress.total_steps >= 6 else 0
            return super().run()

    ticks = itertools.count(step=1000.0)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training_recogniser, "Trainer", StoppingTrainer)
        patch.setattr(loop.time, "monotonic", lambda: next(ticks))
        patch.setattr(loop, "peak_memory", lambda *, earlier: {"process": 10**6, "gpu": 5})
        train_on_the_fly(recordings, corpus, tmp_path)
    assert not (tmp_path / "training.yaml").exists()
    before = newest_progress(tmp_path)["seconds"]
    assert before >= 1000
    assert_same_model(train_on_the_fly(recordings, corpus, tmp_path, num_workers=1), on_the_fly)

    costs = load_yaml(tmp_path / "training.yaml")
    assert before < costs["seconds"] < before + 500
    assert costs["peak_memory_mib"]["process"] == 10**6 and costs["peak_memory_mib"]["gpu"] == 5
    assert costs["peak_memory_mib"]["worker"] > 10
    assert (costs["num_utts"], costs["num_copies"], costs["num_workers"]) == (7, 7, 1)
    seconds = sum(soundfile.info(recordings / f"s-train{i}.wav").duration for i in range(7))
    assert costs["hours"] == pytest.approx(seconds / 3600, rel=0.05)  # drawn tempos do not count
    alone = load_yaml(on_the_fly.parent / "training.yaml")
    assert "worker" not in alone["peak_memory_mib"] and 10 < alone["peak_memory_mib"]["process"] < 10**6
    meta = load_tensors(tmp_path / "model.safetensors")[1]
    assert not {"seconds", "peak_memory_mib", "threads"} & meta.keys()


def test_costs_that_were_lost_are_not_made_up(corpus, trained):
    (trained.parent / "training.yaml").unlink()
    train(corpus, trained.parent)
    assert load_yaml(trained.parent / "training.yaml").keys() == {"num_utts", "num_copies", "hours"}


def test_plain_audio_and_stored_features_train_the_same_weights(recordings, corpus, on_the_fly, tmp_path):
    extract(recordings / "train", SPECTROGRAM(SPECTROGRAM.Config()), tmp_path / "feats")
    plain, stored, augmented = (
        Recogniser.load(path).model.state_dict()
        for path in (
            train_on_the_fly(recordings, corpus, tmp_path / "a", augment=False),
            train_on_the_fly(
                recordings, corpus, tmp_path / "b", augment=False, train_feats=tmp_path / "feats"
            ),
            on_the_fly,
        )
    )
    assert all(torch.equal(plain[name], stored[name]) for name in plain)
    assert not torch.equal(plain["output.weight"], augmented["output.weight"])


def test_stored_features_cannot_be_augmented(recordings, corpus, tmp_path):
    with pytest.raises(ConfigError, match="--feats on_the_fly of a recipe"):
        train_on_the_fly(recordings, corpus, tmp_path, train_feats=recordings / "valid_feats")


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    return train(corpus, tmp_path_factory.mktemp("exp"))


def test_a_recogniser_learns_and_its_file_decodes_the_same(corpus, trained):
    recogniser = Recogniser.load(trained)
    feats, texts = ArkReader(corpus / "valid_feats"), DataDir.read(corpus / "valid").text
    heard = recogniser.decode([feats[utt_id] for utt_id in texts])
    right = sum(hypothesis == text for hypothesis, text in zip(heard, texts.values(), strict=True))
    assert right >= len(texts) - 1


def test_a_folder_and_its_file_load_the_same_and_carry_the_frontend(trained):
    one, other = Recogniser.load(trained), Recogniser.load(trained.parent)
    assert one.encoder_hash() == other.encoder_hash()
    assert one.build_frontend().dim == 161


def test_batch_order_and_size_do_not_change_what_is_heard(corpus, trained):
    recogniser = Recogniser.load(trained)
    arrays = list(ArkReader(corpus / "train_feats").values())[:7]
    together = recogniser.decode(arrays)
    assert together == [recogniser.decode([array])[0] for array in arrays]
    assert together[::-1] == recogniser.decode(arrays[::-1])


@pytest.mark.parametrize("stop_at", [1, 6, 9])
def test_a_stopped_training_resumes_to_the_same_bytes(corpus, trained, tmp_path, monkeypatch, stop_at):
    class StoppingTrainer(training_recogniser.Trainer):
        def run(self):
            self.stop = lambda: 15 if self.progress.total_steps >= stop_at else 0
            return super().run()

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(training_recogniser, "Trainer", StoppingTrainer)
        train(corpus, tmp_path)
    resumed = train(corpus, tmp_path)
    one, other = Recogniser.load(trained).model.state_dict(), Recogniser.load(resumed).model.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_training_is_not_run_again_and_other_settings_are_refused(corpus, trained):
    before = trained.stat().st_mtime_ns
    train(corpus, trained.parent)
    assert trained.stat().st_mtime_ns == before
    with pytest.raises(CheckpointError, match="other data or settings"):
        train(corpus, trained.parent, settings(learning_rate=0.02))


def test_an_encoder_refuses_features_that_it_does_not_read():
    with pytest.raises(ConfigError, match="reads 'power_spectrogram', the features are 'mfcc_pitch'"):
        Recogniser.build(
            encoder="ds2", encoder_conf=SMALL, frontend="mfcc_pitch", frontend_conf={}, tokens=TOKENS
        )


def test_features_of_another_frontend_are_refused(corpus, tmp_path):
    other = store(tmp_path / "other", {"s-valid00": 40}, frontend_conf={"normalise": False})
    with pytest.raises(Exception, match="frontend_conf"):
        train_recogniser(
            settings(),
            train_data=corpus / "train",
            train_feats=corpus / "train_feats",
            valid_data=corpus / "valid",
            valid_feats=other,
            tokens_dir=corpus / "tokens",
            out=tmp_path / "exp",
        )


def test_batches_by_frames_train_on_every_utterance_within_the_budget(
    recordings, corpus, tmp_path, monkeypatch
):
    seen = []
    loss = AsrTask._loss

    def noting(task, data, indices, features, lengths):
        if task.model.training:
            seen.append((sorted(indices), features.shape[:2].numel()))
            assert features.shape[1] == lengths.max()
        return loss(task, data, indices, features, lengths)

    monkeypatch.setattr(AsrTask, "_loss", noting)
    config = dataclasses.replace(settings(max_epochs=3, batch_frames=100), augment=Augmentation())
    train_on_the_fly(recordings, corpus, tmp_path, config=config)
    assert sorted(index for indices, _ in seen for index in indices) == sorted(3 * list(range(7)))
    assert max(frames for _, frames in seen) <= 100  # also where the tempo is low
    assert len(seen) < 21  # some batches hold more than one


def test_the_loss_of_a_batch_is_the_mean_of_its_utterances_however_many_they_are(corpus):
    torch.manual_seed(0)
    encoder = DS2(DS2.Config(**SMALL))
    feats = ArkReader(corpus / "train_feats")
    data = Transcribed.check(feats, DataDir.read(corpus / "train").text, TOKENS, encoder)
    task = AsrTask(
        CtcModel(encoder, TOKENS.size).eval(), data, data, TOKENS, training=AsrTraining(), settings={}
    )
    batches = [np.array(batch) for batch in ([0], [1], [2], [0, 1, 2])]
    task.begin_epoch(1, batches)
    *alone, together = (task.fetch() or task.loss(batch).item() for batch in batches)
    assert together == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_in_bfloat16_a_recogniser_learns_as_in_float32_and_its_weights_stay_float32(
    corpus, trained, tmp_path, caplog
):
    path = train(corpus, tmp_path, settings(precision="bfloat16"))
    is_slow = cpu.library(torch.bfloat16) is None
    assert ("recurrent layers train slower than in float32" in caplog.text) is is_slow
    (weights, meta), (_, plain) = load_tensors(path), load_tensors(trained)
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    assert meta["fingerprint"] != plain["fingerprint"]
    assert meta["valid_cer"] < plain["valid_cer"] + 0.1
    losses, expected = (
        [json.loads(line)["train_loss"] for line in (file.parent / "train.jsonl").read_text().splitlines()]
        for file in (path, trained)
    )
    assert losses[:3] == pytest.approx(expected[:3], rel=0.02)
    assert losses != expected


def test_the_deterministic_mode_trains_the_same_on_a_cpu_and_is_left_again(corpus, tmp_path):
    one, other = (
        load_tensors(train(corpus, tmp_path / str(mode), settings(deterministic=mode, max_epochs=1)))
        for mode in (True, False)
    )
    assert all(torch.equal(one[0][name], weight) for name, weight in other[0].items())
    assert one[1]["fingerprint"] != other[1]["fingerprint"]
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_papers_encoder_learns_at_its_real_size(tmp_path):
    """86 million parameters, two steps; a second step on the same utterances finds a lower loss."""
    config = load_config(AsrConfig, PAPER)
    torch.manual_seed(0)
    encoder = registry.get("encoder", config.encoder)(DS2.Config(**config.encoder_conf))
    model = CtcModel(encoder, TOKENS.size)
    assert encoder.layer_dims == [2000] * 5
    assert round(sum(weight.numel() for weight in model.parameters()) / 1e6) == 86
    feats = ArkReader(store(tmp_path / "feats", {"s-1": 24, "s-2": 20}))
    data = Transcribed.check(feats, {"s-1": "AB A", "s-2": "AB"}, TOKENS, encoder)
    task = AsrTask(model, data, data, TOKENS, training=config.training, settings={})
    training = dataclasses.replace(config.training, max_epochs=2)
    progress = Trainer(task, training, seed=config.seed, folder=tmp_path / "exp").run()
    first, second = (epoch["train_loss"] for epoch in progress.history)
    assert second < first
    assert [epoch["learning_rate"] for epoch in progress.history] == pytest.approx([3e-4, 3e-4 / 1.1])
