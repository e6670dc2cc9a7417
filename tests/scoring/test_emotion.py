"""Scores against fractions made by hand and against scikit-learn; the rows of chance."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from sertoolkit.corpus.protocol import Fold
from sertoolkit.errors import DataError
from sertoolkit.scoring.emotion import (
    chance_rows,
    confusion_counts,
    metrics_of_counts,
    score_emotion,
    scores_of_counts,
)

CLASSES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("truth", "predicted", "accuracy", "uar", "macro_f1", "weighted_f1"),
    [
        # one utterance
        ("a", "a", 1, 1, 1, 1),
        ("a", "b", 0, 0, 0, 0),
        # all one class
        ("aaaa", "aaaa", 1, 1, 1, 1),
        ("aabbc", "aaaaa", 2 / 5, 1 / 3, (4 / 7) / 3, 2 / 5 * 4 / 7),
        # F1: a 2*2/(3+2), b 2*1/(1+2)
        ("aaab", "aabb", 3 / 4, (2 / 3 + 1) / 2, (4 / 5 + 2 / 3) / 2, 3 / 4 * 4 / 5 + 1 / 4 * 2 / 3),
        # c is absent from the truth: no recall of its own, its answers are errors of a
        ("aabb", "acbb", 3 / 4, (1 / 2 + 1) / 2, (2 / 3 + 1) / 2, (2 / 3 + 1) / 2),
        ("abcabc", "abccba", 4 / 6, (1 / 2 + 1 + 1 / 2) / 3, (2 / 4 + 1 + 2 / 4) / 3, 2 / 3),
    ],
)
def test_scores_are_the_fractions_made_by_hand(
    truth: str, predicted: str, accuracy: float, uar: float, macro_f1: float, weighted_f1: float
) -> None:
    scores = score_emotion(list(truth), list(predicted), CLASSES)

    assert scores == pytest.approx(
        {"accuracy": accuracy, "uar": uar, "macro_f1": macro_f1, "weighted_f1": weighted_f1}
    )


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    draw = np.random.default_rng(seed)
    truth = draw.choice(CLASSES, size=40, p=[0.6, 0.3, 0.1]).tolist() + CLASSES
    predicted = draw.choice(CLASSES, size=43).tolist()

    scores = score_emotion(truth, predicted, CLASSES)

    assert scores == pytest.approx(
        {
            "accuracy": metrics.accuracy_score(truth, predicted),
            "uar": metrics.balanced_accuracy_score(truth, predicted),
            "macro_f1": metrics.f1_score(truth, predicted, average="macro"),
            "weighted_f1": metrics.f1_score(truth, predicted, average="weighted"),
        }
    )


def test_many_matrices_are_scored_as_one_by_one() -> None:
    counts = np.random.default_rng(1).integers(0, 5, size=(2, 3, 4, 4))
    counts[0, 0, 1] = 0  # a class that the truth does not hold

    together = metrics_of_counts(counts)

    for run, fold in np.ndindex(2, 3):
        alone = scores_of_counts(counts[run, fold])
        assert {metric: values[run, fold] for metric, values in together.items()} == pytest.approx(alone)


def test_matrix_of_nothing_has_no_scores() -> None:
    assert all(np.isnan(value) for value in metrics_of_counts(np.zeros((3, 3), dtype=int)).values())


def test_confusion_rows_are_the_truth() -> None:
    counts = confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)

    np.testing.assert_array_equal(counts, [[1, 1], [0, 1]])


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [
        ("", "", "no utterance"),
        ("ab", "a", "2 classes of truth, 1"),
        ("ax", "aa", "x among"),
        ("aa", "ay", "y among"),
    ],
)
def test_lists_that_do_not_fit_are_refused(truth: str, predicted: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score_emotion(list(truth), list(predicted), CLASSES)


def make_fold(name: str, *, train: str, test: str) -> Fold:
    truth = {f"train-{n:04d}": label for n, label in enumerate(train)}
    truth |= {f"test-{n:04d}": label for n, label in enumerate(test)}
    utts = {side: tuple(u for u in truth if u.startswith(side)) for side in ("train", "test")}
    return Fold(name=name, valid=(), truth=truth, speakers={}, **utts)


def test_most_frequent_class_is_the_training_sets_and_not_the_test_sets() -> None:
    folds = {
        "fold-01": make_fold("fold-01", train="aab", test="bbb"),
        "fold-02": make_fold("fold-02", train="ccb", test="a"),
    }

    rows = chance_rows(folds, CLASSES)["most-frequent"]

    assert [run.tolist() for run in rows["fold-01"]] == [[0, 0, 0]]
    assert [run.tolist() for run in rows["fold-02"]] == [[2]]


def test_first_of_equally_frequent_classes_is_taken() -> None:
    rows = chance_rows({"fold-01": make_fold("fold-01", train="cb", test="a")}, CLASSES)

    assert rows["most-frequent"]["fold-01"][0].tolist() == [1]


def test_random_draws_differ_repeat_and_name_each_class_alike() -> None:
    folds = {"fold-01": make_fold("fold-01", train="abc", test="a" * 3000)}

    draws = chance_rows(folds, CLASSES, num_draws=2)["random"]["fold-01"]
    again = chance_rows(folds, CLASSES, num_draws=2)["random"]["fold-01"]

    assert (draws[0] != draws[1]).any()
    np.testing.assert_array_equal(draws[1], again[1])
    # six standard deviations of a binomial share of 1/3 in 3000 draws
    np.testing.assert_allclose(np.bincount(draws[0]) / 3000, 1 / 3, atol=0.052)
