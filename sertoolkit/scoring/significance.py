"""Intervals and paired tests for few test speakers.

The unit is the fold: one unseen speaker where each speaker is tested alone. Seeds are averaged within a fold
first; they say nothing about another speaker. B = resamples, F = folds, R = runs (seeds).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95  # of intervals
ALPHA = 0.05  # of tests
NUM_RESAMPLES = 10_000
# The interval of a mean of fewer values cannot hold the truth in 95 of 100 cases, as it never leaves the range of
# the values: all lie on one side of the median with probability 2 / 2^F, 0.06 for five folds.
MIN_FOLDS = 6


@functools.cache
def draw_folds(num_folds: int, *, seed: int = 1) -> np.ndarray:
    """How often each resample of the bootstrap holds each fold.

    Args:
        num_folds: F, drawn with replacement
        seed: of the draws

    Returns:
        (B, F); rows sum to F. The same for all systems, so that differences are paired

    """
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(num_folds, np.full(num_folds, 1 / num_folds), size=NUM_RESAMPLES)
    draws.setflags(write=False)  # it is shared
    return draws


def interval(resampled: np.ndarray, num_folds: int) -> tuple[float, float] | None:
    """95 % interval of a bootstrap distribution by expanded percentiles (Hesterberg 2015).

    Plain percentiles are too narrow for few values: they match a normal interval with the variance divided by n,
    where Student's with n - 1 is due. The levels are moved out by just that. Of normal values, the interval of the
    mean then holds the truth in 93, 95 and 95 of 100 cases for 6, 10 and 20 folds; plain percentiles do in 87, 90
    and 93, BCa in 85, 90 and 94 (simulated).

    Args:
        resampled: the statistic of each resample (B,)
        num_folds: how many folds were resampled

    Returns:
        low and high; None for fewer than six folds, or if the statistic of a resample does not exist

    """
    if num_folds < MIN_FOLDS or not np.isfinite(resampled).all():
        return None
    quantile = stats.t.ppf((1 + LEVEL) / 2, num_folds - 1) * np.sqrt(num_folds / (num_folds - 1))
    low, high = np.quantile(resampled, [stats.norm.cdf(-quantile), stats.norm.cdf(quantile)])
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class PairedTests:
    """Two-sided tests of the hypothesis that two systems do not differ."""

    wilcoxon_p: float
    """signed-rank test over folds, seeds averaged; 1 if no fold differs"""
    smallest_p: float
    """what that test gives where all folds that differ agree: it can never give less"""
    ttest_p: float | None
    """corrected resampled t-test over folds x runs; None for a single fold"""


def paired_tests(differences: np.ndarray, *, test_train_ratio: float) -> PairedTests:
    """Test whether the difference of two systems is zero.

    Args:
        differences: of their scores, (R, F)
        test_train_ratio: utterances of a test set by utterances of its training set

    """
    # equal scores differ in their last bits, which would give them ranks
    of_folds = differences.mean(axis=0).round(12)
    changed = of_folds[of_folds != 0]
    return PairedTests(
        wilcoxon_p=float(stats.wilcoxon(changed).pvalue) if len(changed) else 1.0,
        smallest_p=min(1.0, 2.0 ** (1 - len(changed))),
        ttest_p=corrected_ttest(differences.ravel(), test_train_ratio=test_train_ratio)
        if differences.shape[1] > 1  # the runs of one fold say nothing about others
        else None,
    )


def corrected_ttest(differences: np.ndarray, *, test_train_ratio: float) -> float | None:
    """Corrected resampled t-test (Nadeau and Bengio 2003; of repeated folds, Bouckaert and Frank 2004).

    Trainings that share data do not err independently: the variance of the mean of J differences is taken as
    (1/J + test/train) times their variance, with J - 1 degrees of freedom.

    Args:
        differences: (J,)
        test_train_ratio: utterances of a test set by utterances of its training set

    Returns:
        two-sided p; None for fewer than two differences

    """
    count = len(differences)
    if count < 2:
        return None
    error = np.sqrt((1 / count + test_train_ratio) * differences.var(ddof=1))
    if error == 0:
        return 1.0 if differences[0] == 0 else 0.0
    return float(2 * stats.t.sf(abs(differences.mean() / error), count - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of a family of tests (Holm 1979).

    Examples:
        >>> holm([0.25, 0.125])
        [0.25, 0.25]

    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(np.arange(len(values), 0, -1) * values[order])
    return np.minimum(corrected, 1).tolist()
