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

    for kind, name, origin in registry.describe():
        print(f"{kind:<9} {name:<18} {origin}")
