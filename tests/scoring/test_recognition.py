"""Error rates against counts made by hand."""

from __future__ import annotations

import pytest

from sertoolkit.errors import DataError
from sertoolkit.scoring.recognition import score_recognition


@pytest.mark.parametrize(
    ("ref", "hyp", "wer", "cer"),
    [
        ("A", "", 1 / 1, 1 / 1),
        ("A", "A", 0.0, 0.0),
        ("A", "B C D", 3 / 1, 5 / 1),
        ("AB C", "ABC", 2 / 2, 1 / 4),
        ("THE CAT SAT", "THE BAT SAT ON", 2 / 3, 4 / 11),
        ("  A   B ", "A B", 0.0, 0.0),
    ],
)
def test_rates_of_one_utterance(ref: str, hyp: str, wer: float, cer: float) -> None:
    scores = score_recognition({"u": ref}, {"u": hyp})

    assert scores["wer"] == pytest.approx(wer)
    assert scores["cer"] == pytest.approx(cer)


def test_rates_are_of_the_corpus_not_means_of_utterances() -> None:
    scores = score_recognition({"a": "A", "b": "A B C D E F G H I"}, {"a": "X", "b": "A B C D E F G H I"})

    assert scores["wer"] == pytest.approx(1 / 10)  # the mean of utterances would be 1 / 2


def test_counts_tell_substitutions_deletions_and_insertions_apart() -> None:
    scores = score_recognition(
        {"a": "ONE TWO THREE FOUR", "b": "FIVE"}, {"a": "ONE TOO FOUR", "b": "FIVE SIX"}
    )

    expected = {"reference": 5, "hits": 3, "substitutions": 1, "deletions": 1, "insertions": 1}
    assert scores["words"] == expected


def test_speakers_are_scored_apart() -> None:
    scores = score_recognition(
        {"x-1": "A B", "x-2": "A B", "y-1": "A B"},
        {"x-1": "A B", "x-2": "A", "y-1": "C D"},
        utt2spk={"x-1": "x", "x-2": "x", "y-1": "y"},
    )

    assert {spk_id: row["wer"] for spk_id, row in scores["speakers"].items()} == {"x": 1 / 4, "y": 2 / 2}


@pytest.mark.parametrize(
    ("refs", "hyps", "message"),
    [
        ({}, {}, "no utterance"),
        ({"a": "A", "b": "B"}, {"a": "A"}, "b: no hypothesis"),
        ({"a": "A"}, {"a": "A", "b": "B"}, "b: hypothesis without"),
        ({"a": " "}, {"a": "A"}, "a: empty reference"),
    ],
)
def test_lists_that_do_not_fit_are_refused(refs: dict, hyps: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        score_recognition(refs, hyps)


def test_missing_speaker_is_refused() -> None:
    with pytest.raises(DataError, match="a: no speaker"):
        score_recognition({"a": "A"}, {"a": "A"}, utt2spk={})
