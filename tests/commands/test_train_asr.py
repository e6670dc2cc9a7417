"""The command `train-asr` in the processes that torchrun starts, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.cli import main
from sertoolkit.config import load_yaml
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.storage.tensors import load_tensors
from sertoolkit.text.tokens import make_tokens

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "sertoolkit"]
SETTINGS = {
    "encoder_conf": "{conv_channels: 2, num_layers: 2, hidden_size: 6}",
    **{"training.max_epochs": 2, "training.batch_size": 3, "training.learning_rate": 0.01},
}


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command line but for --out, on seven utterances of noise: the last batch of an epoch has only one."""
    generator = np.random.default_rng(0)
    texts = {f"s-{number}": "AB A" for number in range(7)}
    meta = {"kind": "features", "frontend": "power_spectrogram", "frontend_conf": {}, "frame_shift": 0.01}
    with ArkWriter(tmp_path / "feats", meta) as writer:
        for utt_id in texts:
            length = int(generator.integers(20, 40))
            writer.write(utt_id, generator.standard_normal((length, 161)).astype(np.float32))
    DataDir(wav={u: f"{u}.wav" for u in texts}, text=texts, utt2spk=dict.fromkeys(texts, "s")).write(
        tmp_path / "data"
    )
    make_tokens(["AB A"], "char").save(tmp_path / "tokens")
    options = {"train_data": "data", "train_feats": "feats", "valid_data": "data", "valid_feats": "feats"}
    found = ["train-asr"]
    for name, path in (options | {"tokens": "tokens"}).items():
        found += [f"--{name}", str(tmp_path / path)]
    for name, value in SETTINGS.items():
        found += ["--set", f"{name}={value}"]
    return found


def test_two_processes_train_nearly_the_recogniser_of_one(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, *TORCHRUN, *words, "--out", str(tmp_path / "two")]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "two" / "model.safetensors")]  # said once
    assert main([*words, "--out", str(tmp_path / "one")]) == 0

    (two, meta), (one, expected) = (
        load_tensors(tmp_path / name / "model.safetensors") for name in ("two", "one")
    )
    assert meta["fingerprint"] == expected["fingerprint"]
    assert two.keys() == one.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=1e-4, msg=name)
    counts = [load_yaml(tmp_path / name / "training.yaml")["num_processes"] for name in ("two", "one")]
    assert counts == [2, 1]
    assert not list((tmp_path / "two").glob("checkpoint-*"))
