"""Find every fault of a data dir at once, and repair the harmless ones.

:func:`validate` never changes anything; :func:`fix` never hides what it did and keeps the old lists in
``.backup``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from sertoolkit.corpus.data_dir import format_list, parse_lists
from sertoolkit.corpus.dropped import add_dropped, dropped_in_words
from sertoolkit.corpus.lists import Entries, Fault, duplicates, to_seconds
from sertoolkit.errors import AudioError, DataError, report_faults
from sertoolkit.storage.atomic import write_bytes, write_text

logger = logging.getLogger(__name__)


def validate(
    path: str | os.PathLike[str], *, needs: Sequence[str] = ("text",), audio: bool = False
) -> list[str]:
    """All faults of a data dir, each with file and line; nothing is changed.

    Args:
        path: the directory
        needs: lists that must be there besides wav.scp and utt2spk
        audio: also open each audio file: header against real length, segments and utt2dur against its
            duration

    Returns:
        one line a fault; an empty list for a data dir that is right

    Raises:
        DataError: if there is no such directory

    """
    faults = find_faults(path, needs=needs, audio="open" if audio else "exists")
    return [f"{Path(path)}/{fault}" for fault in faults]


def find_faults(
    path: str | os.PathLike[str], *, needs: Sequence[str], audio: Literal["ignore", "exists", "open"]
) -> list[Fault]:
    """As :func:`validate`, as objects; ``audio`` says how far audio files are looked at."""
    lists, faults = parse_lists(path)
    faults += [Fault(name, 0, "is missing") for name in needs if name not in lists]
    if "utt2spk" not in lists or "wav.scp" not in lists:
        return faults
    faults += _compare_ids(lists)
    faults += _check_speakers(lists)
    if audio != "ignore":
        for group in duplicates(lists["wav.scp"].values):
            logger.warning("%s: the same audio file under %d ids: %s", path, len(group), ", ".join(group[:5]))
        faults += _check_audio(lists, open_files=audio == "open")
    return faults


def fix(path: str | os.PathLike[str], *, drop: Mapping[str, str] | None = None) -> list[str]:
    """Repair the harmless faults of a data dir: order, line ends, blanks, byte order mark, differing lists.

    Segments are cut where their recording ends. Lists that do not agree are cut down to the utterances that
    all of them have. Lists as they were are kept in ``.backup``.

    Args:
        path: the directory
        drop: utterances to take out, with the reason of each; the file ``dropped`` keeps them

    Returns:
        one line for each thing that was done

    Raises:
        DataError: if a fault cannot be repaired without a decision; nothing is changed then

    """
    path = Path(path)
    lists, faults = parse_lists(path)
    hard = [str(f) for f in faults if not f.fixable and not f.message.endswith("has no value after the id")]
    report_faults(f"data dir {path}: not changed, since these need a decision", hard, DataError)
    done = [f"{fault.name}: repaired: {fault.message}" for fault in faults if fault.fixable]
    values = {name: {k: v for k, v in entries.values.items() if v} for name, entries in lists.items()}
    dropped = _drop(values, drop or {})
    if drop:
        done.append(f"dropped {dropped_in_words(dropped)}")
    done += _trim_segments(values) + _intersect(values)
    report_faults(
        f"data dir {path}: not changed",
        [] if values["utt2spk"] else ["no utterance is in all lists"],
        DataError,
    )
    done += _derive_spk2utt(values)
    if dropped:
        add_dropped(path, dropped)
    for name, table in values.items():
        old = (path / name).read_bytes() if (path / name).exists() else None
        text = format_list(table)
        if old == text.encode():
            continue
        if old is not None and not (path / ".backup" / name).exists():  # the first one is the original
            write_bytes(path / ".backup" / name, old)
        write_text(path / name, text)
    return done


def _drop(values: dict[str, dict[str, str]], drop: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Take utterances out of all lists, in place; (speaker, reason) of each that was there."""
    speakers = values.get("utt2spk", {})
    dropped = {utt_id: (speakers[utt_id], drop[utt_id]) for utt_id in sorted(drop) if utt_id in speakers}
    for name in values:
        if _is_by_utterance(name, values):
            values[name] = {key: value for key, value in values[name].items() if key not in drop}
    return dropped


def _trim_segments(values: dict[str, dict[str, str]]) -> list[str]:
    """End segments where their recording ends; those that begin after it are left out, in place."""
    from sertoolkit.audio.read import probe

    durations: dict[str, float] = {}
    segments, trimmed, beyond = {}, 0, 0
    for utt_id, value in values.get("segments", {}).items():
        recording, start, end = value.split()
        path = values["wav.scp"].get(recording)
        if path is not None and recording not in durations:
            durations[recording] = probe(path).duration
        duration = durations.get(recording, float("inf"))
        if _number(start) >= duration:
            beyond += 1
            continue
        if _number(end) > duration:
            trimmed += 1
            end = f"{int(duration * 1000) / 1000:.3f}"
            value = f"{recording} {start} {end}"
            if utt_id in values.get("utt2dur", {}):
                values["utt2dur"][utt_id] = f"{_number(end) - _number(start):.3f}"
        segments[utt_id] = value
    if trimmed or beyond:
        values["segments"] = segments
        return [f"segments: {trimmed} cut where their recording ends, {beyond} left out that begin after it"]
    return []


def _derive_spk2utt(values: dict[str, dict[str, str]]) -> list[str]:
    spk2utt: dict[str, list[str]] = {}
    for utt_id, speaker in sorted(values["utt2spk"].items()):
        spk2utt.setdefault(speaker, []).append(utt_id)
    derived = {speaker: " ".join(utt_ids) for speaker, utt_ids in spk2utt.items()}
    if values.get("spk2utt") == derived:
        return []
    values["spk2utt"] = derived
    return ["spk2utt: made anew from utt2spk"]


def _is_by_utterance(name: str, lists: Mapping[str, object]) -> bool:
    return (
        name in ("text", "segments")
        or name.startswith("utt2")
        or (name == "wav.scp" and "segments" not in lists)
    )


def _is_by_speaker(name: str) -> bool:
    return name.startswith("spk2")


def _compare_ids(lists: dict[str, Entries]) -> list[Fault]:
    """Each list has a line for each utterance, speaker or recording that utt2spk and segments name, only."""
    utt2spk = lists["utt2spk"]
    faults: list[Fault] = []
    for name, entries in lists.items():
        if _is_by_utterance(name, lists) and name != "utt2spk":
            faults += _difference(entries, utt2spk.values, utt2spk.lines, "utterance", "utt2spk")
        elif _is_by_speaker(name):
            faults += _difference(entries, dict.fromkeys(utt2spk.values.values()), {}, "speaker", "utt2spk")
    if "segments" in lists:
        recordings = {
            v.split()[0]: lists["segments"].lines[u] for u, v in lists["segments"].values.items() if v
        }
        faults += _difference(lists["wav.scp"], recordings, recordings, "recording", "segments")
    return faults


def _difference(
    entries: Entries, expected: Mapping[str, object], lines: Mapping[str, int], kind: str, source: str
) -> list[Fault]:
    where = {key: f" ({source}:{lines[key]})" if key in lines else f" of {source}" for key in expected}
    missing = [
        Fault(entries.name, 0, f"no line for {kind} {key!r}{where[key]}")
        for key in expected
        if key not in entries.values
    ]
    surplus = [
        Fault(entries.name, entries.lines[key], f"{kind} {key!r} is not in {source}")
        for key in entries.values
        if key not in expected
    ]
    return missing + surplus


def _check_speakers(lists: dict[str, Entries]) -> list[Fault]:
    utt2spk = lists["utt2spk"]
    faults = []
    previous = ""
    for utt_id, speaker in sorted(utt2spk.values.items()):
        line = utt2spk.lines[utt_id]
        if not utt_id.startswith(f"{speaker}-") or utt_id == f"{speaker}-":
            faults.append(
                Fault(
                    "utt2spk",
                    line,
                    f"utterance {utt_id!r} of speaker {speaker!r}: expected an id '{speaker}-<rest>'",
                )
            )
        elif speaker < previous:
            message = (
                f"speaker {speaker!r} comes after {previous!r} when sorted by utterance; choose ids "
                "that sort alike"
            )
            faults.append(Fault("utt2spk", line, message))
        previous = max(previous, speaker)
    if "spk2utt" not in lists:
        return [*faults, Fault("spk2utt", 0, "is missing", fixable=True)]
    pairs = {
        utt_id: speaker for speaker, value in lists["spk2utt"].values.items() for utt_id in value.split()
    }
    count = sum(len(value.split()) for value in lists["spk2utt"].values.values())
    if pairs != utt2spk.values or count != len(pairs):
        wrong = sorted(set(pairs.items()) ^ set(utt2spk.values.items()))[:1]
        first = f", first at utterance {wrong[0][0]!r}" if wrong else ""
        faults.append(Fault("spk2utt", 0, f"is not the inverse of utt2spk{first}", fixable=True))
    return faults


def _check_audio(lists: dict[str, Entries], *, open_files: bool) -> list[Fault]:
    wav = lists["wav.scp"]
    faults = []
    durations: dict[str, float] = {}
    for key, audio_path in wav.values.items():
        if not audio_path:
            continue
        if not Path(audio_path).is_file():
            what = "is not a file" if os.path.exists(audio_path) else "does not exist"
            faults.append(Fault("wav.scp", wav.lines[key], f"{key}: {audio_path} {what}"))
        elif open_files:
            from sertoolkit.audio.read import probe

            try:
                info = probe(audio_path)
                durations[key] = info.num_samples / info.sampling_rate
            except (AudioError, OSError) as error:
                faults.append(Fault("wav.scp", wav.lines[key], f"{key}: {error}"))
    return faults + _check_durations(lists, durations)


def _check_durations(lists: dict[str, Entries], durations: dict[str, float]) -> list[Fault]:
    """Segments end inside their recording and utt2dur is true, to a hundredth of a second."""
    faults = []
    if "segments" in lists:
        segments = lists["segments"]
        spans = {utt_id: value.split() for utt_id, value in segments.values.items()}
        spans = {utt_id: span for utt_id, span in spans.items() if len(span) == 3}
        for utt_id, (recording, _, end) in spans.items():
            if recording in durations and _number(end) > durations[recording] + 0.01:
                message = (
                    f"{utt_id}: ends at {end} s, but recording {recording!r} has {durations[recording]:.3f} s"
                )
                faults.append(Fault("segments", segments.lines[utt_id], message))
        durations = {
            u: _number(end) - _number(start) for u, (reco, start, end) in spans.items() if reco in durations
        }
    if "utt2dur" in lists:
        utt2dur = lists["utt2dur"]
        for utt_id, value in utt2dur.values.items():
            if utt_id in durations and abs(_number(value) - durations[utt_id]) > 0.01:
                message = f"{utt_id}: says {value} s, but the audio has {durations[utt_id]:.3f} s"
                faults.append(Fault("utt2dur", utt2dur.lines[utt_id], message))
    return faults


def _number(value: str) -> float:
    return to_seconds(value) or 0.0


def _intersect(values: dict[str, dict[str, str]]) -> list[str]:
    """Cut all lists down to what all of them have, in place."""
    by_utterance = [name for name in values if _is_by_utterance(name, values)]
    if "segments" in values:
        segments = {u: v for u, v in values["segments"].items() if v.split()[0] in values["wav.scp"]}
        values["segments"] = segments
    kept = set.intersection(*(set(values[name]) for name in by_utterance))
    speakers = {values["utt2spk"][utt_id] for utt_id in kept}
    recordings = {values["segments"][u].split()[0] for u in kept} if "segments" in values else kept
    done = []
    for name in values:
        if name == "spk2utt":
            continue
        ids = kept if name in by_utterance else speakers if _is_by_speaker(name) else recordings
        cut = {key: value for key, value in values[name].items() if key in ids}
        if len(cut) < len(values[name]):
            done.append(
                f"{name}: kept {len(cut)} of {len(values[name])} lines: the others are not in all lists"
            )
        values[name] = cut
    return done
