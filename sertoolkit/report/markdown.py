"""RESULTS.md: the table with everything that one must know to believe or repeat it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sertoolkit.analysis.figures import FigureNote
from sertoolkit.report.facts import Facts, Table, Verdicts


def compose_results(facts: Facts, exp: Path, *, out: Path) -> str:
    """Compose the report.

    Args:
        facts: what it tells
        exp: folder of the experiment, with the figures
        out: where the report will lie; links to figures are relative to it

    Returns:
        Markdown text

    """
    sections = [
        f"# {facts.title}",
        "",
        facts.summary,
        "",
        *([f"**Partial:** {facts.partial}", ""] if facts.partial else []),
        *table_lines(facts.scores),
        *(f"- {note}" for note in facts.notes),
        "",
        *table_lines(facts.means),
        *table_lines(facts.pooled),
        *(table_lines(facts.recognition) if facts.recognition else []),
        *(_verdicts(facts.verdicts) if facts.verdicts else []),
        "## Protocol",
        "",
        *(line for text in facts.protocol for line in (text, "")),
        *table_lines(facts.folds),
        *(_figures(facts.figures, exp / "analysis", out) if facts.figures else []),
        *_making(facts),
    ]
    return "\n".join(sections).rstrip() + "\n"


def table_lines(table: Table) -> list[str]:
    """A table below its caption, and a blank line."""
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    rows = ["| " + " | ".join(row) + " |" for row in (table.header, rule, *table.rows)]
    return [f"{table.caption}:", "", *rows, ""]


def _verdicts(verdicts: Verdicts) -> list[str]:
    """Differences to the baseline and verdicts on the paper's claims."""
    lines = ["## Tests", ""]
    if verdicts.table.rows:
        lines += table_lines(verdicts.table)
    if verdicts.claims:
        lines += ["Claims of Lakomkin et al. 2017, on these results:", ""]
        for title, sentences in verdicts.claims:
            lines += [f"- {title}", *(f"  - {sentence}" for sentence in sentences)]
        lines.append("")
    return [*lines, *(f"- {note}" for note in verdicts.notes), ""]


def _figures(notes: Sequence[FigureNote], folder: Path, out: Path) -> list[str]:
    lines = ["## Figures", ""]
    for note in notes:
        link = Path(os.path.relpath(folder / note.file, out.parent)).as_posix()
        lines += [f"![{note.alt}]({link})", "", f"{note.title}: {note.caption}", ""]
    return lines


def _making(facts: Facts) -> list[str]:
    """Command, costs, environment, hashes and settings."""
    settings = ["Settings:", "", "```yaml", facts.config, "```"] if facts.config else []
    return [
        "## How it was made",
        "",
        *("```sh", facts.command, "```", ""),
        facts.time,
        "",
        *(table_lines(facts.costs) if facts.costs.rows else []),
        facts.hashes,
        "",
        *table_lines(facts.environment),
        *settings,
    ]
