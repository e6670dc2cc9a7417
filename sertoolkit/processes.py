"""Worker processes that never outlive the process that started them."""

from __future__ import annotations

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
