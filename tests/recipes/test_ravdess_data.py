from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest

from sertoolkit.corpus.protocol import load_protocol, resolve
from sertoolkit.errors import DataError

SCRIPT = "ravdess/ser/local/ravdess"
PROTOCOLS = Path(__file__).parents[2] / "conf" / "protocols"
TOP = "Audio_Speech_Actors_01-24"


@pytest.mark.parametrize("top", ["", f"{TOP}/"])
def test_name_tells_actor_emotion_and_intensity(local_script, make_files, top, tmp_path):
    names = [f"{top}Actor_01/03-01-01-01-01-02-01.wav", f"{top}Actor_12/03-01-05-02-02-01-12.wav"]
    data = local_script(SCRIPT).prepare(make_files(dict.fromkeys(names, "")))
    data.write(tmp_path / "out")
    first, second = data.utt_ids
    assert (first, second) == ("ravdess_01-03-01-01-01-01-02-01", "ravdess_12-03-01-05-02-02-01-12")
    assert data.utt2emo == {first: "neutral", second: "angry"}
    assert data.extra["utt2intensity"] == {first: "normal", second: "strong"}
    assert data.spk2gender == {"ravdess_01": "m", "ravdess_12": "f"}
    assert data.text[second] == "Dogs are sitting by the door"


def test_songs_and_second_trees_are_left_out(local_script, make_files, caplog):
    caplog.set_level(logging.INFO)
    names = (
        "Actor_01/03-01-03-01-01-01-01.wav",
        "Actor_01/03-02-03-01-01-01-01.wav",
        "Actor_01/02-01-03-01-01-01-01.wav",
    )
    corpus = make_files(
        {f"{TOP}/{name}": "" for name in names} | {"copy/Actor_01/03-01-03-01-01-01-01.wav": ""}
    )
    assert len(local_script(SCRIPT).prepare(corpus).wav) == 1
    assert "kept 1 of 3 utterances, 2 songs or videos" in caplog.text


def test_all_unknown_names_are_named_at_once(local_script, make_files):
    names = ("03-01-09-01-01-01-01", "03-01-03-01-01-01-02", "happy")
    corpus = make_files({f"Actor_01/{name}.wav": "" for name in names})
    with pytest.raises(DataError, match="3 faults") as caught:
        local_script(SCRIPT).prepare(corpus)
    assert all(name in str(caught.value) for name in names)


def test_wrong_folder_says_what_was_expected(local_script, tmp_path):
    with pytest.raises(DataError, match="expected folders Actor_01"):
        local_script(SCRIPT).prepare(tmp_path)


def test_real_corpus_has_the_published_counts_and_folds_by_actor(local_script, corpora, tmp_path):
    data = local_script(SCRIPT).prepare(corpora / "RAVDESS")
    data.write(tmp_path / "all")
    actors = len(data.spk2gender)
    labels = Counter(data.utt2emo.values())
    assert labels.pop("neutral") == 4 * actors
    assert set(labels.values()) == {8 * actors}
    for name, kept in (("ravdess4", 28), ("ravdess8", 60)):
        resolved = resolve(load_protocol(PROTOCOLS / f"{name}.yaml"), data)
        assert [len(fold.test) for fold in resolved.folds.values()] == [kept] * actors
