"""Accuracy, unweighted average recall and F1, and the two rows of chance.

Names follow the wider literature. The row "most frequent class" of Table 1 in Lakomkin et al. 2017 shows that
the paper's "unweighted accuracy" is the plain accuracy here.

All scores come from a confusion matrix of counts, by numpy: a table scores a thousand members, and
scikit-learn takes milliseconds for each. The tests compare with scikit-learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from sertoolkit.corpus.protocol import Fold
from sertoolkit.errors import DataError
from sertoolkit.scoring import METRICS as METRICS

MOST_FREQUENT = "most-frequent"
RANDOM = "random"


def confusion_counts(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Count pairs of classes.

    Args:
        truth: numbers of classes (N,)
        predicted: numbers of classes (N,)
        num_classes: C

    Returns:
        counts (C, C); row = truth, column = predicted

    """
    return np.bincount(truth * num_classes + predicted, minlength=num_classes**2).reshape(
        num_classes, num_classes
    )


def metrics_of_counts(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores of many confusion matrices at once.

    Args:
        counts: (..., C, C); row = truth, column = predicted

    Returns:
        by the names of ``METRICS``, each (...), in [0, 1]. ``accuracy``: share of right answers; ``uar``: mean
        of the recalls of the classes; ``macro_f1``: mean of their F1, F1 = 2 TP / (2 TP + FP + FN);
        ``weighted_f1``: the same mean weighted by the true counts of the classes. A class that the truth does
        not hold has no recall: it is left out of the means, and answers that name it count as errors of the
        true class. NaN where there is nothing to score.

    """
    right = np.diagonal(counts, axis1=-2, axis2=-1).astype(float)
    true, named = counts.sum(axis=-1), counts.sum(axis=-2)
    present = true > 0
    recall = np.divide(right, true, out=np.zeros_like(right), where=present)
    f1 = np.divide(2 * right, true + named, out=np.zeros_like(right), where=present)
    with np.errstate(invalid="ignore"):
        return {
            "accuracy": right.sum(axis=-1) / true.sum(axis=-1),
            "uar": recall.sum(axis=-1) / present.sum(axis=-1),
            "macro_f1": f1.sum(axis=-1) / present.sum(axis=-1),
            "weighted_f1": (f1 * true).sum(axis=-1) / true.sum(axis=-1),
        }


def scores_of_counts(counts: np.ndarray) -> dict[str, float]:
    """Scores of one confusion matrix, as :func:`metrics_of_counts`.

    Args:
        counts: (C, C); row = truth, column = predicted

    Raises:
        DataError: if there is nothing to score

    """
    if counts.sum() == 0:
        raise DataError("scores: no utterance")
    return {metric: float(value) for metric, value in metrics_of_counts(counts).items()}


def score_emotion(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> dict[str, float]:
    """Scores of one set of utterances.

    Args:
        truth: class of each utterance
        predicted: predicted class of each utterance
        classes: all classes

    Returns:
        by the names of ``METRICS``, as :func:`metrics_of_counts`

    Raises:
        DataError: if the lists differ in length, are empty, or hold an unknown class

    Examples:
        >>> score_emotion(["a", "a", "a", "b"], ["a", "a", "b", "b"], ["a", "b"])["accuracy"]
        0.75

    """
    if len(truth) != len(predicted):
        raise DataError(
            f"scores: {len(truth)} classes of truth, {len(predicted)} predicted; expected as many"
        )
    counts = confusion_counts(numbers_of(truth, classes), numbers_of(predicted, classes), len(classes))
    return scores_of_counts(counts)


def numbers_of(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Classes as their places in ``classes`` (N,).

    Raises:
        DataError: if a label is no class

    """
    place = {name: number for number, name in enumerate(classes)}
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        raise DataError(f"scores: {', '.join(unknown)} among the labels, expected only {', '.join(classes)}")
    return np.array([place[label] for label in labels], dtype=np.int64)


def chance_rows(
    folds: Mapping[str, Fold], classes: Sequence[str], *, num_draws: int = 10
) -> dict[str, dict[str, list[np.ndarray]]]:
    """Predictions of the two systems that hear nothing, on the test sets of the same folds.

    Args:
        folds: by name
        classes: of the protocol
        num_draws: how many times the random system is drawn; draw n has seed n and stands for a run

    Returns:
        system -> fold -> one array of class numbers (N,) a run. ``most-frequent`` always names the most
        frequent class of the fold's training set (the first one of equals); ``random`` draws classes with
        equal chance

    """
    most_frequent, random = {}, {}
    for position, (name, fold) in enumerate(folds.items()):
        counts = Counter(fold.truth[utt_id] for utt_id in fold.train)
        best = max(range(len(classes)), key=lambda number: counts[classes[number]])
        most_frequent[name] = [np.full(len(fold.test), best)]
        random[name] = [
            np.random.default_rng([draw, position]).integers(len(classes), size=len(fold.test))
            for draw in range(1, num_draws + 1)
        ]
    return {MOST_FREQUENT: most_frequent, RANDOM: random}
