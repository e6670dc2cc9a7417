"""What the recogniser hears, beside how it sounds.

Lakomkin et al. 2017, section 5, name it as future work, to tell anger from happiness and neutral from happiness. The
words are those of the greedy transcript, as :class:`~sertoolkit.text.pieces.Pieces` counts them; no transcript of the
corpus is read. Where test speakers say sentences of the training set, such a system may know the sentence instead of
the emotion: state the overlap with its results, and the score on unseen sentences.
"""

from __future__ import annotations

from sertoolkit.heads.mean_pool import MeanPool
from sertoolkit.heads.progressive import Progressive


class Words(MeanPool):
    """Words, beside layers averaged over time -> dropout -> classes; the words alone where no layer is named.

    `layer_dims` and `layers` end with the words, (B, dim of the pieces).
    """

    needs = frozenset({"pooled", "words"})


class WordsProgressive(Progressive):
    """Words, the baseline's branch and, where named, layers averaged over time -> dropout -> classes."""

    needs = frozenset({"side", "pooled", "words"})
