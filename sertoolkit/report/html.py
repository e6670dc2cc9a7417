"""One HTML file with everything about an experiment: scores, verdicts, figures, errors, protocol, making.

It refers to nothing outside but recordings on the reader's own disk. Values are escaped by Jinja; nothing is
marked as safe.
"""

from __future__ import annotations

import base64
import csv
import os
import struct
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from sertoolkit.analysis.figures import read_notes
from sertoolkit.config import dump_yaml, load_yaml
from sertoolkit.corpus.protocol import ResolvedProtocol, in_words
from sertoolkit.scoring.comparison import claim_lines, verdict_notes, verdict_rows
from sertoolkit.scoring.members import ScoredMember
from sertoolkit.scoring.table import NOTES, TITLES, pooled_rows, table_rows
from sertoolkit.version import environment

_TEMPLATE = "report.html.j2"
_SCALE = 0.7  # of a pixel of a figure: letters then have the size of the text
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
"""header and rows"""


def compose_html(
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
        exp: folder of the experiment; its ``config.yaml``, ``environment.yaml`` and ``analysis`` are used where
            they exist
        resolved: the protocol
        members: of all systems
        scores: of :func:`sertoolkit.scoring.table.score_members`; with ``tests``, verdicts are shown
        out: where the report will lie; recordings are referred to from there
        title: of the page
        command: what made the results, as typed

    Returns:
        HTML text

    """
    import jinja2

    folder = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    engine = jinja2.Environment(
        loader=folder, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    exp = Path(exp)
    tests = scores.get("tests")
    header, *rows = table_rows(scores, metric=tests["metric"]) if tests else table_rows(scores)
    pooled_header, *pooled = pooled_rows(scores)
    return engine.get_template(_TEMPLATE).render(
        title=title,
        summary=_summary(members, resolved),
        partial=_partial(members, resolved),
        scores=(header, rows),
        pooled=(pooled_header, pooled),
        notes=NOTES,
        verdicts=_verdicts(tests),
        figures=_figures(exp / "analysis"),
        mistakes=_mistakes(exp / "analysis" / "mistakes.tsv", Path(out)),
        protocol={"texts": _audit(resolved), "folds": _folds(resolved)},
        command=command,
        times={"text": _total_time(members), "rows": _costs(members)},
        environment=_environment(exp),
        hashes=_hashes(members, resolved),
        config=dump_yaml(load_yaml(exp / "config.yaml")) if (exp / "config.yaml").exists() else "",
    )


def _summary(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> str:
    trained = [member for member in members if member.meta]
    systems, folds = {member.system for member in members}, {member.fold for member in members}
    seeds = " ".join(map(str, sorted({member.seed for member in trained})))
    foreign = sorted({member.system for member in members if not member.meta})
    return (
        f"{len(systems)} systems, {len(folds)} of {len(resolved.folds)} folds"
        + (f", seeds {seeds}: {len(trained)} trainings" if trained else "")
        + f", under protocol {resolved.protocol.name} version {resolved.protocol.version}."
        + (f" Predictions of other toolkits: {', '.join(foreign)}." if foreign else "")
    )


def _partial(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> str:
    lacking = sorted(set(resolved.folds) - {member.fold for member in members})
    return f"without {', '.join(lacking)} of the protocol." if lacking else ""


def _verdicts(tests: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not tests or not (tests["against_baseline"] or tests["claims"]):
        return None
    header, *rows = verdict_rows(tests)
    return {
        "baseline": tests["baseline"],
        "metric": TITLES[tests["metric"]],
        "table": (header, rows),
        "claims": claim_lines(tests),
        "notes": verdict_notes(tests),
    }


def _figures(folder: Path) -> list[dict[str, Any]]:
    figures = []
    for note in read_notes(folder):
        png = (folder / note.file).read_bytes()
        (num_pixels,) = struct.unpack_from(">I", png, 16)  # of the first chunk of a PNG, IHDR
        data = base64.b64encode(png).decode("ascii")
        figures.append(
            {**vars(note), "data": f"data:image/png;base64,{data}", "width": round(_SCALE * num_pixels)}
        )
    return figures


def _mistakes(path: Path, out: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        row["audio"] = _audio(row, out)
        row["posterior"] = f"{float(row['posterior']):.2f}"
        row["others_wrong"] = f"{100 * float(row['others_wrong']):.0f} %" if row["others_wrong"] else ""
    return rows


def _audio(row: Mapping[str, str], out: Path) -> str:
    """Reference to a recording, or the part of it that is the utterance, from where the report lies."""
    if not row["path"]:
        return ""
    place = quote(Path(os.path.relpath(row["path"], out.absolute().parent)).as_posix())
    return f"{place}#t={row['start']},{row['end']}" if row["end"] else place


def _audit(resolved: ResolvedProtocol) -> list[str]:
    protocol, counts = resolved.protocol, resolved.counts
    num_tested = sum(len(fold.test) for fold in resolved.folds.values())
    overlap = sum(counts["sentence_overlap"].values())
    return [
        f"{protocol.name} version {protocol.version}, hash {resolved.hash}. {protocol.description}",
        f"Kept {sum(counts['kept'].values())} of {counts['total']} utterances: {in_words(counts['kept'])}. Dropped for"
        f" their label: {in_words(counts['dropped']) or 'none'}.",
        "Audited when this report was made: no speaker and no utterance is in two of train, validation and test of a"
        " fold, every training set has every class, every utterance is tested once, and every prediction belongs to"
        " the test set of its fold.",
        f"The sentence of {overlap} of the {num_tested} test utterances is spoken in training too.",
    ]


def _folds(resolved: ResolvedProtocol) -> Table:
    classes, overlap = resolved.protocol.classes, resolved.counts["sentence_overlap"]
    header = ["fold", "test speakers", "validation speakers", *classes, "test sentences also in training"]
    rows = [
        [
            name,
            " ".join(fold.speakers_of("test")),
            " ".join(fold.speakers_of("valid")),
            *(str(sum(fold.truth[utt_id] == label for utt_id in fold.test)) for label in classes),
            f"{overlap[name]} of {len(fold.test)}",
        ]
        for name, fold in resolved.folds.items()
    ]
    return header, rows


def _costs(members: Sequence[ScoredMember]) -> Table:
    of_system = defaultdict(list)
    for member in members:
        if member.meta:  # not of another toolkit
            of_system[member.system].append(member.meta)
    forms = {"num_parameters": ",.0f", "best_epoch": ".1f", "epochs": ".1f", "seconds": ".1f"}
    rows = []
    for name, metas in of_system.items():
        cells = [name, str(len(metas))]
        for key, form in forms.items():
            values = [meta[key] for meta in metas if isinstance(meta.get(key), (int, float))]
            cells.append(format(np.mean(values), form) if values else "-")
        rows.append(cells)
    return ["system", "trainings", "trained parameters", "best epoch", "epochs", "seconds"], rows


def _total_time(members: Sequence[ScoredMember]) -> str:
    seconds = sum(member.meta.get("seconds") or 0 for member in members)
    return f"Training took {seconds / 60:.1f} min in all (sum over trainings)."


def _environment(exp: Path) -> list[tuple[str, str]]:
    stored = exp / "environment.yaml"
    versions = load_yaml(stored) if stored.exists() else environment()
    return [(name, str(value)) for name, value in versions.items()]


def _hashes(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> str:
    def of(name: str) -> str:
        return (
            ", ".join(sorted({str(h) for m in members if (h := m.meta.get("hashes", {}).get(name))}))
            or "none"
        )

    return f"Hashes: protocol {resolved.hash}; frozen encoder {of('encoder')}; features {of('data')}."
