"""Batches read ahead: the same for any number of processes, and clean ends where one fails."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal

import numpy as np
import pytest
import torch

from sertoolkit.errors import AudioError, TrainingError
from sertoolkit.features.loading import copy_ahead, pad, read_ahead

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


def test_on_a_cpu_batches_are_handed_on_as_they_are():
    given = [pad([read("a")]), pad([read("b")])]
    for batch, (kept, sent) in zip(given, copy_ahead(iter_of(given, []), torch.device("cpu")), strict=True):
        assert kept is sent is batch


def iter_of(batches, asked):
    for number, batch in enumerate(batches):
        asked.append(number)
        yield batch


def test_a_batch_is_sent_during_the_step_before_its_own(monkeypatch):
    """The order of things on a GPU; a device without memory and a stream that does nothing stand in for it."""
    noted = []

    class Stream:
        def __init__(self, device):
            pass

        def record_event(self):
            noted.append("sent")
            return len([note for note in noted if note == "sent"])

        def wait_event(self, event):
            noted.append(f"wait for {event}")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream(None))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: noted.append("kept"))
    given = [pad([read(letter)]) for letter in "abc"]
    for number, (batch, sent) in enumerate(copy_ahead(iter_of(given, []), torch.device("meta"))):
        assert batch is given[number]
        assert {tensor.device.type for tensor in sent} == {"meta"}
        assert sent.features.shape == batch.features.shape
        noted.append(f"step {number + 1}")
    first, *others = " ".join(noted).replace("kept kept ", "").split(" step ")
    assert first == "sent sent wait for 1"
    assert others == ["1 sent wait for 2", "2 wait for 3", "3"]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_who_stops_early_leaves_no_process_behind(num_workers):
    batches = copy_ahead(read_ahead(read, BATCHES, num_workers=num_workers), torch.device("cpu"))
    next(batches)
    batches.close()
    assert not multiprocessing.active_children()
