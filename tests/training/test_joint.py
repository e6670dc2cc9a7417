"""Systems that learn emotion and transcripts together, in the grid: losses, faults, resume, leaks, bundles."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from sertoolkit.inference.emotion import EmotionModel, best_member
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader
from sertoolkit.text.transcripts import read_transcripts, write_transcripts
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Grid, Member

CLASSES = ("anger", "sadness")
CONF = {"release_every": 1, "encoder_learning_rate": 0.5}
CONFIG = SerConfig(
    systems={"joint-2": System(head="joint", layers=[2], head_conf={**CONF, "ctc_weight": 0.3})},
    training=Training(learning_rate=0.02, batch_size=4, max_epochs=3),
)
MEMBER = Member("joint-2", "fold-01", 1)


@pytest.fixture
def told(recognised, resolved, tmp_path) -> GridPaths:
    """What is recognised, and what was said: A or B, by class."""
    texts = {u: "AB"[name == "sadness"] for f in resolved.folds.values() for u, name in f.truth.items()}
    write_transcripts(tmp_path / "text", texts)
    return dataclasses.replace(recognised, text=tmp_path / "text")


def train(told: GridPaths, config: SerConfig = CONFIG) -> Path:
    train_grid(config, told, folds=["fold-01"])
    return MEMBER.folder(told.exp)


def test_a_thin_line(told, tmp_path, monkeypatch) -> None:
    member = train(told)
    assert sorted(p.name for p in member.iterdir()) == []
