"""The table of systems: means, and the spread over folds and over runs, both named.

A score is averaged over the seeds (runs) of a fold first, then over folds. Lakomkin et al. 2017 print "mean
+- spread" without saying which spread; here ``sd folds`` is the standard deviation over folds of the seeds'
means, and ``sd runs`` the one over seeds of the folds' means.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.emotion import METRICS, chance_rows, confusion_counts, numbers_of, scores_of_counts
from sertoolkit.scoring.members import ScoredMember

TITLES = {"accuracy": "accuracy", "uar": "UAR", "macro_f1": "macro F1"}

NOTES = (
    "accuracy: share of utterances classified right (elsewhere: weighted accuracy, WA). It is the column"
    " U-Acc of Lakomkin et al. 2017: their majority row shows it.",
    "UAR: mean of the classes' recalls (elsewhere: UA). The formula behind the paper's W-Acc is"
    " open: its majority row, 0.33, fits neither UAR nor accuracy.",
    "macro F1: mean of the classes' F1. The average behind the paper's F1 is open.",
    "sd folds: standard deviation over folds, seeds averaged first. sd runs: over seeds, folds averaged"
    " first; '-' for one seed.",
    "pooled UAR: of the utterances of all folds together (mean over seeds). Classes that a fold's test set"
    " lacks are left out of its UAR and macro F1.",
    "most-frequent names the most frequent class of the fold's training set; random draws classes with equal"
    " chance, ten times.",
)

Counts = Mapping[str, Mapping[str, Mapping[int, np.ndarray]]]
"""system -> fold -> seed -> confusion counts (C, C)"""


def count_members(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> Counts:
    """Confusion counts of all members, the rows of chance first."""
    classes = resolved.protocol.classes
    truth = {
        name: numbers_of([fold.truth[utt_id] for utt_id in fold.test], classes)
        for name, fold in resolved.folds.items()
    }
    counts: dict[str, dict[str, dict[int, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))
    scored = {member.fold for member in members}  # chance on the same folds, also of a part of the grid
    folds_scored = {name: fold for name, fold in resolved.folds.items() if name in scored}
    for system, folds in chance_rows(folds_scored, classes).items():
        for name, runs in folds.items():
            for seed, predicted in enumerate(runs, start=1):
                counts[system][name][seed] = confusion_counts(truth[name], predicted, len(classes))
    for member in members:
        table = confusion_counts(truth[member.fold], member.predicted, len(classes))
        counts[member.system][member.fold][member.seed] = table
    return {system: {name: dict(seeds) for name, seeds in folds.items()} for system, folds in counts.items()}


def score_members(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> dict[str, Any]:
    """All scores of an experiment.

    Args:
        members: of one or more systems
        resolved: their protocol

    Returns:
        ``protocol`` (name, version, hash), ``systems`` (name -> row, in the order of the table; see
        :func:`summarise`) and ``members`` (system -> fold -> seed -> scores)

    """
    counts = count_members(members, resolved)
    protocol = resolved.protocol
    scores = {
        system: {
            fold: {seed: scores_of_counts(table) for seed, table in seeds.items()}
            for fold, seeds in folds.items()
        }
        for system, folds in counts.items()
    }
    return {
        "protocol": {"name": protocol.name, "version": protocol.version, "hash": resolved.hash},
        "systems": {system: summarise(counts[system], scores[system]) for system in counts},
        "members": scores,
    }


def summarise(
    counts: Mapping[str, Mapping[int, np.ndarray]], scores: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> dict[str, Any]:
    """One row of the table.

    Args:
        counts: fold -> seed -> confusion counts (C, C)
        scores: fold -> seed -> scores of these counts

    Returns:
        for each metric ``mean``, ``sd_folds`` and ``sd_runs`` (None where fewer than two folds or seeds are
        complete); ``pooled_uar``, ``num_folds``, ``num_runs``

    """
    # Only seeds that every fold has tell runs from folds; others still count in their fold's mean.
    common = sorted(set.intersection(*(set(seeds) for seeds in scores.values())))
    row: dict[str, Any] = {}
    for metric in METRICS:
        fold_means = [fmean(run[metric] for run in seeds.values()) for seeds in scores.values()]
        run_means = [fmean(seeds[seed][metric] for seeds in scores.values()) for seed in common]
        row[metric] = {
            "mean": fmean(fold_means),
            "sd_folds": _deviation(fold_means),
            "sd_runs": _deviation(run_means),
        }
    pooled = [
        scores_of_counts(np.sum([seeds[seed] for seeds in counts.values()], axis=0))["uar"] for seed in common
    ]
    row["pooled_uar"] = fmean(pooled) if pooled else None
    row["num_folds"] = len(scores)
    row["num_runs"] = max(len(seeds) for seeds in scores.values())
    return row


def table_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    """Header and rows of the table as text; numbers have three digits, '-' stands where there is none.

    Args:
        scores: of :func:`score_members`

    """
    header = ["system"]
    for metric in METRICS:
        header += [TITLES[metric], "sd folds", "sd runs"]
    rows = [[*header, "pooled UAR", "folds", "runs"]]
    for system, row in scores["systems"].items():
        cells = [_text(row[metric][key]) for metric in METRICS for key in ("mean", "sd_folds", "sd_runs")]
        rows.append([system, *cells, _text(row["pooled_uar"]), str(row["num_folds"]), str(row["num_runs"])])
    return rows


def format_table(scores: Mapping[str, Any]) -> str:
    """The table in columns, and the notes that say what its names mean."""
    rows = table_rows(scores)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join([*lines, "", *NOTES])


def tsv_of(scores: Mapping[str, Any]) -> str:
    """The table for programs: full precision, one header line, empty cells where there is no number."""
    names = [f"{metric}{suffix}" for metric in METRICS for suffix in ("", "_sd_folds", "_sd_runs")]
    lines = ["\t".join(["system", *names, "pooled_uar", "num_folds", "num_runs"])]
    for system, row in scores["systems"].items():
        values = [row[metric][key] for metric in METRICS for key in ("mean", "sd_folds", "sd_runs")]
        values += [row["pooled_uar"], row["num_folds"], row["num_runs"]]
        lines.append("\t".join([system, *("" if value is None else f"{value:.6g}" for value in values)]))
    return "\n".join(lines) + "\n"


def _deviation(values: Sequence[float]) -> float | None:
    """Standard deviation of a sample (divided by n - 1)."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
