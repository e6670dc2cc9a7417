#!/usr/bin/env python3
"""Data dir from the CSTR VCTK corpus.

VCTK: about 44 h, 109 speakers of English with many accents who read newspaper sentences; 001-024 are
read by all. 48 kHz, ODC-By 1.0 (release 0.92: CC BY 4.0), https://datashare.ed.ac.uk/handle/10283/2651
(Veaux, Yamagishi and MacDonald).

    VCTK-Corpus/wav48/p225/p225_001.wav      release 0.92: wav48_silence_trimmed/p225/p225_001_mic1.flac
    VCTK-Corpus/txt/p225/p225_001.txt

Utterance ids are ``vctk_p225-001``. Recordings without a text (all of p315) are dropped.

    vctk.py --corpus_dir corpora/VCTK-Corpus --out data/local/vctk
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

_AUDIO_FOLDERS = ("wav48", "wav48_silence_trimmed")


def prepare(corpus_dir: Path) -> DataDir:
    """All speakers that are there.

    Args:
        corpus_dir: folder ``VCTK-Corpus``

    Returns:
        data dir with text

    Raises:
        DataError: naming all faults at once
    """
    top = next((corpus_dir / name for name in _AUDIO_FOLDERS if (corpus_dir / name).is_dir()), None)
    if top is None:
        raise DataError(
            f"{corpus_dir}: expected a folder {' or '.join(_AUDIO_FOLDERS)}; is this the right --corpus_dir?"
        )
    data, dropped, faults = DataDir(), Counter(), []
    for folder in sorted(p for p in top.iterdir() if p.is_dir()):
        for stem, path in index_audio(folder).items():
            if stem.endswith("_mic2"):
                dropped["of the second microphone"] += 1
                continue
            name = stem.removesuffix("_mic1")
            text = corpus_dir / "txt" / folder.name / f"{name}.txt"
            if not text.is_file():
                dropped["without a text"] += 1
                continue
            speaker, _, number = name.partition("_")
            utt_id = f"vctk_{speaker}-{number}"
            try:
                data.text[utt_id] = normalise_english(text.read_text(encoding="utf-8"))
            except DataError as error:
                faults.append(f"{text}: {error}")
            data.wav[utt_id], data.utt2spk[utt_id] = str(path), f"vctk_{speaker}"
    report_faults("VCTK", faults, DataError)
    log_kept("VCTK", len(data.wav), dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder VCTK-Corpus")
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    prepare(args.corpus_dir).write(args.out)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
