"""What a report says of systems that read words, or learn transcripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.report.facts import collect_facts
from sertoolkit.scoring.members import read_members
from sertoolkit.scoring.table import score_members
from sertoolkit.storage.atomic import write_yaml


def test_systems_that_may_know_the_sentence_are_named(
    exp: Path, add_member: Callable[..., Path], resolved: ResolvedProtocol, caplog: pytest.LogCaptureFixture
) -> None:
    heads = {"mp-2": "mean_pool", "words-2": "words", "heard-2": "words_progressive", "joint-2": "joint"}
    heads |= {"unfreeze-2": "unfreeze", "own-2": "my_own_head"}
    for system in heads:
        for fold in resolved.folds:
            add_member(system, fold, 1)

    def text_of(*systems: str) -> str:
        write_yaml(exp / "config.yaml", {"systems": {name: {"head": head} for name, head in heads.items()}})
        members = read_members(exp, resolved, systems=list(systems))
        scores = score_members(members, resolved)
        return " ".join(collect_facts(exp, resolved, members, scores, title="", command="").protocol)

    assert "heard-2, words-2 read the words" in text_of("heard-2", "mp-2", "words-2")
    learner = "joint-2 train on the transcripts of the training set: where a test sentence"
    both = text_of("joint-2", "mp-2", "words-2")
    assert "words-2 read the words that the recogniser hears; " + learner in both
    assert "they may know the sentence" in text_of("joint-2") and "read the words" not in text_of("joint-2")
    assert "know the sentence" not in text_of("mp-2", "unfreeze-2")
    assert "--plugin" not in caplog.text
    assert "know the sentence" not in text_of("own-2")
    assert "own-2: own heads" in caplog.text and "--plugin" in caplog.text
