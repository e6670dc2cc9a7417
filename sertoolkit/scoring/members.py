"""The members of an experiment: finding them, and checking that they belong to the protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import DataError, report_faults, suggest
from sertoolkit.scoring.emotion import numbers_of
from sertoolkit.scoring.predictions import read_predictions

logger = logging.getLogger(__name__)

# The order of Table 1 in Lakomkin et al. 2017; others follow by name.
_FAMILIES = ("baseline", "mp", "rnn", "progressive")


@dataclass(frozen=True, kw_only=True)
class ScoredMember:
    """One training and what it said about its test set."""

    system: str
    fold: str
    seed: int
    predicted: np.ndarray
    """numbers of classes (N,), in the order of the fold's test set"""
    meta: Mapping[str, Any]
    """its ``member.yaml``"""


def read_members(
    exp: str | Path,
    resolved: ResolvedProtocol,
    *,
    systems: Sequence[str] | None = None,
    partial: bool = False,
) -> list[ScoredMember]:
    """Read ``EXP/<system>/<fold>/seed-<n>`` of all systems.

    Args:
        exp: folder of the experiment
        resolved: the protocol that the members must have been trained under
        systems: names, in the order of the table; all that are there by default
        partial: report what there is, though members are missing

    Returns:
        members, ordered by system, fold and seed

    Raises:
        DataError: if there is none; if members are missing (all are named); if one was made under another
            protocol, or its predictions are not those of the fold's test set

    """
    exp = Path(exp)
    present = find_systems(exp)
    unknown = [
        f"system {name}: no folder in {exp}{suggest(name, present)}"
        for name in systems or ()
        if name not in present
    ]
    report_faults("systems to score", unknown, DataError)
    names = list(systems) if systems else present
    if not names:
        raise DataError(f"{exp}: no members <system>/<fold>/seed-<n>; train them first")
    _check_grid(exp, names, list(resolved.folds), partial)
    members, faults = [], []
    for system in names:
        for fold in resolved.folds:
            for seed in _seeds(exp / system / fold):
                try:
                    members.append(
                        _read_member(exp / system / fold / f"seed-{seed}", resolved, system, fold, seed)
                    )
                except (DataError, OSError) as error:
                    faults.append(str(error))
    report_faults(f"members of {exp}", faults, DataError)
    if not members:
        raise DataError(f"{exp}: no finished member under the folds of protocol {resolved.protocol.name}")
    return members


def find_systems(exp: str | Path) -> list[str]:
    """Systems that have a folder of members, in the order of the paper's table."""
    names = {path.parent.parent.name for path in Path(exp).glob("*/*/seed-*")}

    def order(name: str) -> tuple[int, str, int, str]:
        family, _, rest = name.partition("-")
        place = _FAMILIES.index(family) if family in _FAMILIES else len(_FAMILIES)
        return (place, "" if place < len(_FAMILIES) else family, int(rest) if rest.isdecimal() else 0, name)

    return sorted(names, key=order)


def _seeds(directory: Path) -> list[int]:
    """Seeds of finished members; ``member.yaml`` is what a member writes last."""
    names = [path.parent.name.removeprefix("seed-") for path in directory.glob("seed-*/member.yaml")]
    return sorted(int(name) for name in names if name.isdecimal())


def _check_grid(exp: Path, systems: Sequence[str], folds: Sequence[str], partial: bool) -> None:
    found = {(system, fold): set(_seeds(exp / system / fold)) for system in systems for fold in folds}
    seeds = {system: set().union(*(found[system, fold] for fold in folds)) for system in systems}
    missing = [
        f"{system}/{fold}/seed-{seed}"
        for system in systems
        for fold in folds
        for seed in sorted((seeds[system] or {1}) - found[system, fold])
    ]
    if missing and partial:
        logger.warning("%d members are missing: %s", len(missing), ", ".join(missing))
    elif missing:
        report_faults("missing members (train them, or give --partial)", missing, DataError)


def _read_member(
    path: Path, resolved: ResolvedProtocol, system: str, fold_name: str, seed: int
) -> ScoredMember:
    # libyaml reads a thousand of these files in a tenth of the time of the strict reader, and a program wrote
    # them.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        meta = yaml.load((path / "member.yaml").read_bytes(), Loader=loader)
    except yaml.YAMLError as error:
        raise DataError(
            f"{path / 'member.yaml'}: damaged; remove the folder and train the member again"
        ) from error
    hashes = meta.get("hashes") if isinstance(meta, dict) else None
    found = hashes.get("protocol") if isinstance(hashes, dict) else None
    if found != resolved.hash:
        raise DataError(
            f"{path / 'member.yaml'}: made under protocol {found}, not {resolved.hash};"
            " score it with its own protocol or train it anew"
        )
    fold, classes = resolved.folds[fold_name], resolved.protocol.classes
    predictions = read_predictions(path / "predictions.test.tsv", classes)
    predicted = dict(zip(predictions.utt_ids, predictions.predicted, strict=True))
    if predicted.keys() != set(fold.test):
        strange = sorted(predicted.keys() ^ set(fold.test))
        raise DataError(
            f"{path / 'predictions.test.tsv'}: {len(predicted)} utterances, the test set of {fold_name} has"
            f" {len(fold.test)}; first of {len(strange)} that differ: {strange[0]}"
        )
    wrong = [u for u, t in zip(predictions.utt_ids, predictions.truth, strict=True) if t != fold.truth[u]]
    if wrong:
        raise DataError(
            f"{path / 'predictions.test.tsv'}: truth of {len(wrong)} utterances differs from the protocol's,"
            f" first {wrong[0]}"
        )
    numbers = numbers_of([predicted[utt_id] for utt_id in fold.test], classes)
    return ScoredMember(system=system, fold=fold_name, seed=seed, predicted=numbers, meta=meta)
