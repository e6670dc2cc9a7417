"""Lists of a data dir: every fault of form is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertoolkit.corpus.lists import duplicates, fault_of_id, form_faults, parse_list, to_seconds


def faults_of(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    entries, faults = parse_list(path)
    return [str(fault) for fault in faults + form_faults(entries)]


@pytest.mark.parametrize(
    "content", [b"a-1 HELLO\n", b"a-1 HELLO\na-2 WORLD  TWICE\n", "a-1 ÄÖ €\nä-1 x\n".encode()]
)
def test_a_right_list_has_no_fault(tmp_path: Path, content: bytes) -> None:
    assert faults_of(tmp_path / "text", content) == []


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "text: is empty"),
        (b"a-1 X", "text:1: the last line has no line end (fixable)"),
        (b"\xef\xbb\xbfa-1 X\n", "text:1: starts with a byte order mark (fixable)"),
        (b"a-1 X\r\na-2 Y\r\n", "text:1: line ends in CR LF (Windows) (2 lines like this) (fixable)"),
        (b"a-1 X\na-2 Y \n", "text:2: has blanks at its start or end (fixable)"),
        (b"a-1 X\n a-2 Y\n", "text:2: has blanks at its start or end (fixable)"),
        (b"a-1 X\n\na-2 Y\n", "text:2: is blank (fixable)"),
        (b"a-2 X\na-1 Y\n", "text:2: lines are not sorted by id in the C locale (fixable)"),
        ("z-1 X\nä-1 X\nB-1 Y\n".encode(), "text:3: lines are not sorted by id in the C locale (fixable)"),
        (b"a-1 X\na-1 X\n", "text:2: line occurs twice (fixable)"),
        (b"a-1 X\na-1 Y\n", "text:2: id 'a-1' occurs twice, first in line 1 with another value"),
        (b"a-1\n", "text:1: a-1: has no value after the id"),
    ],
)
def test_a_fault_of_form_is_named_with_its_line(tmp_path: Path, content: bytes, fault: str) -> None:
    assert faults_of(tmp_path / "text", content) == [fault]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a-1\tX\n", "text:1: holds a tab"),
        (b"a-1 X\xc2\xa0Y\n", "text:1: holds a tab, no-break space"),
        (b"a-1 X\na-2 gr\xfcn\n", "text:2: not UTF-8 at byte 12 of the file"),
        (b"a-1 X\na-2 \xed\xa0\x80\n", "text:2: not UTF-8 at byte 10"),
        (b"a-1 X\na-2 \0\n", "text:2: holds a NUL byte at byte 10"),
        ("a-1 u\u0308ber\n".encode(), "text:1: is not in the composed form of Unicode (NFC) (fixable)"),
        (b"a-1 YES <unk> NO\n", "text:1: a-1: holds the reserved word '<unk>'"),
        (b"../../a X\n", "text:1: id '../../a' must not hold '/'"),
        (b"-rf X\n", "text:1: id '-rf' must not"),
        (b"a-\x07 X\n", "text:1: id 'a-\\x07' must be printable"),
    ],
)
def test_bytes_that_a_text_cannot_hold_are_named(tmp_path: Path, content: bytes, part: str) -> None:
    faults = faults_of(tmp_path / "text", content)

    assert len(faults) == 1
    assert faults[0].startswith(part)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("wav.scp", "sox a.flac -t wav - |", "is a command (pipe)"),
        ("wav.scp", "| cat", "is a command (pipe)"),
        ("wav.scp", "a folder/x.wav", ""),
        ("utt2spk", "a b", "expected one word"),
        ("utt2spk", "../a", "speaker id '../a' must not"),
        ("utt2emo", "very sad", "expected one word"),
        ("spk2gender", "w", "expected m or f"),
        ("spk2gender", "f", ""),
        ("utt2dur", "0", "expected seconds greater than 0"),
        ("utt2dur", "nan", "expected seconds"),
        ("utt2dur", "1.25", ""),
        ("segments", "r 0", "expected: recording start end"),
        ("segments", "r 1 -1", "an end of -1 is not allowed"),
        ("segments", "r 1.5 1.5", "ends at 1.5 s, not after its start"),
        ("segments", "r 0 1.5", ""),
        ("utt2raters", "C-E1:Anger; C-E2:Sadness", ""),
    ],
)
def test_values_are_checked_as_the_list_asks(tmp_path: Path, name: str, value: str, part: str) -> None:
    faults = faults_of(tmp_path / name, f"a-1 {value}\n".encode())

    assert len(faults) == bool(part)
    assert part in "".join(faults)


def test_paths_keep_their_own_form_of_unicode(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "wav.scp", "a-1 /corpus/u\u0308.wav\n".encode()) == []


@pytest.mark.parametrize("name", ["a", "a-1", "Ses01F-Ses01F_impro01_F000", "ä", "a.b", "a|b;c$d"])
def test_usual_ids_are_right(name: str) -> None:
    assert fault_of_id(name) == ""


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b", "a\\b", "a..b", "-a", ".a", "~", "<s>", "#0", "n" * 201]
)
def test_ids_that_could_do_harm_are_refused(name: str) -> None:
    assert fault_of_id(name)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("0", 0.0), ("1.5", 1.5), ("-1", None), ("inf", None), ("1e-3", 0.001), ("1 ", None)],
)
def test_seconds_are_plain_numbers(text: str, seconds: float | None) -> None:
    assert to_seconds(text) == seconds


def test_duplicates_are_grouped_and_sorted() -> None:
    assert duplicates({}) == []
    assert duplicates({"b": "x", "c": "y", "a": "x", "d": "z", "e": "z"}) == [["a", "b"], ["d", "e"]]
