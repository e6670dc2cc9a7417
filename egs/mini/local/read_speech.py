#!/usr/bin/env python3
"""Make a small corpus of read English, laid out as LibriSpeech lays itself out.

    OUT/LibriSpeech/SPEAKERS.TXT
    OUT/LibriSpeech/{train,dev,test}-mini/<reader>/<chapter>/<reader>-<chapter>-<nnnn>.flac
    OUT/LibriSpeech/{train,dev,test}-mini/<reader>/<chapter>/<reader>-<chapter>.trans.txt

espeak-ng speaks; voices differ in accent, variant, rate, pitch and noise. No voice and no sentence of one
part is in another. The same options give the same bytes, with any number of jobs.
"""

from __future__ import annotations

import argparse
import random
import sys
import zlib
from pathlib import Path

from espeak import ACCENTS, VARIANTS, Utterance, Voice, render
from sentences import make_sentences
from tqdm import tqdm

from sertoolkit.corpus.preparation import run_script
from sertoolkit.errors import ConfigError
from sertoolkit.storage.atomic import atomic_dir
from sertoolkit.text.normalise import normalise_english

_LETTERS_A_SECOND = 18.5  # spaces included, at 175 words a minute; measured over 1,000 sentences
_SENTENCES_A_CHAPTER = 20


def draw_voices(number: int, *, seed: int) -> list[Voice]:
    """Voices that differ in accent or variant, women and men in turn.

    Args:
        number: how many, 1 to 196
        seed: same seed, same voices

    Returns:
        voices

    Raises:
        ConfigError: if there are not that many
    """
    draw = random.Random(f"voices {seed}")
    pairs = {gender: [(a, v) for a in ACCENTS for v in names] for gender, names in VARIANTS.items()}
    largest = 2 * min(map(len, pairs.values()))
    if not 1 <= number <= largest:
        raise ConfigError(
            f"--num_voices {number}: expected 1 to {largest}, espeak-ng has no more different voices"
        )
    for options in pairs.values():
        draw.shuffle(options)
    voices = []
    for index in range(number):
        accent, variant = pairs["FM"[index % 2]][index // 2]
        voices.append(
            Voice(
                accent=accent, variant=variant,
                rate=draw.randint(135, 215), pitch=draw.randint(25, 75), pitch_range=draw.randint(30, 70),
            )
        )  # fmt: skip
    return voices


def plan_part(
    part: str, first_reader: int, voices: list[Voice], texts: list[str], *, seed: int
) -> list[Utterance]:
    """Share the sentences out among the voices.

    Args:
        part: name of the part, such as ``train-mini``
        first_reader: number of the first voice
        voices: who reads
        texts: sentences, each read once
        seed: of the corpus

    Returns:
        requests with paths relative to the corpus
    """
    requests = []
    for index, voice in enumerate(voices):
        reader = first_reader + index
        for number, text in enumerate(texts[index :: len(voices)]):
            chapter = 100 + number // _SENTENCES_A_CHAPTER
            name = f"{reader}-{chapter}-{number % _SENTENCES_A_CHAPTER:04d}"
            own_seed = zlib.crc32(f"{seed} {name}".encode())
            requests.append(
                Utterance(
                    path=Path(part, str(reader), str(chapter), f"{name}.flac"),
                    text=text,
                    voice=voice,
                    seed=own_seed,
                    snr=random.Random(own_seed).uniform(15.0, 40.0),
                )
            )  # fmt: skip
    return requests


def plan(
    *,
    minutes: float,
    held_out_minutes: float,
    num_voices: int,
    num_held_out: int,
    seed: int,
    texts: list[str],
) -> dict[str, list[Utterance]]:
    """Decide who says what in which part.

    Args:
        minutes: of the training part, about
        held_out_minutes: of each of dev and test, about
        num_voices: of all parts together
        num_held_out: voices in each of dev and test
        seed: of the corpus
        texts: sentences for half of the training part; empty for sentences of the grammar alone

    Returns:
        requests by part

    Raises:
        ConfigError: if no voice is left for training, or there are not that many
    """
    if num_voices <= 2 * num_held_out or num_held_out < 1:
        raise ConfigError(
            f"--num_voices {num_voices}: expected more than twice --held_out_voices, which is {num_held_out}"
        )
    voices = draw_voices(num_voices, seed=seed)
    num_train = num_voices - 2 * num_held_out
    shares = {
        "train-mini": (voices[:num_train], minutes),
        "dev-mini": (voices[num_train:-num_held_out], held_out_minutes),
        "test-mini": (voices[-num_held_out:], held_out_minutes),
    }
    # A sentence lasts longer than a second.
    fresh = make_sentences(int((minutes + 2 * held_out_minutes) * 60) + 100, seed=seed)
    random.Random(f"texts {seed}").shuffle(given := list(texts))
    parts, first_reader = {}, 9001
    for part, (readers, part_minutes) in shares.items():
        rate = sum(voice.rate for voice in readers) / len(readers)
        left = part_minutes * 60 * _LETTERS_A_SECOND * rate / 175
        chosen: list[str] = []
        while left > 0:
            from_given = part == "train-mini" and given and len(chosen) % 2
            chosen.append(given[len(chosen) // 2 % len(given)] if from_given else fresh.pop())
            left -= len(chosen[-1])
        parts[part] = plan_part(part, first_reader, readers, chosen, seed=seed)
        first_reader += len(readers)
    return parts


def write_lists(root: Path, parts: dict[str, list[Utterance]]) -> None:
    """Write the transcripts and the table of speakers.

    Args:
        root: folder ``LibriSpeech``
        parts: requests by part, spoken
    """
    readers = {}
    chapters: dict[Path, list[str]] = {}
    for part, requests in parts.items():
        for request in requests:
            name = request.path.stem
            reader, chapter, _ = name.split("-")
            readers[reader] = (request.voice, part)
            trans = request.path.parent / f"{reader}-{chapter}.trans.txt"
            chapters.setdefault(trans, []).append(f"{name} {normalise_english(request.text)}\n")
    for trans, lines in chapters.items():
        (root / trans).write_text("".join(sorted(lines)), encoding="utf-8")
    table = [";ID  |SEX| SUBSET           |MINUTES| NAME\n"]
    table += [
        f"{reader} | {voice.gender} | {part:<16} | 0.00 | espeak-ng {voice.accent}+{voice.variant}\n"
        for reader, (voice, part) in sorted(readers.items())
    ]
    (root / "SPEAKERS.TXT").write_text("".join(table), encoding="utf-8")


def make_corpus(out: Path, parts: dict[str, list[Utterance]], *, num_jobs: int) -> dict[str, float]:
    """Speak a plan.

    Args:
        out: folder to make; it appears whole or not at all
        parts: requests by part
        num_jobs: processes

    Returns:
        minutes by part
    """
    with atomic_dir(out) as root:
        requests = [
            Utterance(**{**vars(request), "path": root / "LibriSpeech" / request.path})
            for part in parts.values()
            for request in part
        ]
        durations = list(
            tqdm(
                render(requests, num_jobs=num_jobs),
                total=len(requests),
                desc="read speech",
                unit="utt",
                mininterval=1,
            )
        )
        write_lists(root / "LibriSpeech", parts)
    minutes = {}
    for part, members in parts.items():
        minutes[part] = sum(durations[: len(members)]) / 60
        del durations[: len(members)]
    return minutes


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--minutes", type=float, default=12.0, help="of training speech, about (default: %(default)s)"
    )
    parser.add_argument(
        "--held_out_minutes", type=float, default=1.0, help="in each of dev and test (default: %(default)s)"
    )
    parser.add_argument("--num_voices", type=int, default=28, help="in all (default: %(default)s)")
    parser.add_argument(
        "--held_out_voices", type=int, default=4, help="in each of dev and test (default: %(default)s)"
    )
    parser.add_argument(
        "--texts", type=Path, help="file of sentences, one a line, for half of the training part"
    )
    parser.add_argument("--seed", type=int, default=1, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--nj", type=int, default=2, help="processes (default: %(default)s)")


def _run(args: argparse.Namespace) -> None:
    texts = []
    if args.texts:
        lines = args.texts.read_text(encoding="utf-8").splitlines()
        texts = [normalise_english(line).lower() for line in lines if line.strip()]
    parts = plan(
        minutes=args.minutes,
        held_out_minutes=args.held_out_minutes,
        num_voices=args.num_voices,
        num_held_out=args.held_out_voices,
        seed=args.seed,
        texts=texts,
    )
    for part, minutes in make_corpus(args.out, parts, num_jobs=args.nj).items():
        readers = {request.path.parts[1] for request in parts[part]}
        print(f"{part}: {len(parts[part])} utterances, {len(readers)} voices, {minutes:.1f} min")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
