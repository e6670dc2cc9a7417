"""`extract` by hours of corpus and by processes: seconds and peak memory, with plots.

  python -m bench.scaling

Every run is a process of its own on a corpus of synthetic voices of 4.5 s on average, as in acted dialogue. Time by hours
is processor time, of one process; by processes it is wall time, start of the processes included: leave the machine alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from os import sched_getaffinity
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.common import parser, plot, report
from bench.features import RATE, voices
from sertoolkit import registry
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.features.dump import extract
from sertoolkit.processes import peak_memory

HOURS = (0.25, 0.5, 1, 2)
TIME, MEMORY = "processor s an hour", "peak MiB"
FRONTENDS = ("power_spectrogram", "mfcc_pitch")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both curves."""
    arguments = parser(__doc__).parse_args(argv)
    _by_hours(arguments)
    _by_workers(arguments)


def _by_hours(arguments: argparse.Namespace) -> None:
    hours = (0.001, 0.002) if arguments.tiny else HOURS
    rows: list[dict[str, Any]] = []
    for count in hours:
        rows.append({"hours": count})
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(Path(folder), count)
            for frontend in FRONTENDS:
                found = _run(Path(folder), frontend, num_jobs=1)
                rows[-1][f"{frontend}, {TIME}"] = found["processor"] / count
                rows[-1][f"{frontend}, {MEMORY}"] = found["peak"]
    report("scaling_hours", rows, settings={"num_jobs": 1}, arguments=arguments)
    if not arguments.tiny:
        for name, unit in (("time", TIME), ("memory", MEMORY)):
            curves = [
                {"hours": row["hours"]} | {by: row[f"{by}, {unit}"] for by in FRONTENDS} for row in rows
            ]
            plot(arguments.results / f"scaling_hours_{name}.png", curves, x="hours", y=unit)


def _by_workers(arguments: argparse.Namespace) -> None:
    hours = 0.002 if arguments.tiny else HOURS[-1]
    cores = len(sched_getaffinity(0))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder), hours)
        for count in sorted({*(2**power for power in range(cores.bit_length())), cores}):
            rows.append({"processes": count})
            for frontend in FRONTENDS:
                found = _run(Path(folder), frontend, num_jobs=count)
                rows[-1][frontend] = hours * 3600 / found["wall"]
    note = "Times real time by the wall clock."
    report("scaling_workers", rows, settings={"hours": hours}, arguments=arguments, note=note)
    if not arguments.tiny:
        plot(arguments.results / "scaling_workers.png", rows, x="processes", y="x real time")


def write_corpus(folder: Path, hours: float) -> None:
    """A data directory ``data`` of that many hours; recordings repeat, each with noise of its own."""
    generator, made = np.random.default_rng(1), voices(60)
    wav, utt2spk = {}, {}
    (folder / "wav").mkdir()
    left = hours * 3600 * RATE
    while left > 0:
        utt_id, voice = f"spk-{len(wav):06d}", made[len(wav) % len(made)]
        wav[utt_id], utt2spk[utt_id] = str(folder / "wav" / f"{utt_id}.wav"), "spk"
        noise = 1e-3 * generator.standard_normal(len(voice), np.float32)
        soundfile.write(wav[utt_id], voice + noise, RATE, "PCM_16")
        left -= len(voice)
    DataDir(wav=wav, utt2spk=utt2spk).write(folder / "data")


def _run(folder: Path, frontend: str, *, num_jobs: int) -> dict[str, float]:
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(measure_extract, folder, frontend, num_jobs).result()


def measure_extract(folder: Path, frontend: str, num_jobs: int) -> dict[str, float]:
    """Seconds of wall and processor, and the peak of this process in MiB."""
    cls = registry.get("frontend", frontend)
    made = cls(cls.Config())
    wall, processor = time.perf_counter(), time.process_time()
    extract(folder / "data", made, folder / "feats", num_jobs=num_jobs)
    return {
        "wall": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "peak": peak_memory(earlier={})["process"],
    }


if __name__ == "__main__":
    main()
