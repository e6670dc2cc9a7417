"""Command ``predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """Print which emotion a packed model hears in audio files: the class, then the posterior of every class.

Any rate and format; channels are averaged. All files are looked at first, and every bad one is named.

example: sertoolkit predict --model exp/ser/ser.safetensors recording.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="made by `pack`")
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")


def run(args: argparse.Namespace) -> None:
    """Predict each file; one line of tab-separated values a file."""
    from sertoolkit.inference.recordings import check_recordings, hear

    check_recordings(args.audio)
    if sys.stderr.isatty():
        print(f"loading {args.model} ...", file=sys.stderr)
    from sertoolkit.inference.emotion import EmotionModel

    model = EmotionModel.load(args.model)
    print("\t".join(["audio", "predicted", *model.classes]))
    for path, posteriors in hear(args.audio, model.predict, model.sampling_rate):
        predicted = max(posteriors, key=posteriors.__getitem__)
        print("\t".join([str(path), predicted, *(f"{posteriors[name]:.4f}" for name in model.classes)]))
