"""Command ``fix-data``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Repair the harmless faults of a data dir and say what was done.

Sorts lists, removes Windows line ends, byte order marks, stray blanks and identical lines, makes spk2utt
anew, ends segments where their recording ends, and cuts all lists down to the utterances that every one of
them has. Lists as they were are kept in DIR/.backup. Where a fault needs a decision (two values for one id,
text that is not UTF-8, ...) nothing is changed and all such faults are named.

With --drop, the utterances of a list (lines `<utterance> <reason>`, such as `extract` writes of audio that it
refuses) leave the data dir, and DIR/dropped keeps them: this is the one place where utterances leave, so that
folds, features and scores agree. Ids that are not here are named; a list without any id of a DIR is an error.

examples:
  sertoolkit fix-data --data_dir data/train
  sertoolkit fix-data --data_dir data/train data/test --drop drop.txt"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--data_dir", type=Path, nargs="+", required=True, metavar="DIR", help="data dirs")
    parser.add_argument("--drop", type=Path, metavar="LIST", help="utterances to take out, with reasons")


def run(args: argparse.Namespace) -> None:
    """Repair, and print each thing that was done."""
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.dropped import check_drop_list, read_drop_list
    from sertoolkit.corpus.validate import fix

    drop = read_drop_list(args.drop) if args.drop else {}
    if unknown := check_drop_list(drop, args.data_dir, source=args.drop):
        print(unknown)
    for data_dir in args.data_dir:
        for line in fix(data_dir, drop=drop):
            print(line)
        print(f"kept {len(DataDir.read(data_dir).utt2spk)} utterances in {data_dir}")
