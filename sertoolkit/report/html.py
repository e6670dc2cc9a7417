"""One HTML file with everything about an experiment: scores, verdicts, figures, errors, protocol, making.

It can be passed on: it refers to nothing outside and names no file, unless players are asked for. Values are escaped
by Jinja; nothing is marked as safe.
"""

from __future__ import annotations

import base64
import csv
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sertoolkit.analysis.figures import FigureNote
from sertoolkit.report.facts import Facts

if TYPE_CHECKING:
    from sertoolkit.corpus.data_dir import DataDir

_TEMPLATE = "report.html.j2"
_SCALE = 0.7  # of a pixel of a figure: letters then have the size of the text


def compose_html(facts: Facts, exp: Path, *, out: Path, players: DataDir | None = None) -> str:
    """Compose the report.

    Args:
        facts: what it tells
        exp: folder of the experiment; figures and mistakes are taken from its ``analysis``, where it exists
        out: where the report will lie
        players: knows where recordings lie, which the report then plays, by paths relative to ``out``; without it
            there are no players and no paths

    Returns:
        HTML text

    Raises:
        DataError: if the data dir lacks a mistaken utterance

    """
    import jinja2

    folder = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    engine = jinja2.Environment(
        loader=folder, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    mistakes = _mistakes(exp / "analysis" / "mistakes.tsv")
    if players:
        for row in mistakes:
            row["audio"] = _audio(players, row["utt_id"], out)
    return engine.get_template(_TEMPLATE).render(
        facts=facts, figures=_figures(facts.figures, exp / "analysis"), mistakes=mistakes
    )


def _figures(notes: Sequence[FigureNote], folder: Path) -> list[dict[str, Any]]:
    figures = []
    for note in notes:
        png = (folder / note.file).read_bytes()
        (num_pixels,) = struct.unpack_from(">I", png, 16)  # of the first chunk of a PNG, IHDR
        data = base64.b64encode(png).decode("ascii")
        figures.append(
            {**vars(note), "data": f"data:image/png;base64,{data}", "width": round(_SCALE * num_pixels)}
        )
    return figures


def _mistakes(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        row["audio"] = ""
        row["posterior"] = f"{float(row['posterior']):.2f}"
        row["others_wrong"] = f"{100 * float(row['others_wrong']):.0f} %" if row["others_wrong"] else ""
    return rows


def _audio(players: DataDir, utt_id: str, out: Path) -> str:
    """Reference to a recording, or the part of it that is the utterance, from where the report lies."""
    from sertoolkit.errors import DataError

    if utt_id not in players.utt2spk:
        raise DataError(f"no utterance {utt_id} in the data dir of --players; give the one that was analysed")
    path, start, end = players.audio(utt_id)
    place = quote(Path(os.path.relpath(path, out.absolute().parent)).as_posix())
    return place if end is None else f"{place}#t={start:g},{end:g}"
