"""Results by gender: does a system hear women as well as men?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit.analysis.figures import COLOURS, plain_axes, save_figure
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import DataError, report_faults
from sertoolkit.scoring.emotion import METRICS, confusion_counts, numbers_of, scores_of_counts
from sertoolkit.scoring.members import ScoredMember

_WORDS = {"f": "women", "m": "men"}


def gender_rows(
    members: Sequence[ScoredMember], resolved: ResolvedProtocol, spk2gender: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Scores of each system over all test utterances of one gender together, averaged over seeds.

    Args:
        members: of all systems
        resolved: their protocol
        spk2gender: m or f by speaker

    Returns:
        dicts with ``system gender num_speakers num_utts``, the metrics, and ``uar_sd_runs``: the standard
        deviation of UAR over seeds, NaN for one

    Raises:
        DataError: if a test speaker has no gender; all are named

    """
    classes = resolved.protocol.classes
    counts: dict[tuple[str, str], dict[int, np.ndarray]] = defaultdict(dict)
    speakers: dict[tuple[str, str], set[str]] = defaultdict(set)
    everyone = {speaker for fold in resolved.folds.values() for speaker in fold.speakers_of("test")}
    unknown = sorted(everyone - set(spk2gender))
    report_faults("spk2gender of the data dir", [f"speaker {name}: no gender" for name in unknown], DataError)
    for member in members:
        fold = resolved.folds[member.fold]
        truth = numbers_of([fold.truth[utt_id] for utt_id in fold.test], classes)
        genders = np.array([spk2gender[fold.speakers[utt_id]] for utt_id in fold.test])
        for gender in sorted(set(genders.tolist())):
            mine, key = genders == gender, (member.system, gender)
            table = confusion_counts(truth[mine], member.predicted[mine], len(classes))
            counts[key][member.seed] = counts[key].get(member.seed, 0) + table
            speakers[key] |= {s for s in fold.speakers_of("test") if spk2gender[s] == gender}
    return [_row(*key, len(speakers[key]), list(runs.values())) for key, runs in counts.items()]


def _row(system: str, gender: str, num_speakers: int, runs: Sequence[np.ndarray]) -> dict[str, Any]:
    scores = [scores_of_counts(table) for table in runs]
    row = {
        "system": system,
        "gender": gender,
        "num_speakers": num_speakers,
        "num_utts": int(max(table.sum() for table in runs)),
    }
    row |= {metric: float(np.mean([run[metric] for run in scores])) for metric in METRICS}
    uar = [run["uar"] for run in scores]
    return row | {"uar_sd_runs": float(np.std(uar, ddof=1)) if len(uar) > 1 else float("nan")}


def plot_genders(rows: Sequence[Mapping[str, Any]], systems: Sequence[str], path: str | Path) -> None:
    """Draw the UAR of some systems for women and men as bars, with the deviation over runs where there is one.

    Args:
        rows: of :func:`gender_rows`
        systems: which, in the order of the groups
        path: PNG to write

    """
    from matplotlib.figure import Figure

    genders = sorted({row["gender"] for row in rows})
    found = {(row["system"], row["gender"]): row for row in rows}
    figure = Figure(figsize=(max(4.5, 1.5 + 1.1 * len(systems)), 3.4), layout="constrained")
    axis = figure.subplots()
    plain_axes(axis)
    width = 0.8 / len(genders)
    for number, gender in enumerate(genders):
        places = np.arange(len(systems)) + (number - (len(genders) - 1) / 2) * width
        mine = [found.get((system, gender)) for system in systems]
        heights = [row["uar"] if row else np.nan for row in mine]
        spread = [row["uar_sd_runs"] if row else np.nan for row in mine]
        largest = max((row for row in mine if row), key=lambda row: row["num_utts"])
        label = (
            f"{_WORDS.get(gender, gender)} ({largest['num_speakers']} speakers,"
            f" {largest['num_utts']} utterances)"
        )
        axis.bar(
            places,
            heights,
            width * 0.92,
            yerr=spread if np.isfinite(spread).any() else None,
            capsize=3,
            label=label,
            color=COLOURS[number],
            hatch="//" if number else None,
            edgecolor="white",
        )
    axis.set_xticks(range(len(systems)), systems, fontsize=9)
    axis.tick_params(axis="x", length=0)
    axis.set_ylabel("UAR (mean over runs)")
    axis.set_ylim(0, 1)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    save_figure(figure, path)
