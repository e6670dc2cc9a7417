"""What a report says of systems that read words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.report.facts import collect_facts
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import score_members
from sertoolkit.storage.atomic import write_yaml


def test_systems_that_read_words_are_named_with_the_leak_of_sentences(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol
) -> None:
    heads = {"mp-2": "mean_pool", "words-2": "words", "heard-2": "words_progressive"}
    for system in heads:
        for fold in resolved.folds:
            add_member(system, fold, 1)

    def text_of(*systems: str) -> str:
        write_yaml(exp / "config.yaml", {"systems": {name: {"head": head} for name, head in heads.items()}})
        members = read_members(exp, resolved, systems=list(systems))
        scores = score_members(members, resolved)
        return " ".join(collect_facts(exp, resolved, members, scores, title="", command="").protocol)

    assert "heard-2, words-2 read the words" in text_of("heard-2", "mp-2", "words-2")
    assert "read the words" not in text_of("mp-2")
