"""Results by gender: speaker s0 is a woman, s1 and s2 are men."""

from __future__ import annotations

from pathlib import Path

import pytest

from sertoolkit.analysis.genders import gender_rows
from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import DataError
from sertoolkit.scoring.members import read_members

GENDERS = {"s0": "f", "s1": "m", "s2": "m"}


def test_utterances_of_a_gender_are_scored_together(trained: Path, resolved: ResolvedProtocol) -> None:
    members = read_members(trained, resolved, systems=["mp-2"])

    women, men = gender_rows(members, resolved, GENDERS)

    # four angry and two sad utterances a speaker; the first angry ones are wrong
    assert (women["gender"], women["num_speakers"], women["num_utts"]) == ("f", 1, 6)
    assert women["uar"] == pytest.approx((3 / 4 + 1) / 2)
    assert women["uar_sd_runs"] == 0
    assert (men["num_speakers"], men["num_utts"]) == (2, 12)
    runs = [(6 / 8 + 1) / 2, (4 / 8 + 1) / 2]
    assert men["uar"] == pytest.approx(sum(runs) / 2)
    assert men["uar_sd_runs"] == pytest.approx((runs[0] - runs[1]) / 2**0.5)


def test_every_speaker_without_a_gender_is_named(trained: Path, resolved: ResolvedProtocol) -> None:
    members = read_members(trained, resolved)

    with pytest.raises(DataError, match=r"(?s)speaker s1: no gender.*speaker s2: no gender"):
        gender_rows(members, resolved, {"s0": "f"})
