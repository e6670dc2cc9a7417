"""Training steps of baseline-96 on the CPU, for many members: ours against torch.nn.GRU on packed batches.

  python -m bench.cohort                   # minutes; leave the machine alone meanwhile
  python -m bench.cohort --curves          # by members and by length, with plots

A step is what a training does: read a batch of 64, forward, mean over time, dropout, cross-entropy, backward, clip,
Adam. torch.nn.GRU runs one member after another, as its users run it: in one process with all threads, or in a process
a core with one thread each; `ours is faster by` compares with the better of the two. Ours is `train-ser`'s own code, in a
process a core. All read the same features. Where the CPU has matrix units (AMX), both also run in bfloat16, torch.nn.GRU
by autocast. Some steps are timed and the rest is extrapolated.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from bench.common import parser, ratio, report, time_in_turns
from bench.iemocap import NUM_UTTERANCES, frames_like_iemocap, write_features
from sertoolkit.corpus.protocol import Fold
from sertoolkit.gru import set_precision
from sertoolkit.heads.baseline import Baseline, BaselineConfig
from sertoolkit.kernels import cpu
from sertoolkit.networks import masked_mean
from sertoolkit.processes import keep_freed_memory
from sertoolkit.tasks.ser import HeadInputs, SerTask
from sertoolkit.training.batches import make_batches
from sertoolkit.training.cohort import cohort_limit, train_alone, train_cohort
from sertoolkit.training.config import Training
from sertoolkit.training.loop import Trainer
from sertoolkit.training.precision import precision_of

CLASSES = ("anger", "happiness", "neutral", "sadness")
DIM = 27  # 13 MFCC, their deltas, pitch
UNITS, MEMBERS, EPOCHS = 96, 100, 30
RIVAL = "torch.nn.GRU"
TRAINING = Training(max_epochs=1, sort_first_epoch=False)


@dataclasses.dataclass(frozen=True)
class Work:
    """What is trained on: all utterances of a store, once."""

    store: Path
    units: int = UNITS
    batch_size: int = TRAINING.batch_size
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def training(self) -> Training:
        """How it is trained."""
        return dataclasses.replace(TRAINING, batch_size=self.batch_size, precision=self.precision)

    def inputs(self) -> HeadInputs:
        """What the head sees."""
        return HeadInputs(Baseline, [], side_dir=self.store, layers_dir=None)

    def head(self) -> Baseline:
        """An untrained head."""
        config = BaselineConfig(units=self.units)
        head = Baseline(config, layer_dims=[], side_dim=DIM, num_classes=len(CLASSES))
        set_precision(head, precision_of(self.training))
        return head

    def limit(self) -> int:
        """Members that are trained together by default."""
        inputs = self.inputs()
        longest = sorted(inputs.side, key=inputs.num_frames)[-self.batch_size :]
        return cohort_limit(self.head(), inputs, longest)


class Plain(nn.Module):
    """The baseline from torch's modules."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.gru = nn.GRU(DIM, units, 2, batch_first=True, bidirectional=True)
        self.dropout, self.output = nn.Dropout(0.25), nn.Linear(2 * units, len(CLASSES))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Logits, (B, C), of padded features, (B, T, D)."""
        if bool((lengths == lengths[0]).all()):  # nobody packs what is of one length
            mean = self.gru(x)[0].mean(1)
        else:
            packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            mean = masked_mean(pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0], lengths)
        return self.output(self.dropout(mean))


def train_plain(work: Work, seed: int) -> float:
    """An epoch of one member by torch.nn.GRU; seconds of processor time."""
    inputs, started = work.inputs(), time.process_time()
    torch.manual_seed(seed)
    network = Plain(work.units).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=TRAINING.learning_rate)
    utt_ids = sorted(inputs.side)
    lengths = [inputs.num_frames(utt_id) for utt_id in utt_ids]
    for batch in make_batches(lengths, work.batch_size, seed=seed, epoch=1):
        _, _, x, frames = inputs.batch([utt_ids[index] for index in batch])
        with torch.autocast("cpu", torch.bfloat16, enabled=work.precision == "bfloat16"):
            logits = network(x, frames)
        loss = functional.cross_entropy(logits.float(), torch.from_numpy(batch % len(CLASSES)))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), TRAINING.clip_norm)
        optimiser.step()
    return time.process_time() - started


def train_ours(work: Work, seeds: Sequence[int]) -> float:
    """An epoch of members together, and the validation of one utterance; seconds of processor time."""
    inputs, started = work.inputs(), time.process_time()
    utt_ids = sorted(inputs.side)
    truth = {utt_id: CLASSES[number % len(CLASSES)] for number, utt_id in enumerate(utt_ids)}
    fold = Fold(
        name="fold", train=tuple(utt_ids), valid=tuple(utt_ids[:1]), test=(), truth=truth, speakers={}
    )
    with tempfile.TemporaryDirectory() as folder:
        trainers = []
        for seed in seeds:
            torch.manual_seed(seed)
            task = SerTask(
                work.head(), inputs, fold, CLASSES, batch_size=work.batch_size, fingerprint=str(seed)
            )
            trainers.append(Trainer(task, work.training, seed=seed, folder=Path(folder, str(seed))))
        if len(trainers) > 1:
            list(train_cohort(trainers))
        else:
            train_alone(trainers[0])
    return time.process_time() - started


def start_worker() -> None:
    """As a worker of ``train-ser`` starts; the rival's too, which gains by it."""
    torch.set_num_threads(1)
    keep_freed_memory()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure steps, or curves."""
    made = parser(__doc__)
    made.add_argument(
        "--steps", type=int, default=2, help="of each member and round; eight times as many of equal frames"
    )
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--curves", action="store_true", help="by members and by length instead")
    arguments = made.parse_args(argv)
    keep_freed_memory()
    if arguments.curves:
        from bench.cohort_curves import measure_curves

        measure_curves(arguments)
    else:
        measure_steps("iemocap", arguments, steps=arguments.steps)
        # there a step of the rival takes a fortieth of the time
        measure_steps("equal", arguments, steps=8 * arguments.steps)


def make_work(folder: str, frames: Sequence[int], *, tiny: bool, units: int = UNITS) -> Work:
    """A store of utterances of these durations, of a sixtieth for a tiny run."""
    durations = {
        f"utt-{number:05d}": max(2, int(count) // (60 if tiny else 1)) for number, count in enumerate(frames)
    }
    write_features(Path(folder, "side"), durations, DIM, offsets={}, kind="features")
    return Work(Path(folder, "side"), units, 3 if tiny else TRAINING.batch_size)


def measure_steps(name: str, arguments: argparse.Namespace, *, steps: int) -> None:
    """All contestants on durations like IEMOCAP's, or on 280 frames each."""
    batch = 3 if arguments.tiny else TRAINING.batch_size
    count = batch * (1 if arguments.tiny else steps)
    frames = frames_like_iemocap(count) if name == "iemocap" else np.full(count, 280)
    cores = len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        # a pool a core: each is warm after the first run, whatever the others do
        pools = [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), start_worker))
            for _ in range(cores)
        ]
        units = 32 if arguments.tiny else UNITS
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        work = make_work(folder, frames, tiny=arguments.tiny, units=units)
        works = {"": work}
        if cpu.applies(torch.device("cpu"), torch.bfloat16):
            works[", bfloat16"] = dataclasses.replace(work, precision="bfloat16")
        processor: dict[str, list[float]] = {}
        members = {f"{RIVAL}, all threads": 1}
        chosen = {f"{RIVAL}, all threads": work}
        for kind, own in works.items():
            names = {f"{RIVAL}, a process a core{kind}": 1, f"ours, --cohort off{kind}": 1}
            if own.limit() > 1:
                names[f"ours, automatic: cohorts of {own.limit()}{kind}"] = own.limit()
            members |= {name: cores * each for name, each in names.items()}
            chosen |= dict.fromkeys(names, own)

        def run(name: str) -> None:
            own, each = chosen[name], members[name] // cores
            if name.endswith("all threads"):
                used = [train_plain(own, 0)]
            elif name.startswith(RIVAL):
                used = _wait(pool.submit(train_plain, own, core) for core, pool in enumerate(pools))
            else:
                seeds = [range(core * each, (core + 1) * each) for core in range(cores)]
                used = _wait(
                    pool.submit(train_ours, own, part) for pool, part in zip(pools, seeds, strict=True)
                )
            processor.setdefault(name, []).append(sum(used))

        rounds = 1 if arguments.tiny else arguments.rounds
        wall = time_in_turns({name: functools.partial(run, name) for name in members}, rounds=rounds)
    rows = _rows(wall, processor, members, count // batch)
    settings = {
        "units": work.units,
        "batch": batch,
        "steps": count // batch,
        "rounds": rounds,
        "frames": int(np.sum(frames)),
        "longest": int(np.max(frames)),
        "processes": cores,
    }
    hours = f"{MEMBERS} members x {EPOCHS} epochs of {NUM_UTTERANCES * 8 // 10} utterances"
    note = f"{count // batch} steps timed; `hours` are extrapolated to {hours}."
    note += " Where no automatic cohort is named, members train alone."
    if len(works) == 1:
        note += " No bfloat16: this CPU has no matrix units, or no steps are compiled for them."
    report(f"cohort_{name}", rows, settings=settings, arguments=arguments, note=note)


def _wait(futures: Iterable[Future[float]]) -> list[float]:
    return [future.result() for future in list(futures)]  # all are submitted before the first is waited for


def _rows(
    wall: dict[str, list[float]], processor: dict[str, list[float]], members: dict[str, int], steps: int
) -> list[dict[str, Any]]:
    """One row a contestant; times are those of one step of one member."""
    each = {name: [second / members[name] / steps for second in times] for name, times in wall.items()}
    work = {
        name: [second / members[name] / steps for second in times[1:]]  # the first was not timed
        for name, times in processor.items()
    }
    rivals = [name for name in each if name.startswith(RIVAL)]
    best = min(rivals, key=lambda name: statistics.median(each[name]))
    cheapest = min(rivals, key=lambda name: statistics.median(work[name]))
    whole = MEMBERS * EPOCHS * NUM_UTTERANCES * 0.8 / TRAINING.batch_size
    rows = []
    for name in each:
        is_ours = name not in rivals
        rows.append(
            {
                "by": name,
                "s a step": statistics.median(each[name]),
                "processor s a step": statistics.median(work[name]),
                "ours is faster by": ratio(each[best], each[name]) if is_ours else None,
                "in processor time": ratio(work[cheapest], work[name]) if is_ours else None,
                "hours": statistics.median(each[name]) * whole / 3600,
            }
        )
    return rows


if __name__ == "__main__":
    main()
