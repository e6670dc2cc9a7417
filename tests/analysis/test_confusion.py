"""Mean confusion matrices: fractions made by hand, and the figure file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from sertoolkit.analysis.confusion import best_of_families, confusion_rows, mean_confusion, plot_confusions


def test_folds_weigh_alike_whatever_their_size() -> None:
    counts = {"f1": {1: np.array([[1, 1], [0, 2]])}, "f2": {1: np.array([[90, 10], [30, 10]])}}

    expected = [[(1 / 2 + 9 / 10) / 2, (1 / 2 + 1 / 10) / 2], [(0 + 3 / 4) / 2, (1 + 1 / 4) / 2]]
    np.testing.assert_allclose(mean_confusion(counts).mean, expected)


def test_runs_of_a_fold_are_averaged() -> None:
    counts = {"f1": {1: np.array([[2, 0], [1, 1]]), 2: np.array([[0, 2], [2, 0]])}}

    np.testing.assert_allclose(mean_confusion(counts).mean, [[2 / 4, 2 / 4], [3 / 4, 1 / 4]])


def test_fold_without_a_class_does_not_count_in_its_row() -> None:
    counts = {"f1": {1: np.array([[1, 3], [0, 0]])}, "f2": {1: np.array([[1, 0], [1, 4]])}}

    np.testing.assert_allclose(
        mean_confusion(counts).mean, [[(1 / 4 + 1) / 2, (3 / 4 + 0) / 2], [1 / 5, 4 / 5]]
    )


def test_class_that_no_fold_has_gives_nan_and_no_warning() -> None:
    with np.errstate(all="raise"):
        matrix = mean_confusion({"f1": {1: np.array([[1, 0], [0, 0]])}}).mean

    np.testing.assert_array_equal(matrix, [[1, 0], [np.nan, np.nan]])


def test_spread_over_folds_is_that_of_their_means_over_runs() -> None:
    counts = {
        "f1": {1: np.array([[2, 2], [0, 4]]), 2: np.array([[4, 0], [0, 4]])},
        "f2": {1: np.array([[1, 3], [0, 4]]), 2: np.array([[1, 3], [0, 4]])},
    }

    expected = np.std([(2 / 4 + 4 / 4) / 2, 1 / 4], ddof=1)
    np.testing.assert_allclose(mean_confusion(counts).sd_folds, [[expected, expected], [0, 0]])


def test_spread_over_runs_is_that_of_their_means_over_folds() -> None:
    counts = {
        "f1": {1: np.array([[2, 2], [0, 4]]), 2: np.array([[4, 0], [0, 4]])},
        "f2": {1: np.array([[1, 3], [0, 4]]), 2: np.array([[1, 3], [0, 4]])},
    }

    expected = np.std([(2 / 4 + 1 / 4) / 2, (4 / 4 + 1 / 4) / 2], ddof=1)
    np.testing.assert_allclose(mean_confusion(counts).sd_runs, [[expected, expected], [0, 0]])


def test_fold_without_a_class_does_not_count_in_the_spread_of_its_row() -> None:
    counts = {
        "f1": {1: np.array([[1, 3], [0, 0]])},
        "f2": {1: np.array([[1, 0], [1, 4]])},
        "f3": {1: np.array([[1, 1], [3, 2]])},
    }

    row = mean_confusion(counts).sd_folds[1]
    np.testing.assert_allclose(row, [np.std([1 / 5, 3 / 5], ddof=1)] * 2)


def test_one_fold_and_one_run_have_no_spread() -> None:
    confusion = mean_confusion({"f1": {1: np.array([[1, 0], [1, 1]])}})

    assert np.isnan(confusion.sd_folds).all() and np.isnan(confusion.sd_runs).all()


def test_seed_that_one_fold_lacks_does_not_count_in_the_spread_over_runs() -> None:
    table = np.array([[1, 0], [0, 1]])

    assert np.isnan(mean_confusion({"f1": {1: table, 2: table}, "f2": {1: table}}).sd_runs).all()


def test_best_of_each_family_leaves_chance_out() -> None:
    uar = {"most-frequent": 0.9, "random": 0.9, "mp-1": 0.4, "mp-2": 0.5, "mp-3": 0.3, "rnn-1": 0.2}

    assert best_of_families({name: {"uar": {"mean": value}} for name, value in uar.items()}) == [
        "mp-2",
        "rnn-1",
    ]


def test_rows_name_truth_and_predicted_class() -> None:
    confusion = mean_confusion({"f1": {1: np.array([[3, 1], [1, 2]])}})

    rows = confusion_rows({"mp-2": confusion}, ["anger", "sadness"])

    found = [(row["truth"], row["predicted"], row["mean"]) for row in rows]
    assert found[1] == ("anger", "sadness", 1 / 4)
    assert found[2] == ("sadness", "anger", pytest.approx(1 / 3))


@pytest.mark.parametrize("num_systems", [1, 5])
def test_figure_is_written_with_the_same_bytes_each_time(tmp_path: Path, num_systems: int) -> None:
    matrices = {
        f"mp-{n}": mean_confusion(
            {"f1": {1: np.array([[9, 1], [0, 0]])}, "f2": {1: np.array([[8, 2], [0, 0]])}}
        )
        for n in range(num_systems)
    }

    plot_confusions(matrices, ["anger", "sadness"], tmp_path / "a.png")
    plot_confusions(matrices, ["anger", "sadness"], tmp_path / "b.png")

    assert imread(tmp_path / "a.png").std() > 0.05  # not blank
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
