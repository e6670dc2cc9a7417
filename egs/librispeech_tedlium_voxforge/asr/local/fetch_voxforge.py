#!/usr/bin/env python3
"""Fetch the submissions of VoxForge, thousands of small archives that a web page lists.

Interrupted, it goes on; what is unpacked already is left alone. The publisher states no checksums and offers no
encrypted address, so what arrives cannot be verified; voxforge.py drops what is damaged. An archive that is damaged at
the publisher, or refused, is an error each time, until it is named on a line of OUT/left_out.txt; the error says how.

    fetch_voxforge.py --url http://www.repository.voxforge1.org/... --out downloads/VoxForge
"""

from __future__ import annotations

import argparse
import html.parser
import logging
import shlex
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from sertoolkit.corpus.download import download, extract_archive
from sertoolkit.corpus.preparation import run_script
from sertoolkit.errors import DataError, report_faults

logger = logging.getLogger("fetch_voxforge")

LEFT_OUT = "left_out.txt"
_SUFFIX = ".tgz"
_TIMEOUT = 60  # seconds


class _Links(html.parser.HTMLParser):
    """Names of the archives that a page links to in its own folder."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = urllib.parse.unquote(dict(attrs).get("href") or "")
        if tag == "a" and target.endswith(_SUFFIX) and "/" not in target and not target.startswith("."):
            self.names.add(target)


def list_archives(url: str) -> list[str]:
    """Names of the archives at an address, sorted.

    Raises:
        OSError: if it cannot be reached
        DataError: if the page links to none
    """
    links = _Links()
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        links.feed(response.read().decode("utf-8", errors="replace"))
    if not links.names:
        raise DataError(f"{url}: no link to a *{_SUFFIX}; has the page moved?")
    return sorted(links.names)


def fetch_all(url: str, out: Path) -> None:
    """Fetch and unpack every archive of a page into a folder each, but those named in ``left_out.txt``.

    Raises:
        OSError: if the page cannot be reached
        DataError: naming every archive that could not be fetched or unpacked, and how to go on without those that
            are damaged; the others are there
    """
    faults, lost = [], []
    names = [name for name in list_archives(url) if not (out / name.removesuffix(_SUFFIX)).exists()]
    listed = (out / LEFT_OUT).read_text(encoding="utf-8").split("\n") if (out / LEFT_OUT).exists() else []
    unwanted = [name for name in names if name in {line.strip() for line in listed}]
    if unwanted:
        logger.warning("left out, as %s says: %s", out / LEFT_OUT, " ".join(unwanted))
    names = [name for name in names if name not in unwanted]
    logger.info("%d archives to fetch", len(names))
    for name in names:
        archive = out / "archives" / name
        try:
            download(urllib.parse.urljoin(url, urllib.parse.quote(name)), archive)
        except (OSError, DataError) as error:
            faults.append(str(error))
            cause = error.__cause__
            if isinstance(cause, urllib.error.HTTPError) and 400 <= cause.code < 500:
                lost.append(name)
            continue
        try:
            extract_archive(archive, out / name.removesuffix(_SUFFIX))
        except (OSError, DataError) as error:
            faults.append(str(error))
            if isinstance(error, DataError):
                lost.append(name)
        archive.unlink(missing_ok=True)  # a damaged one is fetched anew
    title = "archives of VoxForge; start it again to fetch them"
    if lost:
        title += (
            f"; {len(lost)} that arrived damaged or are refused, if they stay so, are left out by: printf '%s\\n' "
            f"{shlex.join(lost)} >>{shlex.quote(str(out / LEFT_OUT))}"
        )
    report_faults(title, faults, DataError)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="page that lists the archives, with / at its end")
    parser.add_argument("--out", type=Path, required=True, help="where a folder for each submission is made")


def _run(args: argparse.Namespace) -> None:
    fetch_all(args.url, args.out)


if __name__ == "__main__":
    sys.exit(run_script(__doc__, _add_arguments, _run))
