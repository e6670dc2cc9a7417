"""Mean confusion matrices: fractions made by hand, and the figure file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from sertoolkit.analysis.confusion import best_of_families, confusion_tsv, mean_confusion, plot_confusions


def test_folds_weigh_alike_whatever_their_size() -> None:
    counts = {"f1": {1: np.array([[1, 1], [0, 2]])}, "f2": {1: np.array([[90, 10], [30, 10]])}}

    expected = [[(1 / 2 + 9 / 10) / 2, (1 / 2 + 1 / 10) / 2], [(0 + 3 / 4) / 2, (1 + 1 / 4) / 2]]
    np.testing.assert_allclose(mean_confusion(counts), expected)


def test_runs_of_a_fold_are_summed() -> None:
    counts = {"f1": {1: np.array([[2, 0], [1, 1]]), 2: np.array([[0, 2], [2, 0]])}}

    np.testing.assert_allclose(mean_confusion(counts), [[2 / 4, 2 / 4], [3 / 4, 1 / 4]])


def test_fold_without_a_class_does_not_count_in_its_row() -> None:
    counts = {"f1": {1: np.array([[1, 3], [0, 0]])}, "f2": {1: np.array([[1, 0], [1, 4]])}}

    np.testing.assert_allclose(mean_confusion(counts), [[(1 / 4 + 1) / 2, (3 / 4 + 0) / 2], [1 / 5, 4 / 5]])


def test_class_that_no_fold_has_gives_nan_and_no_warning() -> None:
    with np.errstate(all="raise"):
        matrix = mean_confusion({"f1": {1: np.array([[1, 0], [0, 0]])}})

    np.testing.assert_array_equal(matrix, [[1, 0], [np.nan, np.nan]])


def test_best_of_each_family_leaves_chance_out() -> None:
    uar = {"most-frequent": 0.9, "random": 0.9, "mp-1": 0.4, "mp-2": 0.5, "mp-3": 0.3, "rnn-1": 0.2}

    assert best_of_families({name: {"uar": {"mean": value}} for name, value in uar.items()}) == [
        "mp-2",
        "rnn-1",
    ]


def test_text_form_has_a_line_for_each_system_and_class() -> None:
    text = confusion_tsv({"mp-2": np.array([[0.75, 0.25], [1 / 3, 2 / 3]])}, ["anger", "sadness"])

    assert text == (
        "system\ttruth\tanger\tsadness\nmp-2\tanger\t0.75\t0.25\nmp-2\tsadness\t0.333333\t0.666667\n"
    )


@pytest.mark.parametrize("num_systems", [1, 5])
def test_figure_is_written_with_the_same_bytes_each_time(tmp_path: Path, num_systems: int) -> None:
    matrices = {f"mp-{n}": np.array([[0.9, 0.1], [np.nan, np.nan]]) for n in range(num_systems)}

    plot_confusions(matrices, ["anger", "sadness"], tmp_path / "a.png")
    plot_confusions(matrices, ["anger", "sadness"], tmp_path / "b.png")

    assert imread(tmp_path / "a.png").std() > 0.05  # not blank
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
