"""Small or generated corpora in the layouts of their publishers, with the traps of the real ones.

:func:`iemocap` makes the whole of IEMOCAP, 10,039 turns of one tiny recording, with the label counts of the real
corpus. The others are made of real speech that stands in for what nobody has at hand: LibriSpeech is itself, LJ Speech
gives talks in SPHERE and STM for TED-LIUM, CMU ARCTIC is what the speakers of VoxForge read, the actors of EmoDB are
those of a small IEMOCAP.
"""

from __future__ import annotations

import csv
import itertools
import os
import random
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000

# IEMOCAP: turns by session and by released label, and those of four classes by speaker (sum: 5,531).
SESSIONS = {"Ses01": 1819, "Ses02": 1811, "Ses03": 2136, "Ses04": 2103, "Ses05": 2170}
LABELS = {
    "ang": 1103, "hap": 595, "exc": 1041, "neu": 1708, "sad": 1084,
    "xxx": 2507, "fru": 1849, "sur": 107, "fea": 40, "oth": 3, "dis": 2,
}  # fmt: skip
SPEAKERS = {
    "Ses01F": 528, "Ses01M": 557, "Ses02F": 481, "Ses02M": 542, "Ses03F": 522,
    "Ses03M": 629, "Ses04F": 528, "Ses04M": 503, "Ses05F": 590, "Ses05M": 651,
}  # fmt: skip
FOUR = ("ang", "hap", "exc", "neu", "sad")
NAMES = {
    "ang": "Anger", "hap": "Happiness", "exc": "Excited", "neu": "Neutral", "sad": "Sadness",
    "fru": "Frustration", "sur": "Surprise", "fea": "Fear", "oth": "Other", "dis": "Disgust",
}  # fmt: skip
# Evaluators who do not bear out the released label: label -> (how many turns, what the three say). With them the
# majority, excitement merged first, is anger 1,124, happiness 2,410, neutral 1,655, sadness 1,071. An evaluator may give
# several labels: in 2,890 turns the three give more than three.
DISSENT = {
    "xxx": [(774, "hap exc neu"), (21, "ang ang,fru sad"), (1000, "fru,exc,hap sad neu")],
    "neu": [(53, "neu neu,hap exc")],
    "sad": [(13, "sad,exc sad hap")],
    "fru": [(1803, "fru,ang fru fru")],
}
_DIALOGS = 30  # a session
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def iemocap(root: Path) -> Path:
    """The whole of IEMOCAP with one tiny recording under 10,039 names; the folder IEMOCAP_full_release."""
    top = root / "IEMOCAP_full_release"
    tone = root / "tone.wav"
    soundfile.write(tone, 0.1 * np.sin(np.arange(RATE // 20) / 5), RATE)
    for session, turns in _deal().items():
        folder = top / f"Session{int(session[3:])}"
        for number in range(_DIALOGS):
            dialog = _dialog_name(session, number)
            _write_dialog(folder, dialog, turns[number::_DIALOGS], itertools.repeat(tone))
    return top


def iemocap_small(root: Path, corpora: Path) -> Path:
    """Actors of EmoDB in IEMOCAP's layout, each with two turns of four classes and one frustrated; its folder."""
    top = root / "IEMOCAP_full_release"
    actors = {"F": iter(("08", "09", "13", "14", "16")), "M": iter(("03", "10", "11", "12", "15"))}
    spoken = {"W": ("ang", "ang", "fru"), "F": ("hap", "exc"), "N": ("neu", "neu"), "T": ("sad", "sad")}
    for session in SESSIONS:
        turns, recordings = [], []
        for letter, of_sex in actors.items():
            clips = sorted(
                (corpora / "EmoDB" / "wav").glob(f"{next(of_sex)}*"), key=lambda path: path.stat().st_size
            )
            for emotion, labels in spoken.items():
                found = [path for path in clips if path.stem[5] == emotion][: len(labels)]
                for label, clip in zip(labels, found, strict=True):  # the shortest
                    turns.append((letter, label, f"{label} {label} {label}"))
                    recordings.append(root / f"{clip.stem}.wav")
                    soundfile.write(recordings[-1], _speech(clip), RATE)
        _write_dialog(top / f"Session{int(session[3:])}", f"{session}F_impro01", turns, recordings)
    return top


def _deal() -> dict[str, list[tuple[str, str, str]]]:
    """(Letter of the speaker, released label, what the evaluators say) of the turns of each session."""
    draw = random.Random(1)
    cards = {}
    for kind in (FOUR, tuple(label for label in LABELS if label not in FOUR)):
        cards[kind] = [(label, said) for label in kind for said in _said(label)]
        draw.shuffle(cards[kind])
    four, others = cards.values()
    turns = {}
    for session, total in SESSIONS.items():
        turns[session] = [
            (s[-1], *four.pop()) for s, n in SPEAKERS.items() if s[:5] == session for _ in range(n)
        ]
        turns[session] += [(draw.choice("FM"), *others.pop()) for _ in range(total - len(turns[session]))]
        draw.shuffle(turns[session])
    return turns


def _said(label: str) -> Iterator[str]:
    rest = LABELS[label]
    for count, said in DISSENT.get(label, []):
        yield from [said] * count
        rest -= count
    yield from ["ang fru sad" if label == "xxx" else f"{label} {label} {label}"] * rest


def _dialog_name(session: str, number: int) -> str:
    wearer = "FM"[number % 2]
    if number < 16:
        return f"{session}{wearer}_impro{number // 2 + 1:02d}"
    part = f"{session}{wearer}_script{(number - 16) // 6 + 1:02d}_{(number - 16) % 6 // 2 + 1}"
    return part + ("b" if part == "Ses05M_script01_1" else "")


def _write_dialog(
    folder: Path, dialog: str, turns: list[tuple[str, str, str]], recordings: Iterable[Path]
) -> None:
    wavs = folder / "sentences" / "wav" / dialog
    wavs.mkdir(parents=True)
    evaluation = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    transcript = [f"{dialog}_FXX0 [000.1000-000.2000]: Hm.", "M: not a turn"]
    for number, ((letter, label, said), recording) in enumerate(zip(turns, recordings, strict=False)):
        name, start = f"{dialog}_{letter}{number:03d}", 4.0 + 3 * number
        os.link(recording, wavs / f"{name}.wav")
        evaluation.append(f"[{start:.4f} - {start + 2.5:.4f}]\t{name}\t{label}\t[2.5000, 3.5000, 2.0000]")
        for rater, labels in enumerate(said.split(), start=1 if dialog.startswith("Ses05") else 2):
            spelled = "; ".join(NAMES[code] for code in labels.split(","))
            evaluation.append(f"C-E{rater}:\t{spelled};\t(na\xefve \x85 comment; Anger)")
        own = label if label in NAMES else "oth"
        evaluation.append(f"C-{letter}1:\t{NAMES[own] + ' state' * (own == 'neu')};\t()")
        evaluation += ["A-E3:\tval 3; act 2; dom  2;\t()", "A-E4:\tval ; act 3; dom  3;\t(no valence)", ""]
        text = "[LAUGHTER]" if number % 10 == 9 else f"Turn {_spell(number)} of it, isn't it? [LAUGHTER]"
        transcript.append(f"{name} [{start:08.4f}-{start + 2.5:08.4f}]: {text}")
    end = "\r\n" if dialog.endswith("1") else "\n"
    for kind, lines in (("EmoEvaluation", evaluation), ("transcriptions", transcript)):
        path = folder / "dialog" / kind / f"{dialog}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((end.join(lines) + end).encode("latin-1"))
        (path.parent / f"._{dialog}.txt").write_bytes(b"\0\5\26\7junk of macOS")
    (wavs / f"._{dialog}_F000.wav").write_bytes(b"\0\5\26\7")
    for name, line in {
        f"dialog/EmoEvaluation/Categorical/{dialog}_e2_cat.txt": ":Neutral state; ()",
        f"dialog/EmoEvaluation/Attribute/{dialog}_e3_atr.txt": ":act 2; :val 3; :dom  2; ()",
        f"dialog/EmoEvaluation/Self-evaluation/{dialog}_f1_cat.txt": ":Anger; :Frustration; ()",
        f"dialog/lab/{dialog[:5]}_F/{dialog}.lab": "4.0 6.5",
        f"sentences/ForcedAlignment/{dialog}/{dialog}_F000.wdseg": "0 10 -1 <s>",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{dialog}_F000 {line}\n")


def _spell(number: int) -> str:
    return " ".join(_DIGITS[int(digit)] for digit in str(number))


def _speech(path: Path) -> np.ndarray:
    import soxr

    samples, rate = soundfile.read(path, dtype="float32")
    return samples if rate == RATE else soxr.resample(samples, rate, RATE)


def librispeech(root: Path, corpora: Path) -> Path:
    """Four real readers, shared out among parts that are not theirs, and one of VCTK; the folder LibriSpeech."""
    top = root / "LibriSpeech"
    real = corpora / "LibriSpeech"
    for source, part in (
        ("test-clean/1089", "train-clean-100"), ("dev-clean/2412", "dev-clean"),
        ("test-clean/61", "test-clean"), ("test-clean/1995", "test-other"),
    ):  # fmt: skip
        shutil.copytree(real / source, top / part / Path(source).name)
    shutil.copy(real / "SPEAKERS.TXT", top)
    chapter = top / "dev-other" / "228" / "1"
    chapter.mkdir(parents=True)
    lines = []
    for number, text in enumerate(sorted((corpora / "VCTK-Corpus" / "txt" / "p228").glob("*.txt"))[:2]):
        (audio,) = (corpora / "VCTK-Corpus").glob(f"wav48/p228/{text.stem}.*")
        soundfile.write(chapter / f"228-1-{number:04d}.flac", _speech(audio), RATE)
        words = "".join(c for c in text.read_text().upper() if c.isalpha() or c in " '")
        lines.append(f"228-1-{number:04d} {' '.join(words.split())}\n")
    (chapter / "228-1.trans.txt").write_text("".join(lines))
    (top / "dev-other" / ".DS_Store").touch()
    return top


def tedlium(root: Path, corpora: Path) -> Path:
    """Talks of LJ Speech's clips in SPHERE and STM; the folder TEDLIUM_release2.

    Of CleoHall there is a talk in train and one in test; her talk in train must not be used. In train AdaWong has a
    segment of 21 s.
    """
    top = root / "TEDLIUM_release2"
    clips = {}
    with open(corpora / "LJSpeech-1.1" / "metadata.csv", encoding="utf-8") as table:
        for name, _, text in csv.reader(table, delimiter="|", quoting=csv.QUOTE_NONE):
            (audio,) = (corpora / "LJSpeech-1.1" / "wavs").glob(f"{name}.*")
            clips[int(name[-4:])] = (
                audio,
                " ".join("".join(c if c.isalpha() else " " for c in text.lower()).split()),
            )
    talks = {
        "train": {"AdaWong_2008": (1, 2, 3), "BobRay_2009P": (4, 5, 6, 8), "CleoHall_2010_S103": (11, 13)},
        "dev": {"DanLee_2009": (2, 16)},
        "test": {"CleoHall_2006": (8, 20)},
    }
    for part, of_part in talks.items():
        for talk, numbers in of_part.items():
            _write_talk(top / part, talk, [clips[number] for number in numbers])
    return top


def _write_talk(folder: Path, talk: str, clips: list[tuple[Path, str]]) -> None:
    gap = np.zeros(RATE // 2, dtype=np.float32)
    samples, spans, start = [], [], 0.0
    for audio, _ in clips:
        speech = _speech(audio)
        spans.append((start, start + len(speech) / RATE))
        samples += [speech, gap]
        start += (len(speech) + len(gap)) / RATE
    label = "<o,f0,female>" if folder.name == "train" else "<F0_F>"
    lines = [
        ';; LABEL "o" "Overall" "Overall"',
        f"{talk} 1 inter_segment_gap {spans[0][1]:.2f} {spans[1][0]:.2f} <o,,unknown> ignore_time_segment_in_scoring",
        f"{talk} 1 {talk} {spans[1][0]:.2f} {spans[1][1]:.2f} {label} so <unk> it",
    ]
    for (first, last), (_, words) in zip(spans, clips, strict=True):
        heard = f"{words} it 's(2) <sil> {{NOISE}} the boys '"
        name = f" ({talk}-{first:.2f}-{last:.2f}-{label})" if folder.name == "train" else ""
        lines.append(f"{talk} 1 {talk} {first:.2f} {last:.2f} {label} {heard}{name}")
    lines.append(lines[-1])  # a line that stands twice
    end = start + 0.07  # behind the end of the recording, where the last gap lies
    lines.append(f"{talk} 1 {talk} {spans[-1][1]:.2f} {end:.2f} {label} {{BREATH}} thank you")
    if talk == "AdaWong_2008":
        lines.append(f"{talk} 1 {talk} 0 {spans[-1][1]:.2f} {label} all of it")
    for kind in ("sph", "stm"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    soundfile.write(
        folder / "sph" / f"{talk}.sph", np.concatenate(samples), RATE, format="NIST", subtype="PCM_16"
    )
    (folder / "stm" / f"{talk}.stm").write_text("\n".join(lines) + "\n")


def voxforge(root: Path, corpora: Path) -> Path:
    """Submissions of ARCTIC's sentences: bdl trains, slt validates, tom-r (bdl's voice) tests; two are anonymous."""
    top = root / "VoxForge"
    submissions = {
        "bdl-20080101-abc": ("bdl", range(1, 5), "wav"),
        "bdl-20090203-b2": ("bdl", range(5, 7), "flac"),
        "slt-20080102-def": ("slt", range(3, 6), "wav"),
        "tom-r-20120412-hge": ("bdl", range(7, 9), "wav"),
        "anonymous-20100101-jkl": ("slt", range(10, 12), "wav"),
        "anonymous-20100202-mno": ("bdl", range(10, 12), "flac"),
    }
    for name, (voice, numbers, kind) in submissions.items():
        _write_submission(top / name, corpora / "CMU_ARCTIC" / f"cmu_us_{voice}_arctic", numbers, kind)
    (top / "bdl-20080101-abc" / "wav" / "noprompt.wav").touch()
    (top / "bdl-20080101-abc" / "wav" / "a0900.wav").write_bytes(b"RIFF")
    soundfile.write(top / "bdl-20080101-abc" / "wav" / "a0901.wav", np.zeros(8000), 8000)
    with open(top / "bdl-20080101-abc" / "etc" / "PROMPTS", "ab") as prompts:
        prompts.write(
            "x/mfc/a0900 DAMAGED\nx/mfc/a0901 EIGHT\nx/mfc/a0902 CAF\xc9\nx/mfc/a0903 1908\n".encode(
                "latin-1"
            )
        )
    (top / "archives").mkdir()
    return top


def _write_submission(folder: Path, voice: Path, numbers: range, kind: str) -> None:
    texts = dict(line.split('"')[0:2] for line in (voice / "etc" / "txt.done.data").read_text().splitlines())
    texts = {name.strip("( "): text for name, text in texts.items()}
    (folder / kind).mkdir(parents=True)
    (folder / "etc").mkdir()
    lines = []
    for number in numbers:
        name = f"a{number:04d}"
        (audio,) = (voice / "wav").glob(f"arctic_{name}.*")
        soundfile.write(folder / kind / f"{name}.{kind}", _speech(audio), RATE)
        lines.append(f"{folder.name}/mfc/{name} {texts[f'arctic_{name}'].upper()}\n")
    (folder / "etc" / "PROMPTS").write_text("".join(lines))
    (folder / "etc" / "README").write_bytes("User Name:x\nGender: M\xe4nnlich\n".encode("latin-1"))
