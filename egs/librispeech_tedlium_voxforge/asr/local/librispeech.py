#!/usr/bin/env python3
"""Data dirs from LibriSpeech, one a part.

LibriSpeech: about 1,000 h of read audio books, 2,484 readers, 16 kHz FLAC, CC BY 4.0, https://www.openslr.org/12
(Panayotov et al., ICASSP 2015).

    LibriSpeech/SPEAKERS.TXT                                     ``61 | M | test-clean | 8.08 | name``
    LibriSpeech/<part>/<reader>/<chapter>/<reader>-<chapter>-<nnnn>.flac
    LibriSpeech/<part>/<reader>/<chapter>/<reader>-<chapter>.trans.txt

Utterance ids are ``<prefix><reader>-<chapter>-<nnnn>``; the speaker is the reader.

    librispeech.py --corpus_dir corpora/LibriSpeech --parts "train-clean-100 dev-clean:valid" --out data
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.preparation import index_audio, log_kept, run_script
from sertoolkit.errors import DataError, report_faults
from sertoolkit.text.normalise import normalise_english

_NOT_PARTS = ("intro-disclaimers",)


def read_genders(path: Path) -> dict[str, str]:
    """Gender by reader from SPEAKERS.TXT.

    Args:
        path: table of speakers

    Returns:
        ``m`` or ``f`` by reader

    Raises:
        DataError: naming every line that is not understood
    """
    genders, faults = {}, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith(";") or not line.strip():
            continue
        fields = [
            field.strip() for field in line.split("|", maxsplit=4)
        ]  # the official file has a "|" in a name
        if len(fields) != 5 or fields[1] not in ("F", "M"):
            faults.append(
                f"{path}:{number}: found {line!r}, expected 'reader | F or M | part | minutes | name'"
            )
            continue
        genders[fields[0]] = fields[1].lower()
    report_faults("table of speakers", faults, DataError)
    return genders


def _read_chapter(chapter: Path, prefix: str, data: DataDir, faults: list[str]) -> None:
    reader = chapter.parent.name
    trans = chapter / f"{reader}-{chapter.name}.trans.txt"
    if not trans.is_file():
        faults.append(f"{trans}: missing transcripts")
        return
    audio = index_audio(chapter)
    for number, line in enumerate(trans.read_text(encoding="utf-8").splitlines(), start=1):
        name, _, text = line.strip().partition(" ")
        if name not in audio:
            faults.append(f"{trans}:{number}: no audio file for {name!r} in this folder")
            continue
        utt_id = f"{prefix}{name}"
        try:
            data.text[utt_id] = normalise_english(text)
        except DataError as error:
            faults.append(f"{trans}:{number}: {error}")
        data.wav[utt_id] = str(audio.pop(name))
        data.utt2spk[utt_id] = f"{prefix}{reader}"
    faults += [f"{path}: no line in {trans.name}" for path in audio.values()]


def prepare(corpus_dir: Path, part: str, *, prefix: str = "libri_") -> DataDir:
    """One part.

    Args:
        corpus_dir: folder ``LibriSpeech``
        part: such as ``train-clean-100``
        prefix: put before each reader's number, so that corpora can be merged

    Returns:
        data dir with text and spk2gender

    Raises:
        DataError: naming every missing file, transcript and speaker at once
    """
    folder = corpus_dir / part
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such part of LibriSpeech; the folder {corpus_dir} has {list_parts(corpus_dir)}; fetch the part,"
            " or leave it out"
        )
    data = DataDir()
    faults: list[str] = []
    genders = read_genders(corpus_dir / "SPEAKERS.TXT")
    for chapter in sorted(folder.glob("[0-9]*/[0-9]*")):  # not .DS_Store, not a part nested in itself
        _read_chapter(chapter, prefix, data, faults)
        if chapter.parent.name not in genders:
            faults.append(f"{chapter}: reader {chapter.parent.name} is not in SPEAKERS.TXT")
    if not data.wav and not faults:
        faults.append(f"{folder}: no <reader>/<chapter> folder")
    report_faults(f"LibriSpeech {part}", faults, DataError)
    speakers = set(data.utt2spk.values())
    data.spk2gender = {speaker: genders[speaker.removeprefix(prefix)] for speaker in speakers}
    log_kept(f"LibriSpeech {part}", len(data.wav), Counter())
    return data


def list_parts(corpus_dir: Path) -> list[str]:
    """Names of the parts that are there."""
    if not corpus_dir.is_dir():
        raise DataError(f"{corpus_dir}: no such folder; expected the folder LibriSpeech as it is unpacked")
    return sorted(
        p.name for p in corpus_dir.iterdir() if p.is_dir() and p.name not in _NOT_PARTS and "-" in p.name
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder LibriSpeech")
    parser.add_argument(
        "--parts", help="parts to prepare; part:name gives its data dir a name (default: all parts)"
    )
    parser.add_argument("--prefix", default="libri_", help="put before reader numbers (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for one data dir a part")


def _run(args: argparse.Namespace) -> None:
    for item in args.parts.split() if args.parts else list_parts(args.corpus_dir):
        part, _, name = item.partition(":")
        prepare(args.corpus_dir, part, prefix=args.prefix).write(args.out / (name or part))


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
