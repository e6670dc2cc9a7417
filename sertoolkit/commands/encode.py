"""Command ``encode``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Run a frozen recogniser once over a corpus and store the layers that the chosen systems need.

Layers are stored as means over time where that is all a system needs, else frame by frame. Stores that are there and
belong to this encoder and these features are left as they are.

example: sertoolkit encode --asr_exp exp/asr --feats dump/power_spectrogram/all --ser_config conf/ser.yaml \\
             --systems "mp-2 rnn-2" --out dump/encoded/all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, required=True, metavar="DIR|FILE", help="experiment folder or bundle"
    )
    parser.add_argument("--feats", type=Path, required=True, metavar="DIR", help="features of its frontend")
    parser.add_argument("--ser_config", type=Path, required=True, metavar="FILE", help="systems")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the configuration"
    )
    parser.add_argument("--systems", default="", help="names; default: all of the configuration")
    parser.add_argument(
        "--ngpu", type=int, choices=(0, 1), default=0, help="1: encode on a GPU (not tried on one yet)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the layers")


def run(args: argparse.Namespace) -> None:
    """Encode."""
    from sertoolkit import registry
    from sertoolkit.commands.train_ser import choose_device, load_ser_config
    from sertoolkit.encoders.layers import FORMS, WORDS, store_layers
    from sertoolkit.inference.recogniser import Recogniser
    from sertoolkit.tasks.ser import form_of

    device = choose_device(args.ngpu)
    config = load_ser_config(args)  # its plugins may hold the encoder
    recogniser = Recogniser.load(args.asr_exp)
    needed = set()
    for system in config.choose(args.systems.split()).values():
        head = registry.get("head", system.head)
        form = form_of(head)
        if form in FORMS:
            needed |= {(layer, form) for layer in system.layers}
        if WORDS in head.needs:
            needed.add((len(recogniser.encoder.layer_dims), WORDS))
    if not needed:
        print("no chosen system reads stored layers: nothing to encode")
        return
    written = store_layers(recogniser, args.feats, args.out, needed, device=device or "cpu")
    print(f"{args.out}: {len(written)} stores written, {len(needed) - len(written)} were there")
