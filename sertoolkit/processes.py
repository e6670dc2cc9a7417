"""What processes set for themselves, and the memory that they take."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


def end_with_parent() -> None:
    """Call this in a worker: it then ends at once when its parent is gone, also by SIGKILL.

    A killed parent cannot end its processes; they would wait for work for ever.
    """
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def keep_freed_memory() -> None:
    """Let the C library keep large freed blocks instead of handing them back after every use.

    Each step of a training frees and asks for the same blocks again; without this the system clears their pages anew,
    a quarter of the time of a step (measured). Does nothing where the C library is not glibc.
    """
    mmap_threshold, trim_threshold = -3, -1  # names of mallopt(3)
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        # older versions refuse more than 32 MiB
        if mallopt(mmap_threshold, 2**30) or mallopt(mmap_threshold, 2**25):
            mallopt(trim_threshold, 2**31 - 1)


def peak_memory(*, earlier: Mapping[str, int]) -> dict[str, int]:
    """Most memory held at once, up to now.

    Not by getrusage(2): a process inherits that peak from the one that started it.

    Args:
        earlier: what was told before, by other runs too

    Returns:
        in MiB: ``process``, this one; ``worker``, the largest of those that it has now; ``gpu``, what torch allocated
        there. Each at least as in ``earlier``; what cannot be known here is left out. Memory that a forked worker
        shares with this process counts in both.

    """
    workers = [_peak(child.pid) for child in multiprocessing.active_children()]
    found = {"process": _peak(os.getpid()), "worker": max(workers, default=0)}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        found["gpu"] = torch.cuda.max_memory_allocated() // 2**20
    peaks = {name: max(found.get(name, 0), earlier.get(name, 0)) for name in {**found, **earlier}}
    return {name: peak for name, peak in peaks.items() if peak}


def _peak(pid: int | None) -> int:
    """Peak of a living process in MiB; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # ended just now
        return 0
    match = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) // 1024 if match else 0
