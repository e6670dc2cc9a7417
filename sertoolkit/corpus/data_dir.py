"""Kaldi data directories: who spoke, what was said, what was felt.

    wav.scp text utt2spk spk2utt        + segments utt2dur utt2emo utt2ses utt2raters spk2gender, and any
    other utt2* or spk2*

Utterance ids are "<speaker>-<rest>". With `segments` (utterance -> recording start end) wav.scp is keyed by
recording. A relative audio path counts from the working directory, as in Kaldi.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from sertoolkit.corpus.lists import Entries, Fault, form_faults, parse_list
from sertoolkit.errors import DataError, report_faults
from sertoolkit.storage.atomic import atomic_dir

logger = logging.getLogger(__name__)

_EXTRA_PREFIXES = ("utt2", "spk2", "reco2")


@dataclass
class DataDir:
    """A data directory in memory.

    Args:
        wav: path by utterance id, or by recording id where there are segments
        utt2spk: speaker by utterance id; this list says which utterances there are
        text: transcript by utterance id
        segments: (recording id, start, end) by utterance id, in seconds
        utt2dur: duration by utterance id, in seconds
        utt2emo: label by utterance id, as the corpus names it
        utt2ses: session by utterance id
        utt2raters: ratings by utterance id, as text
        spk2gender: m or f by speaker id
        extra: other lists by file name (utt2*, spk2*, reco2*)

    """

    wav: dict[str, str] = field(default_factory=dict)
    utt2spk: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    segments: dict[str, tuple[str, float, float]] = field(default_factory=dict)
    utt2dur: dict[str, float] = field(default_factory=dict)
    utt2emo: dict[str, str] = field(default_factory=dict)
    utt2ses: dict[str, str] = field(default_factory=dict)
    utt2raters: dict[str, str] = field(default_factory=dict)
    spk2gender: dict[str, str] = field(default_factory=dict)
    extra: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def utt_ids(self) -> list[str]:
        """All utterance ids, sorted."""
        return sorted(self.utt2spk)

    @property
    def spk2utt(self) -> dict[str, list[str]]:
        """Sorted utterance ids by speaker, speakers sorted."""
        spk2utt: dict[str, list[str]] = {speaker: [] for speaker in sorted(set(self.utt2spk.values()))}
        for utt_id in self.utt_ids:
            spk2utt[self.utt2spk[utt_id]].append(utt_id)
        return spk2utt

    def audio(self, utt_id: str) -> tuple[str, float, float | None]:
        """Where an utterance lies: path, start in seconds, end in seconds or None for the whole file."""
        if self.segments:
            recording, start, end = self.segments[utt_id]
            return self.wav[recording], start, end
        return self.wav[utt_id], 0.0, None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> DataDir:
        """Read a data directory.

        Only the form of each list is checked here; :func:`sertoolkit.corpus.validate.validate` compares them
        too.

        Args:
            path: the directory

        Raises:
            DataError: if wav.scp or utt2spk is missing, or lists have faults; all of them are named

        """
        lists, faults = parse_lists(path)
        report_faults(
            f"data dir {path} (sertoolkit fix-data repairs the fixable)", [str(f) for f in faults], DataError
        )
        values = {name: entries.values for name, entries in lists.items()}
        return cls._from_lists(values)

    @classmethod
    def _from_lists(cls, values: dict[str, dict[str, str]]) -> DataDir:
        values = dict(values)
        values.pop("spk2utt", None)
        segments = {}
        for utt_id, value in values.pop("segments", {}).items():
            recording, start, end = value.split()
            segments[utt_id] = (recording, float(start), float(end))
        known = {name: values.pop(_FILES[name], {}) for name in _FILES if name not in ("segments", "utt2dur")}
        utt2dur = {utt_id: float(value) for utt_id, value in values.pop("utt2dur", {}).items()}
        return cls(**known, segments=segments, utt2dur=utt2dur, extra=values)

    def lists(self) -> dict[str, dict[str, str]]:
        """All lists that have lines, by file name, as text; spk2utt is derived."""
        lists: dict[str, dict[str, str]] = {_FILES[name]: getattr(self, name) for name in _FILES}
        lists["segments"] = {
            u: f"{reco} {_seconds(start)} {_seconds(end)}" for u, (reco, start, end) in self.segments.items()
        }
        lists["utt2dur"] = {utt_id: _seconds(duration) for utt_id, duration in self.utt2dur.items()}
        lists["spk2utt"] = {speaker: " ".join(utt_ids) for speaker, utt_ids in self.spk2utt.items()}
        return {name: values for name, values in {**self.extra, **lists}.items() if values}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the directory whole or not at all; an existing one is replaced.

        Args:
            path: the directory

        Raises:
            DataError: if the lists do not agree or hold what a data dir cannot hold; all faults are named
            OSError: if it cannot be written

        """
        from sertoolkit.corpus.validate import find_faults

        broken = [
            f"{name}: {key!r}: id or value holds a line break"
            for name, values in self.lists().items()
            for key, value in values.items()
            if "\n" in key or "\n" in str(value)
        ]
        report_faults(f"data dir {path}, not written", broken, DataError)
        with atomic_dir(path) as folder:
            for name, values in self.lists().items():
                (folder / name).write_text(format_list(values), encoding="utf-8")
            faults = [str(fault) for fault in find_faults(folder, needs=(), audio="ignore")]
            report_faults(f"data dir {path}, not written", faults, DataError)

    def subset(self, utt_ids: Iterable[str]) -> DataDir:
        """The data of some utterances, with their speakers and recordings only.

        Args:
            utt_ids: which; their order does not matter

        Raises:
            DataError: if some of them are not here

        """
        kept = set(utt_ids)
        unknown = sorted(kept - set(self.utt2spk))
        report_faults("subset of a data dir", [f"no utterance {utt_id!r}" for utt_id in unknown], DataError)
        speakers = {self.utt2spk[utt_id] for utt_id in kept}
        recordings = {self.segments[utt_id][0] for utt_id in kept} if self.segments else kept
        ids = {"wav": recordings, "spk2": speakers, "reco": recordings}
        new = {
            name: {
                k: v for k, v in getattr(self, name).items() if k in ids.get(name, ids.get(name[:4], kept))
            }
            for name in _FILES
        }
        extra = {
            name: {k: v for k, v in values.items() if k in ids.get(name[:4], kept)}
            for name, values in self.extra.items()
        }
        return DataDir(**new, extra=extra)


def merge(dirs: Sequence[DataDir]) -> DataDir:
    """One data dir of several; an optional list that only some of them have is left out with a warning.

    Args:
        dirs: at least one

    Raises:
        DataError: if an id occurs in two of them with different values

    """
    # Segments rename the keys of wav.scp, so either all have them or they are made nowhere.
    if len({bool(part.segments) for part in dirs}) > 1:
        raise DataError(
            "merge: some data dirs have segments and some have not; cut the segments into files first"
        )
    tables = [part.lists() for part in dirs]
    merged: dict[str, dict[str, str]] = {}
    clashes: list[str] = []
    for name in sorted({name for table in tables for name in table} - {"spk2utt"}):
        having = [table[name] for table in tables if name in table]
        if len(having) < len(tables):
            logger.warning(
                "merge: %s is left out, since only %d of %d data dirs have it", name, len(having), len(tables)
            )
            continue
        merged[name] = {}
        for values in having:
            for key, value in values.items():
                repeated = key in merged[name] and (name == "utt2spk" or merged[name][key] != value)
                if repeated:
                    clashes.append(f"{name}: {key!r} occurs in two of them")
                merged[name][key] = value
    report_faults("merge of data dirs; ids must differ, e.g. by a prefix of the corpus", clashes, DataError)
    return DataDir._from_lists(merged)


def parse_lists(path: str | os.PathLike[str]) -> tuple[dict[str, Entries], list[Fault]]:
    """All lists of a data dir by file name, and the faults of their form.

    Raises:
        DataError: if there is no such directory

    """
    path = Path(path)
    if not path.is_dir():
        raise DataError(f"{path}: no such data dir; run the stage that prepares the data")
    known = {*_FILES.values(), "spk2utt"}
    names = sorted(
        p.name
        for p in path.iterdir()
        if p.is_file() and (p.name in known or p.name.startswith(_EXTRA_PREFIXES))
    )
    faults = [Fault(name, 0, "is missing") for name in ("wav.scp", "utt2spk") if name not in names]
    lists = {}
    for name in names:
        lists[name], found = parse_list(path / name)
        faults += found + form_faults(lists[name])
    return lists, faults


def format_list(values: dict[str, str]) -> str:
    """The text of a list, sorted in the C locale."""
    return "".join(f"{key} {values[key]}\n" for key in sorted(values))


def _seconds(value: float) -> str:
    """Shortest text that keeps microseconds, without exponent."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


_FILES = {f.name: "wav.scp" if f.name == "wav" else f.name for f in fields(DataDir) if f.name != "extra"}
