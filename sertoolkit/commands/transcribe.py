"""Command ``transcribe``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Print what a recogniser hears in audio files, one line a file. Any rate and format; channels are averaged.

example: sertoolkit transcribe --asr_exp exp/asr/asr.safetensors recording.wav"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, required=True, metavar="DIR|FILE", help="experiment folder or bundle"
    )
    parser.add_argument("audio", type=Path, nargs="+", metavar="AUDIO")


def run(args: argparse.Namespace) -> None:
    """Transcribe each file."""
    from sertoolkit.audio.read import read_audio
    from sertoolkit.inference.recogniser import Recogniser

    recogniser = Recogniser.load(args.asr_exp)
    rate = recogniser.build_frontend().sampling_rate
    for path in args.audio:
        waveform, _ = read_audio(path, sampling_rate=rate, resample=True, channel="mix")
        print(f"{path}\t{recogniser.transcribe(waveform, rate)}")
