"""``sertoolkit report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertoolkit.commands.score import add_member_options, add_test_options, score_chosen

HELP = """Write RESULTS.md: table, tests, verdicts, protocol with its counts, figures, command, environment, costs;
and with --html the same as one file that a browser shows, with the recordings that were mistaken.

  sertoolkit report --exp exp/ser --protocol_dir exp/ser/protocol --out exp/ser/RESULTS.md \\
      --title "EmoDB, four classes" --command "./run.sh --corpus_dir /corpora/EmoDB"

Everything is recomputed from predictions, as by `sertoolkit score`, whose options choose what is read and compared.
Figures are linked if `sertoolkit analyse` has drawn them. A member that is missing is an error that names it; of a
choice of --folds the report says PARTIAL."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_member_options(parser)
    add_test_options(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="report to write")
    parser.add_argument("--html", type=Path, metavar="FILE", help="the report as one HTML file, too")
    parser.add_argument("--title", default="Results", help="first line of the report")
    parser.add_argument("--command", default="(command not recorded)", help="what made the results, as typed")


def run(args: argparse.Namespace) -> None:
    """Compose and write."""
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.report.markdown import compose_results
    from sertoolkit.storage.atomic import write_text

    resolved = read_protocol(args.protocol_dir)
    members, scores = score_chosen(args, resolved)
    reports = {args.out: compose_results}
    if args.html:
        from sertoolkit.report.html import compose_html

        reports[args.html] = compose_html
    for out, compose in reports.items():
        text = compose(args.exp, resolved, members, scores, out=out, title=args.title, command=args.command)
        write_text(out, text)
        print(f"{len(members)} members: {out}")
