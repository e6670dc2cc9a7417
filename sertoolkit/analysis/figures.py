"""What all figures share: one look, files with the same bytes each time, and words for those who read or hear them."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sertoolkit.storage.atomic import write_bytes, write_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Distinct for colour-blind readers and in grey (Okabe and Ito 2008), in the order of the systems of a figure.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")
# Figure 4 of Lakomkin et al. 2017: anger red, sadness blue, neutral cyan, happiness green; the nearest hues of the
# palette, and a marker each for those who tell no hues apart.
_EMOTIONS = {
    "anger": ("#D55E00", "^"),
    "sadness": ("#0072B2", "v"),
    "neutral": ("#56B4E9", "s"),
    "happiness": ("#009E73", "o"),
}

NOTES_FILE = "figures.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FigureNote:
    """What a report says about a figure.

    Attributes:
        file: PNG in the folder of the analysis
        title: a few words
        caption: what is shown and by which rule
        alt: what one who cannot see it must know

    """

    file: str
    title: str
    caption: str
    alt: str


def write_notes(folder: str | Path, notes: Sequence[FigureNote]) -> None:
    """Write what reports say about the figures of a folder, in their order."""
    write_json(Path(folder) / NOTES_FILE, [dataclasses.asdict(note) for note in notes])


def read_notes(folder: str | Path) -> list[FigureNote]:
    """Notes of the figures that are in a folder; none where nothing was analysed."""
    path = Path(folder) / NOTES_FILE
    if not path.exists():
        return []
    notes = [FigureNote(**note) for note in json.loads(path.read_text(encoding="utf-8"))]
    return [note for note in notes if (path.parent / note.file).exists()]


def class_style(name: str, classes: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a class: those of the paper where it has the class, else by its place."""
    place = classes.index(name)
    if set(classes) <= set(_EMOTIONS):
        return _EMOTIONS[name]
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def plain_axes(axis: Any) -> None:
    """Take away the lines that carry nothing."""
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.set_axisbelow(True)
    axis.grid(axis="y", color="0.9")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG, atomically.

    Args:
        figure: made without pyplot, so that no display or global state is needed
        path: ends in .png

    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    # The name and version of the drawing software would make equal figures differ.
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None}, bbox_inches="tight")
    write_bytes(path, buffer.getvalue())
