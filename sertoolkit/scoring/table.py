"""The table of systems: means, and the spread over folds and over runs, both named.

A score is averaged over the seeds (runs) of a fold first, then over folds. Lakomkin et al. 2017 print "mean
+- spread" without saying which spread; here ``sd folds`` is the standard deviation over folds of the seeds'
means, and ``sd runs`` the one over seeds of the folds' means.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np

from sertoolkit.corpus.protocol import Fold, ResolvedProtocol
from sertoolkit.scoring.emotion import METRICS, chance_rows, confusion_counts, metrics_of_counts, numbers_of
from sertoolkit.scoring.members import ScoredMember
from sertoolkit.scoring.significance import draw_folds, interval

TITLES = {"accuracy": "accuracy", "uar": "UAR", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}

NOTES = (
    "accuracy: share of utterances classified right (elsewhere: weighted accuracy, WA). It is the column"
    " U-Acc of Lakomkin et al. 2017: their majority row shows it.",
    "UAR: mean of the classes' recalls (elsewhere: UA). The formula behind the paper's W-Acc is"
    " open: its majority row, 0.33, fits neither UAR nor accuracy.",
    "macro F1: mean of the classes' F1; weighted F1: weighted by the classes' counts. The paper does not name"
    " its average; its random row, 0.24, fits macro F1 (weighted F1 would give 0.26).",
    "sd folds: standard deviation over folds, seeds averaged first. sd runs: over seeds, folds averaged"
    " first; '-' for one seed.",
    "95 % interval: bootstrap over folds, that is over test speakers, or sessions where folds test sessions (10,000"
    " resamples, percentiles expanded for few values, Hesterberg 2015); '-' for fewer than six folds.",
    "pooled: of the utterances of all folds together (mean over seeds). Classes that a fold's test set"
    " lacks are left out of its UAR and F1.",
    "most-frequent names the most frequent class of the fold's training set; random draws classes with equal"
    " chance, ten times.",
)

_SHORT = ("accuracy", "uar", "macro_f1")  # what fits on a screen; the files have all

Counts = Mapping[str, Mapping[str, Mapping[int, np.ndarray]]]
"""system -> fold (or test speaker) -> seed -> confusion counts (C, C)"""


def count_members(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> Counts:
    """Confusion counts of all members by fold, the rows of chance first."""
    return _count(members, resolved, lambda fold: {fold.name: np.ones(len(fold.test), dtype=bool)})


def count_speakers(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> Counts:
    """The same by test speaker: a speaker is tested in one fold, a fold may test several."""

    def places(fold: Fold) -> dict[str, np.ndarray]:
        speakers = np.array([fold.speakers[utt_id] for utt_id in fold.test])
        return {speaker: speakers == speaker for speaker in fold.speakers_of("test")}

    return _count(members, resolved, places)


def _count(
    members: Sequence[ScoredMember],
    resolved: ResolvedProtocol,
    places: Callable[[Fold], dict[str, np.ndarray]],
) -> Counts:
    """Confusion counts of parts of the test sets, by the name of the part; `places` tells which rows are of it."""
    classes = resolved.protocol.classes
    truth, parts = {}, {}
    for name, fold in resolved.folds.items():
        truth[name], parts[name] = numbers_of([fold.truth[u] for u in fold.test], classes), places(fold)
    counts: dict[str, dict[str, dict[int, np.ndarray]]] = defaultdict(lambda: defaultdict(dict))

    def count(system: str, fold: str, seed: int, predicted: np.ndarray) -> None:
        for part, rows in parts[fold].items():
            table = confusion_counts(truth[fold][rows], predicted[rows], len(classes))
            counts[system][part][seed] = table

    scored = {member.fold for member in members}  # chance on the same folds, also of a part of the grid
    folds_scored = {name: fold for name, fold in resolved.folds.items() if name in scored}
    for system, folds in chance_rows(folds_scored, classes).items():
        for name, runs in folds.items():
            for seed, predicted in enumerate(runs, start=1):
                count(system, name, seed, predicted)
    for member in members:
        count(member.system, member.fold, member.seed, member.predicted)
    return {system: {part: dict(seeds) for part, seeds in found.items()} for system, found in counts.items()}


def stack(folds: Mapping[str, Mapping[int, np.ndarray]]) -> np.ndarray:
    """Confusion counts of one system (R, F, C, C), by run and fold."""
    runs = sorted(next(iter(folds.values())))
    return np.array([[seeds[run] for seeds in folds.values()] for run in runs])


def score_members(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> dict[str, Any]:
    """All scores of an experiment.

    Args:
        members: of one or more systems; each system has the same seeds in all folds
        resolved: their protocol

    Returns:
        ``protocol`` (name, version, hash, number of its folds), ``systems`` (name -> row, in the order of the
        table; see :func:`summarise`) and ``members`` (system -> fold -> seed -> scores)

    """
    counts = count_members(members, resolved)
    protocol = resolved.protocol
    num_folds = len({member.fold for member in members})
    resamples = draw_folds(num_folds)
    return {
        "protocol": {
            "name": protocol.name,
            "version": protocol.version,
            "hash": resolved.hash,
            "num_folds": len(resolved.folds),
        },
        "systems": {system: summarise(stack(folds), resamples) for system, folds in counts.items()},
        "members": {system: _member_scores(folds) for system, folds in counts.items()},
    }


def _member_scores(folds: Mapping[str, Mapping[int, np.ndarray]]) -> dict[str, dict[int, dict[str, float]]]:
    values = metrics_of_counts(stack(folds))
    return {
        fold: {
            seed: {metric: float(values[metric][run, place]) for metric in METRICS}
            for run, seed in enumerate(sorted(seeds))
        }
        for place, (fold, seeds) in enumerate(folds.items())
    }


def summarise(counts: np.ndarray, resamples: np.ndarray) -> dict[str, Any]:
    """One row of the table.

    Args:
        counts: of one system (R, F, C, C)
        resamples: how often each of B resamples holds each fold (B, F)

    Returns:
        for each metric ``mean``, ``sd_folds`` and ``sd_runs`` (None where there are fewer than two), ``interval``
        of the mean, ``pooled`` over the utterances of all folds, and ``pooled_interval`` (None for fewer than six
        folds); ``num_folds``, ``num_runs``

    """
    num_runs, num_folds = counts.shape[:2]
    cells = counts.reshape(num_runs, num_folds, -1)
    resampled = (resamples @ cells).reshape(num_runs, len(resamples), *counts.shape[2:])
    of_members, of_pools = metrics_of_counts(counts), metrics_of_counts(counts.sum(axis=1))
    of_resamples = metrics_of_counts(resampled)
    row: dict[str, Any] = {}
    for metric in METRICS:
        of_folds, of_runs = of_members[metric].mean(axis=0), of_members[metric].mean(axis=1)
        row[metric] = {
            "mean": float(of_folds.mean()),
            "sd_folds": _deviation(of_folds),
            "sd_runs": _deviation(of_runs),
            "interval": interval(resamples @ of_folds / num_folds, num_folds),
            "pooled": float(of_pools[metric].mean()),
            "pooled_interval": interval(of_resamples[metric].mean(axis=0), num_folds),
        }
    return row | {"num_folds": num_folds, "num_runs": num_runs}


def table_rows(scores: Mapping[str, Any], *, metric: str = "uar") -> list[list[str]]:
    """Header and rows of the table as text; numbers have three digits, '-' stands where there is none.

    Args:
        scores: of :func:`score_members`
        metric: the one that has an interval here; ``scores`` holds all

    """
    header = ["system"]
    for name in _SHORT:
        header += [TITLES[name], "sd folds", "sd runs"]
    rows = [[*header, f"95 % interval of {TITLES[metric]}", "pooled UAR", "runs"]]
    for system, row in scores["systems"].items():
        cells = [_text(row[name][key]) for name in _SHORT for key in ("mean", "sd_folds", "sd_runs")]
        cells += [interval_text(row[metric]["interval"]), _text(row["uar"]["pooled"]), str(row["num_runs"])]
        rows.append([system, *cells])
    return rows


def mean_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    """Header and rows of every score: mean +- sd folds / sd runs, and the interval of the mean."""
    rows = [["system", *(cell for metric in METRICS for cell in (TITLES[metric], "95 % interval"))]]
    for system, row in scores["systems"].items():
        cells = [system]
        for score in (row[metric] for metric in METRICS):
            cells += [
                f"{_text(score['mean'])} +- {_text(score['sd_folds'])} / {_text(score['sd_runs'])}",
                interval_text(score["interval"]),
            ]
        rows.append(cells)
    return rows


def pooled_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    """Header and rows of the scores over the utterances of all folds together, each with its interval."""
    rows = [["system", *(f"pooled {TITLES[metric]}" for metric in METRICS)]]
    for system, row in scores["systems"].items():
        cells = [(row[metric]["pooled"], row[metric]["pooled_interval"]) for metric in METRICS]
        rows.append([system, *(f"{_text(value)} {interval_text(limits)}" for value, limits in cells)])
    return rows


def format_table(scores: Mapping[str, Any], *, metric: str = "uar") -> str:
    """The table in columns, and the notes that say what its names mean."""
    return "\n".join(
        [format_columns(table_rows(scores, metric=metric)), "", *(fill(note, 110) for note in NOTES)]
    )


def format_columns(rows: Sequence[Sequence[str]]) -> str:
    """Header and rows in columns; a header of several words takes several lines."""
    header, *body = rows
    words = [_break(name) for name in header]
    height = max(map(len, words))
    lines = zip(*([""] * (height - len(names)) + names for names in words), strict=True)
    table = [*lines, *body]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    text = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    text.insert(height, "-" * max(map(len, text)))
    return "\n".join(text)


def tsv_of(scores: Mapping[str, Any]) -> str:
    """The table for programs: full precision, one header line, empty cells where there is no number."""
    keys = ("mean", "sd_folds", "sd_runs", "low", "high", "pooled", "pooled_low", "pooled_high")
    names = [metric if key == "mean" else f"{metric}_{key}" for metric in METRICS for key in keys]
    lines = ["\t".join(["system", *names, "num_folds", "num_runs"])]
    for system, row in scores["systems"].items():
        values = []
        for score in (row[metric] for metric in METRICS):
            values += [
                score["mean"],
                score["sd_folds"],
                score["sd_runs"],
                *(score["interval"] or (None, None)),
            ]
            values += [score["pooled"], *(score["pooled_interval"] or (None, None))]
        values += [row["num_folds"], row["num_runs"]]
        lines.append("\t".join([system, *("" if value is None else f"{value:.6g}" for value in values)]))
    return "\n".join(lines) + "\n"


def interval_text(limits: Sequence[float] | None) -> str:
    """Low and high in brackets, or '-'."""
    return "-" if limits is None else f"[{limits[0]:.3f}, {limits[1]:.3f}]"


def _break(name: str) -> list[str]:
    """A column's name in lines."""
    if name.startswith("95 % interval"):
        return ["95 % interval", *filter(None, [name.removeprefix("95 % interval").strip()])]
    return name.split(" ")


def _deviation(values: np.ndarray) -> float | None:
    """Standard deviation of a sample (divided by n - 1)."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
