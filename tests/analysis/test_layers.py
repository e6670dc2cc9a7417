"""Layer sweep from the rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from sertoolkit.analysis.layers import layer_rows, plot_layers
from sertoolkit.scoring.emotion import METRICS


def scores(uar: float, spread: float | None = 0.1) -> dict[str, Any]:
    return {metric: {"mean": uar, "sd_folds": spread, "sd_runs": None} for metric in METRICS}


SYSTEMS = {
    "baseline-96": {"layers": []},
    "rnn-wide-2": {"layers": [2]},
    "rnn-wide-1": {"layers": [1]},
    "mp-2": {"layers": [2]},
    "both": {"layers": [1, 2]},
}
SCORES = {name: scores(0.5 + 0.1 * number) for number, name in enumerate([*SYSTEMS, "foreign"])}


def test_heads_stand_in_the_order_of_the_table_and_layers_rise() -> None:
    rows = layer_rows(SYSTEMS, SCORES)

    assert [(row["head"], row["layer"]) for row in rows] == [
        ("baseline-96", 0),
        ("rnn-wide", 1),
        ("rnn-wide", 2),
        ("mp", 2),
    ]


def test_systems_with_several_layers_or_without_settings_are_left_out() -> None:
    assert {"both", "foreign"}.isdisjoint(row["system"] for row in layer_rows(SYSTEMS, SCORES))


def test_missing_spread_is_no_number() -> None:
    (row,) = layer_rows({"mp-2": {"layers": [2]}}, {"mp-2": scores(0.5, None)})

    assert np.isnan(row["uar_sd_folds"]) and np.isnan(row["uar_sd_runs"])


def test_figure_of_one_fold_can_be_drawn(tmp_path: Path) -> None:
    plot_layers(layer_rows({"mp-2": {"layers": [2]}}, {"mp-2": scores(0.5, None)}), tmp_path / "a.png")

    assert imread(tmp_path / "a.png").std() > 0.02  # not blank
