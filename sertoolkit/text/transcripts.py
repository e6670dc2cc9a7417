"""Transcripts in a Kaldi ``text`` list that stands alone, outside a data dir."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sertoolkit.corpus.lists import form_faults, parse_list
from sertoolkit.errors import DataError, report_faults
from sertoolkit.storage import atomic


def read_transcripts(path: str | Path, *, may_be_empty: bool = False) -> dict[str, str]:
    """Read one list of transcripts (or of speakers).

    Args:
        path: lines of an utterance id, a blank, and words
        may_be_empty: an id without words is an empty text, as a recogniser may give, and no fault

    Raises:
        DataError: naming all faults by line; those that can be repaired without loss (order, line ends) are
            no fault here
        FileNotFoundError: if there is no such file

    """
    path = Path(path)
    entries, faults = parse_list(path)
    faults = [fault for fault in faults if not fault.fixable]
    if not may_be_empty:
        faults += form_faults(entries)
    report_faults(str(path), [str(fault) for fault in faults], DataError)
    return entries.values


def write_transcripts(path: str | Path, texts: Mapping[str, str]) -> None:
    """Write one list, sorted; a text may be empty.

    Raises:
        OSError: if it cannot be written

    """
    atomic.write_text(path, "".join(f"{utt_id} {texts[utt_id]}".rstrip() + "\n" for utt_id in sorted(texts)))
