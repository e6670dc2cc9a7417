"""Systems compared with a baseline, and the paper's claims on one's own results: tests and plain verdicts.

Two families of comparisons, each with Holm's correction of its own: every system against the baseline, and what
the claims ask beyond that. A comparison stands in one family only, so it has one corrected p. Wilcoxon's test
decides; it is the stricter one here, and asks for no normal distribution.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import ConfigError, suggest
from sertoolkit.scoring.claims import BASELINE, CLAIMS, Ahead, Claim, Comparison, Results
from sertoolkit.scoring.emotion import MOST_FREQUENT, RANDOM
from sertoolkit.scoring.significance import ALPHA, draw_folds, holm, interval, paired_tests
from sertoolkit.scoring.table import TITLES, Counts, format_columns, interval_text, stack

SHOWN, OPPOSITE, NOT_SHOWN, IMPOSSIBLE = "shown", "the opposite is shown", "not shown", "cannot be shown"
_WIDTH = 110


def compare_systems(
    counts: Counts, resolved: ResolvedProtocol, *, metric: str = "uar", baseline: str | None = None
) -> dict[str, Any]:
    """Test every system against the baseline, and each of the paper's claims whose systems are there.

    Args:
        counts: of :func:`sertoolkit.scoring.table.count_members`
        resolved: the protocol
        metric: what systems are compared by, chosen before looking
        baseline: a system; ``baseline-96`` by default, where it is there

    Returns:
        ``metric``, ``baseline`` (None where there is none), ``num_folds``, ``test_train_ratio``,
        ``against_baseline`` (records of comparisons, see :func:`_record`), ``further`` (records of what the
        claims ask beyond), ``claims`` (``text``, ``verdict``, ``comparisons``: their titles)

    Raises:
        ConfigError: if there is no such baseline

    """
    systems = [name for name in counts if name not in (MOST_FREQUENT, RANDOM)]
    if baseline is None:
        baseline = BASELINE if BASELINE in systems else None
    elif baseline not in systems:
        raise ConfigError(
            f"--baseline {baseline}: not among the systems {', '.join(systems)}{suggest(baseline, systems)}"
        )
    results = Results(
        counts={name: stack(counts[name]) for name in systems},
        classes=resolved.protocol.classes,
        metric=metric,
    )
    folds = [resolved.folds[name] for name in counts[systems[0]]]
    ratio = float(np.mean([len(fold.test) / len(fold.train) for fold in folds]))
    claims = {claim: [c for c in _asked(claim, metric) if _can_be_made(c, results)] for claim in CLAIMS}
    claims = {claim: comparisons for claim, comparisons in claims.items() if comparisons}
    against: list[Comparison] = [Ahead(name, baseline) for name in systems if baseline and name != baseline]
    asked = dict.fromkeys(comparison for comparisons in claims.values() for comparison in comparisons)
    families = [against, [comparison for comparison in asked if comparison not in against]]
    records = [_test_family(family, results, ratio) for family in families]
    verdicts = {record["title"]: record["verdict"] for family in records for record in family}
    return {
        "metric": metric,
        "baseline": baseline,
        "num_folds": len(folds),
        "test_train_ratio": ratio,
        "against_baseline": records[0],
        "further": records[1],
        "claims": [
            {
                "text": claim.text,
                "verdict": _verdict_of_claim([verdicts[c.title] for c in found], len(claim.comparisons)),
                "comparisons": [comparison.title for comparison in found],
            }
            for claim, found in claims.items()
        ],
    }


def _asked(claim: Claim, metric: str) -> list[Comparison]:
    """Its comparisons; one by the metric of the systems is that with the baseline and not another one beside it."""
    return [
        replace(c, metric=None) if isinstance(c, Ahead) and c.metric == metric else c
        for c in claim.comparisons
    ]


def _can_be_made(comparison: Comparison, results: Results) -> bool:
    """Whether its systems are there, and at least one test set holds what it asks for."""
    return comparison.fits(results) and bool(_known(*comparison.values(results)).any())


def _known(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Folds that have both values (F,); a test set that lacks a class says nothing about its confusions."""
    return np.isfinite(first - second).all(axis=0)


def _test_family(family: Sequence[Comparison], results: Results, ratio: float) -> list[dict[str, Any]]:
    records = [_record(comparison, results, ratio) for comparison in family]
    wilcoxon = holm([record["wilcoxon_p"] for record in records])
    smallest = holm([record["smallest_p"] for record in records])
    ttest = holm([1.0 if record["ttest_p"] is None else record["ttest_p"] for record in records])
    for comparison, record, *corrected in zip(family, records, wilcoxon, smallest, ttest, strict=True):
        record["wilcoxon_holm"], record["smallest_holm"], record["ttest_holm"] = corrected
        record["verdict"] = _verdict(record, has_opposite=comparison.has_opposite)
    return records


def _record(comparison: Comparison, results: Results, ratio: float) -> dict[str, Any]:
    """One comparison before Holm's correction.

    Returns:
        ``title``, ``system``, ``sentence``, ``difference`` (of what ``unit`` names) and its ``interval``,
        ``num_folds`` that have both values, ``num_better``, and the p-values of
        :class:`sertoolkit.scoring.significance.PairedTests`

    """
    first, second = comparison.values(results)
    known = _known(first, second)
    first, second = first[:, known], second[:, known]
    difference, num_folds = first - second, int(known.sum())
    of_folds = difference.mean(axis=0)
    tests = paired_tests(difference, test_train_ratio=ratio)
    return {
        "title": comparison.title,
        "system": comparison.system,
        "sentence": comparison.sentence(float(first.mean()), float(second.mean())),
        "difference": float(of_folds.mean()),
        "unit": comparison.unit(results),
        "interval": interval(draw_folds(num_folds) @ of_folds / num_folds, num_folds),
        "num_folds": num_folds,
        "num_better": int((of_folds.round(12) > 0).sum()),
        "wilcoxon_p": tests.wilcoxon_p,
        "smallest_p": tests.smallest_p,
        "ttest_p": tests.ttest_p,
    }


def _verdict(record: Mapping[str, Any], *, has_opposite: bool) -> str:
    if record["wilcoxon_holm"] <= ALPHA:
        return SHOWN if record["difference"] > 0 else OPPOSITE if has_opposite else NOT_SHOWN
    return IMPOSSIBLE if record["smallest_holm"] > ALPHA else NOT_SHOWN


def _verdict_of_claim(verdicts: Sequence[str], num_asked: int) -> str:
    """All comparisons of a claim in one phrase."""
    shown = verdicts.count(SHOWN)
    if OPPOSITE in verdicts:
        text = "contradicted"
    elif shown == len(verdicts):
        text = SHOWN
    elif shown:
        text = f"shown for {shown} of {len(verdicts)} comparisons"
    else:
        text = IMPOSSIBLE if set(verdicts) == {IMPOSSIBLE} else NOT_SHOWN
    if len(verdicts) < num_asked:
        text += f" ({len(verdicts)} of its {num_asked} comparisons can be made here)"
    return text


def verdict_rows(tests: Mapping[str, Any]) -> list[list[str]]:
    """Header and rows of the systems against the baseline, as text.

    Args:
        tests: of :func:`compare_systems`

    """
    header = [
        "system",
        "difference",
        "95 % interval",
        "better in",
        "Wilcoxon p",
        "Holm",
        "t-test p",
        "Holm",
        "verdict",
    ]
    rows = [
        [
            record["system"],
            f"{record['difference']:+.3f}",
            interval_text(record["interval"]),
            f"{record['num_better']} of {record['num_folds']}",
            _p(record["wilcoxon_p"]),
            _p(record["wilcoxon_holm"]),
            _p(record["ttest_p"]),
            _p(record["ttest_holm"]),
            {SHOWN: "better", OPPOSITE: "worse", IMPOSSIBLE: _impossible(record)}.get(
                record["verdict"], record["verdict"]
            ),
        ]
        for record in tests["against_baseline"]
    ]
    return [header, *rows]


def claim_lines(tests: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each claim with its verdict, and one sentence a comparison.

    Args:
        tests: of :func:`compare_systems`

    """
    records = {record["title"]: record for name in ("against_baseline", "further") for record in tests[name]}
    return [
        (
            f"{claim['text']}: {claim['verdict']}",
            [_sentence(records[title]) for title in claim["comparisons"]],
        )
        for claim in tests["claims"]
    ]


def verdict_notes(tests: Mapping[str, Any]) -> list[str]:
    """What was tested, and how."""
    sizes, folds = [len(tests["against_baseline"]), len(tests["further"])], tests["num_folds"]
    notes = [
        f"Systems are compared by {TITLES[tests['metric']]}, chosen in advance; a claim of the paper by what it names:"
        " accuracy (its U-Acc), macro F1 for its F1; its W-Acc is open. Wilcoxon: signed-rank test over"
        " folds, seeds averaged first, two-sided; it decides. t-test: corrected resampled t-test over folds x runs"
        f" (Nadeau and Bengio 2003), a test set having {tests['test_train_ratio']:.3f} of the utterances of its"
        " training set.",
        f"Holm: corrected within a family (Holm 1979): {sizes[0]} comparisons with the baseline, {sizes[1]} more that"
        f" the claims ask for. Shown (better, worse): corrected p of Wilcoxon's test at most {ALPHA}. Not shown is not"
        " refuted.",
        f"Cannot be shown: even if all folds agreed, the corrected p could not reach {ALPHA}. Uncorrected, Wilcoxon's p"
        f" over {_folds(folds)} is never below {_p(min(1.0, 2.0 ** (1 - folds)))}. More folds are needed: other test"
        " speakers, or each tested alone.",
    ]
    if not any(r["verdict"] == IMPOSSIBLE for r in (*tests["against_baseline"], *tests["further"])):
        notes.pop()
    return notes


def format_tests(tests: Mapping[str, Any]) -> str:
    """Tests, claims and notes for the screen."""
    lines = []
    if tests["against_baseline"]:
        lines += [
            f"Against {tests['baseline']}, by {TITLES[tests['metric']]}:",
            "",
            format_columns(verdict_rows(tests)),
            "",
        ]
    if tests["claims"]:
        lines += ["Claims of Lakomkin et al. 2017, on these results:", ""]
    for title, sentences in claim_lines(tests):
        lines.append(textwrap.fill(title, _WIDTH, initial_indent="- ", subsequent_indent="  "))
        lines += [
            textwrap.fill(sentence, _WIDTH, initial_indent="    ", subsequent_indent="    ")
            for sentence in sentences
        ]
    return (
        "\n".join([*lines, "", *(textwrap.fill(note, _WIDTH) for note in verdict_notes(tests))])
        if lines
        else ""
    )


def _sentence(record: Mapping[str, Any]) -> str:
    limits = f" {interval_text(record['interval'])}" if record["interval"] else ""
    text = f"{record['sentence']} ({record['difference']:+.3f} {record['unit']}{limits})"
    if record["verdict"] == IMPOSSIBLE:
        return f"{text}: {_impossible(record)}"
    return f"{text}, Holm-corrected p = {_p(record['wilcoxon_holm'])}: {record['verdict']}"


def _impossible(record: Mapping[str, Any]) -> str:
    return (
        f"{IMPOSSIBLE} by {_folds(record['num_folds'])} (corrected p at least {_p(record['smallest_holm'])})"
    )


def _folds(count: int) -> str:
    return f"{count} fold" if count == 1 else f"{count} folds"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"
