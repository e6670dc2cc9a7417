"""Mean confusion matrices over folds (Figure 5 of Lakomkin et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit.analysis.figures import save_figure
from sertoolkit.scoring.emotion import MOST_FREQUENT, RANDOM

_COLUMNS_OF_FIGURE = 4


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


def mean_confusion(counts: Mapping[str, Mapping[int, np.ndarray]]) -> np.ndarray:
    """Share of each true class that is taken for each class: runs of a fold summed, folds averaged.

    Args:
        counts: fold -> seed -> confusion counts (C, C); row = truth

    Returns:
        (C, C), rows sum to 1; a fold without a class does not count in that class's row, and a class that no
        fold has gives a row of NaN

    """
    shares, present = 0.0, 0
    for runs in counts.values():
        fold = np.asarray(sum(runs.values()), dtype=float)
        total = fold.sum(axis=1, keepdims=True)
        shares = shares + np.divide(fold, total, out=np.zeros_like(fold), where=total > 0)
        present = present + (total > 0)
    return np.divide(shares, present, out=np.full_like(shares, np.nan), where=present > 0)


def confusion_tsv(confusions: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """Mean confusion matrices as text: one line a system and true class."""
    lines = ["\t".join(["system", "truth", *classes])]
    for system, matrix in confusions.items():
        for name, row in zip(classes, matrix, strict=True):
            lines.append("\t".join([system, name, *(f"{value:.6g}" for value in row)]))
    return "\n".join(lines) + "\n"


def plot_confusions(confusions: Mapping[str, np.ndarray], classes: Sequence[str], path: str | Path) -> None:
    """Draw mean confusion matrices side by side, all on one scale from 0 to 1.

    Args:
        confusions: system -> (C, C), as :func:`mean_confusion` gives
        classes: names of rows and columns
        path: PNG to write

    """
    from matplotlib.figure import Figure

    num_columns = min(_COLUMNS_OF_FIGURE, len(confusions))
    num_rows = math.ceil(len(confusions) / num_columns)
    figure = Figure(figsize=(0.9 + 2.6 * num_columns, 0.7 + 2.7 * num_rows), layout="constrained")
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


def _draw(axis: Any, matrix: np.ndarray, classes: Sequence[str]) -> Any:
    image = axis.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
    places = range(len(classes))
    axis.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(places, classes)
    axis.tick_params(length=0, labelsize=9)
    for side in axis.spines.values():
        side.set_visible(False)
    for row in places:
        for column in places:
            value = matrix[row, column]
            text = "-" if np.isnan(value) else f"{value:.2f}"
            # white on dark cells
            axis.text(
                column,
                row,
                text,
                ha="center",
                va="center",
                fontsize=9,
                color="white" if value > 0.55 else "black",
            )
    return image
