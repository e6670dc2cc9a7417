"""``sertoolkit analyse``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Where the systems err: confusion matrices averaged over folds, and accuracy by speaker.

  sertoolkit analyse --exp exp/ser --protocol_dir exp/ser/protocol

writes to EXP/analysis: confusion.tsv (all systems), confusion.png (the best system of each family, as in
Figure 5 of the paper), speakers.tsv (all systems) and speakers.png. A member that is missing is an error that
names it; --partial analyses what there is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--exp", type=Path, required=True, help="folder with <system>/<fold>/seed-<n>")
    parser.add_argument("--protocol_dir", type=Path, required=True, help="made by `sertoolkit protocol`")
    parser.add_argument("--systems", default="", help="names, parted by blanks; default: all")
    parser.add_argument("--partial", action="store_true", help="go on though members are missing")


def run(args: argparse.Namespace) -> None:
    """Compute and draw."""
    from sertoolkit.analysis.confusion import best_of_families, confusion_tsv, mean_confusion, plot_confusions
    from sertoolkit.analysis.speakers import plot_speakers, speaker_rows, speakers_tsv
    from sertoolkit.corpus.protocol import read_protocol
    from sertoolkit.scoring.emotion import MOST_FREQUENT
    from sertoolkit.scoring.members import read_members
    from sertoolkit.scoring.table import count_members, score_members
    from sertoolkit.storage.atomic import write_text

    resolved = read_protocol(args.protocol_dir)
    members = read_members(args.exp, resolved, systems=args.systems.split() or None, partial=args.partial)
    classes, out = resolved.protocol.classes, args.exp / "analysis"
    scores = score_members(members, resolved)
    confusions = {system: mean_confusion(folds) for system, folds in count_members(members, resolved).items()}
    best = best_of_families(scores["systems"])
    write_text(out / "confusion.tsv", confusion_tsv(confusions, classes))
    plot_confusions({system: confusions[system] for system in best}, classes, out / "confusion.png")
    rows = speaker_rows(scores["members"], resolved.folds)
    write_text(out / "speakers.tsv", speakers_tsv(rows))
    plot_speakers(rows, best, out / "speakers.png", chance=MOST_FREQUENT)
    print(f"best of each family by UAR on the test sets: {', '.join(best)}")
    print(f"written to {out}: confusion.tsv confusion.png speakers.tsv speakers.png")
