"""Command ``train-asr``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

HELP = """Train a speech recogniser: an encoder and a softmax over tokens, by CTC.

The epoch with the lowest validation character error rate is kept. Killed or stopped, the same command goes on where
it was and ends with the same weights. All utterances are checked before training starts.

Without --train_feats the audio of the training set is read in every epoch, at a tempo and gain drawn anew (`augment:`
of the configuration), and made into features as those of --valid_feats were; --num_workers processes do that ahead.
With --ngpu 1 they only read, and the GPU computes the features where the frontend can.

By torchrun several processes, each with a GPU of its own, share every batch; a step is that of one process, but for
rounding and the draws of dropout. A checkpoint goes on with any number of them. torchrun's exit code is 1 for every error.

No training has run on a GPU yet: all of it is tested on the CPU alone.

example: sertoolkit train-asr --config conf/asr.yaml --train_data data/train --train_feats dump/train \\
             --valid_data data/valid --valid_feats dump/valid --tokens exp/asr/tokens --out exp/asr
         torchrun --standalone --nproc_per_node 4 -m sertoolkit train-asr --ngpu 1 ..."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--config", type=Path, help="YAML file; without it, the paper's settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. training.max_epochs=5"
    )
    for name in ("train_data", "valid_data"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help="data directory")
    parser.add_argument(
        "--train_feats", type=Path, metavar="DIR", help="its features; without it, computed on the fly"
    )
    parser.add_argument(
        "--valid_feats", type=Path, required=True, metavar="DIR", help="its features (`extract`)"
    )
    parser.add_argument("--tokens", type=Path, required=True, metavar="DIR", help="token list (`tokens`)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="experiment folder")
    parser.add_argument("--nj", type=int, default=0, help="threads; 0: as torch chooses")
    parser.add_argument(
        "--num_workers", type=int, default=0, help="processes that read ahead; changes no result"
    )
    parser.add_argument("--ngpu", type=int, choices=(0, 1), default=0, help="1: each process trains on a GPU")
    parser.add_argument("--drop_bad", action="store_true", help="leave unusable utterances out, with a count")


def run(args: argparse.Namespace) -> None:
    """Train and say where the model is."""
    import torch

    from sertoolkit import registry
    from sertoolkit.config import load_config
    from sertoolkit.errors import ConfigError
    from sertoolkit.training.config import AsrConfig
    from sertoolkit.training.ranks import start_ranks
    from sertoolkit.training.recogniser import train_recogniser

    if args.num_workers < 0:
        raise ConfigError(f"--num_workers {args.num_workers}: expected 0 or more")
    if args.nj:
        torch.set_num_threads(args.nj)
    with start_ranks(on_gpu=bool(args.ngpu)) as (ranks, device):
        if not ranks.is_first:
            logging.getLogger().setLevel(logging.ERROR)
        with ranks.together():
            config = load_config(AsrConfig, args.config, args.set)
            for plugin in config.plugins:
                registry.load_plugin(args.config.parent / plugin)
        path = train_recogniser(
            config,
            train_data=args.train_data,
            train_feats=args.train_feats,
            valid_data=args.valid_data,
            valid_feats=args.valid_feats,
            tokens_dir=args.tokens,
            out=args.out,
            device=device,
            drop_bad=args.drop_bad,
            num_workers=args.num_workers,
            device_features=bool(args.ngpu),
            ranks=ranks,
        )
        if ranks.is_first:
            print(path)
