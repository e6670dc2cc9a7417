"""SIGTERM and Ctrl-C ask a training to stop; it saves at the next step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Called, it gives the number of the signal that came, or 0."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> int:  # noqa: D102  said by the class
        return self.number


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Turn SIGTERM and SIGINT into a request; the second one ends the process at once.

    The former handlers are back afterwards.
    """
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request.number:
            os._exit(128 + number)
        request.number = number

    former = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
