"""Command ``extract``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Compute a frontend's features of all utterances of a data dir into an ark store.

All audio is checked first; every bad file is named in one report and no store is written, only the list OUT.bad,
which `fix-data --drop` (or --drop of a recipe) takes. Audio of another rate or with more than one channel is used
only with --resample or --channel. Any number of jobs gives the same bytes.

Copies come at fixed tempos (--tempo; a recogniser trains on all of them) or drawn (--copies; one an epoch):
copies 1 and up, <utterance>-aug1..., get a tempo and a gain that depend on the seed of --augment, the number of the
copy and the utterance alone, so that all frontends make the same. Tempo keeps the pitch (frames are cut at another
step). Gain stops at full scale; where a frontend normalises logarithms over the utterance, as power_spectrogram
does, it vanishes but for the floor under the logarithm.

examples:
  sertoolkit extract --data_dir data/all --frontend mfcc_pitch --out dump/mfcc_pitch/all --nj 2
  sertoolkit extract --data_dir data/train --frontend power_spectrogram --tempo "0.9 1.0 1.1" \\
      --out dump/train --nj 2
  sertoolkit extract --data_dir data/all --frontend mfcc_pitch --copies 4 --out dump/mfcc_pitch/all \\
      --augment "tempo=[0.85,1.15] gain=[-3,6] seed=1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("--data_dir", type=Path, required=True, metavar="DIR", help="a valid data dir")
    parser.add_argument("--frontend", required=True, metavar="NAME", help="`sertoolkit plugins` lists them")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the store to make")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="setting of the frontend"
    )
    parser.add_argument("--nj", type=int, default=1, help="processes (default: 1)")
    parser.add_argument(
        "--resample", action="store_true", help="bring audio of another rate to the frontend's"
    )
    parser.add_argument(
        "--channel",
        default="error",
        metavar="error|mix|NUMBER",
        help="more than one channel (default: error)",
    )
    parser.add_argument(
        "--min_dur",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="shortest utterance (default: one frame)",
    )
    parser.add_argument(
        "--max_dur", type=float, default=120.0, metavar="SECONDS", help="longest utterance (default: 120)"
    )
    parser.add_argument(
        "--tempo", default="1.0", metavar="FACTORS", help='copies, e.g. "0.9 1.0 1.1" (default: plain only)'
    )
    parser.add_argument(
        "--copies", type=int, default=1, help="drawn copies an utterance, the plain one included (default: 1)"
    )
    parser.add_argument(
        "--augment", default="", metavar="SETTINGS", help="ranges and seed that copies are drawn from"
    )
    parser.add_argument("--compress", action="store_true", help="store in 16 bits instead of 32")


def run(args: argparse.Namespace) -> None:
    """Extract and say what was made."""
    from sertoolkit import registry
    from sertoolkit.audio.augmentation import Augmentation
    from sertoolkit.config import load_config
    from sertoolkit.errors import ConfigError
    from sertoolkit.features.dump import ExtractOptions, extract

    if args.nj < 1:
        raise ConfigError(f"--nj {args.nj}: expected at least 1")
    try:
        tempos = tuple(float(factor) for factor in args.tempo.split())
    except ValueError as error:
        raise ConfigError(f"--tempo {args.tempo!r}: expected numbers, such as '0.9 1.0 1.1'") from error
    if args.channel not in ("error", "mix") and not args.channel.isdecimal():
        raise ConfigError(f"--channel {args.channel!r}: expected error, mix or a number from 0")
    cls = registry.get("frontend", args.frontend)
    options = ExtractOptions(
        resample=args.resample,
        channel=int(args.channel) if args.channel.isdecimal() else args.channel,
        min_dur=args.min_dur,
        max_dur=args.max_dur,
        tempos=tempos,
        copies=args.copies,
        augmentation=load_config(Augmentation, None, args.augment.split()),
        compress=args.compress,
    )
    num_arrays = extract(
        args.data_dir,
        cls(load_config(cls.Config, None, args.set)),
        args.out,
        options=options,
        num_jobs=args.nj,
    )
    print(f"{args.out}: {num_arrays} arrays")
