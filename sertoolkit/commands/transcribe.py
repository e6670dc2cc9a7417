"""Command ``transcribe``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """Print what a recogniser hears in audio files, one line a file.

Any rate and format; channels are averaged. All files are looked at first, and every bad one is named, with a missing model.

example: sertoolkit transcribe --asr_exp exp/asr/asr.safetensors recording.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, required=True, metavar="DIR|FILE", help="experiment folder or bundle"
    )
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")


def run(args: argparse.Namespace) -> None:
    """Transcribe each file."""
    from sertoolkit.inference.recordings import check_recordings, hear

    check_recordings(args.audio, model=args.asr_exp)
    if sys.stderr.isatty():
        print(f"loading {args.asr_exp} ...", file=sys.stderr)
    from sertoolkit.inference.recogniser import Recogniser

    recogniser = Recogniser.load(args.asr_exp)
    rate = recogniser.build_frontend().sampling_rate
    for path, text in hear(args.audio, recogniser.transcribe, rate):
        print(f"{path}\t{text}")
