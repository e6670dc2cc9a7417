"""``sertoolkit report``."""

from __future__ import annotations

import argparse
from pathlib import Path

from sertoolkit.commands.score import add_member_options, add_test_options, add_text_option, score_chosen

HELP = """Write RESULTS.md: table, tests, verdicts, protocol with its counts, figures, command, environment, costs;
and with --html the same as one file that a browser shows, with the utterances that were mistaken.

  sertoolkit report --exp exp/ser --protocol_dir exp/ser/protocol --out exp/ser/RESULTS.md \\
      --title "EmoDB, four classes" --command "./run.sh --corpus_dir /corpora/EmoDB"

Everything is recomputed from predictions, as by `sertoolkit score`, whose options choose what is read and compared.
Figures are linked if `sertoolkit analyse` has drawn them. A member that is missing is an error that names it; of a
choice of --folds the report says so. With --players the HTML plays the mistaken utterances from the data dir's
recordings (--data_dir); it then names their paths on this machine: leave it out of what is passed on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_member_options(parser)
    add_test_options(parser)
    add_text_option(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="report to write")
    parser.add_argument("--html", type=Path, metavar="FILE", help="the report as one HTML file, too")
    parser.add_argument(
        "--players", action="store_true", help="the HTML plays the recordings of the mistaken utterances"
    )
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="says where --players find recordings")
    parser.add_argument(
        "--ser_config", type=Path, metavar="FILE", help="of train-ser: the plugins that it names are loaded"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change of the same")
    parser.add_argument("--title", default="Results", help="first line of the report")
    parser.add_argument("--command", default="(command not recorded)", help="what made the results, as typed")


def run(args: argparse.Namespace) -> None:
    """Compose and write."""
    from sertoolkit.commands.train_ser import load_ser_config
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.errors import ConfigError
    from sertoolkit.report.facts import collect_facts
    from sertoolkit.report.markdown import compose_results
    from sertoolkit.storage.atomic import write_text

    if args.players and not args.html:
        raise ConfigError("--players: only the HTML report plays recordings; give --html FILE too")
    if args.players and not args.data_dir:
        raise ConfigError("--players: a data dir says where recordings lie; give --data_dir DIR too")
    if args.ser_config is not None:
        load_ser_config(args)
    resolved = read_protocol(args.protocol_dir)
    members, scores = score_chosen(args, resolved)
    facts = collect_facts(args.exp, resolved, members, scores, title=args.title, command=args.command)
    reports = {args.out: compose_results(facts, args.exp, out=args.out)}
    if args.html:
        from sertoolkit.report.html import compose_html

        players = DataDir.read(args.data_dir) if args.players else None
        reports[args.html] = compose_html(facts, args.exp, out=args.html, players=players)
    for out, text in reports.items():
        write_text(out, text)
        print(f"{len(members)} members: {out}")
