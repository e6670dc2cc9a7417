"""What a comparison measures, on counts that can be checked in the head."""

from __future__ import annotations

import numpy as np
import pytest

from sertoolkit.scoring.claims import CLAIMS, Ahead, Apart, Confused, Results
from sertoolkit.scoring.emotion import metrics_of_counts

CLASSES = ("anger", "happiness", "neutral", "sadness")
#              a  h  n  s
COUNTS = [
    [6, 4, 0, 0],
    [2, 5, 3, 0],
    [0, 1, 9, 0],
    [1, 0, 1, 8],
]


def results(classes: tuple[str, ...] = CLASSES, **counts: list) -> Results:
    """Of systems with one run and one fold, or with (R, F, C, C)."""
    arrays = {name.replace("_", "-"): np.array(table, ndmin=4) for name, table in counts.items()}
    return Results(counts=arrays, classes=classes, metric="accuracy")


def test_a_system_is_compared_with_another_by_its_score() -> None:
    first, second = Ahead("rnn-2", "mp-2").values(results(rnn_2=COUNTS, mp_2=np.ones((4, 4), dtype=int)))

    assert (first.item(), second.item()) == (28 / 40, 4 / 16)


def test_a_relative_gain_is_told() -> None:
    claim = Ahead("progressive-2", "baseline-96")

    assert claim.sentence(0.58, 0.53) == "progressive-2 is above baseline-96 by 9.4%"
    assert claim.sentence(0.53, 0.58) == "progressive-2 is below baseline-96 by 8.6%"
    assert claim.sentence(0.53, 0) == "progressive-2 is above baseline-96"


def test_a_comparison_by_a_score_of_its_own_does_not_take_the_chosen_one() -> None:
    found = results(a=COUNTS, b=np.ones((4, 4), dtype=int))

    first, second = Ahead("a", "b", metric="macro_f1").values(found)

    assert (first.item(), second.item()) == tuple(
        metrics_of_counts(np.array(table))["macro_f1"] for table in (COUNTS, np.ones((4, 4), dtype=int))
    )


def test_systems_of_unequal_numbers_of_runs_are_compared_by_their_means() -> None:
    ones = np.ones((4, 4), dtype=int)
    first, second = Ahead("a", "b").values(results(a=[[COUNTS, ones], [ones, ones]], b=[[ones, ones]]))

    assert first.tolist() == [[pytest.approx((0.7 + 0.25) / 2), 0.25]]
    assert second.tolist() == [[0.25, 0.25]]


def test_a_hard_pair_is_compared_with_the_largest_of_those_that_are_not_called_hard() -> None:
    first, second = Confused("a", ("anger", "happiness")).values(results(a=COUNTS))

    assert first.item() == pytest.approx((4 / 10 + 2 / 10) / 2)
    # anger/neutral 0, anger/sadness (0 + 1)/20, happiness/sadness 0, neutral/sadness (0 + 1)/20
    assert second.item() == pytest.approx(1 / 20)


def test_two_classes_are_apart_where_answers_are_right_more_often_than_the_other() -> None:
    first, second = Apart("a", ("sadness", "anger")).values(results(a=COUNTS))

    assert first.item() == pytest.approx((8 / 10 + 6 / 10) / 2)
    assert second.item() == pytest.approx((1 / 10 + 0) / 2)


def test_a_test_set_without_the_class_has_no_value() -> None:
    without = [[0, 0, 0, 0], *COUNTS[1:]]

    first, _ = Apart("a", ("sadness", "anger")).values(results(a=[[without, COUNTS]]))

    assert np.isnan(first).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("comparison", "classes", "fits"),
    [
        (Ahead("a", "b"), CLASSES, True),
        (Ahead("a", "c"), CLASSES, False),
        (Confused("a", ("anger", "happiness")), CLASSES, True),
        (Confused("a", ("anger", "happiness")), ("anger", "happiness"), False),
        (Confused("c", ("anger", "happiness")), CLASSES, False),
        (Apart("a", ("anger", "sadness")), ("anger", "sadness"), True),
        (Apart("a", ("anger", "sadness")), ("anger", "neutral"), False),
    ],
)
def test_comparisons_fit_where_systems_and_classes_are_there(
    comparison: Ahead | Confused | Apart, classes: tuple[str, ...], fits: bool
) -> None:
    counts = np.ones((len(classes), len(classes)), dtype=int)

    assert comparison.fits(results(classes, a=counts, b=counts)) is fits


def test_comparisons_of_the_claims_have_titles_of_their_own() -> None:
    comparisons = {comparison for claim in CLAIMS for comparison in claim.comparisons}

    assert len({comparison.title for comparison in comparisons}) == len(comparisons)
