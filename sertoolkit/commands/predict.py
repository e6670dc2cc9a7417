"""Command ``predict``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Print which emotion a packed model hears in audio files: the class, then the posterior of every class.

Any rate and format; channels are averaged.

example: sertoolkit predict --model exp/ser/ser.safetensors recording.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="made by `pack`")
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")


def run(args: argparse.Namespace) -> None:
    """Predict each file; one line of tab-separated values a file."""
    from sertoolkit.audio.read import read_audio
    from sertoolkit.inference.emotion import EmotionModel

    model = EmotionModel.load(args.model)
    print("\t".join(["audio", "predicted", *model.classes]))
    for path in args.audio:
        waveform, rate = read_audio(path, sampling_rate=model.sampling_rate, resample=True, channel="mix")
        posteriors = model.predict(waveform, rate)
        predicted = max(posteriors, key=posteriors.__getitem__)
        print("\t".join([str(path), predicted, *(f"{posteriors[name]:.4f}" for name in model.classes)]))
