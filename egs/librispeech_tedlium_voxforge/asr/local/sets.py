#!/usr/bin/env python3
"""Training, validation and test sets of the three corpora; no speaker is in two of the three.

train                                   all three: LibriSpeech train-*, TED-LIUM train, most of VoxForge
valid                                   what selects the epoch: the three of the next line together
valid_librispeech _tedlium _voxforge    dev-clean and dev-other; dev; a twentieth of the named speakers
test_clean test_other                   of LibriSpeech
test_tedlium test_voxforge              test; another twentieth of the named speakers

LibriSpeech's parts share no reader. Of TED-LIUM's train, talks of people who speak in dev or test are left out.
A VoxForge speaker's set follows from the name alone, so it stays when submissions are added; anonymous submissions
train only, as one person may have made several. Across corpora people cannot be told apart. Utterances longer than
--max_dur are left out of train.

sets.py --local_dir data/local --out data
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from durations import probe_all
from voxforge import ANONYMOUS

from sertoolkit.corpus.data_dir import DataDir, merge
from sertoolkit.corpus.preparation import run_script
from sertoolkit.errors import AudioError, DataError, report_faults
from sertoolkit.storage.atomic import write_text

logger = logging.getLogger("sets")

_PARTS = {
    "librispeech": ("dev-clean", "dev-other", "test-clean", "test-other"),
    "tedlium": ("train", "dev", "test"),
    "voxforge": ("all",),
}
_VOXFORGE_SETS = {0: "valid", 1: "test"}  # by the hash of the name modulo 20; the rest trains


def voxforge_set(speaker: str) -> str:
    """Set of a VoxForge speaker: train, valid or test; users retype their names, so case does not count."""
    speaker = speaker.casefold()
    if speaker.startswith(ANONYMOUS):
        return "train"
    digest = hashlib.sha256(speaker.encode()).hexdigest()
    return _VOXFORGE_SETS.get(int(digest[:8], 16) % 20, "train")


def with_durations(data: DataDir, *, num_jobs: int) -> DataDir:
    """The same with utt2dur, from the headers of the audio.

    Raises:
        DataError: naming every damaged file
    """
    if not data.utt2dur:
        headers = probe_all(data.wav.values(), num_jobs=num_jobs)
        report_faults("audio", [str(h) for h in headers.values() if isinstance(h, AudioError)], DataError)
        data.utt2dur = {utt_id: headers[path].duration for utt_id, path in data.wav.items()}
    return data


def join(parts: list[DataDir]) -> DataDir:
    """One data dir of several; where some have segments, whole files become segments too."""
    if any(data.segments for data in parts):
        parts = [data if data.segments else _as_segments(data) for data in parts]
    return merge(parts)


def _as_segments(data: DataDir) -> DataDir:
    whole = {utt_id: (utt_id, 0.0, duration) for utt_id, duration in data.utt2dur.items()}
    return dataclasses.replace(data, segments=whole)


def _shared_out(name: str, data: Mapping[str, DataDir]) -> dict[str, list[DataDir]]:
    """Parts of one corpus by set."""
    if name == "librispeech":
        train = [part for part_name, part in data.items() if part_name.startswith("train-")]
        dev = [data["dev-clean"], data["dev-other"]]
        return {
            "train": train, "valid_librispeech": dev,
            "test_clean": [data["test-clean"]], "test_other": [data["test-other"]],
        }  # fmt: skip
    if name == "tedlium":
        held_out = {*data["dev"].utt2spk.values(), *data["test"].utt2spk.values()}
        train = data["train"]
        kept = [utt_id for utt_id, speaker in train.utt2spk.items() if speaker not in held_out]
        logger.info(
            "TED-LIUM: kept %d of %d utterances of train, %d of people who speak in dev or test",
            len(kept), len(train.utt2spk), len(train.utt2spk) - len(kept),
        )  # fmt: skip
        return {"train": [train.subset(kept)], "valid_tedlium": [data["dev"]], "test_tedlium": [data["test"]]}
    whole = data["all"]
    utts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for utt_id, speaker in whole.utt2spk.items():
        utts[voxforge_set(speaker)].append(utt_id)
    return {
        "train": [whole.subset(utts["train"])],
        "valid_voxforge": [whole.subset(utts["valid"])],
        "test_voxforge": [whole.subset(utts["test"])],
    }


def make_sets(local: Mapping[str, Mapping[str, DataDir]], *, max_dur: float) -> dict[str, DataDir]:
    """Share the corpora out.

    Args:
        local: data dirs with durations by corpus and part; librispeech, tedlium, voxforge, or some of them
        max_dur: longest utterance of train, in seconds

    Returns:
        data dir by set

    Raises:
        DataError: naming every part that is absent, every set that is empty, every speaker of two kinds of sets
    """
    unknown = sorted(set(local) - set(_PARTS))
    absent = [
        f"{name}: no data dir {part}"
        for name in local
        for part in _PARTS.get(name, ())
        if part not in local[name]
    ]
    report_faults("corpora", [f"{n!r}: expected {', '.join(_PARTS)}" for n in unknown] + absent, DataError)
    parts: dict[str, list[DataDir]] = {"train": []}
    for name, data in local.items():
        for set_name, found in _shared_out(name, data).items():
            parts.setdefault(set_name, []).extend(found)
    sets = {name: join(found) for name, found in parts.items() if found}
    train = sets.setdefault("train", DataDir())
    kept = [utt_id for utt_id in train.utt2spk if train.utt2dur[utt_id] <= max_dur]
    logger.info(
        "train: kept %d of %d utterances, %d longer than %g s",
        len(kept), len(train.utt2spk), len(train.utt2spk) - len(kept), max_dur,
    )  # fmt: skip
    sets["train"] = train.subset(kept)
    sets["valid"] = join([data for name, data in sets.items() if name.startswith("valid_")])
    _audit(sets)
    return sets


def _audit(sets: Mapping[str, DataDir]) -> None:
    faults = [
        f"{name}: no utterance; is its corpus complete?" for name, data in sets.items() if not data.utt2spk
    ]
    roles: dict[str, set[str]] = {}
    for name, data in sets.items():
        for speaker in set(data.utt2spk.values()):
            roles.setdefault(speaker, set()).add(name.partition("_")[0])
    faults += [f"speaker {s}: in {' and '.join(sorted(r))}" for s, r in sorted(roles.items()) if len(r) > 1]
    report_faults("sets of LibriSpeech, TED-LIUM and VoxForge", faults, DataError)


def table(sets: Mapping[str, DataDir]) -> str:
    """Size of each set, and how many of its different sentences somebody reads in train too.

    Args:
        sets: data dir by set, with ``train``

    Returns:
        lines of tab-separated columns, with a header
    """
    trained = set(sets["train"].text.values())
    rows = ["set\tutterances\thours\tspeakers\tsentences\tin_train"]
    for name, data in sorted(sets.items()):
        hours, speakers, texts = sum(data.utt2dur.values()) / 3600, len(data.spk2utt), set(data.text.values())
        rows.append(
            f"{name}\t{len(data.utt2spk)}\t{hours:.2f}\t{speakers}\t{len(texts)}\t{len(texts & trained)}"
        )
    return "\n".join(rows) + "\n"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--local_dir", type=Path, required=True, help="folders of data dirs by corpus and part"
    )
    parser.add_argument(
        "--corpora", default="librispeech tedlium voxforge", help="which of them (default: %(default)s)"
    )
    parser.add_argument(
        "--max_dur", type=float, default=15.0, help="longest utterance of train, in seconds (default: 15)"
    )
    parser.add_argument("--nj", type=int, default=1, help="threads that look at audio (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="folder for one data dir a set")


def _run(args: argparse.Namespace) -> None:
    local: dict[str, dict[str, DataDir]] = {}
    for corpus in args.corpora.split():
        local[corpus] = {}
        for path in sorted((args.local_dir / corpus).glob("*/utt2spk")):
            data = with_durations(DataDir.read(path.parent), num_jobs=args.nj)
            data.spk2gender = {}  # not every corpus says it, and no stage here needs it
            local[corpus][path.parent.name] = data
    sets = make_sets(local, max_dur=args.max_dur)
    for name, data in sets.items():
        data.write(args.out / name)
    write_text(args.out / "sets.tsv", table(sets))
    print(table(sets), end="")


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
