#!/usr/bin/env python3
"""Make a small acted emotional corpus, laid out as IEMOCAP lays itself out.

    OUT/IEMOCAP_full_release/Session<s>/sentences/wav/<dialog>/<dialog>_<F|M><nnn>.wav
    OUT/IEMOCAP_full_release/Session<s>/dialog/transcriptions/<dialog>.txt
    OUT/IEMOCAP_full_release/Session<s>/dialog/EmoEvaluation/<dialog>.txt      consensus and evaluator lines

espeak-ng speaks, ten voices in five sessions. Each turn means one emotion, but how it is spoken (speaking
rate, pauses, pitch and volume from word to word, voice quality, level over the noise of the room) is drawn
around that emotion's centre so widely that the emotions overlap, and three simulated evaluators hear the
result, not the intention. Nothing is told by overall pitch or loudness, which a normalisation of each
utterance would take away. Scripted dialogs have the same lines in all sessions. The same options give the
same bytes, with any number of jobs.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from espeak import Utterance, Voice, render
from sentences import make_sentences
from tqdm import tqdm

from sertoolkit.corpus.preparation import run_script
from sertoolkit.errors import ConfigError
from sertoolkit.storage.atomic import atomic_dir

# How an emotion sounds, in units of the spread within an emotion; neutral is the origin.
CUES = ("tempo", "pause", "span", "slope", "accent", "fade", "breath")
CENTRES = {
    "neu": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "ang": (0.5, -0.3, 0.2, -1.4, 2.0, -0.5, -1.4),
    "hap": (1.2, -0.6, 1.6, 1.3, 0.1, -0.4, 0.1),
    "exc": (1.6, -0.9, 1.9, 1.2, 0.4, -0.5, -0.1),
    "sad": (-1.3, 1.1, -0.9, -0.4, -0.8, 1.0, 1.2),
    "fru": (0.0, 0.5, -0.2, -1.2, 1.0, 0.3, -0.2),
}
_SHARES = {"neu": 24, "ang": 22, "hap": 11, "exc": 12, "sad": 23, "fru": 8}
# Valence, activation and dominance of the centres on the scale 1 to 5.
_ATTRIBUTES = {
    "neu": (3.0, 2.7, 3.0),
    "ang": (1.8, 3.9, 4.0),
    "hap": (4.1, 3.2, 3.3),
    "exc": (4.2, 3.9, 3.6),
    "sad": (2.1, 2.1, 2.4),
    "fru": (2.2, 3.1, 3.2),
}
_NAMES = {
    "neu": "Neutral",
    "ang": "Anger",
    "hap": "Happiness",
    "exc": "Excited",
    "sad": "Sadness",
    "fru": "Frustration",
}
_VOICES = ("f2", "m3", "f5", "m1", "belinda", "Andy", "linda", "ed", "Annie", "pablo")
_ACCENTS = ("en-us", "en-us", "en-gb-x-rp", "en-029", "en-gb-scotland")
_TURNS_A_DIALOG = 12
_SPREAD = 0.75  # of the cues within an emotion; larger, more overlap
_HEARING = 1.2  # how far a label may lie from what is heard: larger, less agreement among the evaluators


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One turn of a dialog and what was drawn for it."""

    dialog: str
    name: str
    text: str
    cues: dict[str, float]
    labels: dict[str, tuple[str, ...]]
    request: Utterance


def consensus(labels: dict[str, tuple[str, ...]]) -> str:
    """The label that most evaluators gave, at least two of them and more than any other; else ``xxx``.

    Args:
        labels: labels by evaluator; those of self-evaluation (``F1``, ``M1``) do not count

    Returns:
        code of the emotion
    """
    votes = Counter(label for rater, given in labels.items() if rater.startswith("E") for label in given)
    (best, count), *others = votes.most_common()
    return best if count >= 2 and all(other < count for _, other in others) else "xxx"


def _hear(cues: dict[str, float], draw: random.Random) -> tuple[str, ...]:
    """Labels one evaluator gives: near centres are likely, and sometimes it is two."""
    weights = {
        label: math.exp(
            -sum((cues[cue] - centre) ** 2 for cue, centre in zip(CUES, centres, strict=True)) / _HEARING
        )
        for label, centres in CENTRES.items()
    }
    number = 2 if draw.random() < 0.1 else 1
    given = draw.choices(list(weights), list(weights.values()), k=number)
    return tuple(dict.fromkeys(given))


def _mark_up(text: str, cues: dict[str, float], draw: random.Random) -> str:
    """SSML of a turn: pauses, and pitch and volume of every word, in per cent of the voice's own."""
    words = text.split()
    rate = 100 * math.exp(0.24 * cues["tempo"])
    break_share = 0.12 * math.exp(1.0 * cues["pause"])
    span, slope = 14 * math.exp(0.8 * cues["span"]), 16 * cues["slope"]
    accent, fade = 18 * math.exp(0.5 * cues["accent"]), 22 * cues["fade"]
    parts = []
    for index, word in enumerate(words):
        place = 2 * index / max(1, len(words) - 1) - 1  # -1 for the first word, 1 for the last
        stress = 1 if len(word) > 3 else -1
        pitch = slope * place + span * stress * abs(draw.gauss(0.5, 0.4))
        volume = accent * stress - fade * place + draw.gauss(0, 6)
        pitch, volume = max(-45, min(70, pitch)), max(-70, min(45, volume))
        parts.append(f'<prosody pitch="{pitch:+.0f}%" volume="{volume:+.0f}%">{word}</prosody>')
        if index < len(words) - 1 and draw.random() < break_share:
            parts.append(f'<break time="{draw.randint(80, 260)}ms"/>')
    return f'<speak><prosody rate="{rate:.0f}%">{" ".join(parts)}</prosody></speak>'


def _make_turn(dialog: str, name: str, text: str, voice: Voice, habit: dict[str, float], seed: int) -> Turn:
    draw = random.Random(f"{seed} {name}")
    meant = draw.choices(list(_SHARES), list(_SHARES.values()))[0]
    cues = {
        cue: centre + habit[cue] + draw.gauss(0, 1) * _SPREAD
        for cue, centre in zip(CUES, CENTRES[meant], strict=True)
    }
    labels = {rater: _hear(cues, draw) for rater in ("E2", "E3", "E4")}
    labels[f"{name.split('_')[-1][0]}1"] = (meant,)
    request = Utterance(
        path=Path("sentences", "wav", dialog, f"{name}.wav"),
        text=_mark_up(text, cues, draw),
        voice=voice,
        seed=zlib.crc32(f"{seed} {name}".encode()),
        ssml=True,
        word_gap=max(0, round(2 * cues["pause"])),
        snr=draw.uniform(22, 30) + 4 * cues["accent"],  # louder over the same room
        breath=0.08 * math.exp(1.3 * cues["breath"]),
        press=0.5 * math.exp(-1.2 * cues["breath"]),
    )
    return Turn(dialog=dialog, name=name, text=text, cues=cues, labels=labels, request=request)


def plan(*, num_utterances: int, seed: int) -> dict[int, list[Turn]]:
    """Decide who says what and how.

    Args:
        num_utterances: of all sessions together; rounded up to whole dialogs
        seed: of the corpus

    Returns:
        turns by session, in the order of the dialogs

    Raises:
        ConfigError: if there would not be a dialog a session
    """
    if num_utterances < 5 * _TURNS_A_DIALOG:
        raise ConfigError(
            f"--utterances {num_utterances}: expected at least {5 * _TURNS_A_DIALOG}, a dialog a session"
        )
    num_dialogs = math.ceil(num_utterances / 5 / _TURNS_A_DIALOG)
    texts = [t for t in make_sentences(30 * num_utterances, seed=seed, max_words=7) if len(t.split()) >= 4]
    scripts = {dialog: [texts.pop() for _ in range(_TURNS_A_DIALOG)] for dialog in range(2, num_dialogs, 3)}
    sessions: dict[int, list[Turn]] = {}
    for session in range(1, 6):
        draw = random.Random(f"session {seed} {session}")
        voices, habits = {}, {}
        for index, gender in enumerate("FM"):
            variant = _VOICES[2 * (session - 1) + index]
            rate, pitch = draw.randint(160, 190), draw.randint(40, 60)
            voices[gender] = Voice(accent=_ACCENTS[session - 1], variant=variant, rate=rate, pitch=pitch)
            habits[gender] = {cue: draw.gauss(0, 0.25) for cue in CUES}
        sessions[session] = []
        for dialog in range(num_dialogs):
            kind = f"script{dialog // 3 + 1:02d}_1" if dialog in scripts else f"impro{dialog + 1:02d}"
            dialog_name = f"Ses{session:02d}{'FM'[dialog % 2]}_{kind}"
            for turn in range(_TURNS_A_DIALOG):
                gender = "FM"[turn % 2]
                text = scripts[dialog][turn] if dialog in scripts else texts.pop()
                name = f"{dialog_name}_{gender}{turn // 2:03d}"
                sessions[session].append(
                    _make_turn(dialog_name, name, text, voices[gender], habits[gender], seed)
                )
    return sessions


def _evaluation(turn: Turn, start: float, end: float, draw: random.Random) -> str:
    """One block of EmoEvaluation, with categorical (C-) and attribute (A-) lines."""
    ratings = {}
    for rater, given in turn.labels.items():
        centre = _ATTRIBUTES[given[0]]
        ratings[rater] = [max(1, min(5, round(value + draw.gauss(0, 0.6)))) for value in centre]
    means = [
        sum(values) / 3 for values in zip(*(r for name, r in ratings.items() if name[0] == "E"), strict=True)
    ]
    attributes = ", ".join(f"{value:.4f}" for value in means)
    lines = [f"[{start:.4f} - {end:.4f}]\t{turn.name}\t{consensus(turn.labels)}\t[{attributes}]"]
    lines += [
        f"C-{r}:\t{'; '.join(_NAMES[label] for label in given)};\t()" for r, given in turn.labels.items()
    ]
    lines += [f"A-{r}:\tval {v}; act {a}; dom  {d};\t()" for r, (v, a, d) in ratings.items()]
    return "\n".join(lines) + "\n\n"


def write_lists(root: Path, turns: list[Turn], durations: list[float], *, seed: int) -> None:
    """Write transcripts and evaluations of one session.

    Args:
        root: folder of the session
        turns: of all its dialogs
        durations: of the turns, in seconds
        seed: of the corpus
    """
    texts: dict[str, list[str]] = {}
    evaluations: dict[str, list[str]] = {}
    clock = 0.0
    for turn, duration in zip(turns, durations, strict=True):
        if turn.dialog not in texts:
            clock = 1.0
            texts[turn.dialog] = []
            evaluations[turn.dialog] = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n"]
        end = clock + duration
        texts[turn.dialog].append(f"{turn.name} [{clock:08.4f}-{end:08.4f}]: {turn.text.capitalize()}.\n")
        draw = random.Random(f"attributes {seed} {turn.name}")
        evaluations[turn.dialog].append(_evaluation(turn, clock, end, draw))
        clock = end + 0.5
    for folder, files in (("transcriptions", texts), ("EmoEvaluation", evaluations)):
        (root / "dialog" / folder).mkdir(parents=True)
        for dialog, lines in files.items():
            (root / "dialog" / folder / f"{dialog}.txt").write_text("".join(lines), encoding="latin-1")


def make_corpus(out: Path, sessions: dict[int, list[Turn]], *, num_jobs: int, seed: int) -> float:
    """Speak a plan.

    Args:
        out: folder to make; it appears whole or not at all
        sessions: turns by session
        num_jobs: processes
        seed: of the corpus

    Returns:
        minutes of speech
    """
    with atomic_dir(out) as root:
        top = root / "IEMOCAP_full_release"
        requests = [
            replace(turn.request, path=top / f"Session{session}" / turn.request.path)
            for session, turns in sessions.items()
            for turn in turns
        ]
        spoken = tqdm(
            render(requests, num_jobs=num_jobs), total=len(requests), desc="acted speech", unit="utt"
        )
        durations = list(spoken)
        minutes = sum(durations) / 60
        for session, turns in sessions.items():
            write_lists(top / f"Session{session}", turns, durations[: len(turns)], seed=seed)
            del durations[: len(turns)]
    return minutes


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--utterances", type=int, default=480, help="in all, rounded up (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--nj", type=int, default=2, help="processes (default: %(default)s)")


def _run(args: argparse.Namespace) -> None:
    sessions = plan(num_utterances=args.utterances, seed=args.seed)
    minutes = make_corpus(args.out, sessions, num_jobs=args.nj, seed=args.seed)
    labels = Counter(consensus(turn.labels) for turns in sessions.values() for turn in turns)
    counts = ", ".join(f"{label} {number}" for label, number in sorted(labels.items()))
    print(f"{labels.total()} utterances, 10 voices, {minutes:.1f} min: {counts}")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
