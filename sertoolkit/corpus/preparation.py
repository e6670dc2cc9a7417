"""What the data preparation scripts of the recipes (``egs/*/*/local``) share."""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sertoolkit.cli import Parser, run_guarded
from sertoolkit.errors import DataError, report_faults

logger = logging.getLogger(__name__)

AUDIO_SUFFIXES = (".flac", ".wav")


def run_script(doc: str, add_arguments: Callable[[argparse.ArgumentParser], None], run: Callable) -> int:
    """Parse the command line of a local script and run it; errors and exit codes are those of ``sertoolkit``.

    Args:
        doc: help text
        add_arguments: declares the options
        run: called with the parsed options

    Returns:
        exit code: 0 done, 1 failed, 2 usage or configuration
    """
    parser = Parser(
        prog=Path(sys.argv[0]).name,
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_arguments(parser)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parsed = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    return run_guarded(run, parsed, parser.prog)


def index_audio(folder: Path) -> dict[str, Path]:
    """Audio files of one folder by stem.

    Some copies of a corpus are stored as FLAC instead of WAV; both are taken. Hidden files, as macOS puts
    beside others (``._name.wav``), are not.

    Args:
        folder: folder with audio files, not searched below

    Returns:
        absolute path by file name without suffix, sorted

    Raises:
        DataError: if the folder is missing, or a stem is there twice
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: expected a folder with audio files; is --corpus_dir the top folder of the corpus?"
        )
    found: dict[str, Path] = {}
    faults = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in AUDIO_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            faults.append(f"{path.name} and {found[path.stem].name}: the same recording twice; remove one")
        found[path.stem] = path.absolute()
    report_faults(str(folder), faults, DataError)
    return found


def log_kept(corpus: str, num_kept: int, dropped: Counter[str]) -> None:
    """Say how much of a corpus is used, and what was dropped and why.

    Args:
        corpus: its name
        num_kept: utterances that are used
        dropped: number of utterances by reason
    """
    logger.info("%s: %s", corpus, kept_of(num_kept, dropped))


def kept_of(num_kept: int, dropped: Counter[str]) -> str:
    """How much is used, and what was dropped and why, in words.

    Args:
        num_kept: utterances that are used
        dropped: number of utterances by reason; reasons of none are left out

    Examples:
        >>> kept_of(2, Counter({"damaged": 1}))
        'kept 2 of 3 utterances, 1 damaged'

    """
    reasons = "".join(f", {count} {reason}" for reason, count in sorted(dropped.items()) if count)
    return f"kept {num_kept} of {num_kept + dropped.total()} utterances{reasons}"
