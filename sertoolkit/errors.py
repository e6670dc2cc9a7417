"""Errors with a name, each also a built-in one, and the exit codes of the command line.

A message says where, what was found, what was expected and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class SertoolkitError(Exception):
    """Base of all errors of the toolkit."""

    exit_code = 1


class ConfigError(SertoolkitError, ValueError):
    """A setting is unknown, has the wrong type or does not fit the others."""

    exit_code = 2


class PluginError(SertoolkitError, LookupError):
    """A plugin is unknown, defined twice, broken, or lacks a package that it needs."""

    exit_code = 2


class DataError(SertoolkitError, ValueError):
    """A data directory, transcript, label or fold is wrong."""


class AudioError(SertoolkitError, ValueError):
    """An audio file cannot be used."""


class ArkError(SertoolkitError, ValueError):
    """An ark store is damaged, incomplete, or was made with other settings."""


class CheckpointError(SertoolkitError, RuntimeError):
    """A checkpoint or bundle is damaged, missing, or belongs to another training."""


class TrainingError(SertoolkitError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite."""


class Stopped(SertoolkitError):  # noqa: N818  being asked to stop is no fault
    """The user or the system asked to stop; what was done so far is saved.

    Args:
        signal_number: 15 for SIGTERM, 2 for an interrupt from the keyboard
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}; start the same command again to go on")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    def __reduce__(self) -> tuple[type, tuple[int]]:
        return type(self), (self.signal_number,)  # it crosses process borders


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest known name as the end of an error message.

    Args:
        name: what was asked for
        known: what exists

    Returns:
        ``"; did you mean 'x'?"``, or an empty string where nothing is near

    Examples:
        >>> suggest("basline", ["baseline", "rnn"])
        "; did you mean 'baseline'?"

    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def report_faults(
    title: str, faults: Sequence[str], error: type[SertoolkitError], *, limit: int = 20
) -> None:
    """Raise one error that names all faults, where there are any.

    Args:
        title: what was checked
        faults: one line a fault
        error: class to raise
        limit: how many faults are written out; the rest is counted

    Raises:
        SertoolkitError: of class ``error``, if ``faults`` is not empty

    """
    if not faults:
        return
    lines = [f"{title}: {len(faults)} fault{'s' if len(faults) != 1 else ''}"]
    lines += [f"  {fault}" for fault in faults[:limit]]
    if len(faults) > limit:
        lines.append(f"  ... and {len(faults) - limit} more")
    raise error("\n".join(lines))
