"""Data dirs: written whole and right or not at all, read back equal."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from sertoolkit.corpus.data_dir import DataDir, merge
from sertoolkit.errors import DataError


def make(speaker: str = "anna", *, num_utts: int = 2) -> DataDir:
    ids = [f"{speaker}-{i}" for i in range(num_utts)]
    return DataDir(
        wav={u: f"/corpus/{u}.wav" for u in ids},
        utt2spk=dict.fromkeys(ids, speaker),
        text={u: f"SENTENCE {u[-1]}" for u in ids},
        utt2dur=dict.fromkeys(ids, 1.25),
        utt2emo=dict.fromkeys(ids, "sad"),
        utt2ses=dict.fromkeys(ids, "ses1"),
        utt2raters=dict.fromkeys(ids, "C-E1:Sadness; C-E2:Other"),
        spk2gender={speaker: "f"},
        extra={"utt2sentence": {u: u[-1] for u in ids}},
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    make().write(tmp_path / "data")

    assert DataDir.read(tmp_path / "data") == make()


def test_segments_are_read_as_written(tmp_path: Path) -> None:
    data = DataDir(
        wav={"rec": "/corpus/rec.wav"},
        utt2spk={"a-1": "a", "a-2": "a"},
        segments={"a-1": ("rec", 0.0, 0.1), "a-2": ("rec", 12.345678, 3000.5)},
    )
    data.write(tmp_path / "data")

    assert DataDir.read(tmp_path / "data") == data
    assert (tmp_path / "data" / "segments").read_text() == "a-1 rec 0 0.1\na-2 rec 12.345678 3000.5\n"
    assert data.audio("a-2") == ("/corpus/rec.wav", 12.345678, 3000.5)
    assert make().audio("anna-1") == ("/corpus/anna-1.wav", 0.0, None)


def test_lists_are_sorted_in_the_c_locale_with_speakers_derived(tmp_path: Path) -> None:
    ids = ["b-1", "B-1", "a-10", "a-2", "ä-1"]
    data = DataDir(wav=dict.fromkeys(ids, "x.wav"), utt2spk={u: u[0] for u in ids})
    data.write(tmp_path / "data")

    order = ["B-1", "a-10", "a-2", "b-1", "ä-1"]
    assert [line.split()[0] for line in (tmp_path / "data" / "utt2spk").read_text().splitlines()] == order
    assert (tmp_path / "data" / "spk2utt").read_text() == "B B-1\na a-10 a-2\nb b-1\nä ä-1\n"


def test_lists_without_lines_are_not_written(tmp_path: Path) -> None:
    DataDir(wav={"a-1": "x"}, utt2spk={"a-1": "a"}).write(tmp_path / "data")

    assert sorted(os.listdir(tmp_path / "data")) == ["spk2utt", "utt2spk", "wav.scp"]


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("text", "anna-0", "", "text:1: anna-0: has no value"),
        ("text", "anna-0", "TWO\nLINES", "text: 'anna-0': id or value holds a line break"),
        ("text", "anna-9", "MORE", "text:3: utterance 'anna-9' is not in utt2spk"),
        ("utt2spk", "anna-0", "otto", "expected an id 'otto-<rest>'"),
        ("utt2spk", "anna-9", "anna", "wav.scp: no line for utterance 'anna-9'"),
        ("utt2emo", "anna-0", "very sad", "expected one word"),
        ("utt2dur", "anna-0", -1.0, "expected seconds greater than 0"),
        ("spk2gender", "otto", "m", "spk2gender:2: speaker 'otto' is not in utt2spk"),
        ("wav", "anna-0", "sox x |", "is a command"),
    ],
)
def test_what_a_data_dir_cannot_hold_is_never_written(
    tmp_path: Path, name: str, key: str, value: object, message: str
) -> None:
    make().write(tmp_path / "data")
    broken = make()
    getattr(broken, name)[key] = value
    with pytest.raises(DataError, match="not written") as caught:
        broken.write(tmp_path / "data")

    assert message in str(caught.value)
    assert DataDir.read(tmp_path / "data") == make()
    assert os.listdir(tmp_path) == ["data"]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    make().write(tmp_path / "data")
    (tmp_path / "data" / "text").write_bytes(b"anna-0 \xff\nanna-1 A\nanna-1 B\n")
    (tmp_path / "data" / "wav.scp").unlink()
    with pytest.raises(DataError) as caught:
        DataDir.read(tmp_path / "data")

    for part in ("wav.scp: is missing", "text:1: not UTF-8", "text:3: id 'anna-1' occurs twice"):
        assert part in str(caught.value)


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data dir"):
        DataDir.read(tmp_path / "data")


def test_a_subset_keeps_what_belongs_to_it() -> None:
    both = merge([make("anna"), make("otto")])

    assert both.subset(make("otto").utt_ids) == make("otto")
    assert both.subset(reversed(both.utt_ids)) == both


def test_a_subset_keeps_recordings_of_its_segments_only() -> None:
    data = DataDir(
        wav={"r1": "1.wav", "r2": "2.wav"},
        utt2spk={"a-1": "a", "b-1": "b"},
        segments={"a-1": ("r1", 0, 1), "b-1": ("r2", 0, 1)},
        extra={"reco2file": {"r1": "1", "r2": "2"}, "spk2age": {"a": "30", "b": "40"}},
    )
    part = data.subset(["b-1"])

    assert part.wav == {"r2": "2.wav"}
    assert part.extra == {"reco2file": {"r2": "2"}, "spk2age": {"b": "40"}}


def test_a_subset_of_unknown_utterances_is_refused() -> None:
    with pytest.raises(DataError, match=r"2 faults\s+no utterance 'x'\s+no utterance 'y'"):
        make().subset(["anna-0", "y", "x"])


def test_merged_dirs_hold_all_utterances() -> None:
    both = merge([make("otto"), make("anna")])

    assert both.utt_ids == ["anna-0", "anna-1", "otto-0", "otto-1"]
    assert both.spk2utt == {"anna": ["anna-0", "anna-1"], "otto": ["otto-0", "otto-1"]}
    assert both.spk2gender == {"anna": "f", "otto": "f"}


def test_merging_dirs_with_the_same_utterance_is_refused() -> None:
    with pytest.raises(DataError, match="utt2spk: 'anna-0' occurs in two of them"):
        merge([make("anna"), make("anna")])


def test_a_list_that_only_some_dirs_have_is_left_out_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    other = make("otto")
    other.utt2emo = {}
    with caplog.at_level(logging.WARNING):
        both = merge([make("anna"), other])

    assert both.utt2emo == {}
    assert "utt2emo is left out, since only 1 of 2" in caplog.text


def test_segments_do_not_mix_with_whole_files() -> None:
    segmented = DataDir(wav={"r": "r.wav"}, utt2spk={"b-1": "b"}, segments={"b-1": ("r", 0, 1)})
    with pytest.raises(DataError, match="some data dirs have segments"):
        merge([make("anna"), segmented])
