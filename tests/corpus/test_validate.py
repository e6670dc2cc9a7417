"""validate finds everything and changes nothing; fix repairs the harmless and hides nothing."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.validate import fix, validate
from sertoolkit.errors import DataError


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Three utterances of two speakers, half a second of audio each."""
    data = DataDir()
    for number, utt_id in enumerate(("anna-1", "anna-2", "otto-1")):
        path = tmp_path / f"{utt_id}.wav"
        soundfile.write(path, np.full(8000, 0.1 * number + 0.1), 16000)
        data.wav[utt_id] = str(path)
        data.utt2spk[utt_id] = utt_id[:4]
        data.text[utt_id] = "HELLO"
        data.utt2dur[utt_id] = 0.5
    data.write(tmp_path / "data")
    return tmp_path / "data"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    if old not in text:
        raise LookupError(f"{old!r} is not in {text!r}")
    path.write_text(text.replace(old, new))


def test_a_right_data_dir_has_no_faults(data_dir: Path) -> None:
    assert validate(data_dir, needs=("text", "utt2dur"), audio=True) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("text", "anna-2 HELLO\n", "", "text: no line for utterance 'anna-2' (utt2spk:2)"),
        ("text", "anna-2 HELLO", "anna-2", "text:2: anna-2: has no value after the id"),
        (
            "text",
            "otto-1 HELLO\n",
            "otto-1 HELLO\notto-2 X\n",
            "text:4: utterance 'otto-2' is not in utt2spk",
        ),
        ("utt2spk", "anna-1 anna", "anna-1 anna f", "utt2spk:1: anna-1: found 'anna f', expected one word"),
        ("utt2spk", "otto-1 otto", "otto-1 tto", "expected an id 'tto-<rest>'"),
        ("spk2utt", "anna anna-1 anna-2", "anna anna-1", "spk2utt: is not the inverse of utt2spk, first at"),
        ("spk2utt", "anna-1 anna-2", "anna-1 anna-2 anna-2", "spk2utt: is not the inverse of utt2spk"),
        ("wav.scp", "anna-2.wav", "anna-3.wav", "anna-3.wav does not exist"),
        ("wav.scp", "/anna-2.wav", "", "is not a file"),
        ("utt2dur", "anna-2 0.5", "anna-2 0.6", "utt2dur:2: anna-2: says 0.6 s, but the audio has 0.500 s"),
    ],
)
def test_a_fault_is_named_with_file_and_line(
    data_dir: Path, name: str, old: str, new: str, fault: str
) -> None:
    rewrite(data_dir / name, old, new)
    before = contents(data_dir)
    faults = validate(data_dir, audio=True)

    assert any(line.startswith(str(data_dir)) and fault in line for line in faults), faults
    assert contents(data_dir) == before


@pytest.mark.parametrize("name", ["text", "utt2spk", "wav.scp", "spk2utt", "utt2emo"])
def test_a_missing_list_is_named(data_dir: Path, name: str) -> None:
    (data_dir / name).unlink(missing_ok=True)
    needs = ("text", "utt2emo") if name == "utt2emo" else ("text",)

    assert any(f"{data_dir}/{name}: is missing" in fault for fault in validate(data_dir, needs=needs))


def test_all_faults_are_found_at_once(data_dir: Path) -> None:
    (data_dir / "text").write_bytes(b"anna-1 A\r\nanna-2 \xff\n")
    rewrite(data_dir / "wav.scp", "otto-1.wav", "missing.wav")
    faults = "\n".join(validate(data_dir, needs=("text", "utt2emo")))

    for part in (
        "text:1: line ends in CR LF",
        "text:2: not UTF-8",
        "'otto-1'",
        "missing.wav",
        "utt2emo: is missing",
    ):
        assert part in faults


def test_speakers_must_sort_as_their_utterances_do(data_dir: Path) -> None:
    ids = ["a!b-1", "a-1", "a-2"]  # "!" sorts before "-"
    data = DataDir(wav=dict.fromkeys(ids, "x"), utt2spk={u: u[:-2] for u in ids})
    with pytest.raises(DataError, match="speaker 'a' comes after 'a!b'"):
        data.write(data_dir)


def test_cut_audio_is_found_when_audio_is_opened(data_dir: Path) -> None:
    path = Path(DataDir.read(data_dir).wav["anna-2"])
    path.write_bytes(path.read_bytes()[:-10])

    assert validate(data_dir) == []
    assert [fault for fault in validate(data_dir, audio=True) if "wav.scp:2" in fault and "is cut" in fault]


def test_segments_must_end_inside_their_recording(data_dir: Path, tmp_path: Path) -> None:
    data = DataDir(
        wav={"rec": str(tmp_path / "anna-1.wav")},
        utt2spk={"a-1": "a", "a-2": "a"},
        segments={"a-1": ("rec", 0.0, 0.505), "a-2": ("rec", 0.2, 0.7)},
    )
    data.write(tmp_path / "segmented")

    (fault,) = validate(tmp_path / "segmented", needs=(), audio=True)
    assert "segments:2: a-2: ends at 0.7 s, but recording 'rec' has 0.500 s" in fault


def test_segments_and_recordings_must_agree(tmp_path: Path, data_dir: Path) -> None:
    data = DataDir(
        wav={"rec": "x", "other": "y"}, utt2spk={"a-1": "a"}, segments={"a-1": ("wreck", 0.0, 0.5)}
    )
    with pytest.raises(DataError) as caught:
        data.write(tmp_path / "segmented")

    assert "wav.scp: no line for recording 'wreck' (segments:1)" in str(caught.value)
    assert "wav.scp:1: recording 'other' is not in segments" in str(caught.value)


def test_the_same_audio_under_two_ids_is_warned_of(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewrite(data_dir / "wav.scp", "anna-2.wav", "anna-1.wav")
    with caplog.at_level(logging.WARNING):
        assert validate(data_dir) == []

    assert "the same audio file under 2 ids: anna-1, anna-2" in caplog.text


def test_a_large_data_dir_is_checked_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"x")
    ids = [f"s{i % 100:03d}-{i:06d}" for i in range(20_000)]
    data = DataDir(
        wav=dict.fromkeys(ids, str(tmp_path / "a.wav")),
        utt2spk={u: u[:4] for u in ids},
        text=dict.fromkeys(ids, "HELLO THERE"),
    )
    data.write(tmp_path / "data")
    start = time.process_time()

    assert validate(tmp_path / "data") == []
    assert time.process_time() - start < 2  # 100 000 in 10 s


def test_fix_repairs_what_loses_nothing(data_dir: Path) -> None:
    expected = contents(data_dir)
    lines = expected["text"].splitlines(keepends=True)
    (data_dir / "text").write_bytes(
        b"\xef\xbb\xbf"
        + lines[2]
        + lines[0].replace(b"\n", b" \r\n")
        + b"\n"
        + lines[1].replace(b" ", b"\t")
        + lines[2]
    )
    (data_dir / "spk2utt").unlink()
    assert validate(data_dir)
    done = fix(data_dir)

    assert contents(data_dir) == expected
    assert validate(data_dir) == []
    assert len([line for line in done if line.startswith("text: repaired")]) == 7


def test_fix_keeps_the_lists_as_they_were(data_dir: Path) -> None:
    (data_dir / "text").write_bytes(b"otto-1 C\nanna-1 A\nanna-2 B\n")
    fix(data_dir)

    assert (data_dir / ".backup" / "text").read_bytes() == b"otto-1 C\nanna-1 A\nanna-2 B\n"
    assert [path.name for path in (data_dir / ".backup").iterdir()] == ["text"]


def test_fix_cuts_lists_to_what_all_have_and_counts(data_dir: Path) -> None:
    rewrite(data_dir / "text", "anna-2 HELLO\n", "")
    rewrite(data_dir / "utt2dur", "otto-1 0.5", "otto-2 0.5")
    done = fix(data_dir)

    assert DataDir.read(data_dir).utt_ids == ["anna-1"]
    assert validate(data_dir) == []
    assert "wav.scp: kept 1 of 3 lines: the others are not in all lists" in done


def test_fix_cuts_segments_where_their_recording_ends(tmp_path: Path, data_dir: Path) -> None:
    data = DataDir(
        wav={"rec": str(tmp_path / "anna-1.wav")},
        utt2spk={"a-1": "a", "a-2": "a", "a-3": "a"},
        segments={"a-1": ("rec", 0.0, 0.25), "a-2": ("rec", 0.2, 0.7), "a-3": ("rec", 0.5, 0.7)},
        utt2dur={"a-1": 0.25, "a-2": 0.5, "a-3": 0.2},
    )
    data.write(tmp_path / "segmented")
    done = fix(tmp_path / "segmented")

    assert "segments: 1 cut where their recording ends, 1 left out that begin after it" in done
    segments = DataDir.read(tmp_path / "segmented").segments
    assert segments == {"a-1": ("rec", 0.0, 0.25), "a-2": ("rec", 0.2, 0.5)}
    assert validate(tmp_path / "segmented", needs=(), audio=True) == []


@pytest.mark.parametrize(
    "text", [b"anna-1 A\nanna-1 B\nanna-2 C\notto-1 D\n", b"anna-1 \xff\n", b"../x A\n", b"anna-1 \0\n"]
)
def test_fix_changes_nothing_where_a_decision_is_needed(data_dir: Path, text: bytes) -> None:
    (data_dir / "text").write_bytes(text)
    rewrite(data_dir / "utt2dur", "anna-1 0.5\n", "anna-1 0.5 \n")
    before = contents(data_dir)
    with pytest.raises(DataError, match="need a decision"):
        fix(data_dir)

    assert contents(data_dir) == before


def test_fix_never_empties_a_data_dir(data_dir: Path) -> None:
    (data_dir / "text").write_text("berta-1 X\n")
    before = contents(data_dir)
    with pytest.raises(DataError, match="no utterance is in all lists"):
        fix(data_dir)

    assert contents(data_dir) == before


def test_fix_of_a_right_data_dir_does_nothing(data_dir: Path) -> None:
    before = contents(data_dir)

    assert fix(data_dir) == []
    assert contents(data_dir) == before
    assert not (data_dir / ".backup").exists()
