"""``sertoolkit report-asr``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Write RESULTS.md of a recogniser: error rates and real-time factor of each test set, and how it was made: encoder,
training set, epochs, time, memory, versions, settings.

  sertoolkit report-asr --asr_exp exp/asr --decoded exp/asr/decode_test --out exp/asr/RESULTS.md \\
      --title "My corpus" --command "./run.sh --corpus_dir /corpora/mine"

A test set is a folder that `sertoolkit decode` and `sertoolkit score-asr` wrote to, decode_<name of the set>."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--asr_exp", type=Path, required=True, metavar="DIR", help="experiment folder")
    parser.add_argument(
        "--decoded", type=Path, nargs="+", required=True, metavar="DIR", help="folder of each test set"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="report to write")
    parser.add_argument("--title", default="Results", help="first line of the report")
    parser.add_argument("--command", default="(command not recorded)", help="what made the results, as typed")


def run(args: argparse.Namespace) -> None:
    """Compose and write."""
    from sertoolkit.report.recognition import compose_recognition
    from sertoolkit.storage.atomic import write_text

    text = compose_recognition(args.asr_exp, args.decoded, title=args.title, command=args.command)
    write_text(args.out, text)
    print(f"{len(args.decoded)} test sets: {args.out}")
