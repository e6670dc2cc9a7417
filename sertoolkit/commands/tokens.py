"""``sertoolkit tokens``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Make the recogniser's token list from the transcripts of its training set.

  sertoolkit tokens --text data/train/text --kind char --out exp/asr/tokens
  sertoolkit tokens --text data/train/text --kind bpe --size 500 --out exp/asr/tokens

Kind `char` takes every character that occurs; `bpe` and `unigram` train a sentencepiece model of --size
pieces. Token 0 is the blank of CTC. Use training transcripts alone: a symbol that only the test set holds
must stay unknown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--text", type=Path, required=True, help="transcripts: data/<set>/text")
    parser.add_argument("--kind", default="char", choices=("char", "bpe", "unigram"), help="default: char")
    parser.add_argument("--size", type=int, help="number of tokens, the blank included (bpe, unigram)")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")


def run(args: argparse.Namespace) -> None:
    """Make the table and write it."""
    from sertoolkit.text.tokens import make_tokens
    from sertoolkit.text.transcripts import read_transcripts

    texts = read_transcripts(args.text)
    tokens = make_tokens(texts.values(), args.kind, args.size)
    tokens.save(args.out)
    print(f"{tokens.size} tokens of kind {args.kind} from {len(texts)} transcripts: {args.out}")
