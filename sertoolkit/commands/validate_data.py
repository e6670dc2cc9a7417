"""Command ``validate-data``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Report every fault of a data dir at once, with file and line; changes nothing.

A data dir holds wav.scp, text, utt2spk, spk2utt (and segments, utt2dur, utt2emo, utt2ses, ... if known):
lists sorted in the C locale, ids <speaker>-<rest>, the same utterances in all. Faults marked (fixable) are
repaired by fix-data.

example: sertoolkit validate-data --data_dir data/train --needs "text utt2emo" --audio"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--data_dir", type=Path, required=True, metavar="DIR", help="the data dir")
    parser.add_argument(
        "--needs", default="text", metavar="LISTS", help='lists that must be there (default: "text")'
    )
    parser.add_argument(
        "--audio", action="store_true", help="also open each audio file: cut? segments inside? utt2dur true?"
    )


def run(args: argparse.Namespace) -> None:
    """Validate and print the count, or fail with all faults."""
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.validate import validate
    from sertoolkit.errors import DataError, report_faults

    faults = validate(args.data_dir, needs=args.needs.split(), audio=args.audio)
    report_faults(f"data dir {args.data_dir} (fix-data repairs the fixable)", faults, DataError, limit=1000)
    data = DataDir.read(args.data_dir)
    print(
        f"Successfully validated data-directory {args.data_dir}: {len(data.utt2spk)} utterances, "
        f"{len(data.spk2utt)} speakers"
    )
