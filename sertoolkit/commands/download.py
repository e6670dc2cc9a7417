"""Command ``download``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """\
Fetch a file, usually the archive of a corpus, and unpack it.

An interrupted download goes on where it stopped. With --sha256 or --size the file is compared with what is
expected; a web page in place of the file is refused. With --extract the archive is unpacked safely into a
folder that appears whole or not at all; nothing is done if that folder is there. The recipes'
local/download.sh call this.

Example:
  sertoolkit download https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2 \\
    --out downloads/LJSpeech-1.1.tar.bz2 --size 2748572632 --extract downloads/LJSpeech-1.1"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("url", help="address of the file")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--sha256", help="expected sum of the file, 64 hexadecimal digits")
    parser.add_argument("--size", type=int, help="expected size in bytes")
    parser.add_argument("--extract", type=Path, metavar="DIR", help="unpack the archive into this folder")


def run(args: argparse.Namespace) -> None:
    """Fetch and unpack."""
    from sertoolkit.corpus.download import download, extract_archive

    if args.extract and args.extract.exists():
        print(f"{args.extract} is there already")
        return
    print(download(args.url, args.out, sha256=args.sha256, size=args.size))
    if args.extract:
        print(extract_archive(args.out, args.extract))
