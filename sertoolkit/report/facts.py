"""What a report tells of an experiment, whatever it is written in."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sertoolkit import registry
from sertoolkit.analysis.figures import FigureNote, read_notes
from sertoolkit.config import dump_yaml, load_yaml
from sertoolkit.corpus.protocol import ResolvedProtocol, in_words
from sertoolkit.scoring.comparison import claim_lines, verdict_notes, verdict_rows
from sertoolkit.scoring.members import ScoredMember
from sertoolkit.scoring.table import NOTES, TITLES, mean_rows, pooled_rows, table_rows
from sertoolkit.scoring.transcripts import CAPTION, HEADER, NOTE, recognition_cells
from sertoolkit.version import environment

logger = logging.getLogger(__name__)

_COSTS = {
    "num_parameters": ("trained parameters", ",.0f"),
    "best_epoch": ("best epoch", ".1f"),
    "epochs": ("epochs", ".1f"),
    "seconds": ("seconds", ".1f"),
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text, and what they are."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """What was tested; without a baseline the table has no rows."""

    table: Table
    claims: Sequence[tuple[str, Sequence[str]]]
    """each with its verdict, and a sentence a comparison"""
    notes: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that reports tell; texts are plain, lists and tables may be empty."""

    title: str
    summary: str
    partial: str
    """which folds lack; empty if none"""
    scores: Table
    means: Table
    """every score, of which ``scores`` has the main ones"""
    pooled: Table
    notes: Sequence[str]
    """on the columns of all three"""
    recognition: Table | None
    """before and after joint training, where a system transcribes; its caption says all"""
    verdicts: Verdicts | None
    figures: Sequence[FigureNote]
    protocol: Sequence[str]
    folds: Table
    command: str
    time: str
    costs: Table
    environment: Table
    hashes: str
    config: str
    """YAML; empty where the experiment has none"""


def collect_facts(
    exp: Path,
    resolved: ResolvedProtocol,
    members: Sequence[ScoredMember],
    scores: Mapping[str, Any],
    *,
    title: str,
    command: str,
) -> Facts:
    """Collect them.

    Args:
        exp: folder of the experiment; its ``config.yaml``, ``environment.yaml`` and ``analysis`` are used where
            they exist
        resolved: the protocol
        members: of all systems
        scores: of :func:`sertoolkit.scoring.table.score_members`; with ``tests`` of
            :func:`sertoolkit.scoring.comparison.compare_systems`, verdicts are told; with ``recognition`` of
            :func:`sertoolkit.scoring.transcripts.recognition_rows`, its table
        title: first line
        command: what made the results, as typed

    """
    tests = scores.get("tests")
    header, *rows = table_rows(scores, metric=tests["metric"]) if tests else table_rows(scores)
    mean_header, *means = mean_rows(scores)
    pooled_header, *pooled = pooled_rows(scores)
    caption = "Means over folds of each system's scores on the test sets"
    mean_caption = (
        "Every score: mean over folds and runs +- sd folds / sd runs, with the 95 % interval of the mean"
    )
    pooled_caption = "Over the utterances of all folds together, with 95 % intervals"
    seconds = sum(member.meta.get("seconds") or 0 for member in members)
    config = exp / "config.yaml"
    return Facts(
        title=title,
        summary=_summary(members, resolved),
        partial=_partial(members, resolved),
        scores=Table(caption=caption, header=header, rows=rows),
        means=Table(caption=mean_caption, header=mean_header, rows=means),
        pooled=Table(caption=pooled_caption, header=pooled_header, rows=pooled),
        notes=NOTES,
        recognition=_recognition(scores.get("recognition")),
        verdicts=_verdicts(tests) if tests else None,
        figures=read_notes(exp / "analysis"),
        protocol=[*_protocol(resolved), *_knowers_of_sentences(members, config)],
        folds=_folds(resolved),
        command=command,
        time=f"Training took {seconds / 60:.1f} min in all (sum over trainings).",
        costs=_costs(members),
        environment=environment_table(exp),
        hashes=_hashes(members, resolved),
        config=dump_yaml(load_yaml(config)).rstrip() if config.exists() else "",
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


def _recognition(rows: Sequence[Mapping[str, Any]] | None) -> Table | None:
    if not rows:
        return None
    return Table(caption=f"{CAPTION} ({NOTE.rstrip('.')})", header=HEADER, rows=recognition_cells(rows))


def _partial(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> str:
    lacking = sorted(set(resolved.folds) - {member.fold for member in members})
    return f"without {', '.join(lacking)} of the protocol." if lacking else ""


def _verdicts(tests: Mapping[str, Any]) -> Verdicts | None:
    if not (tests["against_baseline"] or tests["claims"]):
        return None
    header, *rows = verdict_rows(tests)
    caption = f"Every system against {tests['baseline']}, by {TITLES[tests['metric']]}"
    return Verdicts(
        table=Table(caption=caption, header=header, rows=rows),
        claims=claim_lines(tests),
        notes=verdict_notes(tests),
    )


def _protocol(resolved: ResolvedProtocol) -> list[str]:
    protocol, counts = resolved.protocol, resolved.counts
    num_tested = sum(len(fold.test) for fold in resolved.folds.values())
    overlap = sum(counts["sentence_overlap"].values())
    left_out = counts.get("left_out")  # older protocol folders do not say
    return [
        f"{protocol.name} version {protocol.version}, hash {resolved.hash}. {protocol.description}",
        f"Kept {sum(counts['kept'].values())} of {counts['total']} utterances: {in_words(counts['kept'])}. Dropped for"
        f" their label: {in_words(counts['dropped']) or 'none'}."
        + (f" Left out of the data before these were counted: {left_out}." if left_out else ""),
        "Audited when this report was made: no speaker and no utterance is in two of train, validation and test of a"
        " fold, every training set has every class, every utterance is tested once, and every prediction belongs to"
        " the test set of its fold.",
        f"The sentence of {overlap} of the {num_tested} test utterances is spoken in training too.",
    ]


def _knowers_of_sentences(members: Sequence[ScoredMember], config: Path) -> list[str]:
    """What must be said of systems that read the words which the recogniser hears, or learn what is said."""
    settings = load_yaml(config).get("systems", {}) if config.exists() else {}
    names = dict.fromkeys(member.system for member in members if member.system in settings)
    known = registry.names("head")
    unknown = [name for name in names if settings[name]["head"] not in known]
    if unknown:
        logger.warning(
            "%s: own heads, of which the report cannot say whether they know the words; give --plugin or --ser_config",
            ", ".join(unknown),
        )
    needs = {
        name: registry.get("head", settings[name]["head"]).needs for name in names if name not in unknown
    }
    facts = {
        "words": "read the words that the recogniser hears",
        "text": "train on the transcripts of the training set",
    }
    said = []
    for need, what in facts.items():
        systems = [name for name in needs if need in needs[name]]
        if systems:
            said.append(f"{', '.join(systems)} {what}")
    if not said:
        return []
    return [
        f"{'; '.join(said)}: where a test sentence is spoken in training too, they may know the sentence and not the"
        " emotion. analysis/sentences.tsv scores such sentences apart."
    ]


def _folds(resolved: ResolvedProtocol) -> Table:
    classes, overlap = resolved.protocol.classes, resolved.counts["sentence_overlap"]
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
    return Table(
        caption="Folds: speakers and classes of the test sets",
        header=["fold", "test speakers", "validation speakers", *classes, "test sentences also in training"],
        rows=rows,
    )


def _costs(members: Sequence[ScoredMember]) -> Table:
    of_system = defaultdict(list)
    for member in members:
        if member.meta:  # not of another toolkit
            of_system[member.system].append(member.meta)
    rows = []
    for name, metas in of_system.items():
        cells = [name, str(len(metas))]
        for key, (_, form) in _COSTS.items():
            values = [meta[key] for meta in metas if isinstance(meta.get(key), (int, float))]
            cells.append(format(np.mean(values), form) if values else "-")
        rows.append(cells)
    header = ["system", "trainings", *(name for name, _ in _COSTS.values())]
    return Table(caption="Cost of training, means over trainings", header=header, rows=rows)


def environment_table(exp: Path) -> Table:
    """Versions that an experiment was made with, from its ``environment.yaml``; without one, those of now."""
    stored = exp / "environment.yaml"
    versions = load_yaml(stored) if stored.exists() else environment()
    rows = [(name, str(value)) for name, value in versions.items()]
    return Table(caption="Environment", header=["name", "version"], rows=rows)


def _hashes(members: Sequence[ScoredMember], resolved: ResolvedProtocol) -> str:
    def of(name: str) -> str:
        found = {str(h) for m in members if (h := m.meta.get("hashes", {}).get(name))}
        return ", ".join(sorted(found)) or "none"

    return f"Hashes: protocol {resolved.hash}; frozen encoder {of('encoder')}; features {of('data')}."
