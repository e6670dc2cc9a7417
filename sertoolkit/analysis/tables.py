"""Results of an analysis as text that a person and any program can read."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any


def rows_tsv(rows: Sequence[Mapping[str, Any]]) -> str:
    r"""Rows as TSV with a header; numbers have six digits, NaN gives an empty cell.

    Args:
        rows: at least one; all have the same keys in the same order

    Examples:
        >>> rows_tsv([{"system": "mp-2", "uar": 2 / 3, "sd": float("nan")}]).splitlines()
        ['system\tuar\tsd', 'mp-2\t0.666667\t']

    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6g}"
