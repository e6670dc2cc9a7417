#!/usr/bin/env python3
"""Data dirs from TED-LIUM release 2, one a part.

TED-LIUM 2: about 200 h of English talks, 1,495 of them, cut by the segments of its STM files, 16 kHz SPHERE,
CC BY-NC-ND 3.0, https://www.openslr.org/19 (Rousseau, Deleglise and Esteve, LREC 2014).

    TEDLIUM_release2/<train|dev|test>/sph/<Person>_<Year>.sph
    TEDLIUM_release2/<train|dev|test>/stm/<Person>_<Year>.stm
        <talk> 1 <talk> 14.31 16.72 <o,f0,male> so it 's what i do(2) <sil> {NOISE}

Some people gave several talks, so the speaker is the name before the year; utterance ids are
``tedlium_<Person>-<Year>-<start>-<end>`` in milliseconds. Fillers, pronunciation marks and names of utterances in
parentheses are removed, parted contractions are joined. Segments with ``<unk>``, of which nobody knows the
letters, are dropped from every part, dev and test too, with those of words that cannot be spelled and those that the
STM excludes from scoring; the log counts them by part.

    tedlium.py --corpus_dir corpora/TEDLIUM_release2 --out data/local/tedlium
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from durations import probe_all

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.lists import to_seconds
from sertoolkit.corpus.preparation import log_kept, run_script
from sertoolkit.errors import AudioError, DataError, report_faults
from sertoolkit.text.normalise import normalise_english

PARTS = ("train", "dev", "test")
_LABEL = re.compile(r"^<(?!unk>|sil>)[^<>]*>\s*")  # <o,f0,male>; of dev also <F0_M>, <NA>
_FILLERS = re.compile(r"\([^()]*\)|\{[^{}]*\}|\[[^\[\]]*\]|<sil>")
_PARTED = re.compile(r"(?<=\w) +(?='(?:s|m|re|ve|ll|d|t)\b)", re.IGNORECASE)
_YEAR = re.compile(r"_((?:19|20)\d\d.*)")


def clean_text(text: str) -> str:
    """The words of a segment.

    Args:
        text: what stands behind the label in the STM

    Returns:
        words in the alphabet of the recipes

    Raises:
        DataError: if there is none, or some cannot be spelled

    Examples:
        >>> clean_text("it 's {NOISE} what i do(2) <sil> (AlGore_2009-1.00)")
        "IT'S WHAT I DO"

    """
    return normalise_english(_PARTED.sub("", " ".join(_FILLERS.sub(" ", text).split())))


def _names(talk: str) -> tuple[str, str]:
    """Speaker and rest of the utterance ids of a talk."""
    # "-" ends the speaker in an id; ids sort as their speakers do if no character of a name sorts before it.
    person, *year = _YEAR.split(talk, maxsplit=1)
    return f"tedlium_{re.sub(r'[^A-Za-z0-9_]', '_', person)}", year[0] if year else "talk"


def _read_talk(
    stm: Path, sph: Path, duration: float, data: DataDir, dropped: Counter[str], faults: list[str]
) -> int:
    """Add the segments of a talk; the number of those that were cut where the recording ends."""
    speaker, rest = _names(stm.stem)
    recording = f"tedlium_{stm.stem}"
    num_cut = 0
    for number, line in enumerate(stm.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip() or line.startswith(";;"):
            continue
        talk, _, _, first, last, words, *_ = [*line.split(maxsplit=5), *6 * [""]]
        start, end = to_seconds(first), to_seconds(last)
        if talk != stm.stem or start is None or end is None or end <= start:
            faults.append(
                f"{stm}:{number}: found {line[:80]!r}, expected '{stm.stem} 1 speaker start end label words'"
            )
            continue
        text, reason = _words(_LABEL.sub("", words))
        if start >= duration - 0.001:
            reason = "that begin after the end of the recording"
        utt_id = f"{speaker}-{rest}-{round(start * 1000):08d}-{round(end * 1000):08d}"
        if not reason and utt_id in data.segments:
            reason = "that stand twice"
        if reason:
            dropped[reason] += 1
            continue
        if end > duration:  # times are rounded
            num_cut, end = num_cut + 1, int(duration * 1000) / 1000
        data.text[utt_id], data.utt2spk[utt_id] = text, speaker
        data.segments[utt_id], data.utt2dur[utt_id] = (recording, start, end), end - start
        data.wav[recording] = str(sph.absolute())
    return num_cut


def _words(text: str) -> tuple[str, str]:
    """Words of a segment, and why it is dropped; the reason is empty if it is not."""
    if text.strip() == "ignore_time_segment_in_scoring":
        return "", "excluded from scoring"
    if "<unk>" in text:
        return "", "with <unk>"
    try:
        return clean_text(text), ""
    except DataError:
        return "", "without words that can be spelled"


def prepare(corpus_dir: Path, part: str, *, num_jobs: int = 1) -> DataDir:
    """One part.

    Args:
        corpus_dir: folder ``TEDLIUM_release2``
        part: train, dev or test
        num_jobs: threads that look at audio

    Returns:
        data dir with text, segments and utt2dur

    Raises:
        DataError: naming every line that is not understood, every file that is missing or damaged
    """
    folder = corpus_dir / part
    talks: dict[str, dict[str, Path]] = {}
    for kind in ("sph", "stm"):
        if not (folder / kind).is_dir():
            raise DataError(
                f"{folder / kind}: no such folder; expected the folder TEDLIUM_release2 as it is unpacked"
            )
        talks[kind] = {p.stem: p for p in sorted((folder / kind).glob(f"*.{kind}")) if p.name[0] != "."}
    stms, sphs = talks["stm"], talks["sph"]
    faults = [f"{folder}: no recording sph/{name}.sph of stm/{name}.stm" for name in stms if name not in sphs]
    faults += [f"{folder}: no segments stm/{name}.stm of sph/{name}.sph" for name in sphs if name not in stms]
    headers = probe_all(map(str, sphs.values()), num_jobs=num_jobs)
    data, dropped, num_cut = DataDir(), Counter(), 0
    for name, stm in stms.items():
        header = headers.get(str(sphs.get(name)))
        if isinstance(header, AudioError):
            faults.append(str(header))
        elif header:
            num_cut += _read_talk(stm, sphs[name], header.duration, data, dropped, faults)
    if not data.utt2spk and not faults:
        faults.append(f"{folder}: no segment in stm/*.stm")
    report_faults(f"TED-LIUM {part}", faults, DataError)
    log_kept(f"TED-LIUM {part} ({num_cut} cut where the recording ends)", len(data.utt2spk), dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder TEDLIUM_release2")
    parser.add_argument("--nj", type=int, default=1, help="threads that look at audio (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the data dirs train, dev, test")


def _run(args: argparse.Namespace) -> None:
    for part in PARTS:
        prepare(args.corpus_dir, part, num_jobs=args.nj).write(args.out / part)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
