#!/usr/bin/env python3
"""Data dir from the Free Spoken Digit Dataset.

FSDD: the ten digits in English, 50 times by each of 6 speakers, 3,000 recordings, 8 kHz WAV, CC BY-SA 4.0,
https://github.com/Jakobovski/free-spoken-digit-dataset (Jackson et al., 10.5281/zenodo.1342401).

    free-spoken-digit-dataset/recordings/7_jackson_32.wav        ``<digit>_<speaker>_<index>``

Utterance ids are ``fsdd_jackson-7_32``. Many recordings are shorter than 0.3 s.

    fsdd.py --corpus_dir corpora/free-spoken-digit-dataset --out data/local/fsdd
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.preparation import index_audio, log_kept, run_script
from sertoolkit.errors import DataError, report_faults

_DIGITS = ("ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE")
_NAME = re.compile(r"(\d)_([a-z]+)_(\d{1,2})")


def prepare(corpus_dir: Path) -> DataDir:
    """All recordings.

    Args:
        corpus_dir: top folder of the corpus

    Returns:
        data dir with the digit's name as text

    Raises:
        DataError: naming every file name that is not understood
    """
    data, faults = DataDir(), []
    for stem, path in index_audio(corpus_dir / "recordings").items():
        match = _NAME.fullmatch(stem)
        if not match:
            faults.append(f"{path}: expected a name like 7_jackson_32.wav")
            continue
        digit, speaker, index = match.groups()
        utt_id = f"fsdd_{speaker}-{digit}_{int(index):02d}"
        data.wav[utt_id], data.utt2spk[utt_id] = str(path), f"fsdd_{speaker}"
        data.text[utt_id] = _DIGITS[int(digit)]
    report_faults("FSDD", faults, DataError)
    log_kept("FSDD", len(data.wav), Counter())
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder free-spoken-digit-dataset")
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    prepare(args.corpus_dir).write(args.out)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
