"""The table: which numbers are averaged first, and what each spread is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from sklearn import metrics

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.emotion import METRICS, scores_of_counts
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.significance import draw_folds, interval
from sertoolkit.scoring.table import format_columns, format_table, mean_rows, score_members, summarise

FOLDS = ("fold-01", "fold-02", "fold-03")


@pytest.fixture
def two_runs(exp: Path, add_member: Callable[..., Path]) -> Path:
    """Accuracies by fold: run 1 gives 6/6 5/6 4/6, run 2 gives 5/6 5/6 2/6."""
    for seed, errors in ((1, (0, 1, 2)), (2, (1, 1, 4))):
        for fold, wrong in zip(FOLDS, errors, strict=True):
            add_member("mp-2", fold, seed, wrong=wrong)
    return exp


@pytest.fixture
def many_folds() -> np.ndarray:
    """Confusion counts (2, 8, 3, 3) of two runs over eight folds."""
    draw = np.random.default_rng(3)
    return draw.integers(0, 6, size=(2, 8, 3, 3)) + 8 * np.eye(3, dtype=int)


def test_seeds_are_averaged_before_folds(two_runs: Path, resolved: ResolvedProtocol) -> None:
    row = score_members(read_members(two_runs, resolved), resolved)["systems"]["mp-2"]

    fold_means = [(1 + 5 / 6) / 2, 5 / 6, (4 / 6 + 2 / 6) / 2]
    run_means = [mean([1, 5 / 6, 4 / 6]), mean([5 / 6, 5 / 6, 2 / 6])]
    accuracy = row["accuracy"]
    assert accuracy["mean"] == pytest.approx(mean(fold_means))
    assert accuracy["sd_folds"] == pytest.approx(stdev(fold_means))
    assert accuracy["sd_runs"] == pytest.approx(stdev(run_means))
    assert (row["num_folds"], row["num_runs"]) == (3, 2)


def test_recall_is_averaged_over_classes_in_folds_and_pooled(
    two_runs: Path, resolved: ResolvedProtocol
) -> None:
    row = score_members(read_members(two_runs, resolved), resolved)["systems"]["mp-2"]

    # errors are all on the four angry utterances of a fold; sad ones are all right
    by_fold = [mean([1, 7 / 8]), 7 / 8, mean([6 / 8, 4 / 8])]
    pooled = mean([(9 / 12 + 6 / 6) / 2, (6 / 12 + 6 / 6) / 2])
    assert row["uar"]["mean"] == pytest.approx(mean(by_fold))
    assert row["uar"]["pooled"] == pytest.approx(pooled)


def test_folds_of_unequal_mixture_show_why_recall_is_pooled() -> None:
    # fold 1: 3 of class a right, 1 of b wrong; fold 2: only class a, all wrong
    counts = np.array([[[[3, 0], [1, 0]], [[0, 1], [0, 0]]]])

    assert summarise(counts, draw_folds(2))["uar"]["pooled"] == pytest.approx((3 / 4 + 0 / 1) / 2)


def test_pooled_scores_agree_with_scikit_learn(many_folds: np.ndarray) -> None:
    truth, predicted = np.indices((3, 3)).reshape(2, -1)
    cells = many_folds[:1].sum(axis=(0, 1)).ravel()

    row = summarise(many_folds[:1], draw_folds(8))

    labels = truth.repeat(cells), predicted.repeat(cells)
    assert row["accuracy"]["pooled"] == pytest.approx(metrics.accuracy_score(*labels))
    assert row["uar"]["pooled"] == pytest.approx(metrics.balanced_accuracy_score(*labels))
    assert row["macro_f1"]["pooled"] == pytest.approx(metrics.f1_score(*labels, average="macro"))
    assert row["weighted_f1"]["pooled"] == pytest.approx(metrics.f1_score(*labels, average="weighted"))


def test_intervals_hold_the_score_that_they_stand_beside(many_folds: np.ndarray) -> None:
    row = summarise(many_folds, draw_folds(8))

    for metric in METRICS:
        for value, limits in (("mean", "interval"), ("pooled", "pooled_interval")):
            low, high = row[metric][limits]
            assert low < row[metric][value] < high


def test_interval_of_the_pooled_score_resamples_folds_whole(many_folds: np.ndarray) -> None:
    resamples = draw_folds(8)

    pools = [np.tensordot(times, many_folds[0], axes=1) for times in resamples]
    by_hand = interval(np.array([scores_of_counts(pool)["uar"] for pool in pools]), 8)

    assert summarise(many_folds[:1], resamples)["uar"]["pooled_interval"] == pytest.approx(by_hand)


def test_few_folds_have_no_interval(two_runs: Path, resolved: ResolvedProtocol) -> None:
    row = score_members(read_members(two_runs, resolved), resolved)["systems"]["mp-2"]

    assert row["uar"]["interval"] is None
    assert row["uar"]["pooled_interval"] is None


def test_one_seed_has_no_spread_over_runs(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-2", fold, 1)

    accuracy = score_members(read_members(exp, resolved), resolved)["systems"]["mp-2"]["accuracy"]

    assert (accuracy["sd_folds"], accuracy["sd_runs"]) == (0.0, None)


def test_rows_of_chance_come_first(two_runs: Path, resolved: ResolvedProtocol) -> None:
    scores = score_members(read_members(two_runs, resolved), resolved)

    assert list(scores["systems"]) == ["most-frequent", "random", "mp-2"]
    most_frequent = scores["systems"]["most-frequent"]
    assert most_frequent["accuracy"]["mean"] == pytest.approx(4 / 6)
    assert most_frequent["uar"]["mean"] == pytest.approx(1 / 2)
    assert scores["systems"]["random"]["num_runs"] == 10


def test_table_is_narrower_than_120_columns(two_runs: Path, resolved: ResolvedProtocol) -> None:
    scores = score_members(read_members(two_runs, resolved), resolved)
    scores["systems"]["progressive-2"] = summarise(np.full((10, 10, 4, 4), 7), draw_folds(10))

    assert max(map(len, format_table(scores).splitlines())) <= 120


def test_column_names_of_several_words_take_several_lines() -> None:
    assert format_columns([["system", "sd folds"], ["mp-1", "0.100"]]).splitlines() == [
        "           sd",
        "system  folds",
        "-------------",
        "mp-1    0.100",
    ]


def test_every_score_stands_in_a_table_with_both_spreads_and_its_interval(many_folds: np.ndarray) -> None:
    row = summarise(many_folds, draw_folds(8))

    header, cells = mean_rows({"systems": {"mp-2": row}})

    assert header[1::2] == ["accuracy", "UAR", "macro F1", "weighted F1"]
    for place, metric in enumerate(METRICS):
        score = row[metric]
        mean_and_spreads, limits = cells[1 + 2 * place : 3 + 2 * place]
        assert mean_and_spreads == f"{score['mean']:.3f} +- {score['sd_folds']:.3f} / {score['sd_runs']:.3f}"
        assert limits == f"[{score['interval'][0]:.3f}, {score['interval'][1]:.3f}]"
