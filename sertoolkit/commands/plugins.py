"""Command ``plugins``."""

from __future__ import annotations

import argparse

HELP = """List every known plugin: its kind, its name, and where it comes from.

Own plugins: put a class decorated with @register("head", "my_head") into a file and name the file with --plugin.

example: sertoolkit plugins --plugin local/my_head.py"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""


def run(args: argparse.Namespace) -> None:
    """Print one line a plugin."""
    from sertoolkit import registry

    rows = registry.describe()
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for kind, name, origin in rows:
        print(f"{kind:<{widths[0]}}  {name:<{widths[1]}}  {origin}")
