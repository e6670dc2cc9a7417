"""Batches follow from (lengths, seed, epoch) alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sertoolkit.training.batches import make_batches, step_seed

LENGTHS = [30, 10, 20, 20, 50, 40, 10, 5, 60]


@pytest.mark.parametrize("options", [{}, {"ascending": True}, {"bucket": True}])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 9, 100])
def test_every_utterance_stands_in_exactly_one_batch(options, batch_size):
    batches = make_batches(LENGTHS, batch_size, seed=1, epoch=2, **options)
    assert sorted(np.concatenate(batches)) == list(range(len(LENGTHS)))
    assert max(map(len, batches)) <= batch_size


def test_the_same_seed_and_epoch_give_the_same_batches_and_another_epoch_others():
    first, again, other = (make_batches(LENGTHS, 2, seed=1, epoch=e) for e in (1, 1, 2))
    assert [list(b) for b in first] == [list(b) for b in again]
    assert [list(b) for b in first] != [list(b) for b in other]


def test_the_first_epoch_of_sortagrad_runs_from_short_to_long():
    order = np.concatenate(make_batches(LENGTHS, 2, seed=1, epoch=1, ascending=True))
    assert [LENGTHS[i] for i in order] == sorted(LENGTHS)


def test_buckets_hold_similar_durations_in_random_order():
    batches = make_batches(LENGTHS, 3, seed=1, epoch=3, bucket=True)
    spans = sorted((min(LENGTHS[i] for i in b), max(LENGTHS[i] for i in b)) for b in batches)
    assert all(high <= low for (_, high), (low, _) in itertools.pairwise(spans))
    firsts = {
        min(LENGTHS[i] for i in make_batches(LENGTHS, 3, seed=1, epoch=e, bucket=True)[0]) for e in range(20)
    }
    assert len(firsts) == 3


@pytest.mark.parametrize("options", [{}, {"ascending": True}, {"bucket": True}])
@pytest.mark.parametrize("budget", [1, 50, 60, 80, 200, 10_000])
def test_batches_by_frames_stay_within_their_budget_padding_included(options, budget):
    batches = make_batches(LENGTHS, 2, batch_frames=budget, seed=1, epoch=2, **options)
    assert sorted(np.concatenate(batches)) == list(range(len(LENGTHS)))
    padded = [max(LENGTHS[i] for i in batch) * len(batch) for batch in batches]
    assert all(frames <= budget or len(batch) == 1 for frames, batch in zip(padded, batches, strict=True))
    again = make_batches(LENGTHS, 2, batch_frames=budget, seed=1, epoch=2, **options)
    assert [list(batch) for batch in again] == [list(batch) for batch in batches]


def test_batches_by_frames_are_as_full_as_the_order_allows():
    batches = make_batches(LENGTHS, 2, batch_frames=60, seed=1, epoch=1, ascending=True)
    assert [[LENGTHS[i] for i in batch] for batch in batches] == [
        [5, 10, 10], [20, 20], [30], [40], [50], [60]
    ]  # fmt: skip


def test_no_utterances_make_no_batches():
    assert make_batches([], 2, batch_frames=60, seed=1, epoch=1) == make_batches([], 2, seed=1, epoch=1) == []


def test_step_seeds_differ_by_seed_epoch_and_step():
    seeds = {step_seed(s, e, t) for s in range(5) for e in range(5) for t in range(5)}
    assert len(seeds) == 125
    assert all(0 <= seed < 2**63 for seed in seeds)
