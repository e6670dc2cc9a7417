"""Transcripts of English corpora brought to one alphabet: ``A-Z``, the apostrophe and the space."""

from __future__ import annotations

import re
import unicodedata

from sertoolkit.errors import DataError

# Marks that are not spoken. A hyphen parts words, as in the transcripts of LibriSpeech.
_PUNCTUATION = re.compile(r"[.,;:!?\"()\[\]{}\-\u2010-\u2015\u2026\u201c\u201d\u201e\u00ab\u00bb]")
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")
_LONE_APOSTROPHE = re.compile(r"(?<![A-Z])'+(?![A-Z])")
_OUTSIDE = re.compile(r"[^A-Z' ]")


def normalise_english(text: str) -> str:
    """Upper case, punctuation and accents removed, words parted by one space.

    Digits and signs such as ``&`` are refused, as how they were spoken cannot be known.

    Args:
        text: transcript as the corpus ships it

    Returns:
        text of ``A-Z``, ``'`` and single spaces

    Raises:
        DataError: if a symbol has no place in the alphabet, or if nothing is left

    Examples:
        >>> normalise_english("Well-known, isn't it?")
        "WELL KNOWN ISN'T IT"

    """
    # Apostrophes first: NFKD turns the acute accent into a space and a combining mark.
    plain = unicodedata.normalize("NFKD", _APOSTROPHES.sub("'", text))
    plain = "".join(symbol for symbol in plain if not unicodedata.combining(symbol)).upper()
    plain = _LONE_APOSTROPHE.sub(" ", _PUNCTUATION.sub(" ", plain))
    plain = " ".join(plain.split())
    outside = sorted(set(_OUTSIDE.findall(plain)))
    if outside:
        raise DataError(
            f"transcript {text!r}: found {' '.join(map(repr, outside))}, expected letters, apostrophes and"
            " punctuation; write numbers and signs as the words that are spoken, or leave the utterance out"
        )
    if not plain:
        raise DataError(f"transcript {text!r}: no letter in it; leave the utterance out")
    return plain
