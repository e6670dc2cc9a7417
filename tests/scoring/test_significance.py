"""Intervals and tests against published numbers, scipy, sums made by hand, and their promise under simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sertoolkit.scoring.significance import (
    MIN_FOLDS,
    corrected_ttest,
    draw_folds,
    holm,
    interval,
    paired_tests,
)

# Hollander and Wolfe 1973, page 29: depression before and after therapy; one-sided p 5/256
BEFORE = (1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30)
AFTER = (0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29)


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([], []),
        ([0.03], [0.03]),
        # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") of R
        ([0.01, 0.02, 0.03, 0.04, 0.05], [0.05, 0.08, 0.09, 0.09, 0.09]),
        # Holm's order, not the given one: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 not below 0.06
        ([0.04, 0.01, 0.03, 0.005], [0.06, 0.03, 0.06, 0.02]),
        ([0.5, 0.9, 0.6], [1, 1, 1]),
    ],
)
def test_holm_gives_the_published_numbers(p_values: list[float], corrected: list[float]) -> None:
    assert holm(p_values) == pytest.approx(corrected)


def test_wilcoxon_gives_the_published_p() -> None:
    differences = np.array([BEFORE]) - np.array([AFTER])

    assert paired_tests(differences, test_train_ratio=0.1).wilcoxon_p == pytest.approx(2 * 5 / 256)


def test_seeds_are_averaged_before_wilcoxon() -> None:
    differences = np.array([[0.3, -0.1, 0.2, 0.4, 0.1, 0.2], [-0.2, 0.5, 0.1, 0.3, 0.5, 0.6]])

    tests = paired_tests(differences, test_train_ratio=0.1)

    assert tests.wilcoxon_p == pytest.approx(2 / 2**6)  # all six means are positive


@pytest.mark.parametrize(
    ("differences", "smallest"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, -0.6], 2 / 2**6),
        ([0.1, 0.0, 0.3, 0.4, 0.5, -0.6], 2 / 2**5),  # a fold that does not differ says nothing
        ([0.1], 1),
        ([0.0, 0.0], 1),
    ],
)
def test_smallest_p_is_that_of_folds_that_all_agree(differences: list[float], smallest: float) -> None:
    tests = paired_tests(np.array([differences]), test_train_ratio=0.1)
    agreeing = paired_tests(np.abs([differences]), test_train_ratio=0.1)

    assert tests.smallest_p == pytest.approx(smallest)
    assert agreeing.wilcoxon_p == pytest.approx(smallest)


def test_scores_that_differ_in_their_last_bits_are_equal() -> None:
    tests = paired_tests(np.array([[0.1 + 0.2 - 0.3, 0.0, 0.0]]), test_train_ratio=0.1)

    assert (tests.wilcoxon_p, tests.smallest_p) == (1, 1)


def test_corrected_ttest_is_the_sum_made_by_hand() -> None:
    # mean 0.02, variance 0.0002/3; t = 0.02 / sqrt((1/4 + 1/8) * 0.0002/3) = 4, three degrees of freedom
    differences = np.array([0.01, 0.02, 0.02, 0.03])

    # two-sided p of t = 4 with three degrees of freedom, from tables
    assert corrected_ttest(differences, test_train_ratio=1 / 8) == pytest.approx(0.02801, abs=2e-5)


def test_corrected_ttest_without_shared_training_is_students() -> None:
    differences = np.random.default_rng(1).normal(0.01, 0.03, size=20)

    corrected = corrected_ttest(differences, test_train_ratio=0)

    assert corrected == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    assert corrected < corrected_ttest(differences, test_train_ratio=0.1)


@pytest.mark.parametrize(("differences", "p"), [([], None), ([0.1], None), ([0, 0], 1), ([0.5, 0.5], 0)])
def test_ttest_of_degenerate_differences(differences: list[float], p: float | None) -> None:
    assert corrected_ttest(np.array(differences), test_train_ratio=0.1) == p


def test_runs_of_a_single_fold_are_not_tested() -> None:
    tests = paired_tests(np.array([[0.1], [0.2], [0.15]]), test_train_ratio=0.1)

    assert (tests.wilcoxon_p, tests.ttest_p) == (1, None)


def test_resamples_hold_as_many_folds_as_there_are() -> None:
    draws = draw_folds(10)

    assert set(draws.sum(axis=1)) == {10}
    np.testing.assert_array_equal(draws, draw_folds(10))
    # of 100,000 draws, each fold gets a tenth: six standard deviations of the binomial
    np.testing.assert_allclose(draws.sum(axis=0), 10_000, atol=570)


def test_interval_agrees_with_scipys_percentiles_at_the_expanded_level() -> None:
    values = np.random.default_rng(5).beta(5, 3, size=10)
    # Hesterberg 2015 for n = 10: Phi(-sqrt(10/9) * 2.262157) = 0.008548 on each side
    level = 1 - 2 * 0.008548
    expected = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=level,
        n_resamples=50_000,
        method="percentile",
        random_state=1,
    ).confidence_interval

    assert interval(draw_folds(10) @ values / 10, 10) == pytest.approx(tuple(expected), abs=0.006)


@pytest.mark.parametrize(("num_folds", "expected"), [(6, 0.93), (10, 0.945), (20, 0.95)])
def test_interval_of_a_mean_holds_the_truth_nearly_as_often_as_it_says(
    num_folds: int, expected: float
) -> None:
    values = np.random.default_rng(num_folds).normal(size=(num_folds, 1000))
    means = draw_folds(num_folds)[:2000] @ values / num_folds

    limits = np.array([interval(case, num_folds) for case in means.T])

    covered = ((limits[:, 0] < 0) & (limits[:, 1] > 0)).mean()
    # measured on 8,000 cases, where plain percentiles gave 0.87, 0.90, 0.93; of 1,000, three standard deviations
    assert covered == pytest.approx(expected, abs=0.025)


def test_interval_needs_six_folds_and_a_statistic() -> None:
    assert interval(np.zeros(100), MIN_FOLDS - 1) is None
    assert interval(np.array([0.1, np.nan, 0.3]), 10) is None
    assert interval(np.full(100, 0.25), 10) == (0.25, 0.25)


def test_false_alarms_of_ten_folds_and_ten_seeds_stay_below_the_level() -> None:
    draw = np.random.default_rng(2)
    alarms = np.zeros(2)
    for _ in range(400):
        # no difference on average; folds differ more than seeds, as they do in practice
        differences = draw.normal(0, 0.03, size=(1, 10)) + draw.normal(0, 0.02, size=(10, 10))
        tests = paired_tests(differences, test_train_ratio=1 / 8)
        alarms += [tests.wilcoxon_p <= 0.05, tests.ttest_p <= 0.05]

    # 0.05 and three standard deviations of 400 cases
    assert (alarms / 400 < 0.083).all()
