"""Predictions: one TSV a member and set, from which alone all scores are computed.

The header is ``utt_id truth predicted`` and the names of the classes, one column of posterior each. Of a file
that another toolkit wrote, the columns ``utt_id`` and ``predicted`` are enough.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sertoolkit.errors import DataError, report_faults, suggest
from sertoolkit.storage.atomic import write_text

_COLUMNS = ["utt_id", "truth", "predicted"]
_MAX_DEVIATION = 1e-3  # of the sum of posteriors from 1: other toolkits print three digits


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one member said about one set; the lists and the rows of ``posteriors`` run in parallel."""

    utt_ids: list[str]
    truth: list[str]
    predicted: list[str]
    posteriors: np.ndarray
    """(N, C), rows sum to 1, columns in the order of ``classes``"""
    classes: tuple[str, ...]


def write_predictions(
    path: str | Path,
    utt_ids: Sequence[str],
    truth: Sequence[str],
    posteriors: np.ndarray,
    classes: Sequence[str],
) -> None:
    """Write predictions; the predicted class is the one with the highest posterior (the first one of equals).

    Args:
        path: file to write, atomically
        utt_ids: N utterances
        truth: their classes
        posteriors: (N, C), in [0, 1]
        classes: names of the columns

    Raises:
        DataError: if the arguments do not fit together, or a posterior is not finite

    """
    posteriors = np.asarray(posteriors)
    if posteriors.shape != (len(utt_ids), len(classes)) or len(truth) != len(utt_ids):
        raise DataError(
            f"{path}: {len(utt_ids)} utterances, {len(truth)} classes of truth, "
            f"posteriors {posteriors.shape}; expected ({len(utt_ids)}, {len(classes)})"
        )
    _check(str(path), list(utt_ids), {"truth": list(truth)}, posteriors, classes)
    lines = ["\t".join([*_COLUMNS, *classes])]
    for utt_id, label, row, best in zip(utt_ids, truth, posteriors, posteriors.argmax(axis=1), strict=True):
        # nine digits hold a float32 exactly
        lines.append("\t".join([utt_id, label, classes[best], *(f"{value:.9g}" for value in row)]))
    write_text(path, "\n".join(lines) + "\n")


def read_predictions(path: str | Path, classes: Sequence[str]) -> Predictions:
    """Read and check predictions.

    Args:
        path: the TSV
        classes: of the protocol; the header must name them in this order

    Raises:
        DataError: naming the file and all that is wrong in it: header, columns, unknown classes, duplicate
            utterances, posteriors that are no distribution
        FileNotFoundError: if there is no such file

    """
    header, _, body = Path(path).read_text(encoding="utf-8").partition("\n")
    expected = [*_COLUMNS, *classes]
    if header.split("\t") != expected:
        raise DataError(f"{path}:1: header {header!r}, expected {' '.join(expected)} (parted by tabs)")
    # Columns of the whole file at once: a table is made of a thousand such files.
    width = len(expected)
    cells = body.replace("\n", "\t").split("\t")
    if cells.pop() != "" or len(cells) % width or body.count("\n") * width != len(cells) or not cells:
        faults = [
            f"{path}:{number}: {line.count(chr(9)) + 1} columns, expected {width}"
            for number, line in enumerate(body.splitlines(), start=2)
            if line.count("\t") != width - 1
        ]
        report_faults("predictions", faults or [f"{path}: empty, or its last line is cut"], DataError)
    utt_ids, truth, predicted = (cells[column::width] for column in range(3))
    try:
        columns = [list(map(float, cells[column::width])) for column in range(3, width)]
    except ValueError as error:
        raise DataError(f"{path}: posteriors: {error}") from error
    posteriors = np.array(columns, dtype=np.float64).T
    _check(str(path), utt_ids, {"truth": truth, "predicted": predicted}, posteriors, classes)
    return Predictions(
        utt_ids=utt_ids, truth=truth, predicted=predicted, posteriors=posteriors, classes=tuple(classes)
    )


def read_answers(
    path: str | Path, classes: Sequence[str], *, labels: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Read what another toolkit predicted.

    Args:
        path: TSV whose header names at least ``utt_id`` and ``predicted``, in any place; other columns are not
            read
        classes: of the protocol
        labels: class by label of the corpus; such labels are taken too

    Returns:
        predicted class by utterance

    Raises:
        DataError: naming every line that is wrong: columns, unknown classes, duplicate utterances
        FileNotFoundError: if there is no such file

    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: {error}; expected a table of UTF-8 text, parted by tabs") from error
    header = rows[0] if rows else []
    if header.count("utt_id") != 1 or header.count("predicted") != 1:
        raise DataError(
            f"{path}:1: header {' '.join(header)!r}, expected the columns utt_id and predicted (parted by tabs)"
        )
    class_of = dict(labels or {}) | {name: name for name in classes}
    others = [name for name in class_of if name not in classes]
    known = ", ".join(classes) + (f" (or label {', '.join(others)})" if others else "")
    answers: dict[str, str] = {}
    faults = []
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            faults.append(f"{path}:{line}: {len(row)} columns, expected {len(header)}")
            continue
        utt_id, label = row[header.index("utt_id")], row[header.index("predicted")]
        if utt_id in answers:
            faults.append(f"{path}:{line}: utterance {utt_id} stands again")
        if label not in class_of:
            faults.append(
                f"{path}:{line}: predicted {label!r} is no class of {known}{suggest(label, list(class_of))}"
            )
        answers[utt_id] = class_of.get(label, label)
    report_faults("predictions", faults, DataError)
    return answers


def _check(
    path: str,
    utt_ids: list[str],
    labels: dict[str, list[str]],
    posteriors: np.ndarray,
    classes: Sequence[str],
) -> None:
    faults = []
    if len(set(utt_ids)) != len(utt_ids):
        faults += [f"{path}: utterance {u} stands {n} times" for u, n in Counter(utt_ids).items() if n > 1]
    for column, values in labels.items():
        faults += [
            f"{path}: {column} {name!r} is no class of {', '.join(classes)}"
            for name in sorted(set(values) - set(classes))
        ]
    with np.errstate(invalid="ignore"):
        # written so that NaN counts as wrong
        good = (posteriors >= 0).all(axis=1) & (np.abs(posteriors.sum(axis=1) - 1) <= _MAX_DEVIATION)
    faults += [
        f"{path}: utterance {utt_ids[row]}: posteriors {posteriors[row].tolist()},"
        " expected numbers from 0 to 1 with sum 1"
        for row in np.flatnonzero(~good)
    ]
    report_faults("predictions", faults, DataError)
