"""RESULTS.md: the table with everything that one must know to believe or repeat it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit.analysis.figures import read_notes
from sertoolkit.config import dump_yaml, load_yaml
from sertoolkit.corpus.protocol import ResolvedProtocol, in_words
from sertoolkit.scoring.comparison import claim_lines, verdict_notes, verdict_rows
from sertoolkit.scoring.members import ScoredMember
from sertoolkit.scoring.table import NOTES, TITLES, pooled_rows, table_rows
from sertoolkit.version import environment


def compose_results(
    exp: str | Path,
    resolved: ResolvedProtocol,
    members: Sequence[ScoredMember],
    scores: Mapping[str, Any],
    *,
    out: str | Path,
    title: str,
    command: str,
) -> str:
    """Compose the report.

    Args:
        exp: folder of the experiment; its ``config.yaml``, ``environment.yaml`` and figures are used where
            they exist
        resolved: the protocol
        members: of all systems
        scores: of :func:`sertoolkit.scoring.table.score_members`, with ``tests`` of
            :func:`sertoolkit.scoring.comparison.compare_systems`
        out: where the report will lie; links to figures are relative to it
        title: first line
        command: what made the results, as typed

    Returns:
        Markdown text

    """
    exp = Path(exp)
    sections = [
        f"# {title}",
        _completeness(members, resolved),
        _table(scores, members),
        *(f"- {note}" for note in NOTES),
        "",
        _markdown_table(*_split(pooled_rows(scores))),
        *_tests(scores["tests"]),
        *_protocol(resolved),
        *_figures(exp, Path(out)),
        *_making(exp, [member for member in members if member.meta], command),
    ]
    return "\n".join(sections).rstrip() + "\n"


def _completeness(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> str:
    trained = [member for member in members if member.meta]
    systems, folds = {m.system for m in members}, {m.fold for m in members}
    seeds = " ".join(map(str, sorted({member.seed for member in trained})))
    foreign = sorted({member.system for member in members if not member.meta})
    text = f"\n{len(systems)} systems, {len(folds)} folds"
    if trained:
        text += f", seeds {seeds}: {len(trained)} trainings"
    text += f", under protocol `{resolved.protocol.name}` version {resolved.protocol.version}."
    if foreign:
        text += f" Predictions of other toolkits: {', '.join(foreign)}."
    if len(folds) < len(resolved.folds):
        missing = ", ".join(name for name in resolved.folds if name not in folds)
        text += f"\n\n**PARTIAL: {len(folds)} of {len(resolved.folds)} folds; not here: {missing}.**"
    return text + "\n"


def _tests(tests: Mapping[str, Any]) -> list[str]:
    """Differences to the baseline and verdicts on the paper's claims."""
    claims = [
        line
        for title, sentences in claim_lines(tests)
        for line in (f"- {title}", *(f"  - {sentence}" for sentence in sentences))
    ]
    lines = []
    if tests["against_baseline"]:
        lines = [f"Against {tests['baseline']}, by {TITLES[tests['metric']]}:", ""]
        lines += [_markdown_table(*_split(verdict_rows(tests)))]
    if claims:
        lines += ["Claims of Lakomkin et al. 2017, on these results:", "", *claims, ""]
    return ["## Tests", "", *lines, *(f"- {note}" for note in verdict_notes(tests)), ""] if lines else []


def _table(scores: Mapping[str, Any], members: Sequence[ScoredMember]) -> str:
    """The table of systems, with parameters, epochs and time of each."""
    of_system = defaultdict(list)
    for member in members:
        of_system[member.system].append(member.meta)
    header, *rows = table_rows(scores, metric=scores["tests"]["metric"])
    rows = [[*row, *_costs(of_system.get(row[0], []))] for row in rows]
    return _markdown_table([*header, "trained parameters", "best epoch", "s a training"], rows)


def _split(rows: Sequence[Sequence[str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header and rows."""
    return rows[0], rows[1:]


def _costs(metas: Sequence[Mapping[str, Any]]) -> list[str]:
    def mean(key: str, form: str) -> str:
        values = [meta[key] for meta in metas if isinstance(meta.get(key), (int, float))]
        return format(np.mean(values), form) if values else "-"

    return [mean("num_parameters", ",.0f"), mean("best_epoch", ".1f"), mean("seconds", ".1f")]


def _protocol(resolved: ResolvedProtocol) -> list[str]:
    protocol, counts = resolved.protocol, resolved.counts
    kept, dropped = counts["kept"], counts["dropped"]
    tested = {name: len(fold.test) for name, fold in resolved.folds.items()}
    overlap = sum(counts["sentence_overlap"].values())
    rows = [
        [
            name,
            "+".join(fold.speakers_of("test")),
            "+".join(fold.speakers_of("valid")),
            *(str(sum(fold.truth[u] == c for u in fold.test)) for c in protocol.classes),
            f"{counts['sentence_overlap'][name]} of {tested[name]}",
        ]
        for name, fold in resolved.folds.items()
    ]
    return [
        "## Protocol",
        "",
        f"`{protocol.name}` version {protocol.version}, hash `{resolved.hash}`. {protocol.description}",
        "",
        f"Kept {sum(kept.values())} of {counts['total']} utterances: {in_words(kept)}. Dropped for their label:"
        f" {in_words(dropped) or 'none'}.",
        "No speaker is in two of train, validation and test of a fold; every utterance is tested once."
        f" The sentence of {overlap} of the {sum(tested.values())} test utterances occurs in training too.",
        "",
        _markdown_table(
            [
                "fold",
                "test speaker",
                "validation speaker",
                *protocol.classes,
                "test sentences also in training",
            ],
            rows,
        ),
    ]


def _figures(exp: Path, out: Path) -> list[str]:
    lines = []
    for note in read_notes(exp / "analysis"):
        link = Path(os.path.relpath(exp / "analysis" / note.file, out.parent)).as_posix()
        lines += [f"![{note.alt}]({link})", "", f"{note.title}: {note.caption}", ""]
    return ["## Figures", "", *lines] if lines else []


def _making(exp: Path, members: Sequence[ScoredMember], command: str) -> list[str]:
    """Command, environment, settings and hashes."""
    seconds = sum(member.meta.get("seconds") or 0 for member in members)
    stored = exp / "environment.yaml"
    versions = load_yaml(stored) if stored.exists() else environment()
    encoders = sorted({str(value) for value in _hashes(members, "encoder") if value})
    data = sorted({str(value) for value in _hashes(members, "data") if value})
    lines = [
        "## How it was made",
        "",
        "```sh",
        command,
        "```",
        "",
        f"Training took {seconds / 60:.1f} min in all (sum over trainings).",
        f"Hash of the frozen encoder: {_codes(encoders)}. Hashes of the features: {_codes(data)}.",
        "",
        _markdown_table(["environment", ""], [[name, str(value)] for name, value in versions.items()]),
    ]
    if (exp / "config.yaml").exists():
        lines += ["Settings:", "", "```yaml", dump_yaml(load_yaml(exp / "config.yaml")).rstrip(), "```"]
    return lines


def _hashes(members: Iterable[ScoredMember], name: str) -> Iterable[Any]:
    return (member.meta["hashes"].get(name) for member in members)


def _codes(values: Sequence[str]) -> str:
    return ", ".join(f"`{value}`" for value in values) or "none"


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"
