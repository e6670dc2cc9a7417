"""Command ``random-encoder``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Write the same recogniser with fresh random weights: the control that tells what training it was worth.

example: sertoolkit random-encoder --asr_exp exp/asr --seed 1 --out exp/random.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, required=True, metavar="DIR|FILE", help="experiment folder or bundle"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")


def run(args: argparse.Namespace) -> None:
    """Draw the weights anew and write them."""
    from sertoolkit.inference.recogniser import Recogniser

    Recogniser.load(args.asr_exp).untrained(seed=args.seed).save(args.out, random_seed=args.seed)
    print(args.out)
