"""``sertoolkit score``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Recompute the table of systems from predictions alone.

  sertoolkit score --exp exp/ser --protocol_dir exp/ser/protocol
  sertoolkit score --exp exp/ser --protocol_dir exp/ser/protocol --systems "baseline-96 mp-2"

Reads EXP/<system>/<fold>/seed-<n>/predictions.test.tsv of every member, checks that all were made under this
protocol, prints accuracy, UAR and macro F1 with their spread over folds and over runs, and writes scores.json
and table.tsv to EXP. A missing member is an error that names it; --partial reports what there is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--exp", type=Path, required=True, help="folder with <system>/<fold>/seed-<n>")
    parser.add_argument("--protocol_dir", type=Path, required=True, help="made by `sertoolkit protocol`")
    parser.add_argument(
        "--systems", default="", help="names, parted by blanks; default: all, in the order of the paper"
    )
    parser.add_argument("--partial", action="store_true", help="report though members are missing")


def run(args: argparse.Namespace) -> None:
    """Score, print, write."""
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.scoring.members import read_members
    from sertoolkit.scoring.table import format_table, score_members, tsv_of
    from sertoolkit.storage.atomic import write_json, write_text

    resolved = read_protocol(args.protocol_dir)
    members = read_members(args.exp, resolved, systems=args.systems.split() or None, partial=args.partial)
    scores = score_members(members, resolved)
    write_json(args.exp / "scores.json", scores)
    write_text(args.exp / "table.tsv", tsv_of(scores))
    print(f"protocol {resolved.protocol.name} version {resolved.protocol.version}, {len(members)} members\n")
    print(format_table(scores))
