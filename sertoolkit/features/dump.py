"""Compute a frontend's features of a whole data dir into an ark store.

All headers are checked before any work. Then samples are decoded, checked and turned into features in one
pass by a pool of processes; a fault of a header or of samples does not end the pass, so that one run names every
bad file, but then no store is written: only a list of the bad utterances, for `fix-data --drop`.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from sertoolkit import registry
from sertoolkit.audio.augmentation import Augmentation, Variant, amplify
from sertoolkit.audio.read import AudioInfo, level_faults, probe, read_audio
from sertoolkit.config import from_dict, hash_of, to_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.dropped import write_drop_list
from sertoolkit.corpus.lists import duplicates
from sertoolkit.corpus.validate import validate
from sertoolkit.errors import AudioError, ConfigError, DataError, SertoolkitError, report_faults
from sertoolkit.features.base import Frontend
from sertoolkit.processes import end_with_parent
from sertoolkit.storage.ark import ArkWriter

logger = logging.getLogger(__name__)

Faults = dict[str, tuple[str, str]]
"""(Reason in a word or two, message) by utterance."""


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """What is asked of the audio, and which copies are made.

    Args:
        resample: change the rate of audio that has another one than the frontend
        channel: what to do with more than one channel: "error", "mix" or a number from 0
        min_dur: shortest utterance, in seconds; the frontend's own limit holds besides
        max_dur: longest utterance, in seconds
        tempos: a copy of each utterance for each factor; 1.0 is the plain one
        copies: drawn copies of each utterance, the plain one included
        augmentation: what they are drawn from
        compress: store in 16 bits

    Raises:
        ConfigError: if a value is out of range

    """

    resample: bool = False
    channel: str | int = "error"
    min_dur: float = 0.0
    max_dur: float = 120.0
    tempos: tuple[float, ...] = (1.0,)
    copies: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    compress: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_dur < self.max_dur:
            raise ConfigError(
                f"min_dur {self.min_dur:g} and max_dur {self.max_dur:g}: expected 0 <= min_dur < max_dur"
            )
        names = [tempo_id("", tempo) for tempo in self.tempos]
        if not names or len(set(names)) < len(names) or not all(0.5 <= tempo <= 2 for tempo in self.tempos):
            raise ConfigError(
                f"tempo {self.tempos}: expected different factors from 0.5 to 2, such as 0.9 1.0 1.1"
            )
        if self.copies < 1:
            raise ConfigError(f"copies {self.copies}: expected at least 1, the plain one")
        if self.copies > 1 and self.tempos != (1.0,):
            raise ConfigError(
                f"tempo {self.tempos} and {self.copies} copies: choose copies at fixed tempos or drawn ones"
            )

    def variants(self, utt_id: str) -> dict[str, Variant]:
        """What to make of an utterance: variant by id of the copy."""
        if self.copies > 1:
            return self.augmentation.copies(utt_id, self.copies)
        return {tempo_id(utt_id, tempo): Variant(tempo=tempo) for tempo in self.tempos}


@dataclass(frozen=True)
class Item:
    """Where an utterance lies.

    Args:
        utt_id: its id
        path: of the recording
        start: in seconds
        end: in seconds; None: the end of the recording

    """

    utt_id: str
    path: str
    start: float
    end: float | None

    def num_samples(self, info: AudioInfo, sampling_rate: int) -> int:
        """Its samples at a rate in Hz, as the header of the recording tells."""
        last = info.num_samples if self.end is None else round(self.end * info.sampling_rate)
        count = min(last, info.num_samples) - round(self.start * info.sampling_rate)
        return round(count * sampling_rate / info.sampling_rate)


@dataclass(frozen=True)
class _Result:
    item: Item
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    digest: str = ""
    warnings: tuple[str, ...] = ()
    fault: tuple[str, str] | None = None  # reason in a word or two, message


def tempo_id(utt_id: str, tempo: float) -> str:
    """Id of the copy of an utterance at a tempo; the plain one keeps its id."""
    return utt_id if tempo == 1.0 else f"{utt_id}-tempo{tempo:g}"


def extract(
    data_dir: str | os.PathLike[str],
    frontend: Frontend,
    out: str | os.PathLike[str],
    *,
    options: ExtractOptions | None = None,
    num_jobs: int = 1,
) -> int:
    """Compute features of all utterances and write the store.

    The bytes of the store depend on audio, frontend and options alone, not on ``num_jobs``.

    Args:
        data_dir: path of a valid data dir
        frontend: computes the features; if ``num_jobs`` is above 1 it is built anew in each process from its
            name and config
        out: the store to make; an existing one is replaced at the end
        options: what is asked of the audio
        num_jobs: processes, each with one thread

    Returns:
        number of arrays, copies included

    Raises:
        DataError: if the data dir or audio in it has faults; all of them are named, and listed in the file
            OUT.bad
        OSError: if the store cannot be written

    """
    options = options or ExtractOptions()
    report_faults(
        f"data dir {data_dir} (sertoolkit fix-data repairs the fixable)",
        validate(data_dir, needs=()),
        DataError,
    )
    data = DataDir.read(data_dir)
    items = [Item(utt_id, *data.audio(utt_id)) for utt_id in data.utt_ids]
    drop_list = f"{os.fspath(out)}.bad"
    _, faults = _look_at_headers(items, frontend, options)
    if faults:
        logger.warning(
            "%d of %d utterances are refused by their headers; looking at all others before the report",
            len(faults),
            len(items),
        )
    whole = [item for item in items if item.utt_id not in faults]
    meta = {
        "kind": "features",
        "frontend": frontend.name,
        "frontend_conf": to_dict(frontend.config),
        "sampling_rate": frontend.sampling_rate,
        "frame_shift": frontend.frame_shift,
        "resample": options.resample,
        "channel": options.channel,
        "tempos": list(options.tempos),
        "copies": options.copies,
        "augmentation": to_dict(options.augmentation) if options.copies > 1 else None,
    }
    with ArkWriter(out, meta, compress=options.compress) as writer:
        worker = _Worker(frontend, options)
        results = _run_pool(whole, worker, num_jobs) if num_jobs > 1 and whole else _run_here(whole, worker)
        bar = tqdm(results, total=len(whole), desc=f"extract {frontend.name}", unit="utt", mininterval=1)
        digests = _write(bar, writer, faults, drop_list)
        # of the samples, so the same on another machine and after a copy
        writer.meta["input_hash"] = hash_of(digests)
    for group in duplicates(digests):
        logger.warning("%s: the same audio under %d ids: %s", data_dir, len(group), ", ".join(group[:5]))
    return len(items) * len(options.variants(""))


def check_headers(
    items: Sequence[Item], frontend: Frontend, options: ExtractOptions, drop_list: str
) -> dict[str, int]:
    """Look at the headers of all recordings; samples are not decoded.

    Args:
        items: utterances
        frontend: states the rate and the shortest recording
        options: what is asked of the audio
        drop_list: file to list the utterances in that are refused

    Returns:
        samples of each utterance at the rate of the frontend

    Raises:
        DataError: names every utterance that cannot be used

    """
    num_samples, faults = _look_at_headers(items, frontend, options)
    _refuse(faults, drop_list)
    return num_samples


def _look_at_headers(
    items: Sequence[Item], frontend: Frontend, options: ExtractOptions
) -> tuple[dict[str, int], Faults]:
    """Samples of each utterance, and what headers tell against it; raises where an option is the remedy."""
    num_samples: dict[str, int] = {}
    infos: dict[str, AudioInfo | AudioError] = {}
    faults: Faults = {}
    wrong: list[str] = []
    rates: Counter[int] = Counter()
    for item in items:
        if item.path not in infos:
            try:
                header = probe(item.path)
                rates[header.sampling_rate] += 1
                infos[item.path] = header
            except AudioError as error:
                infos[item.path] = error
        info = infos[item.path]
        if isinstance(info, AudioError):
            faults[item.utt_id] = ("unreadable", f"utterance {item.utt_id}: {info}")
            continue
        if info.num_channels > 1 and options.channel == "error":
            wrong.append(
                f"utterance {item.utt_id}: {item.path} has {info.num_channels} channels; choose --channel "
                "mix or a number"
            )
        if info.sampling_rate != frontend.sampling_rate and not options.resample:
            wrong.append(
                f"utterance {item.utt_id}: {item.path} has {info.sampling_rate} Hz; ask for --resample"
            )
        num_samples[item.utt_id] = item.num_samples(info, frontend.sampling_rate)
        fault = _duration_fault((item.end or info.duration) - item.start, frontend, options)
        if fault:
            faults[item.utt_id] = (fault[0], f"utterance {item.utt_id}: {item.path}: {fault[1]}")
    title = (
        f"audio does not fit {frontend.name} ({frontend.sampling_rate} Hz, one channel); files by rate: "
        f"{dict(sorted(rates.items()))}"
    )
    if wrong:  # all at once
        report_faults(title, wrong + [message for _, message in faults.values()], DataError, limit=1000)
    return num_samples, faults


def _duration_fault(duration: float, frontend: Frontend, options: ExtractOptions) -> tuple[str, str] | None:
    least = max(options.min_dur, frontend.min_samples / frontend.sampling_rate)
    if round(duration * frontend.sampling_rate) < round(least * frontend.sampling_rate):
        return "too short", f"{duration:.3f} s, expected at least {least:g} s"
    if duration > options.max_dur:
        return (
            "too long",
            f"{duration:.3f} s, expected at most {options.max_dur:g} s; cut it by segments or raise "
            "--max_dur",
        )
    return None


def _refuse(faults: Faults, drop_list: str) -> None:
    """Raise if there are faults, and list the utterances that have them; without, the list of an earlier call goes."""
    if not faults:
        Path(drop_list).unlink(missing_ok=True)
        return
    write_drop_list(drop_list, {utt_id: reason for utt_id, (reason, _) in faults.items()})
    title = (
        f"audio (to leave these out: cat {drop_list} >> drop.txt, and name drop.txt by --drop, of a recipe or of "
        "sertoolkit fix-data)"
    )
    report_faults(title, [message for _, message in faults.values()], DataError, limit=1000)


def _write(results: Iterator[_Result], writer: ArkWriter, faults: Faults, drop_list: str) -> dict[str, str]:
    """Store results as they come; hashes of the samples by utterance. Faults join those that are known."""
    faults = dict(faults)
    levels: dict[str, list[str]] = {}
    digests = {}
    for result in results:
        utt_id = result.item.utt_id
        for warning in result.warnings:
            levels.setdefault(warning, []).append(utt_id)
        if result.fault:
            faults[utt_id] = result.fault
        digests[utt_id] = result.digest
        if not faults:  # else nothing will be stored: go on only to name the other faults
            for copy_id, array in result.arrays.items():
                writer.write(copy_id, array)
    for warning, utt_ids in sorted(levels.items()):
        logger.warning(
            "%d of %d utterances are %s: %s", len(utt_ids), len(digests), warning, ", ".join(utt_ids[:5])
        )
    _refuse(faults, drop_list)
    return digests


class Extractor:
    """Samples and features of one utterance.

    Args:
        frontend: computes the features
        options: what is asked of the audio

    """

    def __init__(self, frontend: Frontend, options: ExtractOptions) -> None:
        self.frontend = frontend
        self.options = options

    def read(self, item: Item) -> np.ndarray:
        """Samples at the rate of the frontend, (num_samples,).

        Raises:
            AudioError: if they cannot be read

        """
        waveform, _ = read_audio(
            item.path,
            sampling_rate=self.frontend.sampling_rate,
            resample=self.options.resample,
            channel=self.options.channel,
            start=item.start,
            end=item.end,
        )
        return waveform

    def features(self, waveform: np.ndarray, variant: Variant) -> np.ndarray:
        """Features of a variant of a waveform, (num_frames, dim).

        Raises:
            AudioError: if the frontend refuses it

        """
        waveform = amplify(waveform, variant.gain)
        return self.frontend(waveform, self.frontend.sampling_rate, tempo=variant.tempo)


class _Worker(Extractor):
    """Samples, their checks and features of one utterance and its copies."""

    def __call__(self, item: Item) -> _Result:
        where = f"utterance {item.utt_id}"
        try:
            waveform = self.read(item)
        except AudioError as error:
            return _Result(item, fault=("unreadable", f"{where}: {error}"))
        result = _Result(
            item,
            digest=hashlib.blake2b(waveform.tobytes(), digest_size=16).hexdigest(),
            warnings=tuple(level_faults(waveform)),
        )
        try:
            arrays = {
                copy_id: self.features(waveform, variant)
                for copy_id, variant in self.options.variants(item.utt_id).items()
            }
        except AudioError as error:
            return replace(result, fault=("refused by the frontend", f"{where}: {item.path}: {error}"))
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return replace(
                result, fault=("features not finite", f"{where}: {item.path}: features are not finite")
            )
        if self.frontend.config.normalise and any((array == 0).all(0).any() for array in arrays.values()):
            result = replace(result, warnings=(*result.warnings, "constant in some feature value"))
        return replace(result, arrays=arrays)


def _run_here(items: Sequence[Item], worker: _Worker) -> Iterator[_Result]:
    with threadpool_limits(1):
        yield from map(worker, items)


def _run_pool(items: Sequence[Item], worker: _Worker, num_jobs: int) -> Iterator[_Result]:
    """Results in the order of ``items``, with a bounded number of them waiting in memory."""
    frontend = worker.frontend
    start = (frontend.name, to_dict(frontend.config), worker.options, registry.plugin_files())
    pool = ProcessPoolExecutor(
        min(num_jobs, len(items)),
        multiprocessing.get_context("spawn"),
        initializer=_start_process,
        initargs=start,
    )
    waiting: deque[Future[_Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(_work, item))
            if len(waiting) >= 4 * num_jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise SertoolkitError(
            "a process of the pool died (out of memory, or killed); see above, or use fewer jobs"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


_worker: _Worker | None = None  # of this process


def _start_process(name: str, conf: dict[str, Any], options: ExtractOptions, plugins: Sequence[Path]) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it too and ends the pool
    end_with_parent()
    threadpool_limits(1)
    for path in plugins:
        registry.load_plugin(path)
    cls = registry.get("frontend", name)
    _worker = _Worker(cls(from_dict(cls.Config, conf, name)), options)


def _work(item: Item) -> _Result:
    if _worker is None:
        raise RuntimeError("process was not started by _start_process")
    return _worker(item)
