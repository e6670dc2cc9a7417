#!/usr/bin/env python3
"""Data dir from RAVDESS, speech, audio only.

RAVDESS: 1,440 acted utterances of two English sentences, 24 actors, 8 emotions, 90 min, 48 kHz WAV, CC BY-NC-SA 4.0,
https://zenodo.org/records/1188976 (Livingstone and Russo, PLoS ONE 2018).

    RAVDESS/Audio_Speech_Actors_01-24/Actor_01/03-01-06-01-02-01-12.wav
        modality-channel-emotion-intensity-statement-repetition-actor

Utterance ids are ``ravdess_12-03-01-06-01-02-01-12``; utt2intensity tells normal from strong (there is no strong
neutral). Five files have two channels. Some copies on the web hold a second tree with the same files, and songs:
only Actor_* of one folder is read, and songs and videos are left out.

    ravdess.py --corpus_dir corpora/RAVDESS --out data/all
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

TOP = "Audio_Speech_Actors_01-24"
EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad",
    "05": "angry", "06": "fearful", "07": "disgust", "08": "surprised",
}  # fmt: skip
_INTENSITIES = {"01": "normal", "02": "strong"}
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_NAME = re.compile(r"(0[1-3])-(0[12])-(0[1-8])-(0[12])-(0[12])-0[12]-(\d\d)")


def prepare(corpus_dir: Path) -> DataDir:
    """All actors that are there.

    Args:
        corpus_dir: folder ``RAVDESS``, or the one of the actors

    Returns:
        data dir with text, utt2emo, spk2gender and utt2intensity

    Raises:
        DataError: naming every file whose name is not understood
    """
    top = corpus_dir / TOP if (corpus_dir / TOP).is_dir() else corpus_dir
    folders = sorted(path for path in top.glob("Actor_[0-9][0-9]") if path.is_dir())
    if not folders:
        raise DataError(f"{top}: expected folders Actor_01, Actor_02, ...; is this the right --corpus_dir?")
    data, dropped, faults = DataDir(extra={"utt2intensity": {}}), Counter(), []
    for folder in folders:
        for stem, path in index_audio(folder).items():
            match = _NAME.fullmatch(stem)
            if not match or match[6] != folder.name[-2:]:
                faults.append(f"{path}: expected a name like 03-01-06-01-02-01-{folder.name[-2:]}")
                continue
            modality, channel, emotion, intensity, statement, actor = match.groups()
            if (modality, channel) != ("03", "01"):
                dropped["songs or videos"] += 1
                continue
            speaker = f"ravdess_{actor}"
            utt_id = f"{speaker}-{stem}"
            data.wav[utt_id], data.utt2spk[utt_id] = str(path), speaker
            data.text[utt_id], data.utt2emo[utt_id] = _STATEMENTS[statement], EMOTIONS[emotion]
            data.spk2gender[speaker] = "m" if int(actor) % 2 else "f"
            data.extra["utt2intensity"][utt_id] = _INTENSITIES[intensity]
    if not data.wav and not faults:
        faults.append(f"{top}: no recording of speech in Actor_*")
    report_faults("RAVDESS", faults, DataError)
    log_kept("RAVDESS", len(data.wav), dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus_dir", type=Path, required=True, help=f"the folder RAVDESS, with {TOP}/ in it"
    )
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    data = prepare(args.corpus_dir)
    data.write(args.out)
    counts = ", ".join(f"{label} {n}" for label, n in sorted(Counter(data.utt2emo.values()).items()))
    print(f"{len(data.wav)} utterances, {len(data.spk2gender)} speakers: {counts}")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
