"""Layer sweep: what the score of a head is on each layer of the encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit.analysis.figures import COLOURS, MARKERS, plain_axes, save_figure
from sertoolkit.scoring.emotion import METRICS


def layer_rows(
    systems: Mapping[str, Mapping[str, Any]], scores: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Scores by head and layer.

    Args:
        systems: settings by name, as ``config.yaml`` of the experiment holds them; systems without layers get
            layer 0, those with several are left out
        scores: rows of the table by system

    Returns:
        dicts with ``head layer system``, the means of the metrics, ``uar_sd_folds`` and ``uar_sd_runs`` (NaN
        where there is none), by head in the order of the table and by layer. The head is named by its family:
        ``rnn`` of ``rnn-2``

    """
    rows = []
    for name in scores:
        layers = systems[name]["layers"] if name in systems else None
        if layers is None or len(layers) > 1:
            continue
        layer = layers[0] if layers else 0
        row: dict[str, Any] = {"head": name.removesuffix(f"-{layer}"), "layer": layer, "system": name}
        row |= {metric: scores[name][metric]["mean"] for metric in METRICS}
        for spread in ("sd_folds", "sd_runs"):
            value = scores[name]["uar"][spread]
            row[f"uar_{spread}"] = float("nan") if value is None else value
        rows.append(row)
    heads = list(dict.fromkeys(row["head"] for row in rows))  # in the order of the table
    return sorted(rows, key=lambda row: (heads.index(row["head"]), row["layer"]))


def plot_layers(rows: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Draw UAR over the layers: a line a head, its deviation over folds, systems without layers as dashed lines.

    Args:
        rows: of :func:`layer_rows`
        path: PNG to write

    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axis = figure.subplots()
    plain_axes(axis)
    layered = [row for row in rows if row["layer"]]
    heads = list(dict.fromkeys(row["head"] for row in layered))
    for number, head in enumerate(heads):
        mine = [row for row in layered if row["head"] == head]
        shift = 0.06 * (number - (len(heads) - 1) / 2)  # else the bars of the heads hide each other
        axis.errorbar(
            [row["layer"] + shift for row in mine],
            [row["uar"] for row in mine],
            yerr=np.nan_to_num([row["uar_sd_folds"] for row in mine]),
            color=COLOURS[number % len(COLOURS)],
            marker=MARKERS[number % len(MARKERS)],
            capsize=3,
            label=head,
        )
    for row, style in zip((row for row in rows if not row["layer"]), _dashes(), strict=False):
        axis.axhline(row["uar"], color="0.35", linewidth=1.2, linestyle=style, label=row["system"])
    axis.set_xticks(sorted({row["layer"] for row in layered}))
    axis.set_xlabel("layer of the encoder")
    axis.set_ylabel("UAR (mean; bars: sd over folds)")
    axis.set_ylim(0, 1)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    save_figure(figure, path)


def _dashes() -> list[Any]:
    return ["--", ":", "-.", (0, (8, 3)), (0, (1, 4))]
