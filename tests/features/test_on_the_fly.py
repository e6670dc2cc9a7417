"""Features computed from audio against those that are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit import registry
from sertoolkit.audio.augmentation import Augmentation, Variant, amplify
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.dropped import read_drop_list
from sertoolkit.errors import AudioError, DataError
from sertoolkit.features.dump import ExtractOptions, extract
from sertoolkit.features.on_the_fly import AudioFeatures
from sertoolkit.storage.ark import ArkReader

SPECTROGRAM = registry.get("frontend", "power_spectrogram")
FRONTEND = SPECTROGRAM(SPECTROGRAM.Config())


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A recording of two segments at 16 kHz and one at 8 kHz with two channels."""
    generator = np.random.default_rng(0)
    for name, shape, rate in (("one", 20011, 16000), ("two", (9007, 2), 8000)):
        soundfile.write(tmp_path / f"{name}.wav", generator.normal(scale=0.1, size=shape), rate)
    segments = {
        "s-1": ("one", 0.1, 0.6004),
        "s-2": ("one", 0.70007, 1.2),
        "s-3": ("two", 0.0, 1.1),
    }
    data = DataDir(
        wav={name: str(tmp_path / f"{name}.wav") for name in ("one", "two")},
        utt2spk=dict.fromkeys(segments, "s"),
        segments=segments,
    )
    data.write(tmp_path / "data")
    return DataDir.read(tmp_path / "data")


def on_the_fly(data, tmp_path, augmentation=None, **options):
    options = ExtractOptions(**({"resample": True, "channel": "mix"} | options))
    return AudioFeatures(
        data, FRONTEND, options=options, augmentation=augmentation, drop_list=tmp_path / "exp" / "audio.bad"
    )


@pytest.mark.parametrize("augmentation", [None, Augmentation(tempo=(1.0, 1.0), gain=(0.0, 0.0))])
def test_at_their_own_tempo_and_level_they_are_the_stored_ones_byte_for_byte(data, tmp_path, augmentation):
    extract(
        tmp_path / "data", FRONTEND, tmp_path / "store", options=ExtractOptions(resample=True, channel="mix")
    )
    store, feats = ArkReader(tmp_path / "store"), on_the_fly(data, tmp_path, augmentation)
    assert list(feats) == list(store)
    assert feats.num_frames == store.num_frames  # known before the audio is read
    for utt_id in feats:
        assert feats[utt_id].tobytes() == feats.of_epoch(utt_id, 3).tobytes() == store[utt_id].tobytes()


def test_each_epoch_draws_anew_and_always_the_same(data, tmp_path):
    augmentation = Augmentation(seed=4)
    feats = on_the_fly(data, tmp_path, augmentation)
    drawn: Variant = augmentation.draw("s-2", 1)
    start, end = 0.70007, 1.2
    waveform, _ = soundfile.read(tmp_path / "one.wav", dtype="float32")
    waveform = amplify(waveform[round(start * 16000) : round(end * 16000)], drawn.gain)
    expected = FRONTEND(waveform, 16000, tempo=drawn.tempo)
    assert feats.of_epoch("s-2", 2).tobytes() == expected.tobytes()
    assert len({feats.of_epoch("s-2", epoch).tobytes() for epoch in (1, 2, 3, 2)}) == 3


def test_the_fewest_frames_of_any_epoch_are_known_beforehand(data, tmp_path):
    feats = on_the_fly(data, tmp_path, Augmentation(tempo=(0.85, 1.15)))
    fastest = on_the_fly(data, tmp_path, Augmentation(tempo=(1.15, 1.15)))
    for utt_id in feats:
        assert feats.fewest_frames[utt_id] == len(fastest.of_epoch(utt_id, 1))
        assert all(
            len(feats.of_epoch(utt_id, epoch)) >= feats.fewest_frames[utt_id] for epoch in range(1, 20)
        )


def test_bad_audio_is_named_and_listed_before_training(data, tmp_path):
    with pytest.raises(DataError, match=r"(?s)2 faults.*s-1.*s-2"):
        on_the_fly(data, tmp_path, min_dur=0.6)
    assert set(read_drop_list(tmp_path / "exp" / "audio.bad")) == {"s-1", "s-2"}


def test_audio_damaged_during_training_is_named(data, tmp_path):
    feats = on_the_fly(data, tmp_path)
    (tmp_path / "two.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"utterance s-3: .*two.wav"):
        feats.of_epoch("s-3", 1)
