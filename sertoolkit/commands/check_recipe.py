"""``sertoolkit check-recipe``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = """Check the settings of a recipe before its first stage; what is given is checked, nothing is changed.

All faults are printed at once, one a line, and the exit code is 2: a wrong key or value in the YAML, unknown systems,
heads, encoders, frontends, folds, wrong seeds, layers that the recogniser does not have, a frontend that it does not read,
GPUs that are not there, options that a later command does not have.
Where all is well, the systems that read layers of a recogniser are named. ser.sh and asr.sh call this.

  sertoolkit check-recipe --ser_config conf/ser.yaml --systems "mp-2 rnn-2" --folds all --seeds "1 2" --asr_exp exp/asr
  sertoolkit check-recipe --asr_config conf/asr.yaml --asr_frontend power_spectrogram"""

REPORTS_PLUGINS = True
"""Wrong plugin files are faults among others: not `sertoolkit` loads them, but this command."""

HANDED_ON = ("score", "analyse", "report")
"""Commands that a recipe hands options on to"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    configs = parser.add_mutually_exclusive_group()
    configs.add_argument("--ser_config", type=Path, metavar="FILE", help="emotion systems and training")
    configs.add_argument("--asr_config", type=Path, metavar="FILE", help="encoder and training")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change of the configuration"
    )
    parser.add_argument("--systems", help='names of --ser_config, e.g. "mp-1 mp-2"; default: all')
    parser.add_argument("--folds", help='all, or e.g. "fold-01 fold-02"')
    parser.add_argument("--seeds", help='whole numbers, e.g. "1 2 3"')
    parser.add_argument("--protocol", type=Path, metavar="FILE", help="YAML of classes and folds")
    parser.add_argument(
        "--protocol_dir", type=Path, metavar="DIR", help="made by `protocol`: its folds are the known ones"
    )
    parser.add_argument(
        "--side_frontend", metavar="NAME", help="features of the systems with a branch of their own"
    )
    parser.add_argument("--asr_frontend", metavar="NAME", help="features of the recogniser")
    parser.add_argument("--asr_exp", type=Path, metavar="DIR|FILE", help="the recogniser that is frozen")
    parser.add_argument(
        "--asr_recipe", type=Path, metavar="DIR", help="recipe that makes it where it is missing"
    )
    for command in HANDED_ON:
        parser.add_argument(
            f"--{command}_args", metavar="OPTIONS", help=f"what the recipe hands on to `sertoolkit {command}`"
        )
    parser.add_argument("--feats", metavar="ark|on_the_fly", help="features of the recogniser's training set")
    parser.add_argument("--token_type", metavar="KIND", help="tokens of the recogniser")
    parser.add_argument("--ngpu", type=int, default=0, metavar="N", help="GPUs that this machine must have")


def run(args: argparse.Namespace) -> int:
    """Check, and print all faults or the systems that read layers."""
    from sertoolkit.preflight import Preflight
    from sertoolkit.training.config import AsrConfig, SerConfig

    check, layered = Preflight(), {}
    check.load_plugins(args.plugin)
    if args.folds is not None:
        check.check_folds(check.words("folds", args.folds), args.protocol_dir)
    if args.seeds is not None:
        check.check_seeds(check.words("seeds", args.seeds))
    if args.protocol is not None:
        check.check_protocol(args.protocol)
    for option in ("side_frontend", "asr_frontend"):
        if getattr(args, option) is not None:
            check.check_frontend(option, getattr(args, option))
    if args.token_type is not None:
        check.check_token_type(args.token_type)
    if args.asr_config and (config := check.load(AsrConfig, args.asr_config, args.set)):
        check.check_encoder(config, args.asr_frontend)
        check.check_augment(config, args.feats)
    for command in HANDED_ON:
        check.check_arguments(command, getattr(args, f"{command}_args") or "")
    if args.ngpu > 0:
        check.check_gpus(args.ngpu)
    systems = check.words("systems", args.systems) if args.systems is not None else None
    if args.ser_config and (config := check.load(SerConfig, args.ser_config, args.set)):
        layered = check.check_systems(config, list(config.systems) if systems is None else systems)
    if layered:
        check.check_recogniser(
            args.asr_exp, layered, args.asr_frontend, made_later=args.asr_recipe is not None
        )
    print(*check.faults, sep="\n", file=sys.stderr, end="\n" if check.faults else "")
    if check.faults:
        return 2
    if args.ser_config:
        print("systems that read layers of a recogniser:", " ".join(layered) or "none")
    else:
        print("no fault found")
    return 0
