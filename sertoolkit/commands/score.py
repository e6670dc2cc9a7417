"""``sertoolkit score``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertoolkit.scoring import METRICS

if TYPE_CHECKING:
    from sertoolkit.corpus.protocol import ResolvedProtocol
    from sertoolkit.scoring.members import ScoredMember

HELP = """Recompute the table of systems from predictions alone, with intervals, tests and verdicts.

  sertoolkit score --exp exp/ser --protocol_dir exp/ser/protocol
  sertoolkit score --exp exp/ser --protocol_dir exp/ser/protocol --systems "baseline-96 mp-2" --seeds "1 2 3"
  sertoolkit score --protocol_dir exp/ser/protocol --predictions svm=svm.tsv wav2vec=run1.tsv wav2vec=run2.tsv

Reads EXP/<system>/<fold>/seed-<n>/predictions.test.tsv of every member, checks that all were made under this
protocol, prints accuracy, UAR and macro F1 with their spread over folds and over runs, compares every system
with the baseline, and writes scores.json and table.tsv to --out. All systems must have the same folds and seeds;
a missing member is an error that names it.

Predictions of any other toolkit stand in the same table: NAME=FILE, a table parted by tabs with the columns
utt_id and predicted, for the test sets of all folds together. The truth is taken from the protocol. Give a name
several files where there were several runs. Ids are those of the data dir (Ses04F-Ses04M_impro01_F003), or all
without the speaker in front (Ses04M_impro01_F003); predicted is a class of the protocol (anger) or a label of the
corpus that it maps to one (ang).

Of systems that transcribe (head `joint`) --text adds the recogniser's error rates before and after joint training on the
same test utterances."""


def add_member_options(parser: argparse.ArgumentParser, *, exp_required: bool = True) -> None:
    """Options that choose what is read; see :func:`read_chosen`."""
    parser.add_argument(
        "--exp", type=Path, required=exp_required, metavar="DIR", help="folder with <system>/<fold>/seed-<n>"
    )
    parser.add_argument(
        "--protocol_dir", type=Path, required=True, metavar="DIR", help="made by `sertoolkit protocol`"
    )
    parser.add_argument(
        "--systems",
        default="",
        help="names, parted by blanks; default: all of EXP, in the order of the paper",
    )
    parser.add_argument("--folds", default="all", help='e.g. "fold-01 fold-02"; default: all of the protocol')
    parser.add_argument("--seeds", default="all", help='e.g. "1 2 3"; default: all that any system has')


def add_test_options(parser: argparse.ArgumentParser) -> None:
    """Options of what is compared; see :func:`score_chosen`."""
    parser.add_argument(
        "--predictions",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=FILE",
        help="of another toolkit",
    )
    parser.add_argument(
        "--baseline", help="system that the others are tested against; default: baseline-96, if it is there"
    )
    parser.add_argument(
        "--metric", default="uar", choices=METRICS, help="what is tested, chosen in advance; default: uar"
    )


def add_text_option(parser: argparse.ArgumentParser) -> None:
    """What was said; see :func:`score_chosen`."""
    parser.add_argument(
        "--text", type=Path, metavar="FILE", help="transcripts (data/<set>/text), to score those of systems"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add_member_options(parser, exp_required=False)
    add_test_options(parser)
    add_text_option(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write to; default: that of --exp")


def run(args: argparse.Namespace) -> None:
    """Score, print, write."""
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.scoring.comparison import format_tests
    from sertoolkit.scoring.table import format_table, tsv_of
    from sertoolkit.scoring.transcripts import format_recognition
    from sertoolkit.storage.atomic import write_json, write_text

    resolved = read_protocol(args.protocol_dir)
    members, scores = score_chosen(args, resolved)
    out = args.out or args.exp
    if out:
        write_json(out / "scores.json", scores)
        write_text(out / "table.tsv", tsv_of(scores))
    num_folds = len({member.fold for member in members})
    print(
        f"protocol {resolved.protocol.name} version {resolved.protocol.version}, {num_folds} of"
        f" {len(resolved.folds)} folds, {len(members)} members\n"
    )
    print(format_table(scores, metric=args.metric))
    print(f"\n{format_tests(scores['tests'])}".rstrip())
    if scores["recognition"]:
        print(f"\n{format_recognition(scores['recognition'])}")


def score_chosen(
    args: argparse.Namespace, resolved: ResolvedProtocol
) -> tuple[list[ScoredMember], dict[str, Any]]:
    """Members of the chosen systems, folds, seeds and of ``--predictions``; their scores, tests, recognition.

    Raises:
        ConfigError: if options do not fit together
        DataError: if members or predictions are missing or wrong

    """
    from sertoolkit.errors import ConfigError
    from sertoolkit.scoring.comparison import compare_systems
    from sertoolkit.scoring.emotion import MOST_FREQUENT, RANDOM
    from sertoolkit.scoring.members import read_foreign
    from sertoolkit.scoring.table import count_members, score_members
    from sertoolkit.scoring.transcripts import recognition_rows
    from sertoolkit.text.transcripts import read_transcripts

    if args.exp is None and not args.predictions:
        raise ConfigError("nothing to score: give --exp, --predictions or both")
    members = read_chosen(args, resolved) if args.exp else []
    files = [parse_prediction(text) for text in args.predictions]
    for name, _ in files:
        if name in {MOST_FREQUENT, RANDOM, *(member.system for member in members)}:
            raise ConfigError(f"--predictions {name}=...: the table has a system {name}; choose another name")
    members += read_foreign(files, resolved, folds=chosen_folds(args))
    scores = score_members(members, resolved)
    counts = count_members(members, resolved)
    scores["tests"] = compare_systems(counts, resolved, metric=args.metric, baseline=args.baseline)
    text = read_transcripts(args.text, may_be_empty=True) if args.exp and args.text else None
    scores["recognition"] = [] if text is None else recognition_rows(args.exp, members, resolved, text)
    return members, scores


def read_chosen(args: argparse.Namespace, resolved: ResolvedProtocol) -> list[ScoredMember]:
    """Members of the chosen systems, folds and seeds.

    Raises:
        ConfigError: if an option cannot be read or a fold is unknown
        DataError: if members are missing or wrong

    """
    from sertoolkit.commands.train_ser import parse_seeds
    from sertoolkit.scoring.members import read_members

    return read_members(
        args.exp,
        resolved,
        systems=args.systems.split() or None,
        folds=chosen_folds(args),
        seeds=None if args.seeds == "all" else parse_seeds(args.seeds),
    )


def chosen_folds(args: argparse.Namespace) -> list[str] | None:
    """Names of ``--folds``; None for all."""
    return [fold for fold in args.folds.split() if fold != "all"] or None


def parse_prediction(text: str) -> tuple[str, Path]:
    """Name and file of one of ``--predictions``.

    Raises:
        ConfigError: if it is not NAME=FILE

    """
    from sertoolkit.corpus.lists import fault_of_id
    from sertoolkit.errors import ConfigError

    name, _, path = text.partition("=")
    if fault_of_id(name) or not path:
        raise ConfigError(f"--predictions {text!r}: expected NAME=FILE, the name without blanks or '/'")
    return name, Path(path)
