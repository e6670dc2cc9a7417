"""Peak memory of a process and of its workers."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from multiprocessing.connection import Connection

from sertoolkit.processes import peak_memory


def hold(num_bytes: int, ready: Connection) -> None:
    held = b"x" * num_bytes
    ready.send(len(held))
    ready.recv()


def test_the_peak_of_a_process_is_its_own_and_stays() -> None:
    held = b"x" * (200 << 20)  # a process inherits such a peak of its parent by getrusage
    code = (
        "from sertoolkit.processes import peak_memory\n"
        "before = peak_memory(earlier={})\n"
        "held = b'x' * (100 << 20); del held\n"
        "after = peak_memory(earlier={'process': 1})\n"
        "print(before['process'], after['process'], sorted(after))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after, names = done.stdout.split(maxsplit=2)
    assert len(held) >> 20 == 200
    assert int(before) < 100
    assert 100 <= int(after) - int(before) + 5 < 150
    assert names == "['process']\n"


def test_the_largest_worker_and_earlier_runs_count() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=hold, args=(150 << 20, theirs))
    worker.start()
    ours.recv()
    found = peak_memory(earlier={"worker": 3, "process": 10**6, "gpu": 7})
    ours.send("end")
    worker.join()
    assert 150 <= found["worker"] < 600
    assert found["process"] == 10**6 and found["gpu"] == 7
    assert peak_memory(earlier=found)["worker"] == found["worker"]  # it has ended
