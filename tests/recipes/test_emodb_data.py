import logging

import pytest

from sertoolkit.errors import DataError

SCRIPT = "emodb/ser/local/emodb"


@pytest.mark.parametrize(
    ("stem", "speaker", "emotion"),
    [
        ("03a01Fa", "emodb_03", "happiness"),
        ("16b10Wb", "emodb_16", "anger"),
        ("08a02Ab", "emodb_08", "fear"),  # A is Angst, not anger
        ("11a04Nd", "emodb_11", "neutral"),
        ("09b01La", "emodb_09", "boredom"),
        ("15a07Ta", "emodb_15", "sadness"),
        ("10a05Ea", "emodb_10", "disgust"),
    ],
)
def test_name_tells_speaker_and_emotion(local_script, make_files, stem, speaker, emotion):
    data = local_script(SCRIPT).prepare(make_files({f"wav/{stem}.wav": ""}))
    assert data.utt2spk == {f"{speaker}-{stem}": speaker}
    assert data.utt2emo == {f"{speaker}-{stem}": emotion}
    assert data.extra["utt2sentence"] == {f"{speaker}-{stem}": stem[2:5]}


def test_all_unknown_names_are_named_at_once(local_script, make_files):
    corpus = make_files(
        {"wav/03a01Fa.wav": "", "wav/99a01Fa.wav": "", "wav/03a01X.wav": "", "wav/03c01Fa.wav": ""}
    )
    with pytest.raises(DataError, match=r"3 faults") as caught:
        local_script(SCRIPT).prepare(corpus)
    assert all(name in str(caught.value) for name in ("99a01Fa", "03a01X", "03c01Fa"))


def test_wrong_folder_says_what_was_expected(local_script, tmp_path):
    with pytest.raises(DataError, match="top folder of the corpus"):
        local_script(SCRIPT).prepare(tmp_path)


def test_real_corpus_has_ten_speakers_and_the_published_counts(local_script, corpora, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data = local_script(SCRIPT).prepare(corpora / "EmoDB")
    data.write(tmp_path / "all")
    labels = list(data.utt2emo.values())
    counts = {name: labels.count(name) for name in ("anger", "happiness", "neutral", "sadness")}
    assert counts == {"anger": 127, "happiness": 71, "neutral": 79, "sadness": 62}
    assert sorted(data.spk2gender.values()) == ["f"] * 5 + ["m"] * 5
    assert "kept 362 of 362" in caplog.text
