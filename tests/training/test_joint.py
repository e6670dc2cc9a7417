"""Systems that learn emotion and transcripts together, in the grid: losses, faults, resume, leaks, bundles."""

from __future__ import annotations

import collections
import dataclasses
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.audio.augmentation import Augmentation
from sertoolkit.cli import main
from sertoolkit.config import to_dict
from sertoolkit.encoders.ds2 import DS2
from sertoolkit.errors import CheckpointError, ConfigError, DataError, Stopped
from sertoolkit.heads.joint import Joint
from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.tasks import joint
from sertoolkit.tasks.joint import JointInputs
from sertoolkit.tasks.ser import form_of
from sertoolkit.text.transcripts import read_transcripts, write_transcripts
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Grid, Member

CLASSES = ("anger", "sadness")
CONF = {"release_every": 1, "encoder_learning_rate": 0.5}
CONFIG = SerConfig(
    systems={
        "joint-2": System(head="joint", layers=[2], head_conf={**CONF, "ctc_weight": 0.3}),
        "alone-2": System(head="joint", layers=[2], head_conf={**CONF, "ctc_weight": 0.0}),
        "unfreeze-2": System(head="unfreeze", layers=[2], head_conf=CONF),
    },
    training=Training(learning_rate=0.02, batch_size=4, max_epochs=3),
)
MEMBER = Member("joint-2", "fold-01", 1)


@pytest.fixture
def told(recognised, resolved, tmp_path) -> GridPaths:
    """What is recognised, and what was said: A or B, by class."""
    texts = {u: "AB"[name == "sadness"] for f in resolved.folds.values() for u, name in f.truth.items()}
    write_transcripts(tmp_path / "text", texts)
    return dataclasses.replace(recognised, text=tmp_path / "text")


def train(told: GridPaths, system: str = "joint-2", fold: str = "fold-01") -> Path:
    train_grid(CONFIG, told, systems=[system], folds=[fold])
    return Member(system, fold, 1).folder(told.exp)


def change_text(told: GridPaths, **texts: str) -> None:
    write_transcripts(told.text, read_transcripts(told.text) | texts)


def test_without_weight_it_is_unfreeze(told) -> None:
    alone, other = (
        load_tensors(train(told, name) / "model.safetensors")[0] for name in ("alone-2", "unfreeze-2")
    )
    original, _ = load_tensors(told.asr_exp)
    for name in other:
        torch.testing.assert_close(alone[name], other[name], atol=1e-6, rtol=1e-5)
    for name in alone.keys() - other.keys():  # what only recognition reads
        assert torch.equal(alone[name], original[name.replace("ctc.", "output.")]), name
    assert {"ctc.weight", "ctc.bias"} < alone.keys() - other.keys()


def test_both_losses_train_the_released_layers_and_nothing_else_moves(told) -> None:
    before = told.asr_exp.read_bytes()
    weights, _ = load_tensors(train(told) / "model.safetensors")
    original, _ = load_tensors(told.asr_exp)
    assert not any(name.startswith("encoder.convs") or "running" in name for name in weights)
    for name, tensor in weights.items():
        if name.startswith(("encoder.", "ctc.")):
            assert not torch.equal(tensor, original[name.replace("ctc.", "output.")]), name
    assert told.asr_exp.read_bytes() == before


def test_the_loss_of_recognition_is_that_of_a_token_averaged_over_utterances(told, resolved) -> None:
    change_text(told, **dict.fromkeys(resolved.folds["fold-01"].train[:3], "A B"))
    task = told.open(CONFIG).trainers(MEMBER)[0].task
    task.model.eval()

    def recognition(indices: list[int]) -> torch.Tensor:
        both, emotion = (dataclasses.replace(task.model.config, ctc_weight=w) for w in (1.0, 0.0))
        losses = []
        for task.model.config in (both, emotion):
            losses.append(task.loss(np.array(indices)))
        return losses[0] - losses[1]

    each = torch.stack([recognition([index]) for index in range(6)])
    torch.testing.assert_close(recognition(list(range(6))), each.mean(), atol=1e-5, rtol=1e-5)
    (features,), counts, *_ = task.inputs.batch(task.utt_ids[:1])
    log_probs, lengths = task.inputs.recogniser.model(features, counts)
    text = task._text_targets[task.utt_ids[0]]
    whole = torch.nn.functional.ctc_loss(
        log_probs.transpose(0, 1), torch.tensor(text), lengths, torch.tensor([len(text)]), reduction="sum"
    )
    torch.testing.assert_close(each[0], whole / len(text), atol=1e-5, rtol=1e-5)


def test_validation_tells_the_character_error_rate_beside_the_loss_that_selects(told) -> None:
    lines = [json.loads(line) for line in (train(told) / "train.jsonl").read_text().splitlines()]
    assert all({"valid_loss", "valid_uar", "valid_cer"} < line.keys() for line in lines)


class _StopAfter:
    """Asks to stop from the given question on."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> int:
        self.count -= 1
        return signal.SIGTERM if self.count <= 0 else 0


def stop(told: GridPaths, count: int) -> None:
    grid: Grid = told.open(CONFIG)
    with pytest.raises(Stopped):
        list(grid.train([MEMBER], _StopAfter(count)))


@pytest.mark.parametrize("count", [1, 8])  # the ninth question comes when the last epoch has ended
def test_a_stopped_training_goes_on_to_the_same_bytes(told, tmp_path, count) -> None:
    expected = train(told)
    again = dataclasses.replace(told, exp=tmp_path / "again")
    stop(again, count)
    member = train(again)
    for name in ("model.safetensors", "transcripts.test.txt", "predictions.test.tsv"):
        assert (member / name).read_bytes() == (expected / name).read_bytes()


def test_other_texts_make_another_training(told, resolved) -> None:
    stop(told, 5)
    change_text(told, **{resolved.folds["fold-01"].train[0]: "A B"})
    with pytest.raises(CheckpointError):
        train(told)


def test_a_finished_member_is_done_until_texts_of_its_training_change(told, resolved) -> None:
    train(told)
    fold = resolved.folds["fold-01"]
    change_text(told, **dict.fromkeys(fold.test, "A B"))
    assert told.open(CONFIG).is_done(MEMBER)
    change_text(told, **{fold.train[0]: "A B"})
    with pytest.raises(CheckpointError, match="another text"):
        told.open(CONFIG).is_done(MEMBER)


def test_texts_of_the_test_set_are_never_looked_up(told, resolved, monkeypatch) -> None:
    asked = set()
    text_of = JointInputs.text_of
    monkeypatch.setattr(JointInputs, "check_texts", lambda *_: None)  # looks at training sets of all folds
    monkeypatch.setattr(JointInputs, "text_of", lambda self, u: asked.add(u) or text_of(self, u))
    train(told)
    fold = resolved.folds["fold-01"]
    assert asked == {*fold.train, *fold.valid}


def test_utterances_missing_in_text_are_named_all_at_once(told, resolved) -> None:
    gone = sorted(resolved.folds["fold-01"].train[:2])
    texts = {utt_id: text for utt_id, text in read_transcripts(told.text).items() if utt_id not in gone}
    write_transcripts(told.text, texts)
    with pytest.raises(DataError, match=rf"2 faults(.|\n)*{gone[0]}: not in it\n.*{gone[1]}: not in it"):
        train(told)
    assert not MEMBER.folder(told.exp).exists()


def test_a_set_without_any_text_to_learn_from_is_an_error(told, resolved) -> None:
    change_text(told, **dict.fromkeys(resolved.folds["fold-01"].valid, "[LAUGHTER]"))
    with pytest.raises(DataError, match="learn from in valid of fold-01(.|\n)*no word"):
        train(told)


def test_utterances_without_a_text_to_learn_from_are_named_and_teach_emotion_alone(
    told, resolved, caplog
) -> None:
    first, second, third = resolved.folds["fold-01"].train[:3]
    change_text(told, **{first: "A Q", second: "AB" * 30, third: "[LAUGHTER]"})
    with caplog.at_level("INFO"):
        task = told.open(CONFIG).trainers(MEMBER)[0].task
    (message,) = (record.message for record in caplog.records if "emotion alone" in record.message)
    assert message.startswith("3 of 18 utterances, copies included,")
    for utt_id, fault in ((first, "'Q'"), (second, "too short"), (third, "no word")):
        assert any(utt_id in line and fault in line for line in message.splitlines()), message
    task.model.eval()
    losses = {}
    for weight, indices in (
        (0.0, (0, 1, 2)),
        (1.0, (0, 1, 2)),
        (1.0, (0, 3)),
        (1.0, (3,)),
        (0.0, (0, 3)),
        (0.0, (3,)),
    ):
        task.model.config = dataclasses.replace(task.model.config, ctc_weight=weight)
        losses[weight, indices] = task.loss(np.array(indices)).item()
    assert losses[0.0, (0, 1, 2)] == losses[1.0, (0, 1, 2)]
    together, alone = (losses[1.0, rows] - losses[0.0, rows] for rows in ((0, 3), (3,)))
    assert alone > 0 and together == pytest.approx(alone / 2, rel=1e-4)
    assert train(told).joinpath("transcripts.test.txt").exists()


def write_copies(told: GridPaths, folder: Path, frames: int) -> GridPaths:
    """The same features and a second copy of each, of `frames` frames."""
    feats = ArkReader(told.asr_feats)
    meta = {name: feats.meta[name] for name in ("kind", "frontend", "frontend_conf", "frame_shift")}
    with ArkWriter(folder, meta | {"copies": 2, "augmentation": to_dict(Augmentation())}) as writer:
        for utt_id in feats:
            writer.write(utt_id, np.array(feats[utt_id]))
            writer.write(f"{utt_id}-aug1", np.array(feats[utt_id][:frames]))
    return dataclasses.replace(told, asr_feats=folder)


def test_copies_at_other_tempos_share_the_text_and_their_length_counts(
    told, tmp_path, resolved, caplog
) -> None:
    train(write_copies(told, tmp_path / "copies", 7))
    shown = {
        name
        for line in (MEMBER.folder(told.exp) / "transcripts.test.txt").open()
        for name in line.split()[:1]
    }
    assert shown == set(resolved.folds["fold-01"].test)
    change_text(told, **{resolved.folds["fold-01"].train[0]: "ABAB"})
    short = dataclasses.replace(write_copies(told, tmp_path / "short", 5), exp=tmp_path / "other")
    with caplog.at_level("INFO"):
        train(short)
    assert "too short for its text: 3 frames" in caplog.text


@pytest.mark.parametrize("needs", [{"text"}, {"text", "pooled"}])
def test_only_a_head_that_runs_the_encoder_can_learn_texts(needs) -> None:
    odd = type("Odd", (Joint,), {"needs": frozenset(needs)})
    with pytest.raises(ConfigError, match="needs text"):
        form_of(odd)


def test_without_texts_it_is_told_to_give_them(told) -> None:
    with pytest.raises(ConfigError, match="give --text"):
        train(dataclasses.replace(told, text=None))


def test_transcripts_before_are_those_of_the_unchanged_recogniser(told) -> None:
    member, recogniser, feats = train(told), Recogniser.load(told.asr_exp), ArkReader(told.asr_feats)
    before = read_transcripts(member / "transcripts.before.txt", may_be_empty=True)
    assert before == {utt_id: recogniser.decode([feats[utt_id]])[0] for utt_id in before}


def test_members_of_a_fold_share_hashes_spelt_texts_and_transcripts_before(told, monkeypatch) -> None:
    calls = collections.Counter()

    def count(owner: object, name: str) -> None:
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: calls.update([name]) or function(*args))

    for name in ("hash", "encoder_hash", "decode"):
        count(Recogniser, name)
    count(joint, "spell")
    grid = told.open(dataclasses.replace(CONFIG, training=Training(batch_size=18, max_epochs=1)))
    for seed in (1, 2):
        member = dataclasses.replace(MEMBER, seed=seed)
        list(grid.train([member]))
        assert grid.is_done(member)
    # the hash of the recogniser holds that of its encoder; texts of all folds are checked
    assert calls == {"hash": 1, "encoder_hash": 2, "decode": 1, "spell": 18}


def test_a_member_whose_transcripts_are_lost_is_trained_again(told) -> None:
    member = train(told)
    expected = (member / "transcripts.test.txt").read_bytes()
    (member / "transcripts.test.txt").unlink()
    assert (train(told) / "transcripts.test.txt").read_bytes() == expected


@pytest.fixture
def bundle(told, tmp_path) -> Path:
    train(told)
    member = best_member(told.exp, "joint-2")
    EmotionModel.from_member(member, told.asr_exp).save(tmp_path / "ser.safetensors")
    return tmp_path / "ser.safetensors"


def test_a_bundle_says_what_the_grid_said_by_one_pass_of_the_encoder(told, bundle, monkeypatch) -> None:
    model, feats = EmotionModel.load(bundle), ArkReader(told.asr_feats)
    member = best_member(told.exp, "joint-2")
    predictions = read_predictions(member / "predictions.test.tsv", CLASSES)
    texts = read_transcripts(member / "transcripts.test.txt", may_be_empty=True)
    passes = []
    forward = DS2.forward
    monkeypatch.setattr(DS2, "forward", lambda self, *args: passes.append(1) or forward(self, *args))
    for utt_id, row in zip(predictions.utt_ids, predictions.posteriors, strict=True):
        monkeypatch.setattr(Recogniser, "build_frontend", lambda self, u=utt_id: lambda *_: feats[u])
        said, text = model.listen(np.zeros(16000, np.float32), 16000)
        np.testing.assert_allclose([said[name] for name in CLASSES], row, atol=1e-5)
        assert text == texts[utt_id]
    assert len(passes) == len(predictions.utt_ids)


def test_another_output_layer_than_the_one_it_began_with_is_refused(told, tmp_path) -> None:
    train(told)
    recogniser = Recogniser.load(told.asr_exp)
    recogniser.model.output.bias.data.add_(1.0)
    recogniser.save(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="the recogniser is"):
        EmotionModel.from_member(MEMBER.folder(told.exp), tmp_path / "other.safetensors")


def test_predict_prints_the_transcript_of_a_joint_system_alone(told, bundle, tmp_path, capsys) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.random.default_rng(1).normal(scale=0.1, size=8000), 16000)
    train(told, "unfreeze-2")
    plain = tmp_path / "plain.safetensors"
    EmotionModel.from_member(best_member(told.exp, "unfreeze-2"), told.asr_exp).save(plain)
    capsys.readouterr()
    for model, last in ((bundle, ["transcript"]), (plain, [])):
        assert main(["predict", "--model", str(model), str(tmp_path / "a.wav")]) == 0
        header, row = (line.split("\t") for line in capsys.readouterr().out.splitlines())
        assert header == ["audio", "predicted", *CLASSES, *last]
        assert len(row) == len(header)


def test_scores_tell_recognition_before_and_after(told, tmp_path, capsys) -> None:
    for fold in ("fold-01", "fold-02", "fold-03"):
        train(told, fold=fold)
    options = ["--exp", str(told.exp), "--protocol_dir", str(told.protocol_dir), "--text", str(told.text)]
    assert main(["score", *options]) == 0
    assert "Recognition before and after joint training" in capsys.readouterr().out
    (row,) = json.loads((told.exp / "scores.json").read_text())["recognition"]
    assert (row["system"], row["sentences"], row["num_utts"]) == ("joint-2", "all", 18)
    wrong = [
        heard.get(utt_id) != text
        for member in told.exp.glob("joint-2/*/seed-1")
        for heard in [read_transcripts(member / "transcripts.test.txt", may_be_empty=True)]
        for utt_id, text in read_transcripts(told.text).items()
        if utt_id in heard
    ]
    assert len(wrong) == 18 and row["wer_after"] >= np.mean(wrong) - 1e-9
    assert (
        main(["report", *options, "--out", str(tmp_path / "R.md"), "--html", str(tmp_path / "r.html")]) == 0
    )
    for name in ("R.md", "r.html"):
        assert "Recognition before and after joint training" in (tmp_path / name).read_text()
