#!/usr/bin/env python3
"""Data dir from CMU ARCTIC.

CMU ARCTIC: 1,132 sentences read by each of several speakers (about 1 h each; US English bdl m, slt f, clb f,
rms m; others with accents), 16 kHz WAV, free for any use with its notice kept, http://festvox.org/cmu_arctic
(Kominek and Black, SSW5 2004).

    CMU_ARCTIC/cmu_us_<spk>_arctic/wav/arctic_a0001.wav
    CMU_ARCTIC/cmu_us_<spk>_arctic/etc/txt.done.data             ``( arctic_a0001 "Author of ..." )``

Utterance ids are ``arctic_<spk>-a0001``. All speakers read the same sentences. Those with digits are dropped.

    arctic.py --corpus_dir corpora/CMU_ARCTIC --out data/local/arctic
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
from sertoolkit.text.normalise import normalise_english

_LINE = re.compile(r'\( *arctic_([ab]\d{4}) +"(.*)" *\)')


def _read_speaker(folder: Path, data: DataDir, dropped: Counter[str], faults: list[str]) -> None:
    speaker = f"arctic_{folder.name.split('_')[2]}"
    audio = index_audio(folder / "wav")
    table = folder / "etc" / "txt.done.data"
    for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        if not match:
            faults.append(f"{table}:{number}: found {line!r}, expected '( arctic_a0001 \"text\" )'")
            continue
        name, text = match.groups()
        path = audio.pop(f"arctic_{name}", None)
        if path is None:
            dropped["without audio"] += 1
        elif re.search(r"\d", text):
            dropped["with digits in the text"] += 1
        else:
            utt_id = f"{speaker}-{name}"
            data.wav[utt_id], data.utt2spk[utt_id] = str(path), speaker
            data.text[utt_id] = normalise_english(text)
    faults += [f"{path}: no line in {table}" for path in audio.values()]


def prepare(corpus_dir: Path) -> DataDir:
    """All speakers that are there.

    Args:
        corpus_dir: folder of the ``cmu_us_<spk>_arctic`` folders

    Returns:
        data dir with text

    Raises:
        DataError: naming all faults at once
    """
    folders = sorted(p for p in corpus_dir.glob("cmu_us_*_arctic") if p.is_dir())
    if not folders:
        raise DataError(
            f"{corpus_dir}: expected folders cmu_us_<spk>_arctic; is this the right --corpus_dir?"
        )
    data, dropped, faults = DataDir(), Counter(), []
    for folder in folders:
        _read_speaker(folder, data, dropped, faults)
    report_faults("CMU ARCTIC", faults, DataError)
    log_kept("CMU ARCTIC", len(data.wav), dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus_dir", type=Path, required=True, help="folder of the cmu_us_<spk>_arctic folders"
    )
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    prepare(args.corpus_dir).write(args.out)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
