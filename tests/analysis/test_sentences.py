"""Results by sentence: what is said in training too, what is not, what is scripted."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertoolkit.analysis.sentences import _kinds, sentence_rows
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.scoring.members import read_members


def test_seen_and_unseen_sentences_are_scored_apart(trained: Path, resolved: ResolvedProtocol) -> None:
    members = read_members(trained, resolved, systems=["mp-2"])
    everyone = sorted(resolved.folds["fold-01"].truth)
    # angry utterances share one sentence, sad ones have their own each: nobody else says them
    text = {utt_id: "Same" if "anger" in utt_id else utt_id for utt_id in everyone}

    seen, unseen = sentence_rows(members, resolved, text)

    assert (seen["said"], seen["num_utts"]) == ("seen", 12)
    assert seen["accuracy"] == pytest.approx(
        (9 / 12 + 7 / 12) / 2
    )  # three angry ones wrong in run 1, five in run 2
    assert (unseen["said"], unseen["num_utts"]) == ("unseen", 6)
    assert unseen["accuracy"] == 1  # the sad ones are right


def test_ids_of_iemocap_tell_what_is_scripted(resolved: ResolvedProtocol) -> None:
    class Fold:
        train = ()
        test = (
            "Ses01F-Ses01F_impro01_F000",
            "Ses01F-Ses01F_script01_1_F000",
            "Ses01F-Ses01F_script02_2_F001",
        )

    text = dict.fromkeys(Fold.test[:2], "Well, well.") | {Fold.test[2]: "[LAUGHTER]"}
    kinds = {said: mine.tolist() for said, mine in _kinds(Fold(), text)}

    assert kinds["improvised"] == [True, False, False]
    assert kinds["scripted"] == [False, True, True]
    assert kinds["unseen"] == [True, True, False]  # the last has no sentence
    assert "seen" not in kinds
