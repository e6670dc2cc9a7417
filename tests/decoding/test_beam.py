"""Prefix beam search against all alignments, written out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sertoolkit.decoding.beam import BeamSearch
from sertoolkit.decoding.greedy import greedy_decode
from sertoolkit.errors import ConfigError
from sertoolkit.text.tokens import Tokens, make_tokens

CHARACTERS = make_tokens(["AB B"])  # blank, space, A, B
PIECES = make_tokens(["AB BA AB AB", "BA B AB A"], "bpe", size=6)
ALL = 10**6  # a beam that nothing is too much for


class Bigrams:
    """A model of the words A, B, AB and anything else; its state is the word before."""

    def start(self) -> str:
        return "<s>"

    def score(self, state: str, word: str) -> tuple[float, str]:
        likely = {("<s>", "A"): 0.6, ("A", "AB"): 0.7, ("AB", "A"): 0.5, ("<s>", "B"): 0.2}
        return math.log(likely.get((state, word), 0.05)), word

    def end(self, state: str) -> float:
        return math.log({"AB": 0.5, "<s>": 0.01}.get(state, 0.1))


def random_scores(num_frames: int, num_tokens: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(1, num_frames, num_tokens, generator=generator)).log_softmax(-1)


def by_enumeration(
    log_probs: torch.Tensor, score_of: Callable[[tuple[int, ...]], float] = lambda _: 0.0
) -> list[int]:
    """The best token sequence, its probability summed over all V ** T paths."""
    frames = log_probs[0].double().numpy()
    totals: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(frames.shape[1]), repeat=len(frames)):
        merged = tuple(token for token, _ in itertools.groupby(path) if token)
        probability = math.exp(sum(frames[t, token] for t, token in enumerate(path)))
        totals[merged] = totals.get(merged, 0.0) + probability
    return list(max(totals, key=lambda ids: math.log(totals[ids]) + score_of(ids)))


@pytest.mark.parametrize("tokens", [CHARACTERS, PIECES], ids=["characters", "pieces"])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_sequence_over_all_alignments_is_found(tokens: Tokens, seed: int) -> None:
    log_probs = random_scores(5, tokens.size, seed)

    found = BeamSearch(tokens, beam=ALL)(log_probs, torch.tensor([5]))

    assert found == [by_enumeration(log_probs)]


@pytest.mark.parametrize("tokens", [CHARACTERS, PIECES], ids=["characters", "pieces"])
@pytest.mark.parametrize("seed", range(6))
def test_words_are_weighed_as_over_whole_sentences(tokens: Tokens, seed: int) -> None:
    model, weight, bonus = Bigrams(), 1.3, 0.4
    log_probs = random_scores(5, tokens.size, seed)

    def score_of(ids: tuple[int, ...]) -> float:
        words, state, total = tokens.decode(ids).split(), model.start(), 0.0
        for word in words:
            log_prob, state = model.score(state, word)
            total += log_prob
        return weight * (total + model.end(state)) + bonus * len(words)

    search = BeamSearch(tokens, beam=ALL, words=model, lm_weight=weight, word_bonus=bonus)
    assert search(log_probs, torch.tensor([5])) == [by_enumeration(log_probs, score_of)]


def test_alignments_together_outweigh_the_best_path() -> None:
    log_probs = torch.tensor([[[0.6, 0.0, 0.4, 0.0]] * 2]).clamp_min(1e-9).log()  # A: 0.64, nothing: 0.36

    assert greedy_decode(log_probs, torch.tensor([2])) == [[]]
    assert BeamSearch(CHARACTERS)(log_probs, torch.tensor([2])) == [[2]]


def test_a_sequence_reached_in_two_ways_is_one_hypothesis() -> None:
    # "A": 0.2125 from A before and 0.15 from nothing before, together above nothing: 0.36
    log_probs = torch.tensor([[[0.6, 0.0, 0.25, 0.15]] * 2]).clamp_min(1e-9).log()

    assert BeamSearch(CHARACTERS, beam=2)(log_probs, torch.tensor([2])) == [[2]]


def test_a_narrow_beam_keeps_the_best_prefixes_of_a_long_utterance() -> None:
    ids = [2, 3, 1, 2, 2, 1, 3]
    path = [token for i in ids for token in (i, i, 0)]
    log_probs = torch.nn.functional.one_hot(torch.tensor([path]), 4).float().mul(6).log_softmax(-1)

    assert BeamSearch(CHARACTERS, beam=3)(log_probs, torch.tensor([len(path)])) == [ids]


def test_utterances_of_a_batch_are_decoded_alone_and_to_their_lengths() -> None:
    scores = torch.cat([random_scores(7, 4, seed) for seed in range(3)])
    search = BeamSearch(CHARACTERS, beam=4)

    together = search(scores, torch.tensor([7, 4, 0]))

    assert together == [
        search(scores[:1], torch.tensor([7]))[0],
        search(scores[1:2, :4], torch.tensor([4]))[0],
        [],
    ]


def test_a_token_of_no_probability_is_never_found() -> None:
    log_probs = torch.full((1, 3, 4), -np.inf)
    log_probs[:, :, 2] = 0.0

    assert BeamSearch(CHARACTERS, beam=ALL)(log_probs, torch.tensor([3])) == [[2]]


@pytest.mark.parametrize(("beam", "weight"), [(0, 0.5), (4, -1.0)])
def test_values_out_of_range_are_refused(beam: int, weight: float) -> None:
    with pytest.raises(ConfigError, match="expected at least 1 and at least 0"):
        BeamSearch(CHARACTERS, beam=beam, lm_weight=weight)
