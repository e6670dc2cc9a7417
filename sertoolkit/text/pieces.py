"""A transcript as a vector: which pieces of words it holds."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import HashingVectorizer


@dataclasses.dataclass(frozen=True)
class Pieces:
    """Counts of runs of characters within words, hashed to a fixed number of values (Weinberger et al. 2009).

    Pieces and not whole words: a recogniser that errs in every fourth character spells few words right, but most of
    their pieces; blanks at both ends of a word count as characters, so that short words are pieces themselves.
    Hashing needs no list of words, so nothing is learnt from any fold.

    Args:
        shortest: characters of the shortest piece
        longest: characters of the longest
        dim: values of the vector

    """

    shortest: int = 2
    longest: int = 4
    dim: int = 1024

    def __call__(self, text: str) -> np.ndarray:
        """The vector of a transcript, (dim,) float32 of length 1; zeros where nothing was heard."""
        return self._vectoriser.transform([text]).toarray()[0].astype(np.float32)

    @functools.cached_property
    def _vectoriser(self) -> HashingVectorizer:
        from sklearn.feature_extraction.text import HashingVectorizer

        return HashingVectorizer(
            analyzer="char_wb", ngram_range=(self.shortest, self.longest), n_features=self.dim, norm="l2"
        )
