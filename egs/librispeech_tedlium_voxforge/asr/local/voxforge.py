#!/usr/bin/env python3
"""Data dir from the English part of VoxForge.

VoxForge: about 100 h that volunteers read at home, 16 kHz WAV or FLAC, GPL, http://www.voxforge.org.

    VoxForge/<speaker>-<YYYYMMDD>-<xyz>/etc/PROMPTS            ``.../mfc/a0405 IT SEEMED THE ORDAINED ORDER``
    VoxForge/<speaker>-<YYYYMMDD>-<xyz>/wav/a0405.wav          or flac/a0405.flac

Nobody curates these submissions: what has no prompt, no audio or no letters, is damaged, or is not 16 kHz mono
is dropped with a count. Names of speakers may hold "-". Each ``anonymous`` submission counts as a person of its own.
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

from sertoolkit.audio.read import AudioInfo
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.preparation import index_audio, log_kept, run_script
from sertoolkit.errors import AudioError, DataError
from sertoolkit.text.normalise import normalise_english

logger = logging.getLogger("voxforge")

ANONYMOUS = "voxforge_anonymous"
_FOLDER = re.compile(r"(.+)-(\d{8,10}[a-z]*(?:[-_].*)?)")
_SAMPLING_RATE = 16_000  # Hz
_SHOWN = 20  # names in a warning


def read_prompts(path: Path) -> dict[str, str]:
    """Prompt by the name of its recording.

    Args:
        path: file PROMPTS

    Returns:
        text by the last part of the path that stands before it, as it is in the file
    """
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = (line.split(maxsplit=1) for line in text.split("\n"))
    return {
        line[0].replace("\\", "/").rpartition("/")[2]: line[1].strip() for line in lines if len(line) == 2
    }


def _plain(name: str) -> str:
    """A name that may stand in an id before "-", and sorts as the ids do."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _read_folder(folder: Path, data: DataDir, dropped: Counter[str]) -> None:
    match = _FOLDER.fullmatch(folder.name)
    speaker = _plain(match[1])
    if match[1].casefold() == "anonymous":
        speaker = f"anonymous_{_plain(match[2])}"
    speaker = f"voxforge_{speaker}"
    audio: dict[str, Path] = {}
    for kind in ("wav", "flac"):
        if (folder / kind).is_dir():
            audio |= index_audio(folder / kind)
    prompts = read_prompts(folder / "etc" / "PROMPTS") if (folder / "etc" / "PROMPTS").is_file() else {}
    dropped["without audio"] += sum(name not in audio for name in prompts)
    for name, path in audio.items():
        if name not in prompts:
            dropped["without a prompt"] += 1
            continue
        try:
            text = normalise_english(prompts[name])
        except DataError:
            dropped["without words that can be spelled"] += 1
            continue
        utt_id = f"{speaker}-{match[2]}-{name}"
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
        elif header != AudioInfo(header.num_samples, _SAMPLING_RATE, 1):
            dropped["not 16 kHz mono"] += 1
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
        DataError: if there is nothing that can be used
    """
    data, dropped = DataDir(), Counter()
    folders = sorted(p for p in corpus_dir.glob("*") if p.is_dir() and _FOLDER.fullmatch(p.name))
    for folder in folders:
        _read_folder(folder, data, dropped)
    data = _usable(data, dropped, num_jobs)
    if not data.utt2spk:
        raise DataError(
            f"{corpus_dir}: nothing to use in {len(folders)} folders <speaker>-<YYYYMMDD>-<xyz>; expected each to hold"
            " etc/PROMPTS and wav/ or flac/"
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
