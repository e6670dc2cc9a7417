#!/usr/bin/env python3
"""Data dir from the English part of VoxForge.

VoxForge: about 100 h that volunteers read at home, WAV or FLAC, GPL, http://www.voxforge.org. The publisher has each
submission at 16 kHz, and as it was recorded, often at 48 kHz; both are read, and `extract --resample` makes them alike.

    VoxForge/<speaker>-<YYYYMMDD>-<xyz>/etc/PROMPTS            ``.../mfc/a0405 IT SEEMED THE ORDAINED ORDER``
    VoxForge/<speaker>-<YYYYMMDD>-<xyz>/wav/a0405.wav          or flac/a0405.flac

Nobody curates these submissions: what has no prompt, no audio or no letters, is damaged, below 16 kHz or not mono, or
is there twice is dropped with a count. Names of speakers may hold "-", and are typed anew with each submission, so
their case does not count: ``Tony`` and ``tony`` are one. Each ``anonymous`` submission counts as a person of its own.
Utterance ids are ``voxforge_<speaker>-<date>-<xyz>-<prompt>``.

    voxforge.py --corpus_dir corpora/VoxForge --out data/local/voxforge
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections import Counter
from pathlib import Path

from durations import probe_all

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.preparation import AUDIO_SUFFIXES, kept_of, log_kept, run_script
from sertoolkit.errors import AudioError, DataError
from sertoolkit.text.normalise import normalise_english

logger = logging.getLogger("voxforge")

ANONYMOUS = "voxforge_anonymous"
_FOLDER = re.compile(r"(.+)-(\d{8,10}[a-z]*(?:[-_].*)?)")
_LOWEST_RATE = 16_000  # Hz; what was never recorded cannot be made
_SHOWN = 20  # names in a warning


def read_prompts(path: Path) -> dict[str, str]:
    """Prompt by the name of its recording.

    Args:
        path: file PROMPTS

    Returns:
        text by the last part of the path that stands before it, as it is in the file; empty where two lines
        of a name differ
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    prompts: dict[str, str] = {}
    for line in text.split("\n"):
        path, *words = line.split(maxsplit=1)[:2] or [""]
        if words:
            name, prompt = path.replace("\\", "/").rpartition("/")[2], words[0].strip()
            prompts[name] = prompt if prompts.get(name, prompt) == prompt else ""
    return prompts


def _plain(name: str) -> str:
    """A name that may stand in an id before "-", and sorts as the ids do."""
    return re.sub(r"[^a-z0-9_]", "_", name.casefold())


def _recordings(folder: Path, dropped: Counter[str]) -> dict[str, Path]:
    """Audio files of a submission by stem; of two with one stem the first, of wav/ before flac/."""
    audio: dict[str, Path] = {}
    for path in (path for kind in ("wav", "flac") for path in sorted((folder / kind).glob("*"))):
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in audio:
            dropped["recorded twice"] += 1
        else:
            audio[path.stem] = path.absolute()
    return audio


def _read_folder(folder: Path, data: DataDir, dropped: Counter[str]) -> None:
    match = _FOLDER.fullmatch(folder.name)
    speaker = _plain(match[1])
    if match[1].casefold() == "anonymous":
        speaker = f"anonymous_{_plain(match[2])}"
    speaker = f"voxforge_{speaker}"
    audio = _recordings(folder, dropped)
    prompts = read_prompts(folder / "etc" / "PROMPTS") if (folder / "etc" / "PROMPTS").is_file() else {}
    dropped["without audio"] += sum(name not in audio for name in prompts)
    for name, path in audio.items():
        if name not in prompts:
            dropped["without a prompt"] += 1
            continue
        if not prompts[name]:
            dropped["with two prompts"] += 1
            continue
        try:
            text = normalise_english(prompts[name])
        except DataError:
            dropped["without words that can be spelled"] += 1
            continue
        utt_id = f"{speaker}-{match[2]}-{name}"
        if utt_id in data.wav:  # Tony-20080101-abc beside tony-20080101-abc
            dropped["recorded twice"] += 1
            continue
        data.wav[utt_id], data.utt2spk[utt_id], data.text[utt_id] = str(path), speaker, text


def _usable(data: DataDir, dropped: Counter[str], num_jobs: int) -> DataDir:
    """With durations; without what cannot be used as it is."""
    faults = []
    headers = probe_all(data.wav.values(), num_jobs=num_jobs)
    for utt_id, path in data.wav.items():
        header = headers[path]
        if isinstance(header, AudioError):
            dropped["damaged"] += 1
            faults.append(str(header))
        elif header.num_channels > 1:
            dropped["not mono"] += 1
        elif header.sampling_rate < _LOWEST_RATE:
            dropped["below 16 kHz"] += 1
        else:
            data.utt2dur[utt_id] = header.duration
    if faults:
        more = f"\n  ... and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        logger.warning("damaged recordings:\n  %s%s", "\n  ".join(faults[:_SHOWN]), more)
    return data.subset(data.utt2dur)


def prepare(corpus_dir: Path, *, num_jobs: int = 1) -> DataDir:
    """All submissions that are there.

    Args:
        corpus_dir: folder of the submissions
        num_jobs: threads that look at audio

    Returns:
        data dir with text and utt2dur

    Raises:
        DataError: if there is nothing that can be used, saying why
    """
    data, dropped = DataDir(), Counter()
    folders = sorted(p for p in corpus_dir.glob("*") if p.is_dir() and _FOLDER.fullmatch(p.name))
    for folder in folders:
        _read_folder(folder, data, dropped)
    data = _usable(data, dropped, num_jobs)
    if not data.utt2spk:
        raise DataError(
            f"{corpus_dir}: nothing to use in {len(folders)} folders <speaker>-<YYYYMMDD>-<xyz>"
            f" ({kept_of(0, dropped)}); expected each to hold etc/PROMPTS and wav/ or flac/"
        )
    log_kept("VoxForge", len(data.wav), +dropped)
    return data


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--corpus_dir", type=Path, required=True, help="folder of the submissions")
    parser.add_argument("--nj", type=int, default=1, help="threads that look at audio (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="data dir to write")


def _run(args: argparse.Namespace) -> None:
    prepare(args.corpus_dir, num_jobs=args.nj).write(args.out)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
