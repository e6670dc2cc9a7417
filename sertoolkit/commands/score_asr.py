"""``sertoolkit score-asr``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = """Character and word error rates of recognised transcripts.

Both files are Kaldi `text` lists: an utterance id, a blank, the words. Rates are over the corpus: all errors
divided by the length of all references. Every reference needs a hypothesis (its text may be empty). Where a
`utt2spk` lies beside the references, the rates by speaker are written too; where `fix-data --drop` took
utterances out of that data dir, they are counted.

  sertoolkit score-asr --ref data/test/text --hyp exp/asr/decode_test/text --out exp/asr/decode_test

prints one line and writes scores.json to --out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--ref", type=Path, required=True, help="what was said: data/<set>/text")
    parser.add_argument("--hyp", type=Path, required=True, help="what was recognised")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.json")


def run(args: argparse.Namespace) -> None:
    """Score, print, write."""
    from sertoolkit.corpus.dropped import dropped_in_words, read_dropped
    from sertoolkit.scoring.recognition import score_recognition
    from sertoolkit.storage.atomic import write_json
    from sertoolkit.text.transcripts import read_transcripts

    speakers = args.ref.parent / "utt2spk"
    scores = score_recognition(
        read_transcripts(args.ref),
        read_transcripts(args.hyp, may_be_empty=True),
        utt2spk=read_transcripts(speakers) if speakers.exists() else None,
    )
    dropped = read_dropped(args.ref.parent)
    write_json(args.out / "scores.json", scores | {"num_dropped": len(dropped)})
    print(f"{args.ref.parent.name}: {_line(scores)}")
    if dropped:
        total = scores["num_utts"] + len(dropped)
        print(f"  {scores['num_utts']} of {total} utterances scored; dropped: {dropped_in_words(dropped)}")
    for spk_id, row in scores.get("speakers", {}).items():
        print(f"  {spk_id}: {_line(row)}")


def _line(scores: dict[str, Any]) -> str:
    words, characters = scores["words"], scores["characters"]
    return (
        f"CER {100 * scores['cer']:.1f} %  WER {100 * scores['wer']:.1f} %  of"
        f" {scores['num_utts']} utterances, {words['reference']} words, {characters['reference']} characters;"
        f" characters: {characters['substitutions']} sub, {characters['deletions']} del,"
        f" {characters['insertions']} ins"
    )
