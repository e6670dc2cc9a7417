"""What Lakomkin et al. 2017 claim, as differences that can be tested on one's own results.

A claim is made of comparisons; each gives two values a run and fold whose difference is positive where the
claim holds. R = runs, F = folds, C = classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sertoolkit.scoring.emotion import metrics_of_counts
from sertoolkit.scoring.table import TITLES

BASELINE = "baseline-96"  # the strongest of the paper's three, fixed in advance
_HARD_PAIRS = (("anger", "happiness"), ("neutral", "happiness"))


@dataclass(frozen=True, kw_only=True)
class Results:
    """What comparisons look at."""

    counts: Mapping[str, np.ndarray]
    """system -> confusion counts (R, F, C, C); row = truth"""
    classes: Sequence[str]
    metric: str
    """the score that systems are compared by"""

    def shares(self, system: str, truth: str, predicted: str) -> np.ndarray:
        """Share of a class that is taken for another (R, F); NaN where a test set lacks the class."""
        row = self.counts[system][..., self.classes.index(truth), :]
        with np.errstate(invalid="ignore"):
            return row[..., self.classes.index(predicted)] / row.sum(axis=-1)


@dataclass(frozen=True)
class Ahead:
    """A system scores higher than another."""

    has_opposite: ClassVar[bool] = True

    system: str
    reference: str
    metric: str | None = None
    """by what; None for the score that systems are compared by"""

    @property
    def title(self) -> str:
        """In a few words."""
        score = f" by {TITLES[self.metric]}" if self.metric else ""
        return f"{self.system} > {self.reference}{score}"

    def unit(self, results: Results) -> str:
        """Name of the score."""
        return TITLES[self.metric or results.metric]

    def fits(self, results: Results) -> bool:
        """Whether all that it compares is there."""
        return {self.system, self.reference} <= results.counts.keys()

    def values(self, results: Results) -> tuple[np.ndarray, np.ndarray]:
        """Scores of both (R, F); (1, F), averaged over runs, where one has more runs than the other."""
        first, second = (
            metrics_of_counts(results.counts[name])[self.metric or results.metric]
            for name in (self.system, self.reference)
        )
        if first.shape != second.shape:
            return first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True)
        return first, second

    def sentence(self, first: float, second: float) -> str:
        """What was found, given the means of both values."""
        where = "above" if first >= second else "below"
        gain = f" by {abs(first / second - 1):.1%}" if second else ""
        return f"{self.system} is {where} {self.reference}{gain}"


@dataclass(frozen=True)
class Confused:
    """A system confuses two classes more than any of the pairs that the paper does not name."""

    # The largest of several shares is large by chance too: to stay below it shows nothing, to exceed it does.
    has_opposite: ClassVar[bool] = False

    system: str
    pair: tuple[str, str]

    @property
    def title(self) -> str:
        """In a few words."""
        return f"{self.system}: {self.pair[0]}/{self.pair[1]} confused more than any easy pair"

    def unit(self, results: Results) -> str:
        """Name of what is compared."""
        return "share"

    def fits(self, results: Results) -> bool:
        """Whether all that it compares is there."""
        return self.system in results.counts and {"anger", "happiness", "neutral", "sadness"} == set(
            results.classes
        )

    def values(self, results: Results) -> tuple[np.ndarray, np.ndarray]:
        """Share of the pair taken for each other, and the largest of it among the easy pairs (R, F)."""

        def share(first: str, second: str) -> np.ndarray:
            there, back = (
                results.shares(self.system, *names) for names in ((first, second), (second, first))
            )
            return (there + back) / 2

        hard = {frozenset(pair) for pair in _HARD_PAIRS}
        easy = [
            share(first, second)
            for number, first in enumerate(results.classes)
            for second in results.classes[number + 1 :]
            if frozenset((first, second)) not in hard
        ]
        return share(*self.pair), np.max(easy, axis=0)

    def sentence(self, first: float, second: float) -> str:
        """What was found, given the means of both values."""
        return (
            f"{self.system} takes {' and '.join(self.pair)} for each other in {first:.0%} of cases,"
            f" the worst easy pair of each test set in {second:.0%}"
        )


@dataclass(frozen=True)
class Apart:
    """A system tells two classes from each other."""

    has_opposite: ClassVar[bool] = True

    system: str
    pair: tuple[str, str]

    @property
    def title(self) -> str:
        """In a few words."""
        return f"{self.system}: {self.pair[0]} apart from {self.pair[1]}"

    def unit(self, results: Results) -> str:
        """Name of what is compared."""
        return "share"

    def fits(self, results: Results) -> bool:
        """Whether all that it compares is there."""
        return self.system in results.counts and set(self.pair) <= set(results.classes)

    def values(self, results: Results) -> tuple[np.ndarray, np.ndarray]:
        """Share of both classes named rightly, and share of both taken for each other (R, F)."""
        first, second = self.pair
        right = results.shares(self.system, first, first) + results.shares(self.system, second, second)
        wrong = results.shares(self.system, first, second) + results.shares(self.system, second, first)
        return right / 2, wrong / 2

    def sentence(self, first: float, second: float) -> str:
        """What was found, given the means of both values."""
        return (
            f"{self.system} names {' and '.join(self.pair)} rightly in {first:.0%} of cases,"
            f" one for the other in {second:.0%}"
        )


# The paper's U-Acc is accuracy here and its F1 fits macro F1, as NOTES of the table say; what its W-Acc is, is open. Where
# it says what a claim is about, that is tested; else the score that systems are compared by.
_ACCURACY, _F1 = "accuracy", "macro_f1"

Comparison = Ahead | Confused | Apart


@dataclass(frozen=True)
class Claim:
    """What the paper says, in words that its comparisons test; it holds if all of them do."""

    text: str
    comparisons: tuple[Comparison, ...]


# Lakomkin et al. 2017, abstract and section 4, in the order of the text. "Consistently" and "in all variants"
# are taken by the word: every comparison must hold.
CLAIMS = (
    Claim(
        "a relative gain over the baseline, in accuracy and F1 (paper: 10 %; by its Table 1, 9.4 % and 11.8 %)",
        tuple(Ahead("progressive-2", BASELINE, metric) for metric in (_ACCURACY, _F1)),
    ),
    Claim(
        "anger/happiness and neutral/happiness are hard pairs, each confused more than any other (easy) pair",
        tuple(Confused("progressive-2", pair) for pair in _HARD_PAIRS),
    ),
    Claim(
        "the mean of layer 3 alone beats the baseline in accuracy (paper: p <= 0.03)",
        (Ahead("mp-3", BASELINE, metric=_ACCURACY),),
    ),
    Claim(
        "a GRU on layer 2 beats the baseline (paper: p <= 0.0007)",
        (Ahead("rnn-2", BASELINE),),
    ),
    Claim(
        "a GRU on a layer beats the mean of that layer",
        tuple(Ahead(f"rnn-{layer}", f"mp-{layer}") for layer in (1, 2, 3)),
    ),
    Claim(
        "progressive nets are consistently ahead of the baseline in accuracy",
        tuple(Ahead(f"progressive-{layer}", BASELINE, metric=_ACCURACY) for layer in (1, 2, 3)),
    ),
    Claim(
        "layer 2 beats the baseline in all variants",
        tuple(Ahead(f"{family}-2", BASELINE) for family in ("mp", "rnn", "progressive")),
    ),
    Claim(
        "the progressive net is ahead of fine-tuning in accuracy, both on layer 2",
        (Ahead("progressive-2", "rnn-2", metric=_ACCURACY),),
    ),
    Claim(
        "the mean of layer 1 already names sadness and anger rightly more often than one for the other",
        (Apart("mp-1", ("sadness", "anger")),),
    ),
)
