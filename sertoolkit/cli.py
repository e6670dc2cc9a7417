"""The command ``sertoolkit``: parses and calls, nothing else."""

from __future__ import annotations

import argparse
import importlib
import itertools
import logging
import os
import sys
from collections.abc import Callable, Sequence

from sertoolkit.errors import ConfigError, SertoolkitError, suggest

COMMANDS = {
    "doctor": "check this installation: versions, GPU, audio formats, plugins, disk; what is missing and its remedy",
    "plugins": "list the frontends, encoders and heads that are known",
    "download": "fetch a corpus archive: resumable, checked, safely unpacked",
    "validate-data": "report every fault of a data directory; changes nothing",
    "fix-data": "repair the harmless faults of a data directory, keeping a backup",
    "extract": "compute a frontend's features of a data directory into an ark store",
    "tokens": "make the recogniser's token list from transcripts",
    "train-asr": "train a speech recogniser (CTC)",
    "decode": "write what a recogniser hears in a data directory",
    "score-asr": "character and word error rates",
    "report-asr": "write RESULTS.md of a recogniser",
    "random-encoder": "the same recogniser with fresh random weights, as a control",
    "protocol": "fix classes and leave-one-speaker-out folds, and audit them for leaks",
    "encode": "run a frozen recogniser once over a data directory and store its layers",
    "train-ser": "train emotion systems over folds and seeds",
    "score": "recompute the table of systems from predictions alone",
    "analyse": "confusion matrices and results by speaker, as figures and tables",
    "report": "write RESULTS.md",
    "pack": "put all that inference needs into one file",
    "transcribe": "what a recogniser hears in audio files",
    "predict": "which emotion a packed model hears in audio files",
    "check-recipe": "report every fault of a recipe's settings before it runs (used by the recipes)",
    "stage": "bookkeeping of recipe stages: stamps, status (used by the recipes)",
}


class Parser(argparse.ArgumentParser):
    """Names unknown options, each with its nearest; exits with 2."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None):  # noqa: ANN201
        """As argparse, but unknown options are named before anything that is missing because of them."""
        words = list(sys.argv[1:] if args is None else args)
        known = [name for action in self._actions for name in action.option_strings]
        # what argparse takes for an option: a value has a blank, a sign and digits, or stands behind a plain --
        names = [
            word.partition("=")[0]
            for word in itertools.takewhile(lambda word: word != "--", words)
            if word.startswith("--") and " " not in word
        ]
        unknown = [f"{name!r}{suggest(name, known)}" for name in names if name not in known]
        if unknown:
            self.error(f"unknown option {', '.join(unknown)}")
        return super().parse_args(words, namespace)

    def error(self, message: str) -> None:
        """One line and the way to the help."""
        self.exit(2, f"{self.prog}: {message}\n{self.prog} --help shows all options\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        exit code: 0 done, 1 failed, 2 usage or configuration, 143 stopped by SIGTERM, 130 by Ctrl-C

    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if arguments[0] == "--version":
        from sertoolkit.version import __version__

        print(f"sertoolkit {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        print(
            f"sertoolkit: unknown command {name!r}{suggest(name, COMMANDS)}\n\n{_overview()}", file=sys.stderr
        )
        return 2
    command = importlib.import_module(f"sertoolkit.commands.{name.replace('-', '_')}")
    parser = Parser(
        prog=f"sertoolkit {name}",
        description=command.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        metavar="FILE",
        help="file of your own frontends, encoders or heads",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    try:
        parsed = parser.parse_args(arguments[1:])
    except SystemExit as error:
        return int(error.code or 0)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )

    def run(parsed: argparse.Namespace) -> int | None:
        # check-recipe loads them itself: a wrong file is one fault among others there
        for path in [] if getattr(command, "REPORTS_PLUGINS", False) else parsed.plugin:
            from sertoolkit import registry

            registry.load_plugin(path)
        return command.run(parsed)

    return run_guarded(run, parsed, f"sertoolkit {name}")


def run_guarded(
    run: Callable[[argparse.Namespace], int | None], parsed: argparse.Namespace, name: str
) -> int:
    """Call ``run`` and turn its errors into one line and an exit code.

    Args:
        run: does the work
        parsed: its options, ``debug`` among them
        name: what the user typed, for messages

    Returns:
        exit code

    """
    try:
        return run(parsed) or 0
    except KeyboardInterrupt:
        print(f"{name}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SertoolkitError, OSError) as error:
        if parsed.debug:
            raise
        print(f"{name}: error: {error}", file=sys.stderr)
        if isinstance(error, ConfigError):
            print(f"{name} --help shows what is known", file=sys.stderr)
        return error.exit_code if isinstance(error, SertoolkitError) else 1


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: sertoolkit <command> [options]     sertoolkit <command> --help",
            "",
            "Train a speech recogniser, freeze it, and reuse its layers to hear emotion.",
            "",
            "commands:",
            *rows,
            "",
            "Recipes run these in order: egs/mini/ser/run.sh needs no data and takes minutes.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
