"""Best path decoding of CTC outputs."""

from __future__ import annotations

import torch
from torch import Tensor

BLANK = 0


def greedy_decode(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """Take the likeliest token of each frame, merge repeats, then drop blanks.

    Args:
        log_probs: scores of the tokens in each frame (B, T, V); any monotone scale
        lengths: valid frames of each utterance (B,)

    Returns:
        numbers of the tokens, a list an utterance

    """
    best = log_probs.argmax(dim=-1)
    decoded = []
    for path, length in zip(best.cpu(), lengths.tolist(), strict=True):
        merged = torch.unique_consecutive(path[:length])
        decoded.append(merged[merged != BLANK].tolist())
    return decoded
