"""Results by test speaker, also where folds test several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit.analysis.figures import COLOURS, plain_axes, save_figure
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.emotion import METRICS, scores_of_counts
from sertoolkit.scoring.table import Counts


def speaker_rows(counts: Counts, resolved: ResolvedProtocol) -> list[dict[str, Any]]:
    """Scores of each system over the test utterances of each speaker, averaged over seeds.

    Args:
        counts: of :func:`sertoolkit.scoring.table.count_speakers`
        resolved: the protocol

    Returns:
        dicts with ``system speaker fold num_utts`` and the metrics

    """
    fold_of = {speaker: name for name, fold in resolved.folds.items() for speaker in fold.speakers_of("test")}
    rows = []
    for system, found in counts.items():
        for speaker, runs in found.items():
            scores = [scores_of_counts(table) for table in runs.values()]
            row = {"system": system, "speaker": speaker, "fold": fold_of[speaker]}
            row["num_utts"] = int(next(iter(runs.values())).sum())
            rows.append(row | {metric: float(np.mean([run[metric] for run in scores])) for metric in METRICS})
    return rows


def plot_speakers(
    rows: Sequence[Mapping[str, Any]], systems: Sequence[str], path: str | Path, *, chance: str
) -> None:
    """Draw the accuracy of some systems for each speaker as bars.

    Args:
        rows: of :func:`speaker_rows`
        systems: which, in the order of the bars
        path: PNG to write
        chance: a system drawn as a line across each speaker's bars

    """
    from matplotlib.figure import Figure

    speakers = sorted({row["speaker"] for row in rows})
    accuracy = {(row["system"], row["speaker"]): row["accuracy"] for row in rows}
    num_utts = {row["speaker"]: row["num_utts"] for row in rows}
    width = 0.8 / len(systems)
    size = (max(5.0, 1.5 + len(speakers) * (0.35 + 0.16 * len(systems))), 3.6)
    figure = Figure(figsize=size, layout="constrained")
    axis = figure.subplots()
    for number, system in enumerate(systems):
        places = np.arange(len(speakers)) + (number - (len(systems) - 1) / 2) * width
        heights = [accuracy.get((system, speaker), np.nan) for speaker in speakers]
        axis.bar(places, heights, width * 0.92, label=system, color=COLOURS[number % len(COLOURS)])
    for place, speaker in enumerate(speakers):
        label = chance if place == 0 else None
        level = accuracy.get((chance, speaker), np.nan)
        axis.plot([place - 0.44, place + 0.44], [level, level], color="black", linewidth=1.3, label=label)
    axis.set_xticks(
        range(len(speakers)), [f"{speaker}\n{num_utts[speaker]}" for speaker in speakers], fontsize=9
    )
    axis.tick_params(axis="x", length=0)
    axis.set_xlabel("test speaker, number of utterances")
    axis.set_ylabel("accuracy (mean over runs)")
    axis.set_xlim(-0.6, len(speakers) - 0.4)
    axis.set_ylim(0, 1)
    plain_axes(axis)
    figure.legend(loc="outside upper center", ncols=len(systems) + 1, frameon=False, fontsize=9)
    save_figure(figure, path)
