"""The recogniser ds2 on the CPU: training steps and frozen encoding, against deepspeech.pytorch's model.

  python -m bench.ds2                      # the recogniser of egs/english_small; minutes
  python -m bench.ds2 --paper              # 32 maps, 1000 units; longer, and 4 GB of memory

The rival is built from torch's modules. Contestants read the same store, in the same batches. Training: every network
runs in the task, CTC and loop of `train-asr`, one epoch of a few steps and a validation of one utterance. Encoding:
the means over time of all layers; ours is the code of `encode`, which also writes them. Durations are drawn, skewed as
in LibriSpeech's train-clean-100 (1.4 to 16.5 s, mean 12.6 s), or are ten seconds each.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from bench.common import parser, ratio, report, time_in_turns
from bench.deepspeech import PlainDS2
from bench.iemocap import RATE, write_features
from sertoolkit.config import to_dict
from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.encoders.ds2 import DS2Config
from sertoolkit.encoders.layers import CPU_FRAMES, length_batches, store_layers
from sertoolkit.features.loading import pad
from sertoolkit.features.power_spectrogram import PowerSpectrogramConfig
from sertoolkit.inference.recogniser import Recogniser
from sertoolkit.networks import masked_mean
from sertoolkit.processes import keep_freed_memory
from sertoolkit.storage.ark import ArkReader
from sertoolkit.tasks.asr import AsrTask, Transcribed
from sertoolkit.text.tokens import make_tokens
from sertoolkit.training.config import AsrTraining
from sertoolkit.training.loop import Trainer

SMALL = DS2Config(conv_channels=16, hidden_size=192)  # egs/english_small/asr/conf/asr.yaml, without dropout
TINY = DS2Config(conv_channels=2, num_layers=2, hidden_size=6)
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
LETTERS_A_SECOND = 14  # read speech
OURS = "sertoolkit"
PRECISIONS = {"float32": "", "bfloat16": ", bfloat16"}
NOTE = (
    "Directions are concatenated in all, where deepspeech.pytorch adds them; the rival's batch norm counts padding, so "
    "its results depend on what else is in the batch. Single precision, or bfloat16 by autocast, compared with ours in "
    "the same. `processor s`: of all threads together."
)


def frames_like_librispeech(count: int) -> np.ndarray:
    """Durations in frames at 100 a second: 16.5 s times a draw from Beta(3.2, 1), at least 1.4 s."""
    draws = np.random.default_rng(1).beta(3.2, 1, count)
    return np.rint((16.5 * draws).clip(1.4) * RATE).astype(np.int64)


class Work:
    """Networks, and a store of utterances with transcripts.

    Args:
        folder: to write into
        config: of the networks
        frames: of each utterance
        batch_size: of a training step
        num_steps: of a training; the first utterances are trained on, all are encoded

    """

    def __init__(
        self, folder: Path, config: DS2Config, frames: Sequence[int], *, batch_size: int, num_steps: int
    ) -> None:
        self.folder, self.batch_size = folder, batch_size
        frontend = {"frontend": "power_spectrogram", "frontend_conf": to_dict(PowerSpectrogramConfig())}
        durations = {f"utt-{number:04d}": int(count) for number, count in enumerate(frames)}
        meta = {"kind": "features", "frame_shift": 1 / RATE, **frontend}
        write_features(folder / "feats", durations, config.input_dim, offsets={}, **meta)
        self.feats = ArkReader(folder / "feats")
        trained = list(durations)[: batch_size * num_steps]
        self.trained_seconds = sum(durations[utt_id] for utt_id in trained) / RATE
        self.encoded_seconds = sum(durations.values()) / RATE
        self.tokens = make_tokens([LETTERS])
        torch.manual_seed(1)
        self.recogniser = Recogniser.build(
            encoder="ds2", encoder_conf=to_dict(config), tokens=self.tokens, **frontend
        )
        self.rival = PlainDS2(config)
        self.trained = self._transcribe(trained)
        self.validated = self._transcribe(trained[:1])

    def _transcribe(self, utt_ids: list[str]) -> Transcribed:
        generator = np.random.default_rng(3)
        texts = []
        for utt_id in utt_ids:
            count = max(1, self.feats.num_frames[utt_id] * LETTERS_A_SECOND // RATE)
            texts.append("".join(generator.choice(list(LETTERS), count)))
        return Transcribed(self.feats, utt_ids, texts, [self.tokens.encode(text) for text in texts])

    def train(self, encoder: nn.Module, precision: Literal["float32", "bfloat16"]) -> None:
        """One epoch."""
        training = AsrTraining(
            max_epochs=1,
            optimiser="adamw",
            clip_norm=100,
            batch_size=self.batch_size,
            sort_first_epoch=True,
            precision=precision,
        )
        model = CtcModel(encoder, self.tokens.size)
        task = AsrTask(model, self.trained, self.validated, self.tokens, training=training, settings={})
        with tempfile.TemporaryDirectory() as folder:
            Trainer(task, training, seed=1, folder=Path(folder)).run()

    def encode(self) -> None:
        """All layers of all utterances as `encode` does it."""
        needed = [(number + 1, "pooled") for number in range(len(self.recogniser.encoder.layer_dims))]
        with tempfile.TemporaryDirectory() as folder:
            store_layers(self.recogniser, self.folder / "feats", Path(folder), needed)

    @torch.inference_mode()
    def encode_plainly(self, encoder: nn.Module, *, batch_frames: int) -> None:
        """The same by a loop over batches, in which padding fills no more frames than this; 1: one at a time."""
        encoder.eval()
        for utt_ids in length_batches(self.feats.num_frames, batch_frames):
            layers, lengths = encoder(*pad([self.feats[utt_id] for utt_id in utt_ids]))
            for layer in layers:
                masked_mean(layer, lengths).numpy()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure training and encoding, of durations as in LibriSpeech and of equal ones."""
    made = parser(__doc__)
    made.add_argument("--paper", action="store_true", help="32 maps and 1000 units, batches of 4")
    made.add_argument("--steps", type=int, default=1, help="of each round of training")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    arguments = made.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    for kind in ("ragged", "equal"):
        _measure(kind, arguments)


def _measure(kind: str, arguments: argparse.Namespace) -> None:
    tiny = arguments.tiny
    config = TINY if tiny else DS2Config() if arguments.paper else SMALL
    batch = 2 if tiny else 4 if arguments.paper else 16
    steps = 1 if tiny else arguments.steps
    # encoded: enough that what `encode` does once a corpus counts little
    count = batch * steps * (1 if tiny else 2 if arguments.paper else 4)
    frames = frames_like_librispeech(count) if kind == "ragged" else np.full(count, 1000)
    with tempfile.TemporaryDirectory() as folder:
        work = Work(Path(folder), config, frames // (20 if tiny else 1), batch_size=batch, num_steps=steps)
        ours, rival = work.recogniser.encoder, work.rival
        trainings = {
            name + suffix: functools.partial(work.train, encoder, precision)
            for precision, suffix in PRECISIONS.items()
            for name, encoder in ((OURS, ours), ("torch modules", rival))
        }
        encodings = {
            f"{OURS}, encode": work.encode,
            f"{OURS}, one at a time": lambda: work.encode_plainly(ours, batch_frames=1),
            "torch modules, the same batches": lambda: work.encode_plainly(rival, batch_frames=CPU_FRAMES),
            "torch modules, one at a time": lambda: work.encode_plainly(rival, batch_frames=1),
        }
        settings = {
            "encoder": to_dict(config),
            "batch": batch,
            "utterances": count,
            "trained seconds": work.trained_seconds,
            "encoded seconds": work.encoded_seconds,
            "rounds": 1 if tiny else arguments.rounds,
            "threads": arguments.threads,
        }
        for name, contestants, seconds in (
            ("training", trainings, work.trained_seconds),
            ("encoding", encodings, work.encoded_seconds),
        ):
            rows = _time(contestants, seconds, settings["rounds"])
            report(f"ds2_{name}_{kind}", rows, settings=settings, arguments=arguments, note=NOTE)


def _time(contestants: dict[str, Callable[[], None]], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """One row a contestant; the first is ours, and its like in bfloat16."""
    processor: dict[str, list[float]] = {}

    def run(name: str) -> None:
        started = time.process_time()
        contestants[name]()
        processor.setdefault(name, []).append(time.process_time() - started)

    wall = time_in_turns({name: functools.partial(run, name) for name in contestants}, rounds=rounds)
    processor = {name: times[1:] for name, times in processor.items()}  # the first was not timed
    rows = []
    for name in contestants:
        suffix = PRECISIONS["bfloat16"]
        ours = next(iter(contestants)) + suffix * name.endswith(suffix)
        is_ours = name.startswith(OURS)
        rows.append(
            {
                "by": name,
                "s": statistics.median(wall[name]),
                "processor s": statistics.median(processor[name]),
                "real-time factor": statistics.median(wall[name]) / seconds,
                "ours is faster by": None if is_ours else ratio(wall[name], wall[ours]),
                "in processor time": None if is_ours else ratio(processor[name], processor[ours]),
            }
        )
    return rows


if __name__ == "__main__":
    main()
