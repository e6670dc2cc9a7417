"""What the benchmarks share: timing in turns, the printed table, and the record of each run.

Imports nothing beyond the standard library at the top, so that a benchmark of one part runs where the packages
of other parts are missing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertoolkit.version import environment, processor

RESULTS = Path(__file__).resolve().parent / "results"


def parser(text: str | None) -> argparse.ArgumentParser:
    """Command line of a benchmark, with the options that all have: ``--tiny`` and ``--results``.

    Args:
        text: its help, usually the module's docstring

    """
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--tiny", action="store_true", help="seconds of work, to see that it runs; no result")
    made.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="folder of the JSON lines")
    return made


def time_in_turns(
    contestants: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 5,
    synchronise: Callable[[], Any] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time contestants one after another, round by round, so that other load on the machine meets all alike.

    Args:
        contestants: what to run, by name; each is run once before, untimed
        rounds: timed runs of each
        synchronise: called before each reading of the clock, such as ``torch.cuda.synchronize``
        clock: in seconds; ``time.process_time`` for work of one process without waiting: it counts the processor's
            time alone, all threads together, whatever else runs

    Returns:
        seconds of each round by name

    """
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            synchronise()
            start = clock()
            run()
            synchronise()
            seconds[name].append(clock() - start)
    return seconds


def ratio(rival: Sequence[float], ours: Sequence[float]) -> float:
    """How many times faster ours is: the median over rounds of seconds of the rival by seconds of ours."""
    return statistics.median(theirs / own for theirs, own in zip(rival, ours, strict=True))


def report(
    name: str,
    rows: Sequence[Mapping[str, Any]],
    *,
    settings: Mapping[str, Any],
    arguments: argparse.Namespace,
    note: str = "",
) -> None:
    """Print a table and append it, with all that it depends on, to ``<results>/<name>.jsonl``.

    A ``--tiny`` run is printed only.

    Args:
        name: of the benchmark
        rows: one mapping from column to value a contestant; columns may be missing in some, None prints as "-"
        settings: sizes and options of the run, plain data
        arguments: parsed by :func:`parser`
        note: a line below the table: what it was measured against, what was not to be had

    """
    print_table(rows)
    if note:
        print(note)
    if arguments.tiny:
        print(f"{name}: a tiny run, no result; nothing written")
        return
    versions = environment()
    record = {
        "benchmark": name,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "commit": versions.pop("commit"),
        "machine": machine(),
        "versions": versions,
        "settings": dict(settings),
        "note": note,
        "rows": [dict(row) for row in rows],
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"{name}.jsonl"
    # One write of one line: runs at the same time never mix their lines
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record, allow_nan=False) + "\n")
    print(f"appended to {path}")


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows as a Markdown table, columns in the order in which they first occur."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for number, line in enumerate(cells):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else (f"{value:.0f}" if isinstance(value, float) else str(value))
    )


def plot(path: Path, rows: Sequence[Mapping[str, Any]], *, x: str, y: str) -> None:
    """Draw one curve a column over column ``x``, from zero up.

    Args:
        path: the PNG
        rows: as of :func:`report`, with numbers in all columns
        x: name of the column, on a logarithmic axis
        y: what the others hold

    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for column in [name for name in rows[0] if name != x]:
        axes.plot([row[x] for row in rows], [row[column] for row in rows], marker="o", label=column)
    axes.set(xscale="log", xlabel=x, ylabel=y, ylim=(0, None))
    axes.set_xticks([row[x] for row in rows], [str(row[x]) for row in rows], minor=False)
    axes.set_xticks([], minor=True)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def machine() -> dict[str, Any]:
    """What the numbers depend on besides versions; no host name, user or path.

    Returns:
        processor, cores this process may use, load average of the last minute (other work on the machine
        shows there), threads asked for by OMP_NUM_THREADS, and GPUs if torch is loaded

    """
    found: dict[str, Any] = {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "python": platform.python_version(),
    }
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch_threads"] = torch.get_num_threads()
        found["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["cuda"] = torch.version.cuda
    return found
