"""Members are found, and refused where they do not belong to the protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sertoolkit.config import from_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import Protocol, ResolvedProtocol, resolve
from sertoolkit.errors import ConfigError, DataError
from sertoolkit.scoring.members import find_systems, read_foreign, read_members

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


def test_all_missing_members_are_named_with_what_is_complete(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-1", fold, 1)
        add_member("mp-2", fold, 1)
    add_member("mp-1", "fold-02", 2)
    unfinished = add_member("mp-2", "fold-01", 2)
    (unfinished / "member.yaml").unlink()

    with pytest.raises(DataError) as caught:
        read_members(exp, resolved)

    names = ("mp-1/fold-01/seed-2", "mp-1/fold-03/seed-2", *(f"mp-2/{fold}/seed-2" for fold in FOLDS))
    assert all(name in str(caught.value) for name in names)
    assert "5 faults" in str(caught.value)
    assert "--seeds '1' is here" in str(caught.value)


def test_members_of_other_seeds_are_left_alone(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-1", fold, 1)
    add_member("mp-1", "fold-02", 2, protocol_hash="0123")  # reading it would be an error

    assert {m.seed for m in read_members(exp, resolved, seeds=[1])} == {1}


def test_seeds_that_are_asked_for_and_missing_are_an_error(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    for fold in FOLDS:
        add_member("mp-1", fold, 1)

    with pytest.raises(DataError, match="mp-1/fold-01/seed-7"):
        read_members(exp, resolved, seeds=[1, 7])


def test_folds_can_be_chosen(exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]) -> None:
    add_member("mp-1", "fold-02", 1)

    assert [m.fold for m in read_members(exp, resolved, folds=["fold-02"])] == ["fold-02"]
    with pytest.raises(DataError, match="mp-1/fold-01/seed-1"):
        read_members(exp, resolved, folds=["fold-01", "fold-02"])


def test_unknown_fold_gets_the_nearest_name(
    exp: Path, resolved: ResolvedProtocol, add_member: Callable[..., Path]
) -> None:
    add_member("mp-1", "fold-02", 1)

    with pytest.raises(ConfigError, match="did you mean 'fold-02'"):
        read_members(exp, resolved, folds=["fold-2"])


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


def write_answers(path: Path, resolved: ResolvedProtocol, label: str | None = None) -> Path:
    """The truth of all test sets as another toolkit's predictions, or one label for all."""
    tested = [(u, fold.truth[u]) for fold in resolved.folds.values() for u in fold.test]
    path.write_text("utt_id\tpredicted\n" + "".join(f"{u}\t{label or truth}\n" for u, truth in tested))
    return path


def test_predictions_of_another_toolkit_are_parted_into_folds_and_runs(
    tmp_path: Path, resolved: ResolvedProtocol
) -> None:
    right = write_answers(tmp_path / "1.tsv", resolved)
    anger = write_answers(tmp_path / "2.tsv", resolved, "anger")

    members = read_foreign([("svm", right), ("svm", anger)], resolved)

    assert [(m.system, m.fold, m.seed) for m in members] == [
        ("svm", fold, run) for run in (1, 2) for fold in FOLDS
    ]
    assert members[1].predicted.tolist() == [0, 0, 0, 0, 1, 1]
    assert members[4].predicted.tolist() == [0] * 6


def test_missing_and_unknown_utterances_of_all_files_are_named_at_once(
    tmp_path: Path, resolved: ResolvedProtocol
) -> None:
    first, second = (write_answers(tmp_path / f"{n}.tsv", resolved) for n in (1, 2))
    first.write_text(first.read_text().replace("s0-anger0\t", "s9-anger0\t"))
    second.write_text(second.read_text().replace("s1-anger0\tanger\ns1-anger1\tanger\n", ""))

    with pytest.raises(DataError) as caught:
        read_foreign([("a", first), ("b", second)], resolved)

    for part in (
        "1.tsv: 1 of 18 utterances are missing: s0-anger0",
        "1.tsv: 1 are in no test set of the protocol: s9-anger0",
        "2.tsv: 2 of 18 utterances are missing: s1-anger0 s1-anger1",
    ):
        assert part in str(caught.value)


def test_predictions_of_a_part_of_the_folds_are_enough_for_it(
    tmp_path: Path, resolved: ResolvedProtocol
) -> None:
    path = write_answers(tmp_path / "1.tsv", resolved)
    path.write_text(
        "\n".join(line for line in path.read_text().splitlines() if not line.startswith("s0-")) + "\n"
    )

    assert [m.fold for m in read_foreign([("svm", path)], resolved, folds=["fold-03"])] == ["fold-03"]


@pytest.fixture
def iemocap() -> ResolvedProtocol:
    """Three speakers of a corpus whose own ids lack the speaker, with raw labels as it has them."""
    utt2emo = {
        f"Ses0{s}F-Ses0{s}M_impro01_F00{n}": label
        for s in (1, 2, 3)
        for n, label in enumerate(("ang", "exc", "hap"))
    }
    data_dir = DataDir(
        wav=dict.fromkeys(utt2emo, "a.wav"), utt2spk={u: u[:6] for u in utt2emo}, utt2emo=utt2emo
    )
    protocol = {"name": "two", "version": 1, "classes": ["anger", "happiness"]}
    labels = {"ang": "anger", "hap": "happiness", "exc": "happiness"}
    return resolve(from_dict(Protocol, protocol | {"labels": labels}), data_dir)


def write_plain(path: Path, resolved: ResolvedProtocol, change: tuple[str, str] = ("", "")) -> Path:
    """Answers by the ids and labels of the corpus: all happy; in some texts one change."""
    tested = [u.split("-", 1)[1] for fold in resolved.folds.values() for u in fold.test]
    text = "utt_id\tpredicted\n" + "".join(f"{u}\t{'exc' if n else 'hap'}\n" for n, u in enumerate(tested))
    assert change[0] in text
    path.write_text(text.replace(*change, 1))
    return path


def test_ids_and_labels_of_the_corpus_itself_are_taken(tmp_path: Path, iemocap: ResolvedProtocol) -> None:
    members = read_foreign([("svm", write_plain(tmp_path / "1.tsv", iemocap))], iemocap)

    assert [m.predicted.tolist() for m in members] == [[1, 1, 1]] * 3


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (  # some with the speaker, some without
            ("\nSes02M", "\nSes02F-Ses02M"),
            (
                "8 of 9 utterances are missing",
                "8 are in no test set",
                "expected ids such as Ses01F-Ses01M_impro01_F000",
            ),
        ),
        (
            ("Ses02M_impro01", "Ses02M_impro09"),
            (
                "1 of 9 utterances are missing: Ses02F-Ses02M_impro01_F000",
                "1 are in no test set of the protocol: Ses02M_impro09_F000",
                "or all of them such as Ses01M_impro01_F000",
            ),
        ),
        (("\texc", "\tfru"), ("'fru' is no class of anger, happiness (or label ang, hap, exc)",)),
    ],
)
def test_other_ids_and_labels_are_refused_with_an_example(
    tmp_path: Path, iemocap: ResolvedProtocol, change: tuple[str, str], messages: tuple[str, ...]
) -> None:
    path = write_plain(tmp_path / "1.tsv", iemocap, change)

    with pytest.raises(DataError) as caught:
        read_foreign([("svm", path)], iemocap)

    assert [part for part in messages if part not in str(caught.value)] == []


def test_ids_that_are_not_unique_without_the_speaker_are_not_taken(
    tmp_path: Path, resolved: ResolvedProtocol
) -> None:
    path = tmp_path / "1.tsv"
    path.write_text("utt_id\tpredicted\nanger0\tanger\n")

    with pytest.raises(
        DataError, match="no test set of the protocol: anger0; expected ids such as s0-anger0$"
    ):
        read_foreign([("svm", path)], resolved)
