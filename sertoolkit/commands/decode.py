"""Command ``decode``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Write what a recogniser hears, one line an utterance, as OUT/text.

example: sertoolkit decode --asr_exp exp/asr --feats dump/power_spectrogram/test --out exp/asr/decode_test"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, required=True, metavar="DIR|FILE", help="experiment folder or bundle"
    )
    parser.add_argument("--feats", type=Path, required=True, metavar="DIR", help="features of its frontend")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for `text`")
    parser.add_argument("--batch_size", type=int, default=16, help="utterances at a time; changes no result")


def run(args: argparse.Namespace) -> None:
    """Decode all utterances."""
    from tqdm import tqdm

    from sertoolkit.inference.recogniser import Recogniser
    from sertoolkit.storage import atomic
    from sertoolkit.storage.ark import ArkReader

    recogniser = Recogniser.load(args.asr_exp)
    feats = ArkReader(
        args.feats, expect={"frontend": recogniser.frontend_name, "frontend_conf": recogniser.frontend_conf}
    )
    by_length = sorted(feats, key=lambda utt_id: (feats.num_frames[utt_id], utt_id))
    texts = {}
    for start in tqdm(range(0, len(by_length), args.batch_size), desc="decode", unit="batch", mininterval=1):
        utt_ids = by_length[start : start + args.batch_size]
        texts |= zip(utt_ids, recogniser.decode([feats[utt_id] for utt_id in utt_ids]), strict=True)
    lines = (f"{utt_id} {texts[utt_id]}".rstrip() + "\n" for utt_id in sorted(texts))
    atomic.write_text(args.out / "text", "".join(lines))
    print(args.out / "text")
