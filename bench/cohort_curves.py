"""How the time of a training step grows with members trained together and with the length of utterances."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bench.cohort import TRAINING, make_work, train_ours, train_plain
from bench.common import plot, report, time_in_turns
from bench.iemocap import frames_like_iemocap

UNITS, MEMBERS = (16, 32, 64, 96), (1, 2, 4, 8, 16)
LENGTHS = (70, 140, 280, 560, 1120)


def measure_curves(arguments: argparse.Namespace) -> None:
    """Both curves, in processor time of one thread, with a plot each."""
    torch.set_num_threads(1)
    for name, x, rows in (
        ("cohort_members", "members", _by_members(arguments)),
        ("cohort_length", "frames", _by_length(arguments)),
    ):
        settings = {"batch": TRAINING.batch_size, "clock": "processor time, one thread"}
        report(name, rows, settings=settings, arguments=arguments, note="Microseconds a frame of speech.")
        if not arguments.tiny:
            plot(arguments.results / f"{name}.png", rows, x=x, y="us a frame")


def _by_members(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    tiny = arguments.tiny
    frames = frames_like_iemocap(3 if tiny else TRAINING.batch_size)
    rows: list[dict[str, Any]] = [{"members": members} for members in (MEMBERS[:2] if tiny else MEMBERS)]
    for units in UNITS[:1] if tiny else UNITS:
        with tempfile.TemporaryDirectory() as folder:
            work = make_work(folder, frames, tiny=tiny, units=units)
            spoken = sum(work.inputs().side.num_frames.values())
            found = {
                row["members"]: lambda m=row["members"]: train_ours(work, range(m))  # noqa: B023
                for row in rows
            }
            seconds = _best(found, arguments)
        for row in rows:
            row[f"{units} units"] = seconds[row["members"]] / (row["members"] * spoken) * 1e6
    return rows


def _by_length(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    tiny, rows = arguments.tiny, []
    for length in LENGTHS[:2] if tiny else LENGTHS:
        frames = np.full(3 if tiny else TRAINING.batch_size, length)
        with tempfile.TemporaryDirectory() as folder:
            work = make_work(folder, frames, tiny=tiny)
            spoken = sum(work.inputs().side.num_frames.values())
            contestants = {
                "torch.nn.GRU": lambda: train_plain(work, 1),  # noqa: B023
                "ours": lambda: train_ours(work, [1]),  # noqa: B023
            }
            seconds = _best(contestants, arguments)
        rows.append({"frames": length, **{by: value / spoken * 1e6 for by, value in seconds.items()}})
    return rows


def _best(contestants: Mapping[Any, Any], arguments: argparse.Namespace) -> dict[Any, float]:
    rounds = 1 if arguments.tiny else arguments.rounds
    seconds = time_in_turns(contestants, rounds=rounds, clock=time.process_time)
    return {name: min(times) for name, times in seconds.items()}
