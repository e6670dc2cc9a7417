"""Command ``train-ser``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

HELP = """Train emotion systems over folds and seeds: one member each, in parallel processes.

Finished members are kept: stopped or killed, the same command goes on at the first missing one and ends with the same
table. Folds are audited for leaks of speakers before training starts.

example: sertoolkit train-ser --ser_config conf/ser.yaml --systems "baseline-96 mp-2" --seeds "1 2 3" \\
             --protocol_dir exp/ser/protocol --side dump/mfcc_pitch/all --layers dump/encoded/all --out exp/ser --nj 2"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--ser_config", type=Path, required=True, metavar="FILE", help="systems and training")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="training.max_epochs=5"
    )
    parser.add_argument(
        "--systems", default="", help='names of the configuration, e.g. "mp-1 mp-2"; default: all'
    )
    parser.add_argument("--folds", default="", help='e.g. "fold-01 fold-02"; default: all')
    parser.add_argument("--seeds", default="1", help='whole numbers, e.g. "1 2 3"')
    parser.add_argument("--protocol_dir", type=Path, required=True, metavar="DIR", help="made by `protocol`")
    parser.add_argument("--side", type=Path, metavar="DIR", help="side features, for heads that need them")
    parser.add_argument(
        "--layers", type=Path, metavar="DIR", help="made by `encode`, for heads that need an encoder"
    )
    parser.add_argument(
        "--asr_exp",
        type=Path,
        metavar="DIR|FILE",
        help="recogniser, for heads that train its encoder further",
    )
    parser.add_argument(
        "--asr_feats", type=Path, metavar="DIR", help="features of its frontend, for the same"
    )
    parser.add_argument(
        "--text",
        type=Path,
        metavar="FILE",
        help="transcripts of the corpus (data/<set>/text), for heads that learn to transcribe; of test sets none is used",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="experiment folder")
    parser.add_argument("--nj", type=int, default=1, help="processes; changes no result")
    parser.add_argument(
        "--ngpu",
        type=int,
        choices=(0, 1),
        default=0,
        help="train on a GPU, in one process, recurrent products in bfloat16",
    )
    parser.add_argument(
        "--cohort",
        default="auto",
        metavar="N",
        help="trainings of a system stepped together: auto, a number, or off; results agree but for rounding",
    )


def choose_device(ngpu: int) -> torch.device | None:
    """The GPU, or None for the CPU.

    Args:
        ngpu: 0 or 1

    Raises:
        ConfigError: if a GPU is wanted and there is none

    """
    import torch

    from sertoolkit.training.ranks import need_gpus

    if not ngpu:
        return None
    need_gpus(ngpu)
    return torch.device("cuda")


def run(args: argparse.Namespace) -> None:
    """Train the grid."""
    from sertoolkit.training.grid import GridPaths, train_grid

    device = choose_device(args.ngpu)
    config = load_ser_config(args)
    paths = GridPaths(
        args.protocol_dir, args.side, args.layers, args.out, args.asr_exp, args.asr_feats, args.text
    )
    trained = train_grid(
        config,
        paths,
        systems=args.systems.split(),
        folds=[fold for fold in args.folds.split() if fold != "all"],
        seeds=parse_seeds(args.seeds),
        num_jobs=args.nj,
        cohort=parse_cohort(args.cohort),
        device=device,
    )
    print(f"{args.out}: {trained} members trained now")


def load_ser_config(args: argparse.Namespace):  # noqa: ANN201
    """The configuration of ``--ser_config`` and ``--set``, its plugins loaded."""
    from sertoolkit import registry
    from sertoolkit.config import load_config
    from sertoolkit.training.config import SerConfig

    config = load_config(SerConfig, args.ser_config, args.set)
    for plugin in config.plugins:
        registry.load_plugin(args.ser_config.parent / plugin)
    return config


def parse_cohort(text: str) -> int | None:
    """Size of a cohort from "auto" (None), "off" (1) or a number.

    Raises:
        ConfigError: if it is something else

    """
    from sertoolkit.errors import ConfigError

    if text in ("auto", "off"):
        return None if text == "auto" else 1
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--cohort {text!r}: expected auto, off, or a number of 1 or more")
    return int(text)


def parse_seeds(text: str) -> list[int]:
    """Whole numbers from "1 2 3".

    Raises:
        ConfigError: if one is not a whole number of 0 or more, or there is none

    """
    from sertoolkit.errors import ConfigError

    words = text.split()
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"--seeds {text!r}: expected whole numbers, e.g. --seeds '1 2 3'")
    return [int(word) for word in words]
