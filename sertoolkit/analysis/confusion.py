"""Mean confusion matrices over folds (Figure 5 of Lakomkin et al. 2017)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit.analysis.figures import save_figure
from sertoolkit.scoring.emotion import MOST_FREQUENT, RANDOM


def best_of_families(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The system with the highest mean UAR of each family: the name up to the first hyphen.

    The choice looks at test results, as the paper's figure does: it illustrates and must not be used to
    select a model.

    Args:
        systems: rows of the table by system; the rows of chance are left out

    Returns:
        one name a family, in the order of the table

    """
    best: dict[str, str] = {}
    for name in systems:
        family = name.partition("-")[0]
        if name in (MOST_FREQUENT, RANDOM):
            continue
        if family not in best or systems[name]["uar"]["mean"] > systems[best[family]]["uar"]["mean"]:
            best[family] = name
    return list(best.values())


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Share of each true class that is taken for each class, each (C, C); row = truth; NaN where there is none."""

    mean: np.ndarray
    """over folds, the runs of a fold averaged first; rows sum to 1"""
    sd_folds: np.ndarray
    """standard deviation over folds, the runs of a fold averaged first"""
    sd_runs: np.ndarray
    """standard deviation over runs, the folds of a run averaged first"""


def mean_confusion(counts: Mapping[str, Mapping[int, np.ndarray]]) -> Confusion:
    """Average confusion matrices over folds and runs.

    A fold without a class does not count in that class's row. Only seeds that every fold has tell runs apart.

    Args:
        counts: fold -> seed -> confusion counts (C, C); row = truth

    """
    shares = {fold: {seed: _shares(table) for seed, table in seeds.items()} for fold, seeds in counts.items()}
    folds = np.ma.stack([np.ma.stack(list(seeds.values())).mean(axis=0) for seeds in shares.values()])
    common = sorted(set.intersection(*(set(seeds) for seeds in counts.values())))
    runs = [np.ma.stack([seeds[seed] for seeds in shares.values()]).mean(axis=0) for seed in common]
    return Confusion(
        mean=folds.mean(axis=0).filled(np.nan),
        sd_folds=_deviation(folds),
        sd_runs=_deviation(np.ma.stack(runs)) if runs else np.full(folds.shape[1:], np.nan),
    )


def _shares(table: np.ndarray) -> np.ma.MaskedArray:
    """Counts as shares of their row; rows of classes that do not occur are masked."""
    table = np.asarray(table, dtype=float)
    total = np.broadcast_to(table.sum(axis=1, keepdims=True), table.shape)
    return np.ma.masked_array(table / np.maximum(total, 1), mask=total == 0)


def _deviation(values: np.ma.MaskedArray) -> np.ndarray:
    """Standard deviation of a sample along the first axis; NaN where fewer than two values are."""
    few = np.ma.count(values, axis=0) < 2
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.where(few, np.nan, np.ma.filled(values.std(axis=0, ddof=1), np.nan))


def confusion_rows(confusions: Mapping[str, Confusion], classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row a system, true class and predicted class: ``system truth predicted mean sd_folds sd_runs``."""
    pairs = list(itertools.product(enumerate(classes), repeat=2))
    return [
        {
            "system": system,
            "truth": truth,
            "predicted": predicted,
            "mean": float(confusion.mean[row, column]),
            "sd_folds": float(confusion.sd_folds[row, column]),
            "sd_runs": float(confusion.sd_runs[row, column]),
        }
        for system, confusion in confusions.items()
        for (row, truth), (column, predicted) in pairs
    ]


def plot_confusions(confusions: Mapping[str, Confusion], classes: Sequence[str], path: str | Path) -> None:
    """Draw mean confusion matrices side by side, all on one scale from 0 to 1, with their spread in small.

    Args:
        confusions: by system
        classes: names of rows and columns
        path: PNG to write

    """
    from matplotlib.figure import Figure

    num_columns = min(4 if len(classes) <= 5 else 2, len(confusions))
    num_rows = math.ceil(len(confusions) / num_columns)
    side = 0.7 * len(classes)
    figure = Figure(figsize=(0.9 + side * num_columns, 0.5 + (side + 0.7) * num_rows), layout="constrained")
    axes = figure.subplots(num_rows, num_columns, squeeze=False)
    for position, axis in enumerate(axes.flat):
        if position >= len(confusions):
            axis.set_axis_off()
            continue
        system = list(confusions)[position]
        image = _draw(axis, confusions[system], classes)
        axis.set_title(system, fontsize=11)
        axis.set_xlabel("predicted")
        if position % num_columns == 0:
            axis.set_ylabel("true")
        else:
            axis.set_yticklabels([])
    figure.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
    save_figure(figure, path)


def _draw(axis: Any, confusion: Confusion, classes: Sequence[str]) -> Any:
    image = axis.imshow(confusion.mean, cmap="Blues", vmin=0, vmax=1)
    places = range(len(classes))
    axis.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(places, classes)
    axis.tick_params(length=0, labelsize=9)
    for side in axis.spines.values():
        side.set_visible(False)
    for row, column in itertools.product(places, repeat=2):
        value = confusion.mean[row, column]
        spread = [f"±{sd[row, column]:.2f}" for sd in (confusion.sd_folds, confusion.sd_runs)]
        style = {"ha": "center", "color": "white" if value > 0.55 else "black"}  # white on dark cells
        axis.text(
            column, row - 0.12, "-" if np.isnan(value) else f"{value:.2f}", va="center", fontsize=9, **style
        )
        small = " ".join(text for text in spread if "nan" not in text)
        axis.text(column, row + 0.26, small, va="center", fontsize=6, **style)
    return image
