"""Train all members of a grid: in parallel processes, resumable at the first one that is missing."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from sertoolkit import registry
from sertoolkit.config import dump_yaml, to_dict
from sertoolkit.corpus.protocol import read_protocol
from sertoolkit.errors import ConfigError, Stopped, TrainingError, suggest
from sertoolkit.gru import BiGRU
from sertoolkit.processes import end_with_parent, keep_freed_memory
from sertoolkit.storage import atomic
from sertoolkit.storage.ark import ArkReader
from sertoolkit.training.config import SerConfig
from sertoolkit.training.members import Grid, Member, list_members
from sertoolkit.training.precision import warn_where_slow
from sertoolkit.training.signals import stop_requests
from sertoolkit.version import environment

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class GridPaths:
    """Folders of a grid; each worker opens them itself."""

    protocol_dir: Path
    side_dir: Path | None
    layers_dir: Path | None
    exp: Path
    asr_exp: Path | None = None
    asr_feats: Path | None = None
    text: Path | None = None

    def open(self, config: SerConfig, device: torch.device | None = None) -> Grid:
        """The grid; its protocol is audited for leaks here, when training starts."""
        return Grid(
            config,
            read_protocol(self.protocol_dir),
            self.side_dir,
            self.layers_dir,
            self.exp,
            self.asr_exp,
            self.asr_feats,
            device,
            self.text,
        )


def train_grid(
    config: SerConfig,
    paths: GridPaths,
    *,
    systems: Sequence[str] = (),
    folds: Sequence[str] = (),
    seeds: Sequence[int] = (1,),
    num_jobs: int = 1,
    cohort: int | None = None,
    device: torch.device | None = None,
) -> int:
    """Train the members that are missing.

    Args:
        config: systems and training
        paths: where everything stands
        systems: names; empty: all of the configuration
        folds: names; empty: all of the protocol
        seeds: one training each
        num_jobs: processes, one thread each; no result depends on it
        cohort: trainings of one system that are stepped together; None: as many as are fastest; 1: each alone.
            Results agree but for rounding
        device: a GPU to train on, in one process, recurrent products in bfloat16; None: the CPU

    Returns:
        how many members were trained now

    Raises:
        ConfigError: if a system, fold or seed is unknown
        DataError: if a speaker is in two sets of a fold, or features or transcripts are missing
        CheckpointError: if the folder holds results of other settings
        Stopped: on SIGTERM or Ctrl-C; what was done stays

    """
    grid = paths.open(config, device)
    if device is not None and num_jobs > 1:
        logger.warning("one process trains on the GPU, not %d: members share it as cohorts", num_jobs)
        num_jobs = 1
    names = list(config.choose(list(systems)))
    for fold in folds:
        if fold not in grid.protocol.folds:
            known = grid.protocol.folds
            raise ConfigError(f"unknown fold {fold!r}{suggest(fold, known)} (known: {', '.join(known)})")
    members = list_members(names, list(dict.fromkeys(folds or grid.protocol.folds)), sorted(set(seeds)))
    todo = [member for member in members if not grid.is_done(member)]
    # a wrong setting or damaged store shows before the first training, not after hours
    heads = {name: grid.build_head(name) for name in names}
    if todo:
        for directory in {store.directory for name in names for store in grid.inputs(name).stores}:
            ArkReader(directory).verify()
    logger.info("%d members, %d done already, %d to train", len(members), len(members) - len(todo), len(todo))
    if not todo:
        return 0
    recurrent = [name for name, head in heads.items() if any(isinstance(x, BiGRU) for x in head.modules())]
    warn_where_slow(itertools.chain.from_iterable(map(config.trainings_of, recurrent)), device)
    paths.exp.mkdir(parents=True, exist_ok=True)
    atomic.write_text(paths.exp / "config.yaml", dump_yaml(to_dict(config)))
    atomic.write_text(paths.exp / "environment.yaml", dump_yaml(environment()))
    cohorts = list(_cohorts(grid, members, set(todo), cohort))
    num_jobs = min(num_jobs, len(cohorts))
    with stop_requests() as stop, tqdm(total=len(todo), desc="train", unit="member", mininterval=1) as bar:
        finished = (
            _in_turn(grid, cohorts, stop)
            if num_jobs == 1
            else _in_pool(config, paths, cohorts, num_jobs, stop)
        )
        for member, summary in finished:
            bar.update()
            bar.set_postfix_str(f"{member.system} {member.fold} {summary['seconds']:.0f}s", refresh=False)
    return len(todo)


Cohort = Sequence[Member]


def _cohorts(grid: Grid, members: Sequence[Member], todo: set[Member], size: int | None) -> Iterator[Cohort]:
    """Members that are trained together; what is done already, and how many processes there are, changes no cohort."""
    for name, of_system in itertools.groupby(members, key=lambda member: member.system):
        group = list(of_system)
        if todo.isdisjoint(group):
            continue
        limit = grid.cohort_limit(name)
        wanted = limit if size is None or limit == 1 else size
        each = max(1, wanted // len(grid.config.trainings_of(name)))
        for part in np.array_split(np.arange(len(group)), math.ceil(len(group) / each)):
            cohort = [group[index] for index in part if group[index] in todo]
            if cohort:
                yield cohort


def _in_turn(
    grid: Grid, cohorts: Sequence[Cohort], stop: Callable[[], int]
) -> Iterator[tuple[Member, dict[str, Any]]]:
    keep_freed_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker, so that the number of processes changes no result
    try:
        for cohort in cohorts:
            yield from grid.train(cohort, stop)
            if stop():
                raise Stopped(stop())
    finally:
        torch.set_num_threads(threads)


def _in_pool(
    config: SerConfig,
    paths: GridPaths,
    cohorts: Sequence[Cohort],
    num_jobs: int,
    stop: Callable[[], int],
) -> Iterator[tuple[Member, dict[str, Any]]]:
    context = multiprocessing.get_context("spawn")
    stopping, finished = context.Event(), context.SimpleQueue()
    pool = ProcessPoolExecutor(
        num_jobs,
        mp_context=context,
        initializer=_start_worker,
        initargs=(config, paths, stopping, finished, registry.plugin_files()),
    )
    with pool:
        pending: set[Future] = {pool.submit(_train, cohort) for cohort in cohorts}
        try:
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                while not finished.empty():
                    yield finished.get()
                for future in done:
                    future.result()
                if stop():
                    raise Stopped(stop())
        except BaseException as error:
            stopping.set()
            pool.shutdown(wait=True, cancel_futures=True)
            if isinstance(error, BrokenProcessPool):
                raise TrainingError(
                    "a worker process ended unexpectedly (out of memory?); lower --nj"
                ) from error
            raise


_grid: Grid
_stopping: Event
_finished: SimpleQueue


def _start_worker(
    config: SerConfig, paths: GridPaths, stopping: Event, finished: SimpleQueue, plugins: Sequence[Path]
) -> None:
    """Open the grid in a worker; it stops when asked to by the event, and ends when its parent is gone."""
    global _grid, _stopping, _finished
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    keep_freed_memory()
    torch.set_num_threads(1)
    for plugin in plugins:
        registry.load_plugin(plugin)
    _grid, _stopping, _finished = paths.open(config), stopping, finished


def _train(cohort: Cohort) -> None:
    for result in _grid.train(cohort, lambda: signal.SIGTERM if _stopping.is_set() else 0):
        _finished.put(result)
