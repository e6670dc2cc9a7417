"""``sertoolkit doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = """Check this installation and say what mends it.

Looks at versions, GPU, audio formats, plugins, programs and disk space. Lines begin with `ok`, `note` (works,
but something is limited) or `missing` (something will fail; exit code 1), and the latter two say what to do.
Paste the output into a bug report: it holds no names or paths of yours.

example: sertoolkit doctor --all"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument(
        "--all", action="store_true", help="one line a package and plugin, also where all is well"
    )
    parser.add_argument(
        "--dir", type=Path, default=Path(), help="folder whose disk is looked at (default: this one)"
    )


def run(args: argparse.Namespace) -> int:
    """Print findings as they come."""
    from sertoolkit.doctor import examine

    subjects: dict[str, list[str]] = {"ok": [], "note": [], "missing": []}
    brief = (
        "sertoolkit",
        "python",
        "torch",
        "gpu",
        "cpu",
        "compiled steps",
        "audio",
        "espeak-ng",
        "opensmile",
        "disk",
    )
    for finding in examine(args.dir):
        subjects[finding.state].append(finding.subject)
        if finding.state != "ok" or args.all or finding.subject in brief:
            print(f"{finding.state:<8} {finding.subject:<22} {finding.found}", flush=True)
        if finding.remedy:
            print(f"{'':<8} {'':<22} -> {finding.remedy}")
    print(f"\n{_verdict(subjects['missing'])}")
    if subjects["note"]:
        print(f"limited, see the notes: {', '.join(subjects['note'])}")
    return 1 if subjects["missing"] else 0


def _verdict(missing: list[str]) -> str:
    if not missing:
        return "all is there"
    count = "1 thing is" if len(missing) == 1 else f"{len(missing)} things are"
    return f"{count} missing: {', '.join(missing)}; the lines above say what to do"
