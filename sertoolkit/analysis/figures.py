"""What all figures share: one look, and files that appear whole and with the same bytes each time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sertoolkit.storage.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Distinct for colour-blind readers and in grey (Okabe and Ito 2008), in the order of the systems of a figure.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442")


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
