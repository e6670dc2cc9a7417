"""The members of an experiment, and the predictions of other toolkits: found, and checked against the protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import ConfigError, DataError, report_faults, suggest
from sertoolkit.scoring.emotion import numbers_of
from sertoolkit.scoring.predictions import read_answers, read_predictions

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
    """its ``member.yaml``; empty for predictions of another toolkit"""


def read_members(
    exp: str | Path,
    resolved: ResolvedProtocol,
    *,
    systems: Sequence[str] | None = None,
    folds: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[ScoredMember]:
    """Read ``EXP/<system>/<fold>/seed-<n>``: every chosen system with the same folds and the same seeds.

    Args:
        exp: folder of the experiment
        resolved: the protocol that the members must have been trained under
        systems: names, in the order of the table; all that are there by default
        folds: names; all of the protocol by default
        seeds: members of other seeds are left alone; all seeds of the chosen systems and folds by default

    Returns:
        members, ordered by system, fold and seed

    Raises:
        ConfigError: if a fold is unknown
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
    members, faults = [], []
    for system, fold, seed in _list_grid(exp, names, choose_folds(resolved, folds), seeds):
        try:
            members.append(_read_member(exp / system / fold / f"seed-{seed}", resolved, system, fold, seed))
        except (DataError, OSError) as error:
            faults.append(str(error))
    report_faults(f"members of {exp}", faults, DataError)
    return members


def read_foreign(
    files: Sequence[tuple[str, Path]], resolved: ResolvedProtocol, *, folds: Sequence[str] | None = None
) -> list[ScoredMember]:
    """Read predictions that another toolkit made for the test sets of a protocol.

    Args:
        files: name of a system, and a TSV with the columns ``utt_id`` and ``predicted`` for the test sets of
            all folds together; a name that stands n times has n runs. Ids may all lack the leading ``<speaker>-`` that
            data dirs here begin with, if they are unique without it; labels of the corpus stand for their classes
        resolved: the protocol; truth is taken from it, never from a file
        folds: names; all of the protocol by default. Utterances of other folds are left alone

    Returns:
        members, ordered by system, run and fold; a run's number stands for its seed

    Raises:
        ConfigError: if a fold is unknown
        DataError: naming every utterance that is missing, unknown, or stands twice, in all files

    """
    chosen = choose_folds(resolved, folds)
    tested = {utt_id: fold.speakers[utt_id] for fold in resolved.folds.values() for utt_id in fold.test}
    short = {utt_id.removeprefix(f"{speaker}-"): utt_id for utt_id, speaker in tested.items()}
    if len(short) < len(tested):
        short = {}  # they would not say who speaks
    members, faults = [], []
    runs: Counter[str] = Counter()
    for name, path in files:
        runs[name] += 1
        try:
            answers = read_answers(path, resolved.protocol.classes, labels=resolved.protocol.labels)
        except DataError as error:
            faults.append(str(error))
            continue
        if answers.keys().isdisjoint(tested):  # all or none: a mixture may hold an utterance twice
            answers = {short.get(utt_id, utt_id): label for utt_id, label in answers.items()}
        wanted = [utt_id for fold in chosen for utt_id in resolved.folds[fold].test]
        missing = [utt_id for utt_id in wanted if utt_id not in answers]
        strange = [utt_id for utt_id in answers if utt_id not in tested]
        if missing:
            faults.append(f"{path}: {len(missing)} of {len(wanted)} utterances are missing: {_list(missing)}")
        if strange:
            example, speaker = next(iter(tested.items()))
            plain = example.removeprefix(f"{speaker}-")
            faults.append(
                f"{path}: {len(strange)} are in no test set of the protocol: {_list(strange)}; expected ids such as"
                f" {example}" + (f", or all of them such as {plain}" if plain != example and short else "")
            )
        if missing or strange:
            continue
        for fold in chosen:
            labels = [answers[utt_id] for utt_id in resolved.folds[fold].test]
            predicted = numbers_of(labels, resolved.protocol.classes)
            members.append(
                ScoredMember(system=name, fold=fold, seed=runs[name], predicted=predicted, meta={})
            )
    report_faults("predictions of other toolkits", faults, DataError)
    return members


def _list(utt_ids: Sequence[str], limit: int = 100) -> str:
    return " ".join(utt_ids[:limit]) + (
        f" ... and {len(utt_ids) - limit} more" if len(utt_ids) > limit else ""
    )


def choose_folds(resolved: ResolvedProtocol, folds: Sequence[str] | None) -> list[str]:
    """Names of the chosen folds, in the order of the protocol; all by default.

    Raises:
        ConfigError: if one is unknown

    """
    known = list(resolved.folds)
    for fold in folds or ():
        if fold not in known:
            raise ConfigError(f"unknown fold {fold!r}{suggest(fold, known)} (known: {', '.join(known)})")
    return [fold for fold in known if not folds or fold in folds]


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


def _list_grid(
    exp: Path, systems: Sequence[str], folds: Sequence[str], seeds: Sequence[int] | None
) -> list[tuple[str, str, int]]:
    """Systems x folds x seeds; none may be missing, so that all systems are compared on the same trainings."""
    found = {(system, fold): set(_seeds(exp / system / fold)) for system in systems for fold in folds}
    chosen = sorted(set(seeds) if seeds else set().union(*found.values()))
    if not chosen:
        raise DataError(f"{exp}: no finished member of {', '.join(systems)} in {', '.join(folds)}")
    grid = [(system, fold, seed) for system in systems for fold in folds for seed in chosen]
    missing = [
        f"{system}/{fold}/seed-{seed}" for system, fold, seed in grid if seed not in found[system, fold]
    ]
    complete = " ".join(str(seed) for seed in sorted(set.intersection(*found.values())))
    remedy = "train them, or choose --systems, --folds, --seeds that are complete"
    if complete:
        remedy += f", as --seeds '{complete}' is here"
    report_faults(f"missing members of {exp} ({remedy})", missing, DataError)
    return grid


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
