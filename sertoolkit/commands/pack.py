"""Command ``pack``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Put all that inference needs into one file: weights, settings, tokens or classes. Read back before it counts.

A recogniser:       sertoolkit pack --asr_exp exp/asr --out exp/asr/asr.safetensors
An emotion system:  sertoolkit pack --ser_exp exp/ser --system rnn-2 --asr_exp exp/asr --out exp/ser/ser.safetensors

Of an emotion system the member with the lowest validation cross-entropy is packed, of all or of --folds and --seeds.

example: see above"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, metavar="DIR|FILE", help="recogniser: experiment folder or bundle"
    )
    parser.add_argument("--ser_exp", type=Path, metavar="DIR", help="emotion experiment")
    parser.add_argument("--system", help="which system of --ser_exp")
    parser.add_argument(
        "--folds", default="all", help='look among these alone, e.g. "fold-01 fold-02"; default: all'
    )
    parser.add_argument("--seeds", default="all", help='look among these alone, e.g. "1 2 3"; default: all')
    parser.add_argument(
        "--ser_config", type=Path, metavar="FILE", help="of train-ser: the plugins that it names are loaded"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change of the same")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")


def run(args: argparse.Namespace) -> None:
    """Write the bundle and read it back."""
    from sertoolkit.commands.score import chosen_folds
    from sertoolkit.commands.train_ser import load_ser_config, parse_seeds
    from sertoolkit.errors import ConfigError
    from sertoolkit.inference.emotion import EmotionModel, best_member
    from sertoolkit.inference.recogniser import Recogniser

    if args.ser_exp is not None:
        if args.system is None:
            raise ConfigError("pack --ser_exp needs --system")
        if args.ser_config is not None:
            load_ser_config(args)
        seeds = None if args.seeds == "all" else parse_seeds(args.seeds)
        member = best_member(args.ser_exp, args.system, folds=chosen_folds(args), seeds=seeds)
        EmotionModel.from_member(member, args.asr_exp).save(args.out)
        EmotionModel.load(args.out)
        print(f"{args.out}: {member}")
    elif args.asr_exp is not None:
        Recogniser.load(args.asr_exp).save(args.out)
        Recogniser.load(args.out)
        print(args.out)
    else:
        raise ConfigError("pack needs --asr_exp or --ser_exp")
