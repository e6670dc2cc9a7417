"""N-gram models by KenLM, against the numbers that stand in the file."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from sertoolkit.decoding.words import NgramModel
from sertoolkit.errors import ConfigError, PluginError

# log10 probability, words, log10 back-off weight
ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.1\t<unk>
0\t<s>\t-0.3
-1.0\t</s>
-0.7\tTHE\t-0.2
-0.9\tDOG\t-0.4

\\2-grams:
-0.1\t<s> THE
-0.25\tTHE DOG
-0.35\tDOG </s>

\\end\\
"""


@pytest.fixture
def model(tmp_path: Path) -> NgramModel:
    pytest.importorskip("kenlm")
    (tmp_path / "words.arpa").write_text(ARPA)
    return NgramModel(tmp_path / "words.arpa")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("THE DOG", -0.1 - 0.25 - 0.35),
        ("DOG THE", -0.3 - 0.9 - 0.4 - 0.7 - 0.2 - 1.0),  # each backs off
        ("THE CAT", -0.1 - 0.2 - 1.1 - 1.0),  # unknown
        ("", -0.3 - 1.0),
    ],
)
def test_a_sentence_scores_as_the_file_says(model: NgramModel, sentence: str, expected: float) -> None:
    state, total = model.start(), 0.0
    for word in sentence.split():
        log_prob, state = model.score(state, word)
        total += log_prob

    assert total + model.end(state) == pytest.approx(expected * math.log(10), abs=1e-5)


def test_a_state_can_be_scored_from_twice(model: NgramModel) -> None:
    start = model.start()
    first = model.score(start, "THE")[0]
    model.score(start, "DOG")

    assert model.score(start, "THE")[0] == first


def test_it_tells_which_words_it_holds(model: NgramModel) -> None:
    assert "DOG" in model and "dog" not in model


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    (tmp_path / "words.arpa").write_text("THE DOG\n")

    with pytest.raises(ConfigError, match=r"words\.arpa: cannot be read as an n-gram model"):
        NgramModel(tmp_path / "words.arpa")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("kenlm")
    with pytest.raises(FileNotFoundError, match=r"no language model here.*words\.arpa"):
        NgramModel(tmp_path / "words.arpa")


def test_without_the_library_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)

    with pytest.raises(PluginError, match=r'pip install "sertoolkit\[lm\]"'):
        NgramModel(tmp_path / "words.arpa")
