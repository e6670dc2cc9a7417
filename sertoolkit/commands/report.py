"""``sertoolkit report``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Write RESULTS.md: table, protocol with its counts, figures, command, environment, settings, costs.

  sertoolkit report --exp exp/ser --protocol_dir exp/ser/protocol --out exp/ser/RESULTS.md \\
      --title "EmoDB, four classes" --command "./run.sh --corpus_dir /corpora/EmoDB"

Everything is recomputed from predictions. Figures are linked if `sertoolkit analyse` has drawn them. A member
that is missing is an error that names it; with --partial the report says PARTIAL and how many are missing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--exp", type=Path, required=True, help="folder with <system>/<fold>/seed-<n>")
    parser.add_argument("--protocol_dir", type=Path, required=True, help="made by `sertoolkit protocol`")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--title", default="Results", help="first line of the report")
    parser.add_argument("--command", default="(command not recorded)", help="what made the results, as typed")
    parser.add_argument("--systems", default="", help="names, parted by blanks; default: all")
    parser.add_argument("--partial", action="store_true", help="go on though members are missing")


def run(args: argparse.Namespace) -> None:
    """Compose and write."""
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.report.markdown import compose_results
    from sertoolkit.scoring.members import read_members
    from sertoolkit.scoring.table import score_members
    from sertoolkit.storage.atomic import write_text

    resolved = read_protocol(args.protocol_dir)
    members = read_members(args.exp, resolved, systems=args.systems.split() or None, partial=args.partial)
    scores = score_members(members, resolved)
    text = compose_results(
        args.exp, resolved, members, scores, out=args.out, title=args.title, command=args.command
    )
    write_text(args.out, text)
    print(f"{len(members)} members: {args.out}")
