"""Members are found, and refused where they do not belong to the protocol."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.corpus.protocol import ResolvedProtocol
from sertoolkit.errors import DataError
from sertoolkit.scoring.members import find_systems, read_members

FOLDS = ("fold-01", "fold-02", "fold-03")


def test_systems_stand_in_the_order_of_the_paper(tmp_path: Path) -> None:
    names = ["zeta", "rnn-2", "mp-10", "mp-2", "progressive-1", "baseline-128", "baseline-64", "alpha"]
    for name in names:
        (tmp_path / name / "fold-01" / "seed-1").mkdir(parents=True)
    (tmp_path / "protocol" / "folds").mkdir(parents=True)

    assert find_systems(tmp_path) == [
        "baseline-64",
        "baseline-128",
        "mp-2",
        "mp-10",
        "rnn-2",
        "progressive-1",
        "alpha",
        "zeta",
    ]


def test_members_carry_system_fold_seed_and_predictions(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-2", fold, 1, wrong=1)

    members = read_members(exp, resolved)

    assert [(m.system, m.fold, m.seed) for m in members] == [("mp-2", fold, 1) for fold in FOLDS]
    # the first angry utterance is taken for sadness; then three angry and two sad ones are right
    assert members[0].predicted.tolist() == [1, 0, 0, 0, 1, 1]


def test_all_missing_members_are_named(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-1", fold, 1)
    add_member("mp-1", "fold-02", 2)
    unfinished = add_member("mp-2", "fold-01", 1)
    (unfinished / "member.yaml").unlink()

    with pytest.raises(DataError) as caught:
        read_members(exp, resolved)

    for name in ("mp-1/fold-01/seed-2", "mp-1/fold-03/seed-2", "mp-2/fold-01/seed-1", "mp-2/fold-03/seed-1"):
        assert name in str(caught.value)
    assert "5 faults" in str(caught.value)


def test_partial_reads_what_there_is_and_warns(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    add_member("mp-1", "fold-02", 1)

    with caplog.at_level(logging.WARNING):
        members = read_members(exp, resolved, partial=True)

    assert [(m.fold, m.seed) for m in members] == [("fold-02", 1)]
    assert "mp-1/fold-03/seed-1" in caplog.text


def test_systems_can_be_chosen(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-1", fold, 1)
        add_member("mp-2", fold, 1)

    assert {m.system for m in read_members(exp, resolved, systems=["mp-2"])} == {"mp-2"}


def test_unknown_system_gets_the_nearest_name(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    add_member("baseline-96", "fold-01", 1)

    with pytest.raises(DataError, match="did you mean 'baseline-96'"):
        read_members(exp, resolved, systems=["baselin-96"])


def test_empty_experiment_is_an_error(exp: Path, resolved: ResolvedProtocol) -> None:
    with pytest.raises(DataError, match="no members"):
        read_members(exp, resolved)


def test_member_of_another_protocol_is_refused(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-1", fold, 1)
    add_member("mp-1", "fold-02", 1, protocol_hash="0123")

    with pytest.raises(
        DataError, match=f"fold-02/seed-1/member.yaml: made under protocol 0123, not {resolved.hash}"
    ):
        read_members(exp, resolved)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "s1-anger0\tanger",
            "s1-anger0\tsadness",
            "truth of 1 utterances differs from the protocol's, first s1-anger0",
        ),
        ("s1-anger0", "s2-anger0", "first of 2 that differ: s1-anger0"),
    ],
)
def test_predictions_of_another_test_set_are_refused(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path], old: str, new: str, message: str
) -> None:
    for fold in FOLDS:
        folder = add_member("mp-1", fold, 1)
        if fold == "fold-02":
            path = folder / "predictions.test.tsv"
            path.write_text(path.read_text().replace(old, new))

    with pytest.raises(DataError, match=message):
        read_members(exp, resolved)


@pytest.mark.parametrize(
    "content", ["", "- 1", "a: [", "hashes: 3"], ids=["empty", "list", "not yaml", "no hashes"]
)
def test_damaged_member_is_named(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path], content: str
) -> None:
    for fold in FOLDS:
        folder = add_member("mp-1", fold, 1)
    (folder / "member.yaml").write_text(content)

    with pytest.raises(DataError, match=r"fold-03/seed-1/member\.yaml"):
        read_members(exp, resolved)


def test_order_of_the_lines_does_not_matter(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        path = add_member("mp-1", fold, 1, wrong=1) / "predictions.test.tsv"
        header, *lines = path.read_text().splitlines()
        path.write_text("\n".join([header, *reversed(lines)]) + "\n")

    assert read_members(exp, resolved)[0].predicted.tolist() == [1, 0, 0, 0, 1, 1]
