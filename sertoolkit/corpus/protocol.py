"""Protocols: which utterances count as which class, who is tested when, and the audit for leaks.

A protocol is a small YAML file; :func:`make_folds` turns it and a data dir into folds, :func:`write_protocol`
stores both with a hash, and :func:`read_protocol` refuses a folder that was changed or in which a speaker
leaks.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sertoolkit.config import from_dict, hash_of, load_config, load_yaml, to_dict
from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.errors import ConfigError, DataError, report_faults, suggest
from sertoolkit.storage.atomic import atomic_dir, write_text, write_yaml

SETS = ("train", "valid", "test")
NO_MAJORITY = "no-majority"
_NO_WORDS = re.compile(r"\[[^\]]*\]|[^\w\s]")  # events and punctuation
_COLUMNS = ["utt_id", "speaker", "class", "set"]


@dataclass(frozen=True, kw_only=True)
class FoldRule:
    """How speakers become folds."""

    rule: Literal["speaker", "session"] = "speaker"
    """each speaker, or each session (utt2ses) with all its speakers, is the test set once"""
    valid: Literal["next", "partner"] = "next"
    """validation set: the next speaker or session in sorted order, or the other speaker of the same session"""

    def __post_init__(self) -> None:
        if self.rule == "session" and self.valid == "partner":
            raise ConfigError(
                "folds: rule session tests both partners, so neither can validate; use valid: next"
            )


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything that must agree before two results may be compared."""

    name: str
    version: int
    classes: tuple[str, ...]
    """in the order of the output units"""
    labels: dict[str, str]
    """label of the corpus -> class; utterances with other labels are dropped and counted"""
    labels_from: Literal["released", "majority"] = "released"
    """``released``: the corpus's own label (utt2emo). ``majority``: the class that at least two evaluators
    (utt2raters) give and more than give any other; labels are merged into classes before the count"""
    raters: str = ""
    """of ``majority``: evaluators whose name begins with this vote (IEMOCAP's ``C-F1`` is the actor herself)"""
    folds: FoldRule = field(default_factory=FoldRule)
    averaging: Literal["seeds_then_folds"] = "seeds_then_folds"
    """a score is averaged over the seeds of a fold first, then over folds"""
    description: str = ""

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"classes {list(self.classes)}: expected at least two, all different")
        for label, name in self.labels.items():
            if name not in self.classes:
                raise ConfigError(
                    f"labels: {label!r} maps to unknown class {name!r}{suggest(name, self.classes)}"
                )
        empty = sorted(set(self.classes) - set(self.labels.values()))
        if empty:
            raise ConfigError(f"labels: no label maps to class {', '.join(empty)}")
        if self.raters and self.labels_from == "released":
            raise ConfigError(f"raters {self.raters!r}: used by labels_from: majority alone")


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Utterances of one fold, in sorted order, with class and speaker of each."""

    name: str
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    truth: Mapping[str, str]
    speakers: Mapping[str, str]

    def speakers_of(self, name: str) -> list[str]:
        """Sorted speakers of set ``train``, ``valid`` or ``test``."""
        return sorted({self.speakers[utt_id] for utt_id in getattr(self, name)})


@dataclass(frozen=True, kw_only=True)
class ResolvedProtocol:
    """A protocol applied to a corpus, as a folder holds it."""

    protocol: Protocol
    folds: dict[str, Fold]
    counts: dict[str, Any]
    """``kept`` by class and ``total``, ``dropped`` by label, ``speakers``, ``sentence_overlap`` by fold"""

    @cached_property
    def hash(self) -> str:
        """Hash of the protocol and of every line of its folds; the folders of members carry it."""
        texts = {name: _text(fold) for name, fold in self.folds.items()}
        settings = to_dict(self.protocol)
        # Results from before labels had a source keep their hash.
        if self.protocol.labels_from == "released":
            del settings["labels_from"], settings["raters"]
        return hash_of({"protocol": settings, "folds": texts})


def load_protocol(path: str | Path) -> Protocol:
    """Read a protocol's YAML.

    Raises:
        ConfigError: if a key is unknown, or classes and labels do not fit together

    """
    return load_config(Protocol, Path(path))


def assign_classes(protocol: Protocol, data_dir: DataDir) -> tuple[dict[str, str], dict[str, int]]:
    """Class of each utterance that counts, and how many were dropped for each other label.

    Args:
        protocol: its map of labels, and whose labels count
        data_dir: its ``utt2emo``, or ``utt2raters`` for labels by majority

    Raises:
        DataError: if an utterance has no label, if a label differs from a known one by case or blanks alone
            (it would be dropped by mistake), or if a class has no utterance

    """
    by_majority = protocol.labels_from == "majority"
    source, labels = ("utt2raters", data_dir.utt2raters) if by_majority else ("utt2emo", data_dir.utt2emo)
    faults = [
        f"utterance {utt_id}: no label in {source}" for utt_id in data_dir.utt_ids if utt_id not in labels
    ]
    if by_majority:
        labels = {
            u: majority(ratings, protocol.labels, raters=protocol.raters) for u, ratings in labels.items()
        }
    classes_of = protocol.labels | ({name: name for name in protocol.classes} if by_majority else {})
    plain = {label.casefold().strip(): label for label in classes_of}
    truth: dict[str, str] = {}
    dropped: Counter[str] = Counter()
    for utt_id in data_dir.utt_ids:
        label = labels.get(utt_id)
        if label in classes_of:
            truth[utt_id] = classes_of[label]
        elif label is not None and label.casefold().strip() in plain:
            faults.append(f"utterance {utt_id}: label {label!r}; write {plain[label.casefold().strip()]!r}")
        elif label is not None:
            dropped[label] += 1
    found = set(truth.values())
    faults += [
        f"class {name}: no utterance; labels found: {', '.join(sorted(set(labels.values()))) or 'none'}"
        for name in protocol.classes
        if name not in found
    ]
    report_faults(f"labels under protocol {protocol.name}", faults, DataError)
    return truth, dict(sorted(dropped.items()))


def majority(ratings: str, classes_of: Mapping[str, str], *, raters: str = "") -> str:
    """What at least two evaluators say, and more than say anything else.

    An evaluator who gives several labels has one vote for each class among them.

    Args:
        ratings: labels by evaluator as utt2raters has them
        classes_of: class by label; labels merge into classes before the count, others stand for themselves
        raters: evaluators whose name begins with this vote

    Returns:
        a class, a label that is in no class, or ``no-majority``

    Examples:
        >>> majority("C-E2:hap C-E3:exc C-E4:neu", {"hap": "happiness", "exc": "happiness"})
        'happiness'

    """
    votes: Counter[str] = Counter()
    for rating in ratings.split():
        rater, _, given = rating.partition(":")
        if rater.startswith(raters):
            votes.update({classes_of.get(label, label) for label in given.split(",") if label})
    (first, most), (_, second) = [*votes.most_common(2), ("", 0), ("", 0)][:2]
    return first if most >= 2 and most > second else NO_MAJORITY


def make_folds(protocol: Protocol, data_dir: DataDir) -> list[Fold]:
    """Folds that leave one speaker or one session out: every utterance is tested exactly once.

    Args:
        protocol: classes, labels and the rule of the folds
        data_dir: needs what the labels need, and ``utt2ses`` for rule ``session`` or validation ``partner``

    Returns:
        folds named ``fold-01``..., in sorted order of their test speakers or sessions

    Raises:
        DataError: if labels or sessions are wrong, there are fewer than three speakers or sessions, or a
            fold's training set lacks a class

    """
    truth, _ = assign_classes(protocol, data_dir)
    rule = protocol.folds
    speakers = {utt_id: data_dir.utt2spk[utt_id] for utt_id in truth}
    sessions = {}
    if rule.rule == "session" or rule.valid == "partner":
        sessions = _sessions(truth, data_dir.utt2ses)
    utts_of = defaultdict(list)
    for utt_id in sorted(truth):
        utts_of[(sessions if rule.rule == "session" else speakers)[utt_id]].append(utt_id)
    order = sorted(utts_of)
    if len(order) < 3:
        raise DataError(
            f"protocol {protocol.name}: {len(order)} {rule.rule}s, expected at least 3: to train, validate, test"
        )
    valid_of = _partners(speakers, sessions) if rule.valid == "partner" else _next(order)
    width = max(2, len(str(len(order))))
    folds = [
        Fold(
            name=f"fold-{number:0{width}d}",
            train=tuple(u for g in order if g not in (group, valid_of[group]) for u in utts_of[g]),
            valid=tuple(utts_of[valid_of[group]]),
            test=tuple(utts_of[group]),
            truth=truth,
            speakers=speakers,
        )
        for number, group in enumerate(order, start=1)
    ]
    audit(folds, protocol.classes)
    return folds


def audit(folds: Sequence[Fold], classes: Iterable[str]) -> None:
    """Refuse folds that would make a result dishonest.

    Args:
        folds: all folds of a protocol
        classes: what every training set must hold

    Raises:
        DataError: naming every set that is empty, every speaker or utterance in two sets of a fold, every
            class that a training set lacks, every utterance that is not tested exactly once

    """
    faults = []
    for fold in folds:
        sets = {name: getattr(fold, name) for name in SETS}
        faults += [f"{fold.name}: {name} set is empty" for name in SETS if not sets[name]]
        lacking = sorted(set(classes) - {fold.truth[utt_id] for utt_id in fold.train})
        if fold.train and lacking:
            faults.append(f"{fold.name}: no {', '.join(lacking)} in the training set")
        for first, second in (("train", "valid"), ("train", "test"), ("valid", "test")):
            shared = sorted(set(fold.speakers_of(first)) & set(fold.speakers_of(second)))
            faults += [f"{fold.name}: speaker {speaker} in both {first} and {second}" for speaker in shared]
            utts = sorted(set(sets[first]) & set(sets[second]))
            faults += [f"{fold.name}: utterance {utt_id} in both {first} and {second}" for utt_id in utts]
    tested = Counter(utt_id for fold in folds for utt_id in fold.test)
    everything = sorted({utt_id for fold in folds for name in SETS for utt_id in getattr(fold, name)})
    faults += [
        f"utterance {utt_id}: tested {tested[utt_id]} times, expected once"
        for utt_id in everything
        if tested[utt_id] != 1
    ]
    report_faults("folds", faults, DataError)


def words_of(text: Mapping[str, str], utt_id: str) -> str:
    """Words of an utterance without case, punctuation and events such as [LAUGHTER]; empty where it has none."""
    plain = _NO_WORDS.sub(" ", unicodedata.normalize("NFC", text.get(utt_id, "")))
    return " ".join(plain.casefold().split())


def seen_sentences(fold: Fold, text: Mapping[str, str]) -> list[str]:
    """Test utterances whose sentence is spoken in the training set too.

    Such overlap is no fault (acted corpora repeat their sentences) but must be stated with the result.

    Args:
        fold: one fold
        text: sentence of each utterance, compared by its words

    """
    known = {words_of(text, utt_id) for utt_id in fold.train} - {""}
    return [utt_id for utt_id in fold.test if words_of(text, utt_id) in known]


def resolve(protocol: Protocol, data_dir: DataDir) -> ResolvedProtocol:
    """Folds of a corpus, with everything that a report must say about them.

    Raises:
        DataError: as :func:`make_folds`

    """
    truth, dropped = assign_classes(protocol, data_dir)
    folds = make_folds(protocol, data_dir)
    kept = Counter(truth.values())
    of_speaker = Counter((data_dir.utt2spk[utt_id], name) for utt_id, name in truth.items())
    speakers = {
        spk_id: {name: of_speaker[spk_id, name] for name in protocol.classes}
        for fold in folds
        for spk_id in fold.speakers_of("test")
    }
    counts = {
        "total": len(data_dir.utt2spk),
        "kept": {name: kept[name] for name in protocol.classes},
        "dropped": dropped,
        "speakers": speakers,
        "sentence_overlap": {fold.name: len(seen_sentences(fold, data_dir.text)) for fold in folds},
    }
    return ResolvedProtocol(protocol=protocol, folds={fold.name: fold for fold in folds}, counts=counts)


def write_protocol(resolved: ResolvedProtocol, directory: str | Path) -> None:
    """Write ``protocol.yaml`` and ``folds/<fold>.tsv``; the folder appears whole or not at all."""
    with atomic_dir(Path(directory)) as temporary:
        (temporary / "folds").mkdir()
        for name, fold in resolved.folds.items():
            write_text(temporary / "folds" / f"{name}.tsv", _text(fold))
        data = {"hash": resolved.hash, "protocol": to_dict(resolved.protocol), "counts": resolved.counts}
        write_yaml(temporary / "protocol.yaml", data)


def read_protocol(directory: str | Path) -> ResolvedProtocol:
    """Read what :func:`write_protocol` wrote, and audit it again.

    Raises:
        DataError: if a file was changed or is damaged, or a speaker is in two sets of a fold

    """
    directory = Path(directory)
    if not (directory / "protocol.yaml").is_file():
        raise DataError(f"{directory}: no protocol.yaml; make it by `sertoolkit protocol`")
    data = load_yaml(directory / "protocol.yaml")
    missing = sorted({"hash", "protocol", "counts"} - set(data))
    if missing:
        raise DataError(
            f"{directory / 'protocol.yaml'}: no {', '.join(missing)}; make it anew by `sertoolkit protocol`"
        )
    protocol = from_dict(Protocol, data["protocol"], str(directory / "protocol.yaml"))
    folds = {path.stem: _read_fold(path, protocol) for path in sorted((directory / "folds").glob("*.tsv"))}
    audit(list(folds.values()), protocol.classes)
    resolved = ResolvedProtocol(protocol=protocol, folds=folds, counts=data["counts"])
    if resolved.hash != data["hash"]:
        raise DataError(
            f"{directory}: hash of protocol and folds is {resolved.hash}, protocol.yaml says {data['hash']};"
            " files were changed or lost: make the protocol anew"
        )
    return resolved


def in_words(counts: Mapping[str, int]) -> str:
    """Counts by name as a line of text.

    Examples:
        >>> in_words({"anger": 3, "sadness": 2})
        'anger 3, sadness 2'

    """
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _next(order: Sequence[str]) -> dict[str, str]:
    return dict(zip(order, [*order[1:], order[0]], strict=True))


def _sessions(utt_ids: Iterable[str], utt2ses: Mapping[str, str]) -> dict[str, str]:
    """Session of each utterance."""
    faults = [
        f"utterance {utt_id}: no session in utt2ses" for utt_id in sorted(utt_ids) if utt_id not in utt2ses
    ]
    report_faults("sessions of the folds", faults, DataError)
    return {utt_id: utt2ses[utt_id] for utt_id in utt_ids}


def _partners(speakers: Mapping[str, str], sessions: Mapping[str, str]) -> dict[str, str]:
    """The other speaker of each speaker's session."""
    of_session = defaultdict(set)
    for utt_id, speaker in speakers.items():
        of_session[sessions[utt_id]].add(speaker)
    faults = [
        f"session {session}: speakers {', '.join(sorted(members))}; expected exactly two"
        for session, members in sorted(of_session.items())
        if len(members) != 2
    ]
    count = Counter(speaker for members in of_session.values() for speaker in members)
    faults += [f"speaker {s}: in {n} sessions, expected one" for s, n in sorted(count.items()) if n != 1]
    report_faults("sessions for validation by the partner", faults, DataError)
    pairs = [sorted(members) for members in of_session.values()]
    return {speaker: other for a, b in pairs for speaker, other in ((a, b), (b, a))}


def _text(fold: Fold) -> str:
    rows = [
        (utt_id, fold.speakers[utt_id], fold.truth[utt_id], name)
        for name in SETS
        for utt_id in getattr(fold, name)
    ]
    return "".join("\t".join(row) + "\n" for row in (_COLUMNS, *rows))


def _read_fold(path: Path, protocol: Protocol) -> Fold:
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows or rows[0] != _COLUMNS:
        raise DataError(f"{path}:1: expected the columns {' '.join(_COLUMNS)}; make the protocol anew")
    sets: dict[str, list[str]] = {name: [] for name in SETS}
    faults, truth, speakers = [], {}, {}
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(_COLUMNS) or row[3] not in SETS or row[2] not in protocol.classes:
            faults.append(
                f"{path}:{line}: {row}; expected an utterance, a speaker, a class of the protocol and a set"
            )
            continue
        if row[0] in truth:
            faults.append(f"{path}:{line}: utterance {row[0]} stands twice")
        utt_id, speakers[utt_id], truth[utt_id] = row[0], row[1], row[2]
        sets[row[3]].append(utt_id)
    report_faults(f"fold {path.stem}", faults, DataError)
    return Fold(
        name=path.stem, truth=truth, speakers=speakers, **{name: tuple(utts) for name, utts in sets.items()}
    )
