"""Prefix beam search of CTC outputs, with an n-gram model of words where one is given."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sertoolkit.decoding.greedy import BLANK
from sertoolkit.decoding.words import WordModel
from sertoolkit.errors import ConfigError
from sertoolkit.text.tokens import CharTokens, Tokens


class BeamSearch:
    """Find the token sequence with the highest probability over all its alignments (Hannun et al. 2014, section 2).

    Sequences that share a prefix share its probability; after each frame the best ``beam`` prefixes stay. A
    sequence W gains ``lm_weight * ln p(W) + word_bonus * (words in W)``, counted word by word as a word ends:
    where a token that begins with a space follows, and after the last frame. Without a beam limit the result is
    exact.

    Args:
        tokens: of the recogniser
        beam: prefixes that stay, at least 1
        words: n-gram model of words
        lm_weight: factor on its logarithmic probability, 0 or more
        word_bonus: added for each word, which makes up for what each word costs

    Raises:
        ConfigError: if a value is out of range

    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        beam: int = 16,
        words: WordModel | None = None,
        lm_weight: float = 0.5,
        word_bonus: float = 1.0,
    ) -> None:
        if beam < 1 or lm_weight < 0:
            raise ConfigError(f"beam {beam} and lm_weight {lm_weight:g}: expected at least 1 and at least 0")
        self.beam = beam
        self.words = words
        self.lm_weight = lm_weight
        self.word_bonus = word_bonus
        self.spellings = _spellings(tokens)
        self._parts_words = np.array([spelling.startswith(" ") for spelling in self.spellings])

    def __call__(self, log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
        """Decode a batch, each utterance alone.

        Args:
            log_probs: natural logarithms of the tokens' probabilities in each frame (B, T, V)
            lengths: valid frames of each utterance (B,)

        Returns:
            numbers of the tokens, a list an utterance

        """
        scores = log_probs.double().cpu().numpy()
        return [self._search(s[:length]) for s, length in zip(scores, lengths.tolist(), strict=True)]

    def _search(self, frames: np.ndarray) -> list[int]:
        """Tokens of one utterance; `frames` is (T, V)."""
        prefixes = [_Prefix.root(self)]
        # log probability of all alignments so far of each prefix that end in a blank, and in its last token
        blank, label = np.zeros(1), np.full(1, -np.inf)
        for frame in frames:
            prefixes, blank, label = self._step(prefixes, blank, label, frame)
        final = [prefix.final_score(self) for prefix in prefixes]
        return prefixes[int(np.argmax(np.logaddexp(blank, label) + final))].tokens()

    def _step(
        self, prefixes: list[_Prefix], blank: np.ndarray, label: np.ndarray, frame: np.ndarray
    ) -> tuple[list[_Prefix], np.ndarray, np.ndarray]:
        count, rows = len(prefixes), np.arange(len(prefixes))
        last = np.array([prefix.token for prefix in prefixes])
        total = np.logaddexp(blank, label)
        # Prefixes that stay as they are: a blank, or the last token once more
        stay_blank, stay_label = total + frame[BLANK], label + frame[last]
        # Prefixes that grow by a token (count, V); the same token twice needs a blank between
        grown = total[:, None] + frame
        grown[rows, last] = blank + frame[last]
        grown[:, BLANK] = -np.inf
        # A prefix that grows into one that is there already adds to it
        place = {prefix: i for i, prefix in enumerate(prefixes)}
        for i, prefix in enumerate(prefixes):
            parent = place.get(prefix.parent)
            if parent is not None:
                stay_label[i] = np.logaddexp(stay_label[i], grown[parent, prefix.token])
                grown[parent, prefix.token] = -np.inf

        ended = np.array([prefix.score for prefix in prefixes])
        ending = np.array([prefix.ending for prefix in prefixes])
        ranks = np.concatenate(
            [
                np.logaddexp(stay_blank, stay_label) + ended,
                (grown + (ended[:, None] + ending[:, None] * self._parts_words)).ravel(),
            ]
        )
        best = (
            np.argpartition(-ranks, self.beam - 1)[: self.beam]
            if len(ranks) > self.beam
            else np.arange(len(ranks))
        )
        best = best[ranks[best] > -np.inf]
        stays, grows = best[best < count], best[best >= count] - count
        parents, tokens = np.divmod(grows, len(frame))
        kept = [prefixes[i] for i in stays]
        kept += [
            prefixes[i].child(token, self) for i, token in zip(parents.tolist(), tokens.tolist(), strict=True)
        ]
        return (
            kept,
            np.concatenate([stay_blank[stays], np.full(len(grows), -np.inf)]),
            np.concatenate([stay_label[stays], grown.ravel()[grows]]),
        )


class _Prefix:
    """A node of the tree of token sequences; the same sequence is always the same node.

    Attributes:
        parent: without the last token
        token: the last one; the blank at the root
        word: spelling since the last end of a word
        score: weighted score of the words that have ended
        state: of the word model after them
        ending: what is added if `word` ends here
        ended_state: of the word model then

    """

    __slots__ = ("children", "ended_state", "ending", "parent", "score", "state", "token", "word")

    def __init__(
        self, parent: _Prefix | None, token: int, word: str, score: float, state: object, search: BeamSearch
    ) -> None:
        self.parent, self.token, self.word, self.score, self.state = parent, token, word, score, state
        self.children: dict[int, _Prefix] = {}
        self.ending, self.ended_state = 0.0, state
        if word and search.words is not None:
            log_prob, self.ended_state = search.words.score(state, word)
            self.ending = search.lm_weight * log_prob + search.word_bonus

    @classmethod
    def root(cls, search: BeamSearch) -> _Prefix:
        return cls(None, BLANK, "", 0.0, search.words.start() if search.words else None, search)

    def child(self, token: int, search: BeamSearch) -> _Prefix:
        if token not in self.children:
            spelling = search.spellings[token]
            if spelling.startswith(" "):
                made = _Prefix(self, token, spelling[1:], self.score + self.ending, self.ended_state, search)
            else:
                made = _Prefix(self, token, self.word + spelling, self.score, self.state, search)
            self.children[token] = made
        return self.children[token]

    def final_score(self, search: BeamSearch) -> float:
        """Score of the words if the utterance ends here."""
        if search.words is None:
            return 0.0
        return self.score + self.ending + search.lm_weight * search.words.end(self.ended_state)

    def tokens(self) -> list[int]:
        found, prefix = [], self
        while prefix.parent is not None:
            found.append(prefix.token)
            prefix = prefix.parent
        return found[::-1]


def _spellings(tokens: Tokens) -> list[str]:
    """What each token adds to the text; one that begins a word starts with a space."""
    if isinstance(tokens, CharTokens):
        return ["", " ", *tokens.symbols[2:]]
    return ["", *(symbol.replace("\u2581", " ") for symbol in tokens.symbols[1:])]
