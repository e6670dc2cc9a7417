"""English transcripts come out in one alphabet, or are refused by name."""

from __future__ import annotations

import pytest

from sertoolkit.errors import DataError
from sertoolkit.text.normalise import normalise_english


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "A"),
        ("  two   words\t", "TWO WORDS"),
        ("Well-known, isn't it?", "WELL KNOWN ISN'T IT"),
        ("don\u2019t \u201cquote\u201d me", "DON'T QUOTE ME"),
        ("caf\u00e9 na\u00efve", "CAFE NAIVE"),
        ("he said -- 'go' -- and ' left", "HE SAID 'GO' AND LEFT"),
        ("the \ufb01re", "THE FIRE"),
        ("so\u2026 then\u2014now", "SO THEN NOW"),
    ],
)
def test_transcript_becomes_letters_apostrophes_and_single_spaces(text: str, expected: str) -> None:
    assert normalise_english(text) == expected


def test_normalising_twice_changes_nothing() -> None:
    once = normalise_english("It's -- 'really' -- well-known!")

    assert normalise_english(once) == once


@pytest.mark.parametrize(
    ("text", "symbol"), [("room 7", "'7'"), ("salt & pepper", "'&'"), ("gr\u00f6\u00dfe \u0416", "\u0416")]
)
def test_symbol_without_a_place_is_refused_by_name(text: str, symbol: str) -> None:
    with pytest.raises(DataError, match=symbol):
        normalise_english(text)


@pytest.mark.parametrize("text", ["", "  ", "--", "'"])
def test_text_without_a_letter_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="no letter"):
        normalise_english(text)
