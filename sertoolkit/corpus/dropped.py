"""Utterances that were taken out of a data dir: which, of whom, and why.

They leave in one place, `fix-data --drop LIST`, so that features, folds, transcripts and scores agree on what is
left. A list to drop has lines "<utterance> <reason>"; `extract` writes one of audio that it refuses. The data dir
keeps the file ``dropped``, lines "<utterance> <speaker> <reason>".
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sertoolkit.errors import DataError, report_faults
from sertoolkit.storage.atomic import write_text

DROPPED = "dropped"  # file of a data dir


def read_drop_list(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reason by utterance of a list to drop; "listed" where a line gives none.

    Raises:
        DataError: if there is no such file, or it is not UTF-8

    """
    return {utt_id: reason or "listed" for utt_id, reason in _read(Path(path)).items()}


def check_drop_list(drop: Mapping[str, str], data_dirs: Sequence[Path], *, source: Path) -> str:
    """Compare a list to drop with the data dirs that it is for.

    Args:
        drop: reason by utterance
        data_dirs: what left them before counts as theirs
        source: of the list

    Returns:
        what to say of ids that are in none of them; empty where there are none

    Raises:
        DataError: if no id is in any of them: the list would do nothing

    """
    known = {
        utt_id for data_dir in data_dirs for utt_id in (_ids(data_dir / "utt2spk") | _ids(data_dir / DROPPED))
    }
    unknown = sorted(drop.keys() - known)
    if not unknown:
        return ""
    more = ", ..." if len(unknown) > 5 else ""
    text = f"{source}: {len(unknown)} of {len(drop)} ids are not here: {', '.join(unknown[:5])}{more}"
    if len(unknown) == len(drop):
        raise DataError(
            f"{text}; expected ids of {', '.join(str(data_dir / 'utt2spk') for data_dir in data_dirs)}"
        )
    return text


def write_drop_list(path: str | os.PathLike[str], reasons: Mapping[str, str]) -> None:
    """Write a list to drop.

    Args:
        path: the file
        reasons: reason in a word or two, by utterance

    """
    write_text(path, "".join(f"{utt_id} {reasons[utt_id]}\n" for utt_id in sorted(reasons)))


def read_dropped(data_dir: str | os.PathLike[str]) -> dict[str, tuple[str, str]]:
    """(Speaker, reason) by utterance that was taken out of a data dir; empty where none was.

    Raises:
        DataError: if the record is damaged

    """
    path = Path(data_dir) / DROPPED
    values = _read(path) if path.exists() else {}
    pairs = {utt_id: value.partition(" ") for utt_id, value in values.items()}
    faults = [f"{path}: utterance {u}: no speaker and reason" for u, (_, _, why) in pairs.items() if not why]
    report_faults(f"data dir {data_dir}", faults, DataError)
    return {utt_id: (speaker, reason) for utt_id, (speaker, _, reason) in pairs.items()}


def add_dropped(data_dir: str | os.PathLike[str], dropped: Mapping[str, tuple[str, str]]) -> None:
    """Note utterances that are about to leave a data dir, beside those that left before.

    Args:
        data_dir: the data dir
        dropped: (speaker, reason) by utterance

    """
    rows = read_dropped(data_dir) | dict(dropped)
    write_drop_list(Path(data_dir) / DROPPED, {utt_id: " ".join(row) for utt_id, row in rows.items()})


def dropped_in_words(dropped: Mapping[str, tuple[str, str]]) -> str:
    """Counts by reason and by speaker, or "none".

    Examples:
        >>> dropped_in_words({"a-1": ("a", "too short"), "a-2": ("a", "unreadable"), "b-1": ("b", "too short")})
        '3 (too short 2, unreadable 1; of speakers a 2, b 1)'

    """
    if not dropped:
        return "none"
    speakers, reasons = (
        ", ".join(f"{name} {count}" for name, count in sorted(Counter(column).items()))
        for column in zip(*dropped.values(), strict=True)
    )
    return f"{len(dropped)} ({reasons}; of speakers {speakers})"


def _ids(path: Path) -> set[str]:
    return set(_read(path)) if path.exists() else set()


def _read(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise DataError(f"{path}: no such list of utterances; expected lines `<utterance> <reason>`")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}") from error
    pairs = (line.split(None, 1) for line in lines if line.strip())
    return {utt_id: " ".join(value).strip() for utt_id, *value in pairs}
