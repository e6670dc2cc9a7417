"""Transcripts of a corpus as a recogniser writes them."""

from __future__ import annotations

import re

from sertoolkit.errors import DataError
from sertoolkit.text.normalise import normalise_english
from sertoolkit.text.tokens import Tokens

_EVENT = re.compile(r"\[[^\]]*\]")  # as IEMOCAP has them: [LAUGHTER]


def spell(text: str, tokens: Tokens) -> str:
    """A transcript in the letters of a recogniser.

    Events in brackets are no words and go. What the tokens can spell then stays as it is; anything else is brought to
    ``A-Z`` as English is: upper case, no punctuation, and letters with marks become their base letters. So a recogniser
    without umlauts reads ``Tüten`` as ``TUTEN``; it is not told the usual ``TUETEN``, as it writes one letter a sound.

    Args:
        text: as the data dir has it
        tokens: of the recogniser

    Raises:
        DataError: if they cannot spell it, or it holds no word

    Examples:
        >>> from sertoolkit.text.tokens import make_tokens
        >>> spell("K\u00f6nnte [LAUGHTER] sein.", make_tokens(["EINKOST U"]))
        'KONNTE SEIN'

    """
    words = " ".join(_EVENT.sub(" ", text).split())
    if not words:
        raise DataError(f"text {text!r}: no word in it")
    try:
        tokens.encode(words)
    except DataError:
        words = normalise_english(words)
        tokens.encode(words)
    return words
