"""Protocols, folds and the audit: every utterance tested once, no speaker on two sides."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from sertoolkit.config import from_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.corpus.protocol import (
    Protocol,
    ResolvedProtocol,
    assign_classes,
    audit,
    load_protocol,
    majority,
    make_folds,
    read_protocol,
    resolve,
    seen_sentences,
    write_protocol,
)
from sertoolkit.errors import ConfigError, DataError

CONF = Path(__file__).resolve().parents[2] / "conf" / "protocols"


def make_protocol(**changes: object) -> Protocol:
    settings = {
        "name": "two",
        "version": 1,
        "classes": ["glad", "sad"],
        "labels": {"hap": "glad", "exc": "glad", "sad": "sad"},
    }
    return from_dict(Protocol, {**settings, **changes})


def make_data_dir(*, num_speakers: int = 6, labels: str = "hap exc sad fru", repeats: int = 2) -> DataDir:
    """Speakers s00, s01, ...; two a session; utterance k of everyone has the same sentence."""
    utts = [
        (f"s{s:02d}", label, k)
        for s in range(num_speakers)
        for k in range(repeats)
        for label in labels.split()
    ]
    ids = [f"{speaker}-{label}{k}" for speaker, label, k in utts]
    return DataDir(
        wav={utt_id: f"{utt_id}.wav" for utt_id in ids},
        text={utt_id: f"SENTENCE {row[2]}" for utt_id, row in zip(ids, utts, strict=True)},
        utt2spk={utt_id: row[0] for utt_id, row in zip(ids, utts, strict=True)},
        utt2emo={utt_id: row[1] for utt_id, row in zip(ids, utts, strict=True)},
        utt2ses={utt_id: f"ses{int(row[0][1:]) // 2}" for utt_id, row in zip(ids, utts, strict=True)},
    )


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Path, ResolvedProtocol]:
    resolved = resolve(make_protocol(), make_data_dir())
    write_protocol(resolved, tmp_path / "protocol")
    return tmp_path / "protocol", resolved


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_protocols_load_and_are_named_like_their_files(path: Path) -> None:
    assert load_protocol(path).name == path.stem


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["glad"]}, "at least two"),
        ({"classes": ["glad", "sad", "sad"]}, "all different"),
        ({"labels": {"hap": "glad", "sad": "sadd"}}, "did you mean 'sad'"),
        ({"labels": {"hap": "glad"}}, "no label maps to class sad"),
        ({"folds": {"rule": "speaker", "valid": "none"}}, "partner"),
        ({"folds": {"rule": "session", "valid": "partner"}}, "tests both partners"),
        ({"raters": "C-E"}, "majority alone"),
        ({"clases": []}, "did you mean 'classes'"),
    ],
)
def test_protocol_that_does_not_fit_together_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_protocol(**changes)


def test_labels_merge_into_classes_and_others_are_dropped_with_a_count() -> None:
    truth, dropped = assign_classes(make_protocol(), make_data_dir(num_speakers=3))

    assert dropped == {"fru": 6}
    assert sorted(truth.values()) == ["glad"] * 12 + ["sad"] * 6


def test_utterance_without_a_label_is_named() -> None:
    data_dir = make_data_dir()
    del data_dir.utt2emo["s01-sad0"]

    with pytest.raises(DataError, match="s01-sad0: no label"):
        assign_classes(make_protocol(), data_dir)


def test_label_of_other_case_is_an_error_and_not_dropped() -> None:
    data_dir = make_data_dir()
    data_dir.utt2emo["s01-sad0"] = "Sad"

    with pytest.raises(DataError, match="s01-sad0: label 'Sad'; write 'sad'"):
        assign_classes(make_protocol(), data_dir)


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ("C-E1:sad C-E2:sad C-E3:fru", "sad"),
        ("C-E1:hap C-E2:exc C-E3:sad", "glad"),
        ("C-E1:hap,exc C-E2:sad C-E3:fru", "no-majority"),  # one evaluator has one vote for a class
        ("C-E1:hap,sad C-E2:exc,sad C-E3:fru", "no-majority"),
        ("C-E1:hap,sad C-E2:exc C-E3:fru", "glad"),
        ("C-E1:sad C-E2:hap C-F1:sad", "no-majority"),  # the actress does not vote
        ("C-E1:fru C-E2:fru C-E3:sad", "fru"),
        ("C-E1: C-E2:sad", "no-majority"),
        ("", "no-majority"),
    ],
)
def test_majority_is_what_two_evaluators_say_and_nothing_else_as_often(ratings: str, expected: str) -> None:
    assert majority(ratings, {"hap": "glad", "exc": "glad", "sad": "sad"}, raters="C-E") == expected


def test_labels_by_majority_come_from_the_evaluators_and_not_from_utt2emo() -> None:
    data_dir = make_data_dir(num_speakers=3)
    data_dir.utt2raters = dict.fromkeys(data_dir.wav, "A:hap B:exc C:sad")
    data_dir.utt2raters["s00-sad0"] = "A:sad B:sad"
    data_dir.utt2raters["s00-sad1"] = "A:fru B:fru"
    data_dir.utt2raters["s00-fru0"] = "A:fru B:sad"

    truth, dropped = assign_classes(make_protocol(labels_from="majority"), data_dir)

    assert dropped == {"fru": 1, "no-majority": 1}
    assert [truth["s00-sad0"], truth["s01-fru0"]] == ["sad", "glad"]


def test_majority_without_raters_is_an_error() -> None:
    with pytest.raises(DataError, match="s01-sad0: no label in utt2raters"):
        assign_classes(make_protocol(labels_from="majority"), make_data_dir())


def test_class_without_utterances_is_named_with_the_labels_found() -> None:
    with pytest.raises(DataError, match="class glad: no utterance; labels found: fru, sad"):
        assign_classes(make_protocol(), make_data_dir(labels="sad fru"))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(
    ("rule", "valid"), [("speaker", "next"), ("speaker", "partner"), ("session", "next")]
)
def test_every_utterance_is_tested_once_and_no_speaker_is_on_two_sides(
    seed: int, rule: str, valid: str
) -> None:
    draw = random.Random(seed)
    data_dir = make_data_dir(num_speakers=2 * draw.randint(3, 7), repeats=draw.randint(1, 4))
    protocol = make_protocol(folds={"rule": rule, "valid": valid})

    folds = make_folds(protocol, data_dir)

    kept, _ = assign_classes(protocol, data_dir)
    assert sorted(utt_id for fold in folds for utt_id in fold.test) == sorted(kept)
    for fold in folds:
        sides = [{data_dir.utt2spk[u] for u in utts} for utts in (fold.train, fold.valid, fold.test)]
        assert sum(map(len, sides)) == len(set.union(*sides))
        assert sorted(fold.train + fold.valid + fold.test) == sorted(kept)


def test_folds_do_not_depend_on_the_order_of_the_lists() -> None:
    data_dir = make_data_dir()
    turned = DataDir(
        **{
            name: dict(reversed(getattr(data_dir, name).items()))
            for name in ("wav", "text", "utt2spk", "utt2emo", "utt2ses")
        }
    )

    assert resolve(make_protocol(), turned).hash == resolve(make_protocol(), data_dir).hash


def test_next_speaker_validates_and_the_last_one_wraps() -> None:
    folds = make_folds(make_protocol(), make_data_dir(num_speakers=3))

    assert [(f.name, f.speakers_of("test"), f.speakers_of("valid")) for f in folds] == [
        ("fold-01", ["s00"], ["s01"]),
        ("fold-02", ["s01"], ["s02"]),
        ("fold-03", ["s02"], ["s00"]),
    ]


def test_partner_of_the_session_validates() -> None:
    folds = make_folds(make_protocol(folds={"valid": "partner"}), make_data_dir(num_speakers=4))

    assert [fold.speakers_of("valid")[0] for fold in folds] == ["s01", "s00", "s03", "s02"]


def test_session_is_tested_with_both_speakers_and_the_next_one_validates() -> None:
    protocol = make_protocol(folds={"rule": "session", "valid": "next"})

    folds = make_folds(protocol, make_data_dir(num_speakers=6))

    assert [(f.name, f.speakers_of("test"), f.speakers_of("valid")) for f in folds] == [
        ("fold-01", ["s00", "s01"], ["s02", "s03"]),
        ("fold-02", ["s02", "s03"], ["s04", "s05"]),
        ("fold-03", ["s04", "s05"], ["s00", "s01"]),
    ]


def test_speaker_of_two_sessions_is_a_leak() -> None:
    data_dir = make_data_dir(num_speakers=6)
    data_dir.utt2ses["s00-sad0"] = "ses2"

    with pytest.raises(DataError, match="fold-01: speaker s00 in both train and test"):
        make_folds(make_protocol(folds={"rule": "session"}), data_dir)


def test_two_sessions_are_too_few() -> None:
    with pytest.raises(DataError, match="2 sessions, expected at least 3"):
        make_folds(make_protocol(folds={"rule": "session"}), make_data_dir(num_speakers=4))


def test_speakers_of_a_session_are_counted_apart() -> None:
    data_dir = make_data_dir(num_speakers=6)
    data_dir.utt2emo["s00-sad0"] = "fru"

    counts = resolve(make_protocol(folds={"rule": "session"}), data_dir).counts

    assert counts["speakers"]["s00"] == {"glad": 4, "sad": 1}
    assert counts["speakers"]["s01"] == {"glad": 4, "sad": 2}


def test_session_with_three_speakers_has_no_partner() -> None:
    data_dir = make_data_dir(num_speakers=4)
    data_dir.utt2ses.update({utt_id: "ses0" for utt_id in data_dir.wav if utt_id.startswith("s02")})

    with pytest.raises(DataError, match="session ses0: speakers s00, s01, s02"):
        make_folds(make_protocol(folds={"valid": "partner"}), data_dir)


def test_partner_rule_without_sessions_is_an_error() -> None:
    data_dir = make_data_dir()
    data_dir.utt2ses = {}

    with pytest.raises(DataError, match="no session in utt2ses"):
        make_folds(make_protocol(folds={"valid": "partner"}), data_dir)


def test_two_speakers_are_too_few() -> None:
    with pytest.raises(DataError, match="2 speakers, expected at least 3"):
        make_folds(make_protocol(), make_data_dir(num_speakers=2))


def test_training_set_without_a_class_is_an_error() -> None:
    data_dir = make_data_dir(num_speakers=3)
    data_dir.utt2emo.update({u: "hap" for u in data_dir.wav if u.startswith(("s01", "s02")) and "sad" in u})

    with pytest.raises(DataError, match="fold-01: no sad in the training set"):
        make_folds(make_protocol(), data_dir)


def test_audit_names_speaker_and_utterance_on_two_sides() -> None:
    folds = make_folds(make_protocol(), make_data_dir(num_speakers=3))
    leaking = replace(folds[0], train=folds[0].train + folds[0].test[:1])

    with pytest.raises(
        DataError, match=r"speaker s00 in both train and test(.|\n)*utterance s00-exc0 in both train and test"
    ):
        audit([leaking, *folds[1:]], ["glad", "sad"])


def test_audit_names_utterances_that_are_not_tested_once() -> None:
    folds = make_folds(make_protocol(), make_data_dir(num_speakers=3))

    with pytest.raises(DataError, match="utterance s00-exc0: tested 0 times"):
        audit(folds[1:], ["glad", "sad"])


def test_sentences_of_training_are_counted_in_the_test_set() -> None:
    fold = make_folds(make_protocol(), make_data_dir(num_speakers=3))[0]
    text = dict.fromkeys(fold.train, "A  b") | dict.fromkeys(fold.test, "C")
    text |= dict.fromkeys(fold.test[:2], "a B, [LAUGHTER]!")

    assert seen_sentences(fold, text) == list(fold.test[:2])


def test_utterances_without_words_share_no_sentence() -> None:
    fold = make_folds(make_protocol(), make_data_dir(num_speakers=3))[0]

    assert seen_sentences(fold, dict.fromkeys([*fold.train, *fold.test], "[BREATHING]")) == []


def test_counts_tell_what_was_kept_and_dropped() -> None:
    counts = resolve(make_protocol(), make_data_dir(num_speakers=3)).counts

    assert counts["total"] == 24
    assert counts["kept"] == {"glad": 12, "sad": 6}
    assert counts["dropped"] == {"fru": 6}
    assert counts["speakers"]["s01"] == {"glad": 4, "sad": 2}
    assert counts["sentence_overlap"] == {"fold-01": 6, "fold-02": 6, "fold-03": 6}


def test_stored_protocol_reads_back_equal(stored: tuple[Path, ResolvedProtocol]) -> None:
    directory, resolved = stored

    again = read_protocol(directory)

    assert again.hash == resolved.hash
    assert again.counts == resolved.counts
    assert read_protocol(directory).folds["fold-02"].test == resolved.folds["fold-02"].test


def test_fold_file_is_a_table_that_a_person_can_read(stored: tuple[Path, ResolvedProtocol]) -> None:
    lines = (stored[0] / "folds" / "fold-01.tsv").read_text().splitlines()

    assert lines[0] == "utt_id\tspeaker\tclass\tset"
    assert "s00-sad1\ts00\tsad\ttest" in lines


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s00-sad1\ts00\tsad\ttest", "s00-sad1\ts00\tglad\ttest", "files were changed"),
        ("s00-sad1\ts00\tsad\ttest", "s00-sad1\ts00\tsad\ttrain", "speaker s00 in both train and test"),
        ("s00-sad1\ts00\tsad\ttest", "s00-sad0\ts00\tsad\ttest", "s00-sad0 stands twice"),
        ("s00-sad1\ts00\tsad\ttest", "s00-sad1\ts00\tangry\ttest", "a class of the protocol"),
        ("utt_id\tspeaker", "utt\tspeaker", "fold-01.tsv:1: expected the columns"),
    ],
)
def test_changed_fold_is_refused(
    stored: tuple[Path, ResolvedProtocol], old: str, new: str, message: str
) -> None:
    path = stored[0] / "folds" / "fold-01.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

    with pytest.raises(DataError, match=message):
        read_protocol(stored[0])


def test_lost_fold_is_found(stored: tuple[Path, ResolvedProtocol]) -> None:
    (stored[0] / "folds" / "fold-03.tsv").unlink()

    with pytest.raises(DataError, match="tested 0 times"):
        read_protocol(stored[0])


def test_folder_without_protocol_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sertoolkit protocol"):
        read_protocol(tmp_path)


def test_version_of_the_protocol_is_in_the_hash() -> None:
    data_dir = make_data_dir()

    assert resolve(make_protocol(version=2), data_dir).hash != resolve(make_protocol(), data_dir).hash


def test_hash_is_that_of_results_from_before_labels_had_a_source() -> None:
    # as computed by the code of commit af69d78
    assert resolve(make_protocol(), make_data_dir()).hash == "f4e5e6d4ab70f52e"


def test_majority_is_in_the_hash() -> None:
    data_dir = make_data_dir()
    data_dir.utt2raters = {utt_id: f"A:{label} B:{label}" for utt_id, label in data_dir.utt2emo.items()}
    protocol = make_protocol(labels_from="majority")

    assert resolve(protocol, data_dir).hash != resolve(make_protocol(), data_dir).hash
