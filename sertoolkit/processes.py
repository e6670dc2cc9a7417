"""What worker processes set for themselves."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import threading


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
