"""Which utterances make which batch: a function of (lengths, seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def make_batches(
    lengths: Sequence[int],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    ascending: bool = False,
    bucket: bool = False,
) -> list[np.ndarray]:
    """Batches of one epoch; every utterance stands in exactly one.

    Args:
        lengths: duration of each utterance, in any unit
        batch_size: utterances a batch; the last one may hold fewer
        seed: of the training
        epoch: counted from 1
        ascending: from short to long (SortaGrad)
        bucket: utterances of similar duration together, batches in random order

    Returns:
        arrays of indices into ``lengths``

    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    if ascending or bucket:  # the permutation before breaks ties anew each epoch
        order = order[np.argsort(np.asarray(lengths)[order], kind="stable")]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if bucket and not ascending:
        batches = [batches[index] for index in generator.permutation(len(batches))]
    return batches


def step_seed(seed: int, epoch: int, step: int) -> int:
    """Seed of all random draws of one training step, in [0, 2**63).

    Every step is seeded anew, so a resumed training needs no state of a generator.
    """
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
