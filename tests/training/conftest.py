"""A corpus with features and a recogniser, small enough to encode in a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.corpus.protocol import write_protocol
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.text.tokens import make_tokens
from sertoolkit.training.grid import GridPaths

CLASSES = ("anger", "sadness")


@pytest.fixture
def recognised(tmp_path: Path, resolved) -> GridPaths:
    """Features of 18 utterances and an untrained recogniser of three layers."""
    write_protocol(resolved, tmp_path / "protocol")
    generator = np.random.default_rng(1)
    meta = {"kind": "features", "frontend": "power_spectrogram", "frontend_conf": {}, "frame_shift": 0.01}
    truth = resolved.folds["fold-01"].truth
    with ArkWriter(tmp_path / "feats", meta) as writer:
        for utt_id, name in truth.items():
            array = generator.standard_normal((int(generator.integers(8, 20)), 161))
            array[:, 40 * CLASSES.index(name) : 40 * CLASSES.index(name) + 40] += 1.0
            writer.write(utt_id, array.astype(np.float32))
    torch.manual_seed(0)
    recogniser = Recogniser.build(
        encoder="ds2",
        encoder_conf={"conv_channels": 1, "num_layers": 3, "hidden_size": 3},
        frontend="power_spectrogram",
        frontend_conf={},
        tokens=make_tokens(["AB"]),
    )
    recogniser.save(tmp_path / "asr.safetensors")
    return GridPaths(
        tmp_path / "protocol",
        None,
        None,
        tmp_path / "exp",
        asr_exp=tmp_path / "asr.safetensors",
        asr_feats=tmp_path / "feats",
    )
