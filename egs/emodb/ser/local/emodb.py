#!/usr/bin/env python3
"""Data dir from EmoDB, the Berlin database of emotional speech.

EmoDB: 535 acted utterances of ten German sentences, 10 speakers, 7 emotions, 25 min, 16 kHz WAV, free for
research, http://emodb.bilderbar.info (Burkhardt et al., Interspeech 2005).

    EmoDB/wav/03a01Fa.wav            ``<speaker><sentence><emotion><version>``

The letters are those of the German words: A is Angst (fear), W is Wut (anger). Utterance ids are
``emodb_03-03a01Fa``; utt2sentence tells the sentence, since all speakers speak the same ten.

    emodb.py --corpus_dir corpora/EmoDB --out data/all
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

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
_GENDERS = {
    "03": "m", "08": "f", "09": "f", "10": "m", "11": "m", "12": "m", "13": "f", "14": "f", "15": "m",
    "16": "f",
}  # fmt: skip
_SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank",
    "a02": "Das will sie am Mittwoch abgeben",
    "a04": "Heute abend k\u00f6nnte ich es ihm sagen",
    "a05": "Das schwarze St\u00fcck Papier befindet sich da oben neben dem Holzst\u00fcck",
    "a07": "In sieben Stunden wird es soweit sein",
    "b01": "Was sind denn das f\u00fcr T\u00fcten die da unter dem Tisch stehen",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen",
    "b10": "Die wird auf dem Platz sein wo wir sie immer hinlegen",
}
_NAME = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z]?)")


def prepare(corpus_dir: Path) -> DataDir:
    """All utterances.

    Args:
        corpus_dir: folder ``EmoDB``

    Returns:
        data dir with text, utt2emo, spk2gender and utt2sentence

    Raises:
        DataError: naming every file whose name is not understood
    """
    data, faults, sentences = DataDir(), [], {}
    for stem, path in index_audio(corpus_dir / "wav").items():
        match = _NAME.fullmatch(stem)
        speaker, sentence, emotion, _ = match.groups() if match else ("", "", "", "")
        if speaker not in _GENDERS or sentence not in _SENTENCES or emotion not in EMOTIONS:
            faults.append(
                f"{path}: expected a name like 03a01Fa.wav with a known speaker, sentence and emotion"
            )
            continue
        utt_id = f"emodb_{speaker}-{stem}"
        data.wav[utt_id], data.utt2spk[utt_id] = str(path), f"emodb_{speaker}"
        data.text[utt_id], data.utt2emo[utt_id] = _SENTENCES[sentence], EMOTIONS[emotion]
        data.spk2gender[f"emodb_{speaker}"] = _GENDERS[speaker]
        sentences[utt_id] = sentence
    if not data.wav and not faults:
        faults.append(f"{corpus_dir / 'wav'}: no audio file")
    report_faults("EmoDB", faults, DataError)
    data.extra["utt2sentence"] = sentences
    log_kept("EmoDB", len(data.wav), Counter())
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder EmoDB, with wav/ in it")
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    data = prepare(args.corpus_dir)
    data.write(args.out)
    counts = ", ".join(f"{label} {n}" for label, n in sorted(Counter(data.utt2emo.values()).items()))
    print(f"{len(data.wav)} utterances, {len(data.spk2gender)} speakers: {counts}")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
