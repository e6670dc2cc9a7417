"""N-gram models of words, read by the library KenLM (Heafield 2011)."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path
from typing import Any, Protocol

from sertoolkit.errors import ConfigError, PluginError


class WordModel(Protocol):
    """Probabilities of words, each given those before it; states are never changed."""

    def start(self) -> Any:
        """State at the beginning of an utterance."""

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """Natural logarithm of the probability of a word, and the state after it."""

    def end(self, state: Any) -> float:
        """Natural logarithm of the probability that the utterance ends."""


class NgramModel:
    """A back-off model in ARPA or KenLM's binary format. Words that it does not hold count as its ``<unk>``.

    Args:
        path: the file; its words must be spelt as the training transcripts are

    Raises:
        PluginError: if the package kenlm is missing
        ConfigError: if the file is not such a model
        FileNotFoundError: if there is no such file

    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            import kenlm
        except ImportError as error:
            raise PluginError(
                'a language model needs the package kenlm: pip install "sertoolkit[lm]" (it is built from'
                " source: a C++ compiler and cmake must be there)"
            ) from error
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "no language model here", str(path))
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except (OSError, RuntimeError) as error:
            reason = str(error).rpartition("Exception. ")[2]  # what precedes it is C++
            raise ConfigError(
                f"{path}: cannot be read as an n-gram model, expected ARPA or KenLM's binary format ({reason})"
            ) from error
        self._new_state = kenlm.State

    def __contains__(self, word: str) -> bool:
        """Whether the model holds the word."""
        return word in self._model

    def start(self) -> Any:
        """State after ``<s>``."""
        state = self._new_state()
        self._model.BeginSentenceWrite(state)
        return state

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """Natural logarithm of the probability of a word, and the state after it."""
        after = self._new_state()
        return self._model.BaseScore(state, word, after) * math.log(10), after

    def end(self, state: Any) -> float:
        """Natural logarithm of the probability of ``</s>``."""
        return self.score(state, "</s>")[0]
