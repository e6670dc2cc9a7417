"""Batches read ahead: the same for any number of processes, and clean ends where one fails."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
import torch

from sertoolkit.errors import AudioError, TrainingError
from sertoolkit.features.loading import read_ahead

BATCHES = [["b", "a"], ["c"], ["a", "c", "b"]]
PARENT = os.getpid()


def read(utt_id):
    """As many frames as the letter's place in the alphabet."""
    return np.full((ord(utt_id) - 96, 2), ord(utt_id), np.float32)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_batches_come_in_their_order_whatever_the_number_of_processes(num_workers):
    found = list(read_ahead(read, BATCHES, num_workers=num_workers))
    assert [lengths.tolist() for _, lengths in found] == [[2, 1], [3], [1, 3, 2]]
    assert found[0][0].tolist() == [[[98, 98], [98, 98]], [[97, 97], [0, 0]]]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_reading_leaves_the_random_draws_of_training_alone(num_workers):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(read_ahead(read, BATCHES, num_workers=num_workers))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_error_comes_out_as_it_was_raised(num_workers):
    def refuse(utt_id):
        if utt_id == "c":
            raise AudioError("c.wav: is cut")
        return read(utt_id)

    batches = read_ahead(refuse, BATCHES, num_workers=num_workers)
    next(batches)
    with pytest.raises(AudioError, match=r"^c.wav: is cut$"):
        next(batches)


def test_a_killed_process_is_named():
    def die(utt_id):
        if os.getpid() != PARENT:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TrainingError, match=r"(?s)a process that reads audio died.*pid.*num_workers"):
        next(read_ahead(die, BATCHES, num_workers=1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_leaves_batches_coming(number):
    def read_on(utt_id):
        if os.getpid() != PARENT:
            os.kill(os.getpid(), number)
        return read(utt_id)

    assert len(list(read_ahead(read_on, BATCHES, num_workers=1))) == 3
