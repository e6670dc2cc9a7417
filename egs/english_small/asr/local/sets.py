#!/usr/bin/env python3
"""Training, validation and test sets of small English, and a check that no test sentence is trained on.

train               ARCTIC bdl slt a0001-a0380, LJ Speech 001-0001 to 0032, VCTK p225-p227 without the
                    sentences of p228, FSDD without theo, espeak-ng voices
valid               ARCTIC bdl slt a0381-a0400, other espeak-ng voices
test_arctic         ARCTIC bdl slt a0401-a0500: speakers of train, sentences that are not
test_librispeech    7 utterances of 4 readers
test_vctk           p228
test_fsdd           theo: the ten words are those of train

sets.py --local_dir data/local --out data
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from pathlib import Path

from sertoolkit.corpus.data_dir import DataDir, merge
from sertoolkit.corpus.preparation import run_script
from sertoolkit.errors import DataError, report_faults
from sertoolkit.storage.atomic import write_text

logger = logging.getLogger("sets")

_LIBRISPEECH = (
    "1089-134686-0000", "1089-134686-0001", "1089-134691-0000", "1089-134691-0001", "61-70968-0000",
    "1995-1837-0001", "2412-153948-0000",
)  # fmt: skip
_VCTK_TRAIN, _VCTK_TEST = "vctk_p22[567]", "vctk_p228"
# The sentences are read by all speakers of VCTK; the set keeps to a few that every copy of the corpus has.
_VCTK_SENTENCES = "003|005|008|011|016|019|02[0-4]"
# FSDD: the first ten recordings of each digit and speaker, so that ten words do not outweigh the sentences.
_FSDD_INDEX = "0[0-9]"
# Sets whose sentences may occur in train, with the reason.
SAME_SENTENCES = {"test_fsdd": "the ten digits are its only words"}


def _pick(data: DataDir, pattern: str) -> DataDir:
    """Utterances whose whole id matches."""
    return data.subset(utt_id for utt_id in data.utt_ids if re.fullmatch(pattern, utt_id))


def _arctic(data: DataDir, first: int, last: int) -> DataDir:
    numbers = {f"a{number:04d}" for number in range(first, last + 1)}
    speakers = ("arctic_bdl", "arctic_slt")
    return data.subset(
        u for u in data.utt_ids if data.utt2spk[u] in speakers and u.rpartition("-")[2] in numbers
    )


def make_sets(local: dict[str, DataDir]) -> dict[str, DataDir]:
    """Share the corpora out.

    Args:
        local: data dirs by corpus: arctic ljspeech vctk fsdd librispeech, and espeak_train espeak_valid
            where synthetic voices are mixed in

    Returns:
        data dir by set

    Raises:
        DataError: naming every set that is empty
    """
    arctic, vctk, fsdd = local["arctic"], local["vctk"], local["fsdd"]
    test_vctk = _pick(vctk, f"{_VCTK_TEST}-({_VCTK_SENTENCES})")
    vctk_train = _pick(vctk, f"{_VCTK_TRAIN}-({_VCTK_SENTENCES})")
    heard = set(test_vctk.text.values())
    unseen = vctk_train.subset(u for u, text in vctk_train.text.items() if text not in heard)
    logger.info(
        "VCTK: kept %d of %d utterances of p225-p227, %d read a sentence that p228 reads",
        len(unseen.utt_ids), len(vctk_train.utt_ids), len(vctk_train.utt_ids) - len(unseen.utt_ids),
    )  # fmt: skip
    lj = _pick(local["ljspeech"], "ljspeech-LJ001-00([0-2][0-9]|3[0-2])")
    fsdd_train = _pick(fsdd, rf"fsdd_(?!theo)[a-z]+-\d_{_FSDD_INDEX}")
    train = [_arctic(arctic, 1, 380), lj, unseen, fsdd_train]
    valid = [_arctic(arctic, 381, 400)]
    if "espeak_train" in local:
        train.append(local["espeak_train"])
        valid.append(local["espeak_valid"])
    known = local["librispeech"].utt2spk
    libri = [f"libri_{u}" for u in _LIBRISPEECH]
    absent = [u for u in libri if u not in known]
    if absent:
        logging.warning(
            "test_librispeech: %d of %d utterances are absent: %s", len(absent), len(libri), " ".join(absent)
        )
    sets = {
        "train": merge(train),
        "valid": merge(valid),
        "test_arctic": _arctic(arctic, 401, 500),
        "test_librispeech": local["librispeech"].subset(u for u in libri if u in known),
        "test_vctk": test_vctk,
        "test_fsdd": _pick(fsdd, rf"fsdd_theo-\d_{_FSDD_INDEX}"),
    }
    empty = [
        f"{name}: no utterance; is its corpus complete?" for name, data in sets.items() if not data.utt_ids
    ]
    report_faults("sets of small English", empty, DataError)
    return sets


def overlap_table(sets: dict[str, DataDir]) -> str:
    """How many speakers and sentences of each set occur in train.

    Args:
        sets: data dir by set, with ``train``

    Returns:
        lines of tab-separated columns, with a header

    Raises:
        DataError: if a sentence of valid or of a test set is in train, unless ``SAME_SENTENCES`` allows it
    """
    trained_texts, trained_speakers = set(sets["train"].text.values()), set(sets["train"].utt2spk.values())
    rows = ["set\tutterances\tspeakers\tin_train\tsentences\tin_train"]
    faults = []
    for name, data in sets.items():
        texts, speakers = set(data.text.values()), set(data.utt2spk.values())
        shared = texts & trained_texts
        seen = len(speakers & trained_speakers)
        rows.append(f"{name}\t{len(data.utt_ids)}\t{len(speakers)}\t{seen}\t{len(texts)}\t{len(shared)}")
        if name != "train" and name not in SAME_SENTENCES:
            faults += [f"{name}: train also has {text!r}" for text in sorted(shared)]
    report_faults("sentences of held-out sets in train", faults, DataError)
    return "\n".join(rows) + "\n"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--local_dir", type=Path, required=True, help="folder of one data dir a corpus")
    parser.add_argument(
        "--espeak_dir", type=Path, help="data dirs train-mini and dev-mini to mix into train and valid"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for one data dir a set")


def _run(args: argparse.Namespace) -> None:
    local = {name: DataDir.read(args.local_dir / name) for name in ("arctic", "ljspeech", "vctk", "fsdd")}
    parts = [DataDir.read(args.local_dir / "librispeech" / part) for part in ("test-clean", "dev-clean")]
    local["librispeech"] = merge(parts)
    if args.espeak_dir:
        local["espeak_train"] = DataDir.read(args.espeak_dir / "train-mini")
        local["espeak_valid"] = DataDir.read(args.espeak_dir / "dev-mini")
    for data in local.values():
        data.spk2gender = {}  # not every corpus says it, and no stage here needs it
    sets = make_sets(local)
    table = overlap_table(sets)
    for name, data in sets.items():
        data.write(args.out / name)
    write_text(args.out / "overlap.tsv", table)
    print(table, end="")
    for name, reason in SAME_SENTENCES.items():
        print(f"{name} has sentences of train: {reason}")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
