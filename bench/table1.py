"""Table 1 at IEMOCAP's size: 12 systems x 10 folds x 10 runs to convergence, by the code of `train-ser`.

  python -m bench.table1 --device cuda                    # all 1,200 trainings
  python -m bench.table1 --scale 0.05 --folds 2 --nj 2    # a part of them on a CPU, the rest extrapolated

6,416 utterances with durations like IEMOCAP's, side features of 27 values at 100 frames a second, three layers of
2,000 values at 50, systems and training of egs/iemocap/ser. Values are synthetic: classes overlap, so that trainings take
some tens of epochs. `hours` are those of all 100 members of a system at full size. Unless all of them were run, they are
extrapolated from optimiser steps a second, by the mean epochs of trainings that came to their end at full size; where
none did, 30 are taken. A small corpus needs more epochs, so its own say nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from bench.common import parser, report
from bench.iemocap import NUM_UTTERANCES, frames_like_iemocap
from sertoolkit.config import load_config, load_yaml
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import load_protocol, resolve, write_protocol
from sertoolkit.encoders.layers import DURATIONS, layer_dir
from sertoolkit.errors import Stopped
from sertoolkit.tasks import ser
from sertoolkit.training import grid
from sertoolkit.training.checkpoint import newest_progress
from sertoolkit.training.config import SerConfig
from sertoolkit.training.grid import GridPaths, train_grid
from sertoolkit.training.members import MEMBER_FILE

ROOT = Path(__file__).resolve().parents[1]
LABELS = ("ang", "hap", "neu", "sad")
SPEAKERS = [f"Ses0{session}{gender}" for session in range(1, 6) for gender in "FM"]
SIDE_DIM, LAYER_DIM = 27, 2000
NUM_MEMBERS, NUM_STEPS = 100, math.ceil(NUM_UTTERANCES * 0.8 / 64)  # of a system; of an epoch
SETTINGS = ("device", "scale", "folds", "seeds", "nj", "precision")
LIKELY_EPOCHS = 30  # taken where no training of the whole corpus came to its end
SEPARATION = 1.5  # standard deviations between the means of two classes


class Store(Mapping[str, np.ndarray]):
    """Answers as an ArkReader does, from memory.

    Args:
        directory: under which it is known
        frames: rows of each utterance; None: vectors
        labels: class of each utterance
        dim: values of a row

    """

    def __init__(
        self, directory: Path, frames: Sequence[int] | None, labels: Mapping[str, int], dim: int
    ) -> None:
        self.directory, self.dim, self.is_vectors = directory, dim, frames is None
        self.num_frames = dict(zip(labels, [1] * len(labels) if frames is None else frames, strict=True))
        self.meta = {"kind": "features", "encoder_hash": "none", "feats_hash": "none"}
        self.meta |= {"frontend": "none", "frontend_conf": {}}
        generator = np.random.default_rng(dim)
        means = generator.standard_normal((len(LABELS), dim)) * SEPARATION / math.sqrt(2 * dim)
        self._voices = generator.standard_normal((len(labels), dim), np.float32)
        self._voices += means[list(labels.values())].astype(np.float32)
        self._rows = {utt_id: row for row, utt_id in enumerate(labels)}
        self._noise = generator.standard_normal((max(self.num_frames.values()) + 997, dim), np.float32)

    def __getitem__(self, utt_id: str) -> np.ndarray:
        row, count = self._rows[utt_id], self.num_frames[utt_id]
        voice = self._voices[row] / 2
        return voice if self.is_vectors else self._noise[row % 997 :][:count] + voice

    def __contains__(self, utt_id: object) -> bool:
        return utt_id in self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def verify(self) -> Store:
        """Nothing in it can be damaged."""
        return self


class Corpus:
    """Protocol and durations on the disk; features in memory, made when they are opened.

    Args:
        root: folder
        count: utterances
        tiny: of few frames and values

    """

    def __init__(self, root: Path, count: int, *, tiny: bool) -> None:
        self.root, self.layer_dim = root, 20 if tiny else LAYER_DIM
        frames = frames_like_iemocap(count) // (30 if tiny else 1)
        names = [f"{SPEAKERS[number % 10]}-{number:05d}" for number in range(count)]
        durations = dict(sorted(zip(names, frames.tolist(), strict=True)))
        self.labels = {utt_id: int(utt_id[-5:]) // 10 % len(LABELS) for utt_id in durations}
        self.frames = list(durations.values())
        data = DataDir(
            wav={utt_id: "none" for utt_id in durations},
            utt2spk={utt_id: utt_id[:6] for utt_id in durations},
            utt2emo={utt_id: LABELS[label] for utt_id, label in self.labels.items()},
            utt2ses={utt_id: utt_id[:5] for utt_id in durations},
        )
        protocol = load_protocol(ROOT / "conf" / "protocols" / "iemocap4-consensus.yaml")
        self.protocol = resolve(protocol, data)
        write_protocol(self.protocol, root / "protocol")
        (root / "layers").mkdir()
        text = "".join(f"{utt_id} {frames}\n" for utt_id, frames in durations.items())
        (root / "layers" / DURATIONS).write_text(text, encoding="utf-8")

    def paths(self, exp: str) -> GridPaths:
        """Folders of a grid."""
        return GridPaths(self.root / "protocol", self.root / "side", self.root / "layers", self.root / exp)

    def open(self, directory: Path, expect: Any = None) -> Store:
        """In the place of :class:`ArkReader`."""
        if directory.name == "side":
            return Store(directory, self.frames, self.labels, SIDE_DIM)
        frames = [count // 2 for count in self.frames] if directory.name == "frames" else None
        return Store(directory, frames, self.labels, self.layer_dim)

    def write(self) -> None:
        """Write the features, for processes that cannot share them."""
        from sertoolkit.storage.ark import ArkWriter

        layers = [
            layer_dir(self.root / "layers", n, form) for n in (1, 2, 3) for form in ("pooled", "frames")
        ]
        for directory in (self.root / "side", *layers):
            store = self.open(directory)
            with ArkWriter(directory, store.meta) as writer:
                for utt_id, array in store.items():
                    writer.write(utt_id, array)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the grid and report."""
    made = parser(__doc__)
    made.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    made.add_argument(
        "--scale", type=float, help="part of the utterances (default: all on a GPU, 0.02 on a CPU)"
    )
    made.add_argument("--folds", type=int, default=10, help="of 10")
    made.add_argument("--seeds", type=int, default=10)
    made.add_argument("--systems", nargs="+", default=[], help="default: all twelve")
    made.add_argument(
        "--minutes", type=float, default=math.inf, help="each system is stopped at its share of them"
    )
    made.add_argument("--nj", type=int, default=1, help="processes on a CPU")
    made.add_argument(
        "--precision", choices=("float32", "bfloat16"), default="float32", help="of training on a CPU"
    )
    run(made.parse_args(argv))


def run(arguments: argparse.Namespace) -> None:
    """Train each system and report; options as :func:`main` has them."""
    if arguments.scale is None:
        arguments.scale = 0.02 if arguments.device == "cpu" else 1.0
    tiny, device = arguments.tiny, None if arguments.device == "cpu" else torch.device(arguments.device)
    config = load_config(SerConfig, ROOT / "egs" / "iemocap" / "ser" / "conf" / "ser.yaml")
    training = dataclasses.replace(config.training, precision=arguments.precision)
    config = dataclasses.replace(config, training=training)
    systems = arguments.systems or systems_of_table1(config)
    count, folds, seeds = round(arguments.scale * NUM_UTTERANCES), arguments.folds, arguments.seeds
    if tiny:
        config = dataclasses.replace(config, training=dataclasses.replace(config.training, max_epochs=2))
        systems, count, folds, seeds = ["baseline-64", "mp-1", "rnn-1"], 200, 1, 2
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        corpus = Corpus(Path(folder), count, tiny=tiny)
        if arguments.nj > 1:
            corpus.write()
        else:  # 36 GB at full size: better never on a disk
            stack.enter_context(mock.patch.object(ser, "ArkReader", corpus.open))
            stack.enter_context(mock.patch.object(grid, "ArkReader", corpus.open))
        chosen = [f"fold-{number:02d}" for number in range(1, folds + 1)]
        end = time.monotonic() + 60 * arguments.minutes
        for number, name in enumerate(systems):
            paths = corpus.paths(name)
            started = time.monotonic()
            share = (end - started) / (len(systems) - number)
            with _stop_after(share), contextlib.suppress(Stopped):
                train_grid(
                    config,
                    paths,
                    systems=[name],
                    folds=chosen,
                    seeds=range(1, seeds + 1),
                    num_jobs=arguments.nj,
                    device=device,
                )
            seconds = time.monotonic() - started
            steps = {
                fold: math.ceil(len(corpus.protocol.folds[fold].train) / config.training.batch_size)
                for fold in chosen
            }
            rows.append(_row(name, paths.exp / name, seconds, seeds, steps, device))
    _extrapolate(rows, is_whole=count == NUM_UTTERANCES)
    hours = sum(row["hours"] for row in rows)
    note = f"{hours:.2f} hours for {NUM_MEMBERS} members of each of these systems at full size; see the module's text."
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    settings |= {"utterances": count, "minutes": arguments.minutes if end < math.inf else None}
    report("table1", rows, settings=settings, arguments=arguments, note=note)


def systems_of_table1(config: SerConfig) -> list[str]:
    """The paper's; the recipe holds more, which need more than features."""
    return [name for name in config.systems if name.startswith(("baseline-", "mp-", "rnn-", "progressive-"))]


@contextlib.contextmanager
def _stop_after(seconds: float) -> Iterator[None]:
    """Ask a grid to stop after some seconds, as SIGTERM does."""
    end = time.monotonic() + seconds

    def request() -> int:
        return signal.SIGTERM if time.monotonic() > end else 0

    with mock.patch.object(grid, "stop_requests", lambda: contextlib.nullcontext(request)):
        yield


def _row(
    name: str,
    folder: Path,
    seconds: float,
    seeds: int,
    steps_an_epoch: Mapping[str, int],
    device: torch.device | None,
) -> dict[str, Any]:
    """What one system took; steps of members that were stopped are told by their checkpoints."""
    epochs, steps = [], 0
    for member in folder.glob("*/*"):
        if (member / MEMBER_FILE).exists():
            epochs.append(load_yaml(member / MEMBER_FILE)["epochs"])
            steps += epochs[-1] * steps_an_epoch[member.parent.name]
        else:
            progress = newest_progress(member)
            steps += progress["total_steps"] if progress else 0
    row = {
        "system": name,
        "members": len(steps_an_epoch) * seeds,
        "to their end": len(epochs),
        "epochs": statistics.mean(epochs) if epochs else None,
        "s": seconds,
        "steps a second": steps / seconds,
        "peak GB": None,
    }
    if device is not None and device.type == "cuda":
        row["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.reset_peak_memory_stats()
    return row


def _extrapolate(rows: Sequence[dict[str, Any]], *, is_whole: bool) -> None:
    """Add the hours of all members at full size."""
    known = [row["epochs"] for row in rows if row["epochs"] and is_whole]
    likely = statistics.mean(known) if known else LIKELY_EPOCHS
    for row in rows:
        steps = NUM_MEMBERS * NUM_STEPS * (row["epochs"] or likely if is_whole else LIKELY_EPOCHS)
        is_run = is_whole and row["to their end"] == NUM_MEMBERS
        row["hours"] = (row["s"] if is_run else steps / row["steps a second"]) / 3600
        row["extrapolated"] = "no" if is_run else "yes"


if __name__ == "__main__":
    main()
