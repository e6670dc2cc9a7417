#!/usr/bin/env python3
"""Data dir from IEMOCAP.

IEMOCAP: about 12 h of acted dialogs, 5 sessions of one woman and one man each, 10,039 turns with the labels
of three evaluators, 16 kHz WAV, on request for research, https://sail.usc.edu/iemocap (Busso et al., 2008).

    IEMOCAP_full_release/Session1/sentences/wav/<dialog>/<dialog>_<F|M><nnn>.wav
    IEMOCAP_full_release/Session1/dialog/transcriptions/<dialog>.txt
    IEMOCAP_full_release/Session1/dialog/EmoEvaluation/<dialog>.txt
        [6.2901 - 8.2357]<TAB>Ses01F_impro01_F000<TAB>neu<TAB>[2.5000, 2.5000, 2.5000]
        C-E2:<TAB>Neutral; Anger;<TAB>(comment)          evaluators; C-F1 and C-M1 are the actors themselves

The speaker of a turn is its session and the letter of its last field (``Ses04M_impro01_F003`` is spoken by
Ses04F; the letter after the session says who wore the markers). Utterance ids are
``Ses04F-Ses04M_impro01_F003``.

    utt2emo        released consensus: ang hap exc sad neu fru fea sur dis oth, xxx for none
    utt2raters     every label of every evaluator, actors included: ``C-E2:neu,ang C-E3:neu C-F1:hap``
    utt2valence    released mean, 1 to 5; so utt2activation and utt2dominance

    iemocap.py --corpus_dir corpora/IEMOCAP_full_release --out data/all
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.preparation import index_audio, log_kept, run_script
from sertoolkit.errors import DataError, report_faults, suggest
from sertoolkit.text.normalise import normalise_english

CODES = ("ang", "hap", "exc", "sad", "neu", "fru", "fea", "sur", "dis", "oth", "xxx")
# Evaluator lines spell the labels out, with a few forms for some.
_LABELS = {
    "anger": "ang", "happiness": "hap", "excited": "exc", "sadness": "sad", "neutral": "neu",
    "neutral state": "neu", "frustration": "fru", "fear": "fea", "surprise": "sur", "disgust": "dis",
    "other": "oth",
}  # fmt: skip
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_TURN = re.compile(rf"\[{_NUMBER} - {_NUMBER}\]\t(\S+)\t(\w+)\t\[{_NUMBER}, {_NUMBER}, {_NUMBER}\]")
_RATER = re.compile(r"(C-[EFM]\d+):\t([^\t(]*)")
_NAME = re.compile(r"(Ses\d\d)[FM]_\w+_([FM])\d+")
_TRANSCRIPT = re.compile(r"(Ses\w+)\s*\[[\d.\s-]+\]\s*:\s*(.*)")
_ATTRIBUTES = ("utt2valence", "utt2activation", "utt2dominance")


def _lines(path: Path) -> list[tuple[str, str]]:
    """Lines with where they stand; the corpus is latin-1 and has Windows line ends in places."""
    # Not splitlines: byte 0x85, three dots in the code page of Windows, would end a line.
    lines = path.read_text(encoding="latin-1").split("\n")
    return [(f"{path}:{number}", line.rstrip()) for number, line in enumerate(lines, start=1)]


def _visible(folder: Path, pattern: str) -> list[Path]:
    """Without the files of macOS (``._Ses01F_impro01.txt``) that lie beside the real ones."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def read_transcripts(session: Path) -> dict[str, str]:
    """Text by turn name of one session, as the corpus has it.

    Args:
        session: folder ``Session<s>``

    Returns:
        text by turn; lines that are no turns (``M: ...``) are left out
    """
    matches = (
        _TRANSCRIPT.fullmatch(line)
        for path in _visible(session / "dialog" / "transcriptions", "*.txt")
        for _, line in _lines(path)
    )
    return {match[1]: match[2].strip() for match in matches if match}


def _words(text: str) -> str:
    """Words of a transcript; events such as ``[LAUGHTER]`` only where there is no word: no text is empty."""
    try:
        return normalise_english(re.sub(r"\[[^\]]*\]", " ", text))
    except DataError:
        return " ".join(text.upper().split()) or "[EMPTY]"


def _rater_labels(where: str, text: str, faults: list[str]) -> str:
    codes = []
    for name in filter(None, (part.strip().lower() for part in text.split(";"))):
        if name not in _LABELS:
            faults.append(f"{where}: unknown label {name!r}{suggest(name, _LABELS)}")
            continue
        codes.append(_LABELS[name])
    return ",".join(codes)


def read_evaluations(path: Path, faults: list[str]) -> dict[str, dict]:
    """Turns of one EmoEvaluation file.

    Args:
        path: file
        faults: what is wrong is added here, with line numbers

    Returns:
        by turn name: ``label``, ``attributes`` (valence, activation, dominance as text) and ``raters``
        (labels by evaluator, joined by commas)
    """
    turns: dict[str, dict] = {}
    raters: dict[str, str] = {}
    for where, line in _lines(path):
        if match := _TURN.fullmatch(line):
            _, _, name, label, *attributes = match.groups()
            if label not in CODES:
                faults.append(f"{where}: unknown label {label!r}{suggest(label, CODES)}")
            raters = {}
            turns[name] = {"label": label, "attributes": attributes, "raters": raters}
        elif match := _RATER.match(line):
            raters[match[1]] = _rater_labels(where, match[2], faults)
        elif line.startswith("["):
            faults.append(
                f"{where}: found {line!r}, expected '[start - end] turn label [v, a, d]' parted by tabs"
            )
    return turns


def _add_session(session: Path, data: DataDir, dropped: Counter[str], faults: list[str]) -> None:
    audio: dict[str, Path] = {}
    for folder in _visible(session / "sentences" / "wav", "*"):
        audio |= index_audio(folder)
    texts = read_transcripts(session)
    for path in _visible(session / "dialog" / "EmoEvaluation", "*.txt"):
        for name, turn in read_evaluations(path, faults).items():
            match = _NAME.fullmatch(name)
            if not match:
                faults.append(f"{path}: turn {name!r}: expected a name like Ses01F_impro01_F000")
                continue
            for what, known in (("audio file", audio), ("transcript", texts)):
                if name not in known:
                    faults.append(f"{path}: turn {name}: no {what} below {session}")
            speaker = match[1] + match[2]
            utt_id = f"{speaker}-{name}"
            data.wav[utt_id], data.utt2spk[utt_id] = str(audio.pop(name, "")), speaker
            data.text[utt_id] = _words(texts.get(name, ""))
            data.utt2emo[utt_id], data.utt2ses[utt_id] = turn["label"], match[1]
            data.utt2raters[utt_id] = " ".join(
                f"{rater}:{labels}" for rater, labels in turn["raters"].items()
            )
            data.spk2gender[speaker] = match[2].lower()
            for attribute, value in zip(_ATTRIBUTES, turn["attributes"], strict=True):
                data.extra[attribute][utt_id] = value
    dropped["recorded but not evaluated"] += len(audio)


def prepare(corpus_dir: Path) -> DataDir:
    """All evaluated turns.

    Args:
        corpus_dir: folder ``IEMOCAP_full_release``

    Returns:
        data dir with text, utt2emo, utt2ses, utt2raters, spk2gender and the three attributes

    Raises:
        DataError: naming all faults at once
    """
    sessions = sorted(corpus_dir.glob("Session[1-5]"))
    if not sessions:
        raise DataError(f"{corpus_dir}: no Session1 ... Session5; expected the folder IEMOCAP_full_release")
    data = DataDir(extra={name: {} for name in _ATTRIBUTES})
    dropped: Counter[str] = Counter()
    faults: list[str] = []
    for session in sessions:
        _add_session(session, data, dropped, faults)
    if not data.wav and not faults:
        faults.append(f"{corpus_dir}: no turn in any dialog/EmoEvaluation/*.txt")
    report_faults("IEMOCAP", faults, DataError)
    log_kept("IEMOCAP", len(data.wav), +dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder IEMOCAP_full_release")
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    data = prepare(args.corpus_dir)
    data.write(args.out)
    counts = ", ".join(f"{label} {n}" for label, n in sorted(Counter(data.utt2emo.values()).items()))
    print(f"{len(data.wav)} utterances, {len(data.spk2gender)} speakers: {counts}")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
