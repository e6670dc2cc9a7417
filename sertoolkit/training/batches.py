"""Which utterances make which batch: a function of (lengths, seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sertoolkit.features.loading import split_by_frames


def make_batches(
    lengths: Sequence[int],
    batch_size: int,
    *,
    seed: int,
    epoch: int,
    batch_frames: int = 0,
    ascending: bool = False,
    bucket: bool = False,
) -> list[np.ndarray]:
    """Batches of one epoch; every utterance stands in exactly one.

    Args:
        lengths: duration of each utterance, in frames
        batch_size: utterances a batch; the last one may hold fewer
        batch_frames: frames a batch, padding included (its longest utterance times their number), in place of
            ``batch_size``; a longer utterance is a batch of its own. 0: batches of ``batch_size``
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
    if batch_frames:
        batches = split_by_frames(order, lengths, batch_frames)
    else:
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if bucket and not ascending:
        batches = [batches[index] for index in generator.permutation(len(batches))]
    return batches


def step_seed(seed: int, epoch: int, step: int, rank: int = 0) -> int:
    """Seed of all random draws of one training step in one process, in [0, 2**63).

    Every step is seeded anew, so a resumed training needs no state of a generator.
    """
    key = [seed, epoch, step, *([rank] if rank else [])]
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
