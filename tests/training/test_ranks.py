"""Data-parallel training in two processes on the CPU against one process."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sertoolkit.cli import main
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.encoders.ds2 import DS2, DS2Config
from sertoolkit.errors import ArkError, ConfigError, SertoolkitError
from sertoolkit.storage.ark import ArkReader, ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.tasks.asr import AsrTask, Transcribed
from sertoolkit.text.tokens import make_tokens
from sertoolkit.training.config import AsrTraining
from sertoolkit.training.loop import Trainer
from sertoolkit.training.ranks import ALONE, Ranks, start_ranks

TOKENS = make_tokens(["AB A"], "char")
# seven utterances in batches of three: the last batch has fewer than there are ranks
TRAINING = AsrTraining(
    optimiser="adam", learning_rate=0.01, clip_norm=5.0, batch_size=3, max_epochs=2, bucket=True
)


class _Double(CtcModel):
    def forward(self, features, lengths):
        return super().forward(features.double(), lengths)


def _task(root: Path, ranks: Ranks, dropout: float) -> AsrTask:
    torch.manual_seed(0)
    encoder = DS2(DS2Config(conv_channels=2, num_layers=3, hidden_size=6, dropout=dropout))
    feats = ArkReader(root / "feats")
    data = Transcribed.check(feats, DataDir.read(root / "data").text, TOKENS, encoder)
    model = _Double(encoder, TOKENS.size).double()
    return AsrTask(model, data, data, TOKENS, training=TRAINING, settings={}, ranks=ranks)


def _train(
    root: Path, folder: Path, ranks: Ranks, *, stop_at: int = 0, damage: str = "", dropout: float = 0.0
) -> dict:
    """What came of a training, in plain data; weights go to a file of each rank."""
    task = _task(root, ranks, dropout)
    if damage == "reading" and ranks.number == 1:
        fetch, count = task.fetch, iter(range(100))

        def fail() -> None:
            if next(count) == 2:
                raise ArkError("feats: is cut")
            fetch()

        task.fetch = fail
    if damage == "loss" and ranks.number == 1:
        loss = task.loss
        task.loss = lambda indices: loss(indices) * (float("nan") if 5 in indices else 1)
    trainer = Trainer(task, TRAINING, seed=3, folder=folder, ranks=ranks)
    if stop_at and ranks.number == ranks.count - 1:  # the signal reaches one of them
        trainer.stop = lambda: 15 if trainer.progress.total_steps >= stop_at else 0
    try:
        progress = trainer.run()
    except (SertoolkitError, SystemExit) as error:
        silent = isinstance(error, SystemExit)
        code = error.code if silent else error.exit_code
        return {"error": "" if silent else f"{type(error).__name__}: {error}", "code": code}
    finally:
        task.close()
    torch.save(task.model.state_dict(), folder / f"rank{ranks.number}.pt")
    return {"history": progress.history, "steps": progress.total_steps}


SCENARIOS = {
    "whole": {},
    "stopped": {"stop_at": 2},
    "reading": {"damage": "reading"},
    "loss": {"damage": "loss"},
    "dropout": {"dropout": 0.5},
}


def _say_wrong_setting() -> dict:
    paths = ("train_data", "valid_data", "valid_feats", "tokens", "out")
    words = [word for name in paths for word in (f"--{name}", "none")]
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = main(["train-asr", *words, "--set", "training.bach_size=3"])
        except SystemExit as error:
            code = error.code
    return {"error": said.getvalue(), "code": code}


def _process(number: int, ports: list[int], root: Path) -> None:
    """All scenarios in one start, which takes seconds."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0])}
    with start_ranks(on_gpu=False) as (ranks, device):
        assert (ranks.number, ranks.count, device.type) == (number, 2, "cpu")
        found = {name: _train(root, root / name, ranks, **options) for name, options in SCENARIOS.items()}
        found["resumed by two"] = _train(root, root / "alone_first", ranks)
        found["apart"] = _train(root, root / f"apart{number}", ranks)
        found["gathered"] = ranks.gather([number, "ä" * 100 * number, 0.1 + number])
    os.environ["MASTER_PORT"] = str(ports[1])
    found["wrong setting"] = _say_wrong_setting()
    (root / f"found{number}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("ranks")
    generator = np.random.default_rng(0)
    meta = {"kind": "features", "frontend": "power_spectrogram", "frontend_conf": {}, "frame_shift": 0.01}
    texts = {f"s-{number}": "AB A"[: 1 + number % 4].strip() for number in range(7)}
    with ArkWriter(root / "feats", meta) as writer:
        for utt_id in texts:
            length = int(generator.integers(20, 40))
            writer.write(utt_id, generator.standard_normal((length, 161)).astype(np.float32))
    data = DataDir(wav={u: f"{u}.wav" for u in texts}, text=texts, utt2spk=dict.fromkeys(texts, "s"))
    data.write(root / "data")
    return root


@pytest.fixture(scope="module")
def alone(root) -> dict:
    return _train(root, root / "alone", ALONE)


@pytest.fixture(scope="module")
def found(root, alone) -> list[dict]:
    for name, step in {"alone_first": 4, "apart0": 4, "apart1": 2}.items():
        assert _train(root, root / name, ALONE, stop_at=step)["code"] == 143
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = [free.getsockname()[1] for free in (one, other)]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_process, args=(number, ports, root)) for number in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        if process.exitcode is None:
            process.kill()
        assert process.exitcode == 0
    return [json.loads((root / f"found{number}.json").read_text()) for number in range(2)]


def assert_same_weights(one: Path, other: Path) -> None:
    one, other = (torch.load(path, weights_only=True) for path in (one, other))
    for name, weight in other.items():
        torch.testing.assert_close(one[name], weight, atol=1e-9, rtol=1e-7, msg=name)


def assert_same_history(one: list[dict], other: list[dict]) -> None:
    for entry, expected in zip(one, other, strict=True):
        assert entry == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_take_the_steps_of_one(root, alone, found, rank) -> None:
    assert found[rank]["whole"]["steps"] == alone["steps"] == 6
    assert_same_history(found[rank]["whole"]["history"], alone["history"])
    assert_same_weights(root / "whole" / f"rank{rank}.pt", root / "alone" / "rank0.pt")


def test_a_signal_to_one_process_stops_both_after_the_same_step_with_a_checkpoint(root, found) -> None:
    first, second = (result["stopped"] for result in found)
    assert first["error"].startswith("Stopped: stopped by signal 15")
    assert (first["code"], second["code"]) == (143, 143)
    assert second["error"] == ""  # said once
    (path,) = (root / "stopped").glob("checkpoint-*.safetensors")
    assert load_tensors(path)[1]["progress"]["total_steps"] == 2


def test_a_training_goes_on_in_another_number_of_processes(root, alone, found) -> None:
    assert_same_history(found[1]["resumed by two"]["history"], alone["history"])
    assert_same_weights(root / "alone_first" / "rank1.pt", root / "alone" / "rank0.pt")
    assert_same_history(_train(root, root / "stopped", ALONE)["history"], alone["history"])
    assert_same_weights(root / "stopped" / "rank0.pt", root / "alone" / "rank0.pt")


def test_an_error_in_one_process_ends_both_and_is_said_once(found) -> None:
    first, second = (result["reading"] for result in found)
    assert first == {"error": "ArkError: feats: is cut", "code": 1}
    assert second == {"error": "", "code": 1}


def test_a_wrong_setting_is_said_by_one_process_and_both_end(found) -> None:
    first, second = (result["wrong setting"] for result in found)
    assert first["error"].startswith(
        "sertoolkit train-asr: error: AsrConfig: training: unknown key 'bach_size'"
    )
    assert first["error"].count("error: ") == 1
    assert second["error"] == ""
    assert (first["code"], second["code"]) == (2, 2)


def test_with_dropout_all_processes_hold_the_same_weights_and_statistics(root, found) -> None:
    assert found[0]["dropout"] == found[1]["dropout"]
    assert_same_weights(root / "dropout" / "rank1.pt", root / "dropout" / "rank0.pt")


def test_processes_that_find_different_checkpoints_refuse_to_go_on(found) -> None:
    first, second = (result["apart"] for result in found)
    assert first["error"].startswith("CheckpointError: ")
    assert "epoch 2 step 1 (1 saves), epoch 1 step 2 (1 saves); all machines" in first["error"]
    assert second == {"error": "", "code": 1}


def test_each_process_hears_what_all_of_them_say(found) -> None:
    for result in found:
        assert result["gathered"] == [[0, "", 0.1], [1, "ä" * 100, 1.1]]


def test_a_loss_that_is_not_finite_in_one_process_ends_both_and_names_the_whole_batch(root, found) -> None:
    first, second = (result["loss"] for result in found)
    assert first["error"].startswith("TrainingError: loss is not finite at epoch 1")
    assert second == {"error": "", "code": 1}
    assert "s-5" in json.loads((root / "loss" / "not_finite.json").read_text())["utt_ids"]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_shares_are_never_empty_and_weigh_each_utterance_alike(count, size) -> None:
    batch = np.arange(10, 10 + size)
    weights = dict.fromkeys(batch.tolist(), 0.0)
    for number in range(count):
        ranks = Ranks(number, count)
        share = ranks.share(batch)
        assert len(share)
        for index in share.tolist():
            weights[index] += ranks.weight(batch) / len(share)
    assert list(weights.values()) == pytest.approx([1 / size] * size)


def test_batch_norm_of_torch_is_refused_in_several_processes() -> None:
    ALONE.check(nn.BatchNorm1d(3))
    with pytest.raises(ConfigError, match="BatchNorm1d in the encoder"):
        Ranks(0, 2).check(nn.Sequential(nn.BatchNorm1d(3)))


def test_a_process_without_a_gpu_of_its_own_says_so(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="finds 1 CUDA GPUs here, process 1"), start_ranks(on_gpu=True):
        pass
