"""Command ``decode``."""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sertoolkit.decoding.words import NgramModel
    from sertoolkit.inference.recogniser import Recogniser, Search
    from sertoolkit.storage.ark import ArkReader

logger = logging.getLogger(__name__)

HELP = """Write what a recogniser hears, one line an utterance, as OUT/text; settings and time as OUT/decode.yaml.

example: sertoolkit decode --asr_exp exp/asr --feats dump/power_spectrogram/test --out exp/asr/decode_test

By default the likeliest token of each frame counts. --beam 16 searches for the likeliest text instead; --lm adds
an n-gram model of words to that (ARPA or KenLM's binary format; its words spelt as the training transcripts are).
Choose --lm_weight and --word_bonus on a validation set, never on the test set.

  sertoolkit decode ... --beam 64 --lm words.arpa --lm_weight 0.5 --word_bonus 1

The real-time factor at the end counts the network and the search, not the features."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--asr_exp", type=Path, required=True, metavar="DIR|FILE", help="experiment folder or bundle"
    )
    parser.add_argument("--feats", type=Path, required=True, metavar="DIR", help="features of its frontend")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for what is written")
    parser.add_argument("--batch_size", type=int, default=16, help="utterances at a time; changes no result")
    parser.add_argument("--beam", type=int, help="prefixes that a beam search keeps; default: no such search")
    parser.add_argument("--lm", type=Path, metavar="FILE", help="n-gram model of words, for --beam")
    parser.add_argument("--lm_weight", type=float, help="factor on its log probability; default 0.5")
    parser.add_argument("--word_bonus", type=float, help="added for each word; default 1.0")


def run(args: argparse.Namespace) -> None:
    """Decode all utterances."""
    import torch

    from sertoolkit.inference.recogniser import Recogniser
    from sertoolkit.storage import atomic
    from sertoolkit.storage.ark import ArkReader
    from sertoolkit.text.transcripts import write_transcripts
    from sertoolkit.version import processor

    recogniser = Recogniser.load(args.asr_exp)
    search, model, settings = _search(args, recogniser)
    feats = ArkReader(
        args.feats, expect={"frontend": recogniser.frontend_name, "frontend_conf": recogniser.frontend_conf}
    )
    start = time.perf_counter()
    texts = _decode(recogniser, search, feats, args.batch_size)
    seconds = time.perf_counter() - start
    audio = sum(feats.num_frames.values()) * feats.meta["frame_shift"]
    summary = {
        "num_utts": len(texts),
        "audio_seconds": round(audio, 2),
        "seconds": round(seconds, 2),
        "real_time_factor": float(f"{seconds / audio:.4g}"),
        "threads": torch.get_num_threads(),
        "processor": processor(),
    }
    write_transcripts(args.out / "text", texts)
    atomic.write_yaml(args.out / "decode.yaml", settings | _known_words(model, texts) | summary)
    print(
        f"{args.out / 'text'}: {len(texts)} utterances, {audio:.1f} s of audio in {seconds:.1f} s:"
        f" real-time factor {seconds / audio:.4f}"
    )


def _search(
    args: argparse.Namespace, recogniser: Recogniser
) -> tuple[Search, NgramModel | None, dict[str, Any]]:
    """What turns log probabilities into tokens, its language model, and its settings."""
    from sertoolkit.decoding.beam import BeamSearch
    from sertoolkit.decoding.greedy import greedy_decode
    from sertoolkit.decoding.words import NgramModel
    from sertoolkit.errors import ConfigError, report_faults
    from sertoolkit.storage.atomic import hash_file

    needs = {"lm_weight": "lm", "word_bonus": "lm", "lm": "beam"}
    faults = [
        f"--{name} is set but --{need} is not: give it, or leave --{name} out"
        for name, need in needs.items()
        if getattr(args, name) is not None and getattr(args, need) is None
    ]
    report_faults("options of decode", faults, ConfigError)
    if args.beam is None:
        return greedy_decode, None, {"search": "greedy"}
    model = NgramModel(args.lm) if args.lm else None
    weights = {name: getattr(args, name) for name in ("lm_weight", "word_bonus")}
    search = BeamSearch(
        recogniser.tokens,
        beam=args.beam,
        words=model,
        **{name: value for name, value in weights.items() if value is not None},
    )
    settings: dict[str, Any] = {"search": "beam", "beam": search.beam}
    if model is not None:
        settings |= {"lm": str(args.lm), "lm_sha256": hash_file(args.lm)}
        settings |= {"lm_weight": search.lm_weight, "word_bonus": search.word_bonus}
    return search, model, settings


def _decode(recogniser: Recogniser, search: Search, feats: ArkReader, batch_size: int) -> dict[str, str]:
    """Transcript of each utterance."""
    from tqdm import tqdm

    by_length = sorted(feats, key=lambda utt_id: (feats.num_frames[utt_id], utt_id))
    texts: dict[str, str] = {}
    for start in tqdm(range(0, len(by_length), batch_size), desc="decode", unit="batch", mininterval=1):
        utt_ids = by_length[start : start + batch_size]
        decoded = recogniser.decode([feats[utt_id] for utt_id in utt_ids], search=search)
        texts |= zip(utt_ids, decoded, strict=True)
    return texts


def _known_words(model: NgramModel | None, texts: dict[str, str]) -> dict[str, float]:
    """Share of the words heard that the language model holds; a low one shows a model spelt otherwise."""
    words = " ".join(texts.values()).split()
    if model is None or not words:
        return {}
    known = sum(word in model for word in words) / len(words)
    if known < 0.1:
        logger.warning(
            "the language model holds %.0f %% of the words heard; is it spelt as the transcripts are (%s)?",
            100 * known,
            ", ".join(words[:3]),
        )
    return {"lm_known_words": round(known, 3)}
