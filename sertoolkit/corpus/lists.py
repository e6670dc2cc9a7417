"""The lists of a data dir (wav.scp, text, utt2spk ...), parsed strictly, with every fault named.

A list is UTF-8 text; each line is an id, one space and a value, ended by a line feed; lines are sorted by id
in the C locale and ids occur once (Kaldi's rules). Some faults lose nothing when repaired ("fixable"):
sorting, line ends, blanks, byte order mark, identical lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

RESERVED = frozenset({"<blank>", "<space>", "<unk>", "<s>", "</s>", "<sos/eos>", "<eps>", "#0"})
_SPACES = re.compile(r"[^\S ]")  # white space other than the plain blank


@dataclass(frozen=True)
class Fault:
    """What is wrong in a list.

    Args:
        name: file name of the list
        line: line number from 1, or 0 for the file as a whole
        message: what was found and expected
        fixable: the repair loses nothing

    """

    name: str
    line: int
    message: str
    fixable: bool = False

    def __str__(self) -> str:
        where = f"{self.name}:{self.line}" if self.line else self.name
        return f"{where}: {self.message}{' (fixable)' if self.fixable else ''}"


@dataclass
class Entries:
    """A parsed list: values and line numbers by id, in the order of the file."""

    name: str
    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)


def fault_of_id(name: str) -> str:
    """What is wrong with an utterance, speaker or recording id; an empty string where nothing is.

    Ids become file names and arguments, so they must not be able to leave a folder or look like an option.
    """
    if not name or " " in name or not name.isprintable():
        return f"id {name!r} must be printable and without blanks"
    if "/" in name or "\\" in name or ".." in name or name.startswith(("-", ".")):
        return f"id {name!r} must not hold '/', '\\' or '..' nor start with '-' or '.'"
    if name in RESERVED or name.startswith("~"):
        return f"id {name!r} is a reserved word"
    if len(name.encode()) > 200:
        return f"id {name[:40]!r}... has over 200 bytes, which file names cannot hold"
    return ""


def parse_list(path: Path) -> tuple[Entries, list[Fault]]:
    """Read a list; lines with faults that are not fixable are left out.

    Args:
        path: the list

    Returns:
        what could be read, in the order of the file, and all faults of form

    Raises:
        OSError: if the file cannot be read

    """
    data = path.read_bytes()
    entries = Entries(path.name)
    faults: list[Fault] = []
    habits: dict[str, list[int]] = {}

    if not data:
        return entries, [Fault(path.name, 0, "is empty")]
    if data.startswith(b"\xef\xbb\xbf"):
        habits["starts with a byte order mark"] = [1]
        data = data[3:]
    raw_lines = data.split(b"\n")
    if raw_lines[-1]:
        habits["the last line has no line end"] = [len(raw_lines)]
    else:
        raw_lines.pop()
    previous = ""
    start = 0
    for number, raw in enumerate(raw_lines, 1):
        line, message = _decode(raw, start)
        start += len(raw) + 1
        if message:
            faults.append(Fault(path.name, number, message))
            continue
        line, found = _clean(line, path.name == "wav.scp")
        for habit in found:
            habits.setdefault(habit, []).append(number)
        if not line:
            continue
        key, _, value = line.partition(" ")
        value = value.lstrip(" ")
        message = fault_of_id(key)
        if key in entries.values:
            if entries.values[key] == value:
                habits.setdefault("line occurs twice", []).append(number)
                continue
            message = f"id {key!r} occurs twice, first in line {entries.lines[key]} with another value"
        if message:
            faults.append(Fault(path.name, number, message))
            continue
        if key < previous:  # Python compares code points, which is the C locale's order of UTF-8
            habits.setdefault("lines are not sorted by id in the C locale", []).append(number)
        previous = key
        entries.values[key] = value
        entries.lines[key] = number
    for habit, numbers in habits.items():
        count = f" ({len(numbers)} lines like this)" if len(numbers) > 1 else ""
        faults.append(Fault(path.name, numbers[0], habit + count, fixable=True))
    return entries, faults


def _decode(raw: bytes, start: int) -> tuple[str, str]:
    if b"\0" in raw:
        return "", f"holds a NUL byte at byte {start + raw.index(0)} of the file"
    try:
        return raw.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return "", f"not UTF-8 at byte {start + error.start} of the file; convert it, for example by iconv"


def _clean(line: str, is_path: bool) -> tuple[str, list[str]]:
    """The line in its proper form, and what had to be changed."""
    found = []
    if line.endswith("\r"):
        found.append("line ends in CR LF (Windows)")
        line = line.rstrip("\r")
    if _SPACES.search(line):
        found.append("holds a tab, no-break space or other white space that is not a plain blank")
        line = _SPACES.sub(" ", line)
    if line.strip(" ") != line:
        found.append("has blanks at its start or end")
        line = line.strip(" ")
    if not line:
        found.append("is blank")
    if not is_path and not unicodedata.is_normalized("NFC", line):
        found.append("is not in the composed form of Unicode (NFC)")
        line = unicodedata.normalize("NFC", line)
    return line, found


def form_faults(entries: Entries) -> list[Fault]:
    """Faults in the values: number of columns, numbers, reserved words, pipes, as the list's name asks."""
    check = _CHECKS.get(entries.name, _check_any)
    faults = []
    for key, value in entries.values.items():
        message = check(value) if value else "has no value after the id"
        if message:
            faults.append(Fault(entries.name, entries.lines[key], f"{key}: {message}"))
    return faults


def duplicates(values: dict[str, str]) -> list[list[str]]:
    """Groups of ids that share one value, each group and all of them sorted."""
    shared = {value for value, count in Counter(values.values()).items() if count > 1}
    groups: dict[str, list[str]] = {value: [] for value in shared}
    for key, value in values.items():
        if value in shared:
            groups[value].append(key)
    return sorted(sorted(group) for group in groups.values())


def _check_any(value: str) -> str:
    return ""


def _check_word(value: str) -> str:
    return f"found {value[:60]!r}, expected one word after the id" if " " in value else ""


def _check_speaker(value: str) -> str:
    return _check_word(value) or fault_of_id(value).replace("id", "speaker id", 1)


def _check_path(value: str) -> str:
    if value.startswith("|") or value.endswith("|"):
        return "is a command (pipe); commands are never run: write its output to a file and give the path"
    return ""


def _check_text(value: str) -> str:
    reserved = sorted(RESERVED & set(value.split()))
    return f"holds the reserved word {reserved[0]!r}" if reserved else ""


def _check_gender(value: str) -> str:
    return "" if value in ("m", "f") else f"found {value[:60]!r}, expected m or f"


def _check_duration(value: str) -> str:
    seconds = to_seconds(value)
    return "" if seconds else f"found {value[:60]!r}, expected seconds greater than 0"


def _check_segment(value: str) -> str:
    fields = value.split()
    if len(fields) != 3:
        return f"found {value[:60]!r}, expected: recording start end"
    start, end = to_seconds(fields[1]), to_seconds(fields[2])
    if start is None or end is None:
        return (
            f"found start {fields[1]!r} and end {fields[2]!r}, expected seconds of at least 0 (an end of "
            "-1 is not allowed)"
        )
    return "" if end > start else f"ends at {end:g} s, not after its start at {start:g} s"


def to_seconds(value: str) -> float | None:
    """A plain decimal number of at least 0, or None."""
    return float(value) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?([eE]-?[0-9]{1,2})?", value) else None


_CHECKS: dict[str, Callable[[str], str]] = {
    "wav.scp": _check_path,
    "text": _check_text,
    "utt2spk": _check_speaker,
    "spk2gender": _check_gender,
    "utt2dur": _check_duration,
    "utt2emo": _check_word,
    "utt2ses": _check_word,
    "segments": _check_segment,
}
