"""``sertoolkit protocol``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sertoolkit.corpus.protocol import ResolvedProtocol

HELP = """Fix the classes and the folds of an emotional corpus (leave one speaker or session out); audit them for leaks.

  sertoolkit protocol --protocol conf/protocols/emodb4.yaml --data_dir data/all --out exp/ser/protocol

writes protocol.yaml (the resolved protocol, its counts and a hash that every result carries) and
folds/<fold>.tsv, and prints how many utterances each class has, which labels were dropped, and how many test
sentences training holds too. A speaker in two sets of a fold is an error. To make a protocol of your own,
copy one of conf/protocols and give it a new name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--protocol", type=Path, required=True, help="YAML: classes, labels, fold rule")
    parser.add_argument(
        "--data_dir",
        type=Path,
        required=True,
        help="data dir with utt2emo or utt2raters, and utt2ses for sessions",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")


def run(args: argparse.Namespace) -> None:
    """Make the folds, write and print them."""
    from sertoolkit.corpus.data_dir import DataDir
    from sertoolkit.corpus.dropped import dropped_in_words, read_dropped
    from sertoolkit.corpus.protocol import load_protocol, resolve, write_protocol

    resolved = resolve(load_protocol(args.protocol), DataDir.read(args.data_dir))
    resolved.counts["left_out"] = dropped_in_words(read_dropped(args.data_dir))
    write_protocol(resolved, args.out)
    print("\n".join(_lines(resolved)))


def _lines(resolved: ResolvedProtocol) -> list[str]:
    from sertoolkit.corpus.protocol import in_words

    counts, protocol = resolved.counts, resolved.protocol
    kept, dropped = counts["kept"], counts["dropped"]
    lines = [
        f"protocol {protocol.name} version {protocol.version}, hash {resolved.hash}",
        f"kept {sum(kept.values())} of {counts['total']} utterances: {in_words(kept)}",
        f"dropped {sum(dropped.values())} for their label: {in_words(dropped) or 'none'}",
        f"left out of the data dir before: {counts['left_out']}",
        f"{len(resolved.folds)} folds, each {protocol.folds.rule} tested once, validation: {protocol.folds.valid}",
    ]
    for name, fold in resolved.folds.items():
        tested = ", ".join(f"{s} ({in_words(counts['speakers'][s])})" for s in fold.speakers_of("test"))
        overlap = counts["sentence_overlap"][name]
        lines.append(
            f"  {name}: test {tested}, valid {', '.join(fold.speakers_of('valid'))}, train"
            f" {len(fold.train)} utterances; {overlap} of {len(fold.test)} test sentences are in training too"
        )
    return lines
