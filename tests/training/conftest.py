"""Small corpora with features, layers and recognisers, and a grid trained on one; tests change copies of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import load_protocol, resolve, write_protocol
from sertoolkit.encoders.layers import store_layers
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.storage.ark import ArkWriter
from sertoolkit.text.tokens import make_tokens
from sertoolkit.training.grid import GridPaths, train_grid
from tests.training.grids import (
    CLASSES,
    CODES,
    CONFIG,
    PROTOCOL,
    paths,
    write_feats,
)

TWO = ("anger", "sadness")


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def whole(corpus, tmp_path_factory):
    """The grid of one fold and two seeds, trained in one process."""
    exp = tmp_path_factory.mktemp("whole")
    train_grid(CONFIG, paths(corpus, exp), folds=["fold-02"], seeds=[1, 2])
    return exp


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
            array[:, 40 * TWO.index(name) : 40 * TWO.index(name) + 40] += 1.0
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
