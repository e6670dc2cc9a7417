"""Command ``predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """Print which emotion a packed model hears in audio files, one line of tab-separated columns a file:

  audio        the file
  predicted    the class with the highest posterior
  <class>      posterior of each class, in [0, 1]; they sum to 1
  transcript   the words, of a model that transcribes (head `joint`), from the same pass of the encoder; no other
               model has this column

Any rate and format; channels are averaged. All files are looked at first, and every bad one is named, with a missing model.

example: sertoolkit predict --model exp/ser/ser.safetensors recording.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="made by `pack`")
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")


def run(args: argparse.Namespace) -> None:
    """Predict each file."""
    from sertoolkit.inference.recordings import check_recordings, hear

    check_recordings(args.audio, model=args.model)
    if sys.stderr.isatty():
        print(f"loading {args.model} ...", file=sys.stderr)
    from sertoolkit.inference.emotion import EmotionModel

    model = EmotionModel.load(args.model)
    print("\t".join(["audio", "predicted", *model.classes, *(["transcript"] if model.transcribes else [])]))
    for path, (posteriors, transcript) in hear(args.audio, model.listen, model.sampling_rate):
        predicted = max(posteriors, key=posteriors.__getitem__)
        cells = [str(path), predicted, *(f"{posteriors[name]:.4f}" for name in model.classes)]
        print("\t".join(cells + ([] if transcript is None else [transcript])))
