"""Systems that read what the recogniser hears, from encoding to the bundle."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sertoolkit.encoders.layers import WORDS, layer_dir, store_layers
from sertoolkit.errors import ArkError, ConfigError
from sertoolkit.heads.mean_pool import MeanPool
from sertoolkit.heads.words import Words
from sertoolkit.inference.emotion import EmotionModel
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.scoring.predictions import read_predictions
from sertoolkit.storage.ark import ArkReader
from sertoolkit.tasks.ser import HeadInputs, form_of
from sertoolkit.text.pieces import Pieces
from sertoolkit.training.config import SerConfig, System, Training
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import Member

CLASSES = ("anger", "sadness")
CONFIG = SerConfig(
    systems={"words": System(head="words"), "words-1": System(head="words", layers=[1])},
    training=Training(learning_rate=0.02, batch_size=4, max_epochs=2),
)


@pytest.fixture
def encoded(recognised, tmp_path) -> GridPaths:
    """Layer 1 averaged, and words."""
    store_layers(
        Recogniser.load(recognised.asr_exp),
        recognised.asr_feats,
        tmp_path / "layers",
        [(1, "pooled"), (3, WORDS)],
    )
    return dataclasses.replace(recognised, layers_dir=tmp_path / "layers")


def test_the_store_holds_the_pieces_of_greedy_transcripts(encoded) -> None:
    recogniser, feats = Recogniser.load(encoded.asr_exp), ArkReader(encoded.asr_feats)
    words = ArkReader(encoded.layers_dir / "words")
    assert set(words) == set(feats) and any(words[utt_id].any() for utt_id in words)
    for utt_id in feats:
        np.testing.assert_array_equal(words[utt_id], Pieces()(recogniser.decode([feats[utt_id]])[0]))


def test_words_come_behind_the_layers(encoded) -> None:
    inputs = HeadInputs(Words, [1], side_dir=None, layers_dir=encoded.layers_dir)
    utt_ids = list(ArkReader(encoded.asr_feats))[:3]
    layers, *_ = inputs.batch(utt_ids)
    pooled, words = (
        ArkReader(directory)
        for directory in (layer_dir(encoded.layers_dir, 1, "pooled"), encoded.layers_dir / "words")
    )
    for store, found in zip((pooled, words), layers, strict=True):
        np.testing.assert_array_equal(found.numpy(), np.stack([store[utt_id] for utt_id in utt_ids]))


def test_words_need_no_layer_and_layers_need_no_words(encoded) -> None:
    assert HeadInputs(Words, [], side_dir=None, layers_dir=encoded.layers_dir).layer_dims == [Pieces().dim]
    assert HeadInputs(MeanPool, [1], side_dir=None, layers_dir=encoded.layers_dir).layer_dims == [6]


def test_words_of_another_recogniser_with_the_same_encoder_are_made_anew(encoded) -> None:
    recogniser = Recogniser.load(encoded.asr_exp)
    needed = [(1, "pooled"), (3, WORDS)]
    assert store_layers(recogniser, encoded.asr_feats, encoded.layers_dir, needed) == []
    recogniser.model.output.bias.data.add_(1.0)
    assert store_layers(recogniser, encoded.asr_feats, encoded.layers_dir, needed) == [
        encoded.layers_dir / "words"
    ]


def test_missing_words_are_named(encoded, tmp_path) -> None:
    (tmp_path / "layers" / "words").rename(tmp_path / "moved")
    with pytest.raises(ArkError, match="words"):
        train_grid(CONFIG, encoded, systems=["words"])


@pytest.mark.parametrize("need", ["frames", "encoder"])
def test_words_stand_beside_pooled_layers_alone(need) -> None:
    class Odd(Words):
        needs = frozenset({WORDS, need})

    with pytest.raises(ConfigError, match=f"needs {need} and pooled"):
        form_of(Odd)


@pytest.mark.parametrize("system", list(CONFIG.systems))
def test_a_bundle_says_what_the_grid_said(encoded, tmp_path, monkeypatch, system) -> None:
    train_grid(CONFIG, encoded, systems=[system], folds=["fold-01"])
    member = Member(system, "fold-01", 1).folder(encoded.exp)
    EmotionModel.from_member(member, encoded.asr_exp).save(tmp_path / "ser.safetensors")
    model = EmotionModel.load(tmp_path / "ser.safetensors")
    feats = ArkReader(encoded.asr_feats)
    predictions = read_predictions(member / "predictions.test.tsv", CLASSES)
    for utt_id, row in zip(predictions.utt_ids, predictions.posteriors, strict=True):
        monkeypatch.setattr(Recogniser, "build_frontend", lambda self, u=utt_id: lambda *_: feats[u])
        said = model.predict(np.zeros(16000, np.float32), 16000)
        np.testing.assert_allclose([said[name] for name in CLASSES], row, atol=1e-5)
