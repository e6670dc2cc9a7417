#!/usr/bin/env python3
"""Data dir from LJ Speech.

LJ Speech 1.1: 13,100 clips (24 h) of one woman who reads non-fiction in US English, 22.05 kHz WAV, public
domain, https://keithito.com/LJ-Speech-Dataset (Ito and Johnson, 2017).

    LJSpeech-1.1/wavs/LJ001-0001.wav
    LJSpeech-1.1/metadata.csv        ``id|text|text with numbers written out``; no header, quotes are literal

Utterance ids are ``ljspeech-LJ001-0001``.

    ljspeech.py --corpus_dir corpora/LJSpeech-1.1 --out data/local/ljspeech
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


def prepare(corpus_dir: Path) -> DataDir:
    """The clips that have audio.

    Args:
        corpus_dir: folder ``LJSpeech-1.1``

    Returns:
        data dir with text

    Raises:
        DataError: naming all faults at once
    """
    audio = index_audio(corpus_dir / "wavs")
    data, dropped, faults = DataDir(), Counter(), []
    table = corpus_dir / "metadata.csv"
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("|")
        if len(fields) != 3:
            faults.append(f"{table}:{number}: found {len(fields)} fields, expected 'id|text|normalised text'")
            continue
        path = audio.pop(fields[0], None)
        if path is None:
            dropped["without audio"] += 1
            continue
        utt_id = f"ljspeech-{fields[0]}"
        try:
            data.text[utt_id] = normalise_english(fields[2])
        except DataError as error:
            faults.append(f"{table}:{number}: {error}")
        data.wav[utt_id], data.utt2spk[utt_id] = str(path), "ljspeech"
    faults += [f"{path}: no line in {table}" for path in audio.values()]
    report_faults("LJ Speech", faults, DataError)
    log_kept("LJ Speech", len(data.wav), dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder LJSpeech-1.1")
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    prepare(args.corpus_dir).write(args.out)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
