"""Best path decoding against the collapse of CTC written out by hand."""

from __future__ import annotations

import pytest
import torch

from sertoolkit.decoding.greedy import greedy_decode


def scores_of(*paths: list[int], num_tokens: int = 4) -> torch.Tensor:
    """Log probabilities (B, T, V) whose best path is the given one."""
    return torch.nn.functional.one_hot(torch.tensor(paths), num_tokens).float().log_softmax(-1)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([0], []),
        ([0, 0, 0], []),
        ([2], [2]),
        ([1, 1, 1], [1]),
        ([1, 0, 1], [1, 1]),
        ([0, 1, 1, 0, 2, 2, 3, 0], [1, 2, 3]),
        ([3, 2, 2, 0, 0, 2, 1], [3, 2, 2, 1]),
    ],
)
def test_repeats_merge_unless_a_blank_parts_them(path: list[int], expected: list[int]) -> None:
    assert greedy_decode(scores_of(path), torch.tensor([len(path)])) == [expected]


def test_frames_beyond_the_length_are_not_read() -> None:
    scores = scores_of([1, 2, 3, 3], [1, 2, 3, 3], [1, 2, 3, 3])

    assert greedy_decode(scores, torch.tensor([2, 4, 0])) == [[1, 2], [1, 2, 3], []]
