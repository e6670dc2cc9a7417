"""The recogniser on a GPU: training by the trainer's own steps, input included, and encoding. A section of bench.gru_gpu.

The rival is deepspeech.pytorch's architecture from torch's modules: packed torch.nn.GRU (cuDNN) and batch norm, same
sizes and batch, under autocast to bfloat16, which runs cuDNN's GRU in float16. Recordings are noise, written to a
temporary folder; no time depends on what they hold.
"""

from __future__ import annotations

import functools
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import common
from bench.deepspeech import PlainDS2
from sertoolkit.audio.augmentation import Augmentation, Variant
from sertoolkit.encoders.ctc import CtcModel
from sertoolkit.encoders.ds2 import DS2, DS2Config
from sertoolkit.features.loading import copy_ahead, read_ahead
from sertoolkit.features.power_spectrogram import PowerSpectrogram, PowerSpectrogramConfig
from sertoolkit.features.waveforms import Waveforms
from sertoolkit.tasks.base import Task
from sertoolkit.training.batches import make_batches
from sertoolkit.training.config import AsrTraining
from sertoolkit.training.determinism import deterministic
from sertoolkit.training.loop import Trainer

if TYPE_CHECKING:
    from bench.gru_gpu import Bench

GFLOP_A_SECOND = 8.6  # of audio, forward, ds2 at the paper's size
TRAINING_GOAL, ENCODING_GOAL = 10_000, 20_000  # x real time, on one H200-class GPU
NUM_TOKENS, TOKENS_A_SECOND = 29, 12
RIVALS_GRU = "Autocast runs the GRU of torch modules (cuDNN) in float16."
FRONTEND = PowerSpectrogram(PowerSpectrogramConfig())


class _Steps(Task):
    """What the trainer needs of a task, of batches that are handed to it."""

    selects, fingerprint = "none", "bench"

    def __init__(self, config: DS2Config, training: AsrTraining, device: torch.device) -> None:
        self.model = CtcModel(DS2(config), NUM_TOKENS).to(device)
        self.training, self.batches = training, iter(())
        self.utt_ids, self.lengths = [], []

    def fetch(self) -> None:
        """Take the next batch."""
        self.batch = next(self.batches)

    def loss(self, indices: np.ndarray) -> Tensor:
        """As that of `sertoolkit.tasks.asr.AsrTask`."""
        features, lengths = self.batch
        return self.model.loss(
            features,
            lengths,
            _targets(lengths),
            blank=0,
            in_bfloat16=self.training.precision == "bfloat16",
            on_cpu=self.training.deterministic,
        )[0]

    def validate(self) -> dict[str, float]:
        """Nothing: no epoch ends here."""
        raise NotImplementedError


def _targets(lengths: Tensor) -> list[list[int]]:
    """Tokens for speech of so many frames."""
    return [
        [1 + number % (NUM_TOKENS - 1) for number in range(max(1, length * TOKENS_A_SECOND // 100))]
        for length in lengths.tolist()
    ]


def _trainer(bench: Bench, config: DS2Config, **settings: Any) -> Trainer:
    training = AsrTraining(optimiser="adamw", clip_norm=400.0, precision="bfloat16", **settings)
    task = _Steps(config, training, bench.device)
    return Trainer(task, training, seed=1, folder=Path(tempfile.gettempdir()))


def _config(bench: Bench) -> DS2Config:
    return DS2Config(conv_channels=2, num_layers=2, hidden_size=6) if bench.tiny else DS2Config()


def time_recogniser(bench: Bench) -> None:
    """Training of ds2 at the paper's size, from files and from features on the device; encoding."""
    time_steps(bench)
    time_files(bench)
    time_encoding(bench)


def time_steps(bench: Bench) -> None:
    """Training steps, bf16, features on the device, ten seconds an utterance."""
    config = _config(bench)
    features, lengths = _batch(bench, config)
    rows_of = np.arange(len(lengths))

    def own(**settings: Any) -> Callable[[], Any]:
        trainer = _trainer(bench, config, **settings)
        trainer.task.model.train()
        trainer.task.batches = itertools.repeat((features, lengths))
        return lambda: trainer._step(rows_of)

    step = own(deterministic=True)

    def in_deterministic_mode() -> None:
        with deterministic():
            step()

    rival = PlainDS2(config).to(bench.device)
    output = nn.Linear(2 * config.hidden_size, NUM_TOKENS).to(bench.device)
    optimiser = torch.optim.AdamW([*rival.parameters(), *output.parameters()], fused=bench.on_gpu)
    targets = _targets(lengths)
    flat = torch.tensor(list(itertools.chain(*targets)), device=bench.device)
    target_lengths = torch.tensor([len(target) for target in targets])

    def plain() -> None:
        rival.train()
        with torch.autocast(bench.device.type, torch.bfloat16):
            layers, num_frames = rival(features, lengths.to(bench.device))
            logits = output(layers[-1])
        posteriors = functional.log_softmax(logits.float(), 2).transpose(0, 1)
        functional.ctc_loss(posteriors, flat, num_frames, target_lengths, zero_infinity=True).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    contestants = {
        "sertoolkit": own(),
        "sertoolkit, deterministic": in_deterministic_mode,
        "torch modules": plain,
    }
    _report(bench, "training", contestants, lengths, passes=3, goal=TRAINING_GOAL)


def time_encoding(bench: Bench) -> None:
    """Frozen encoding, features on the device, ten seconds an utterance."""
    config = _config(bench)
    features, lengths = _batch(bench, config)
    on_device = lengths.to(bench.device)
    own, rival = (cls(config).to(bench.device).eval() for cls in (DS2, PlainDS2))

    @contextmanager
    def inference(in_bfloat16: bool) -> Iterator[None]:
        tf32 = torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = in_bfloat16
        with torch.inference_mode(), torch.autocast(bench.device.type, torch.bfloat16, enabled=in_bfloat16):
            yield
        torch.backends.cudnn.allow_tf32 = tf32

    def encode(network: nn.Module, *, in_bfloat16: bool = True) -> None:
        with inference(in_bfloat16):
            network(features, on_device)

    def encode_alone() -> None:
        with inference(True):
            for n in range(len(lengths)):
                rival(features[n : n + 1, : lengths[n]], on_device[n : n + 1])

    contestants = {
        "sertoolkit": functools.partial(encode, own),
        "sertoolkit, float32 as `encode` does": functools.partial(encode, own, in_bfloat16=False),
        "torch modules": functools.partial(encode, rival),
        "torch modules, one at a time": encode_alone,
    }
    _report(bench, "encoding", contestants, lengths, passes=1, goal=ENCODING_GOAL)


def _batch(bench: Bench, config: DS2Config) -> tuple[Tensor, Tensor]:
    batch, frames = (2, 20) if bench.tiny else (64, 1000)
    lengths = torch.linspace(frames, frames * 0.7, batch).long()  # a bucket of like lengths
    return bench.random(batch, frames, config.input_dim), lengths


def _report(
    bench: Bench,
    work: str,
    contestants: dict[str, Callable[[], Any]],
    lengths: Tensor,
    *,
    passes: int,
    goal: int,
) -> None:
    audio = int(lengths.sum()) / 100  # s
    found = bench.time(contestants, 5)
    own = found["sertoolkit"]["seconds"]
    rows = []
    for name, values in found.items():
        seconds = statistics.median(values["seconds"])
        rows.append(
            {
                "how": name,
                "ms": seconds * 1e3,
                "x real time": audio / seconds,
                "goal": goal if name == "sertoolkit" else None,
                "ours is times faster": common.ratio(values["seconds"], own),
                "TFLOP/s": None if bench.tiny else passes * GFLOP_A_SECOND * audio / seconds / 1e3,
                "peak GB": values["peak GB"],
            }
        )
    note = f"{work.capitalize()} in bf16 on {audio:.0f} s of audio, features on the device. {RIVALS_GRU}"
    if work == "training":
        note += " Ours are the trainer's steps: clipping and the checks of loss and gradient are in them."
    settings = {"batch": len(lengths), "frames": int(lengths.max())}
    bench.report(f"ds2_{work}", rows, note, **settings)


# -- from files


def time_files(bench: Bench) -> None:
    """Training from audio files: read by processes, features at drawn tempo and gain on the device, batches by frames."""
    generator = np.random.default_rng(0)
    count, mean, budget, epochs = (4, 0.3, 60, 2) if bench.tiny else (300, 12.0, 80_000, 10)
    num_workers = 1 if bench.tiny else max(1, min(14, (os.cpu_count() or 1) - 2))
    seconds = generator.uniform(0.5, 1.5, count) * mean  # as in LibriSpeech, 12 s
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.wav" for number in range(count)]
        for path, length in zip(paths, seconds, strict=True):
            _write(path, generator.integers(-3000, 3000, int(16000 * length)).astype(np.int16))
        training = AsrTraining(batch_frames=budget, bucket=True, sort_first_epoch=False)
        most_frames = [int(100 * length / 0.85) for length in seconds]
        size = {"batch_size": 0, "batch_frames": training.batch_frames, "bucket": True}
        batches = [
            (epoch, batch)
            for epoch in range(1, epochs + 1)
            for batch in make_batches(most_frames, **size, seed=1, epoch=epoch)
        ]
        keys = [[f"{epoch} {paths[index]}" for index in batch] for epoch, batch in batches]
        audio = epochs * float(seconds.sum())

        def read_all() -> Iterator[tuple[Waveforms, Waveforms]]:
            on_host = read_ahead(
                _read,
                keys,
                stack=functools.partial(Waveforms.pad, frontend=FRONTEND),
                num_workers=num_workers,
                pin_memory=bench.on_gpu,
            )
            return copy_ahead(on_host, bench.device)

        def features() -> Iterator[tuple[Tensor, Tensor]]:
            for batch, sent in read_all():
                yield sent.to_features(FRONTEND), batch.lengths

        trainer = _trainer(bench, _config(bench), batch_frames=budget)

        def train() -> None:
            trainer.task.model.train()
            trainer.task.batches = features()
            for _, batch in batches:
                trainer._step(batch)

        works = {
            "audio files to weights": train,
            "files to the device alone": lambda: list(map(len, read_all())),
            "files to features alone": lambda: [len(x) for x, _ in features()],
        }
        rows = []
        for name, run in works.items():
            run()
            bench.synchronise()
            start = time.perf_counter()
            run()
            bench.synchronise()
            taken = time.perf_counter() - start
            goal = TRAINING_GOAL if run is train else None
            rows.append({"what": name, "s": taken, "x real time": audio / taken, "goal": goal})
    note = (
        f"{audio / 3600:.1f} h of audio, {count} files {epochs} times, in the page cache, read by {num_workers} processes"
        f" ({READER}); bf16, start of the processes included."
    )
    settings = {"batch_frames": budget, "num_workers": num_workers, "batches": len(batches)}
    bench.report("ds2_files", rows, note, **settings)


try:
    from sertoolkit.audio.read import read_audio

    READER = "as in training"
except ImportError:  # a machine without soundfile
    READER = "by scipy, for want of soundfile"


def _write(path: Path, samples: np.ndarray) -> None:
    from scipy.io import wavfile

    wavfile.write(path, 16000, samples)


def _read(key: str) -> tuple[np.ndarray, Variant]:
    """Samples and variant, as `AudioFeatures.recording_of_epoch`."""
    from scipy.io import wavfile

    epoch, path = key.split(" ", 1)
    variant = Augmentation().draw(path, int(epoch))
    if READER == "as in training":
        return read_audio(path, sampling_rate=16000)[0], variant
    return wavfile.read(path)[1].astype(np.float32) / np.float32(32768), variant
