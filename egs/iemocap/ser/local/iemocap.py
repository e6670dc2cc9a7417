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
    utt2raters     every label of every evaluator, actors included: ``C-E2:neu,ang C-E3:neu C-F1:hap``;
                   of an evaluator on two lines of a turn the labels of both, ``C-E4:`` where one gave none
    utt2valence    released mean, 1 to 5; so utt2activation and utt2dominance

A missing session, a dialog or turn without its part and a line that is not understood are errors, all named at once.

    iemocap.py --corpus_dir corpora/IEMOCAP_full_release --out data/all
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections import Counter
from pathlib import Path

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.preparation import index_audio, log_kept, run_script
from sertoolkit.errors import DataError, report_faults, suggest
from sertoolkit.text.normalise import normalise_english

logger = logging.getLogger("iemocap")

CODES = ("ang", "hap", "exc", "sad", "neu", "fru", "fea", "sur", "dis", "oth", "xxx")
# Evaluator lines spell the labels out, with a few forms for some.
_LABELS = {
    "anger": "ang", "happiness": "hap", "excited": "exc", "sadness": "sad", "neutral": "neu",
    "neutral state": "neu", "frustration": "fru", "fear": "fea", "surprise": "sur", "disgust": "dis",
    "other": "oth",
}  # fmt: skip
_NUMBER = r"(-?\d+(?:\.\d+)?)"
_TURN = re.compile(
    rf"\[{_NUMBER}\s*-\s*{_NUMBER}\]\s+(\S+)\s+(\w+)\s+\[{_NUMBER},\s*{_NUMBER},\s*{_NUMBER}\]"
)
_RATER = re.compile(r"(C-[EFM]\d+)\s*:([^(]*)(?:\(.*)?")
_NO_LABEL = re.compile(r"%|A-[EFM]\d+\s*:|$")  # header, ratings of attributes, blank lines
_NAME = re.compile(r"(Ses\d\d)[FM]_\w+_([FM])\d+")
_TRANSCRIPT = re.compile(r"(Ses\w+)\s*\[[\d.\s-]+\]\s*:\s*(.*)")
_SHOWN = 200  # faults in an error
_ATTRIBUTES = ("utt2valence", "utt2activation", "utt2dominance")


def _lines(path: Path) -> list[tuple[str, str]]:
    """Lines with where they stand; the corpus is latin-1 and has Windows line ends in places."""
    # Not splitlines: byte 0x85, three dots in the code page of Windows, would end a line.
    lines = path.read_text(encoding="latin-1").split("\n")
    return [(f"{path}:{number}", line.strip()) for number, line in enumerate(lines, start=1)]


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


def _rater_labels(where: str, text: str, faults: list[str]) -> list[str]:
    codes = []
    for name in filter(None, (" ".join(part.lower().split()) for part in text.split(";"))):
        if name not in _LABELS:
            faults.append(f"{where}: unknown label {name!r}{suggest(name, _LABELS)}")
            continue
        codes.append(_LABELS[name])
    return codes


def read_evaluations(path: Path, faults: list[str]) -> dict[str, dict]:
    """Turns of one EmoEvaluation file.

    Args:
        path: file
        faults: what is wrong is added here, with line numbers

    Returns:
        by turn name: ``where`` (file and line), ``label``, ``attributes`` (valence, activation, dominance as
        text) and ``raters`` (list of labels by evaluator)
    """
    turns: dict[str, dict] = {}
    raters: dict[str, list[str]] | None = None  # of the turn that is being read
    for where, line in _lines(path):
        if match := _TURN.fullmatch(line):
            _, _, name, label, *attributes = match.groups()
            if label not in CODES:
                faults.append(f"{where}: unknown label {label!r}{suggest(label, CODES)}")
            raters = {}
            if name in turns:
                faults.append(f"{where}: turn {name} stands at {turns[name]['where']} too; expected once")
                continue
            turns[name] = {"where": where, "label": label, "attributes": attributes, "raters": raters}
        elif match := _RATER.fullmatch(line):
            if raters is None:
                faults.append(f"{where}: found {line!r} before the first turn; whom does it rate?")
                continue
            labels = raters.setdefault(match[1], [])
            labels += [code for code in _rater_labels(where, match[2], faults) if code not in labels]
        elif line.startswith("["):
            faults.append(f"{where}: found {line!r}, expected '[start - end] turn label [v, a, d]'")
            raters = {}  # what follows is not of the turn before
        elif not _NO_LABEL.match(line):
            faults.append(
                f"{where}: found {line!r}, expected a turn, or a rating like 'C-E2: Neutral; Anger; (comment)'"
            )
    faults += [
        f"{turn['where']}: turn {name}: no rating (C-E2: Neutral; ...) below it"
        for name, turn in turns.items()
        if not any(turn["raters"].values())
    ]
    return turns


def _read_turns(session: Path, dialogs: list[str], faults: list[str]) -> dict[str, dict]:
    """Evaluations of a session by turn; dialogs are those that have audio."""
    paths = _visible(session / "dialog" / "EmoEvaluation", "*.txt")
    if lacking := sorted(set(dialogs) - {path.stem for path in paths}):
        faults.append(
            f"{session / 'dialog' / 'EmoEvaluation'}: no file <dialog>.txt of dialogs that have audio ({len(lacking)}): "
            + ", ".join(lacking)
        )
    turns: dict[str, dict] = {}
    for path in paths:
        for name, turn in read_evaluations(path, faults).items():
            if name in turns:
                faults.append(
                    f"{turn['where']}: turn {name} stands at {turns[name]['where']} too; expected once"
                )
            elif not (match := _NAME.fullmatch(name)) or match[1] != f"Ses0{session.name[-1]}":
                faults.append(
                    f"{turn['where']}: turn {name!r}: expected a name like Ses0{session.name[-1]}F_impro01_F000"
                )
            else:
                turns[name] = turn
    if not paths and not lacking:
        faults.append(f"{session}: no dialog; expected sentences/wav/<dialog>/ and dialog/EmoEvaluation/")
    return turns


def _add_session(session: Path, data: DataDir, dropped: Counter[str], faults: list[str]) -> None:
    audio: dict[str, Path] = {}
    folders = [path for path in _visible(session / "sentences" / "wav", "*") if path.is_dir()]
    for folder in folders:
        audio |= index_audio(folder)
    texts = read_transcripts(session)
    for name, turn in _read_turns(session, [folder.name for folder in folders], faults).items():
        for what, place, known in (
            ("audio file", "sentences/wav", audio),
            ("transcript", "dialog/transcriptions", texts),
        ):
            if name not in known:
                faults.append(f"{turn['where']}: turn {name}: no {what} in {session / place}")
        _, letter = _NAME.fullmatch(name).groups()
        speaker = f"{name[:5]}{letter}"
        utt_id = f"{speaker}-{name}"
        data.wav[utt_id], data.utt2spk[utt_id] = str(audio.pop(name, "")), speaker
        data.text[utt_id] = _words(texts.get(name, ""))
        data.utt2emo[utt_id], data.utt2ses[utt_id] = turn["label"], name[:5]
        data.utt2raters[utt_id] = " ".join(
            f"{rater}:{','.join(labels)}" for rater, labels in turn["raters"].items()
        )
        data.spk2gender[speaker] = letter.lower()
        for attribute, value in zip(_ATTRIBUTES, turn["attributes"], strict=True):
            data.extra[attribute][utt_id] = value
    dropped["recorded but not evaluated"] += len(audio)


def prepare(corpus_dir: Path, *, num_turns: int | None = None) -> DataDir:
    """All evaluated turns.

    Args:
        corpus_dir: folder ``IEMOCAP_full_release``
        num_turns: how many evaluated turns are known to be in it; another number is a warning

    Returns:
        data dir with text, utt2emo, utt2ses, utt2raters, spk2gender and the three attributes

    Raises:
        DataError: naming all faults at once
    """
    sessions = [corpus_dir / f"Session{number}" for number in range(1, 6)]
    if not any(session.is_dir() for session in sessions):
        raise DataError(f"{corpus_dir}: no Session1 ... Session5; expected the folder IEMOCAP_full_release")
    data = DataDir(extra={name: {} for name in _ATTRIBUTES})
    dropped: Counter[str] = Counter()
    faults: list[str] = []
    for session in sessions:
        if session.is_dir():
            _add_session(session, data, dropped, faults)
        else:
            faults.append(f"{session}: no such folder; the corpus has five sessions: unpack it whole")
    report_faults("IEMOCAP", faults, DataError, limit=_SHOWN)
    log_kept("IEMOCAP", len(data.wav), +dropped)
    if num_turns not in (None, len(data.wav)):
        logger.warning(
            "IEMOCAP: found %s turns, the release has %s; results are of another corpus than published ones",
            f"{len(data.wav):,}", f"{num_turns:,}",
        )  # fmt: skip
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="the folder IEMOCAP_full_release")
    parser.add_argument(
        "--num_turns",
        type=int,
        help="evaluated turns that are known to be in it; another number is a warning",
    )
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    data = prepare(args.corpus_dir, num_turns=args.num_turns)
    data.write(args.out)
    counts = ", ".join(f"{label} {n}" for label, n in sorted(Counter(data.utt2emo.values()).items()))
    print(f"{len(data.wav)} utterances, {len(data.spk2gender)} speakers: {counts}")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
