"""``sertoolkit stage``."""

from __future__ import annotations

import argparse
import sys

HELP = """Bookkeeping of recipe stages; tools/stages.sh calls it with a plan of all stages on stdin.

  ... | sertoolkit stage status                  which stages are up to date, and why not
  ... | sertoolkit stage start --name features   take the stamp away, note what the stage reads
  ... | sertoolkit stage finish --name features  write the stamp

`status` and `finish` print `name <tab> done|stale|open <tab> reason` for every stage. A stage is done when
its options, the files that it read and the files that it made are what its stamp says; content counts, not
time. Recipes show this by --status.

example: egs/mini/ser/run.sh --status"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("action", choices=("status", "start", "finish"))
    parser.add_argument("--name", help="stage to start or finish")


def run(args: argparse.Namespace) -> None:
    """Do it and print the state of all stages."""
    from sertoolkit.errors import ConfigError, suggest
    from sertoolkit.stages import Stamps, read_plan

    stages = read_plan(sys.stdin.buffer.read())
    names = [stage.name for stage in stages]
    stamps = Stamps(stages)
    if args.action != "status":
        if args.name not in names:
            raise ConfigError(f"--name {args.name}: no stage of the plan{suggest(args.name or '', names)}")
        (stamps.start if args.action == "start" else stamps.finish)(args.name)
    if args.action == "start":
        return  # the states of the others are as they were
    for name in names:
        print(name, *stamps.state(name), sep="\t")
