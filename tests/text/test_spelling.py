"""Transcripts of a corpus in the letters of a recogniser."""

from __future__ import annotations

import pytest

from sertoolkit.errors import DataError
from sertoolkit.text.spelling import spell
from sertoolkit.text.tokens import make_tokens

ENGLISH = make_tokens(["ABCDEFGHIJKLMNOPQRSTUVWXYZ' "])
GERMAN = make_tokens(["abcdefghijklmnopqrstuvwxyz\u00e4\u00f6\u00fc\u00df "])


@pytest.mark.parametrize(
    ("text", "tokens", "expected"),
    [
        ("Kids are talking by the door", ENGLISH, "KIDS ARE TALKING BY THE DOOR"),
        ("IT'S  HERE", ENGLISH, "IT'S HERE"),
        ("Was sind denn das f\u00fcr T\u00fcten", ENGLISH, "WAS SIND DENN DAS FUR TUTEN"),
        ("f\u00fcr t\u00fcten", GERMAN, "f\u00fcr t\u00fcten"),
        ("[LAUGHTER] Well, yes.", ENGLISH, "WELL YES"),
    ],
)
def test_what_tokens_can_spell_stays_and_the_rest_becomes_base_letters(text, tokens, expected) -> None:
    assert spell(text, tokens) == expected


@pytest.mark.parametrize(
    ("text", "tokens", "message"),
    [
        ("", ENGLISH, "no word in it"),
        ("[LAUGHTER]", ENGLISH, "no word in it"),
        ("in 1984", ENGLISH, "'1'"),
        ("Abend", make_tokens(["AB"]), "not among the 4 tokens"),
    ],
)
def test_what_they_cannot_spell_is_an_error(text, tokens, message) -> None:
    with pytest.raises(DataError, match=message):
        spell(text, tokens)
