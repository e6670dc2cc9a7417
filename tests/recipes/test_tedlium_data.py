from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit.errors import DataError

SCRIPT = "librispeech_tedlium_voxforge/asr/local/tedlium"


def write_talk(folder: Path, talk: str, segments: str, *, seconds: float = 10.0) -> Path:
    """A talk of silence; segments are `start end rest`, a line each."""
    for kind in ("sph", "stm"):
        (folder / "train" / kind).mkdir(parents=True, exist_ok=True)
    path = folder / "train" / "sph" / f"{talk}.sph"
    soundfile.write(path, np.zeros(round(seconds * 16000)), 16000, format="NIST", subtype="PCM_16")
    lines = "".join(f"{talk} 1 {talk} {segment}\n" for segment in segments.splitlines())
    (folder / "train" / "stm" / f"{talk}.stm").write_text(lines)
    return path


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("it 's what they 're for", "IT'S WHAT THEY'RE FOR"),
        ("he said 'yes", "HE SAID 'YES"),  # an opening quote joins nothing
        ("the boys ' room", "THE BOYS ROOM"),
        ("a(2) live(3) <sil> one {NOISE} {UH}", "A LIVE ONE"),
        ("thank you (AlGore_2009-1.00-2.50-<o,f0,male>)", "THANK YOU"),
    ],
)
def test_marks_of_the_stm_are_removed_and_contractions_joined(local_script, found, expected):
    assert local_script(SCRIPT).clean_text(found) == expected


def test_speaker_is_the_person_of_several_talks(local_script, tmp_path):
    for talk in ("AlGore_2006", "AlGore_2009P", "AlGore_2010_S103", "Al-Go_2001", "Nobody"):
        write_talk(tmp_path, talk, "1.5 2.25 <o,f0,male> hello")
    data = local_script(SCRIPT).prepare(tmp_path, "train")
    data.write(tmp_path / "out")  # which checks the order of ids
    assert set(data.utt2spk.values()) == {"tedlium_AlGore", "tedlium_Al_Go", "tedlium_Nobody"}
    assert data.segments["tedlium_AlGore-2009P-00001500-00002250"] == ("tedlium_AlGore_2009P", 1.5, 2.25)
    assert data.utt2dur["tedlium_AlGore-2010_S103-00001500-00002250"] == 0.75


def test_segments_without_known_words_are_dropped_with_a_count(local_script, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    segments = """\
0 1 <o,f0,male> some <unk> words
1 2 <F0_M> {NOISE}
2 3 <o,f0,male> 1984
3 4 <o,,unknown> ignore_time_segment_in_scoring
4 5 <F0_M> kept
4 5 <F0_M> kept
5 6 without a label
6 7 <NA> of no class
7 8 <unk> first
8 9 <sil> silence first
"""
    write_talk(tmp_path, "Me_2000", segments)
    data = local_script(SCRIPT).prepare(tmp_path, "train")
    assert sorted(data.text.values()) == [
        "KEPT", "OF NO CLASS", "SILENCE FIRST", "WITHOUT A LABEL",
    ]  # fmt: skip
    expected = (
        "kept 4 of 10 utterances, 1 excluded from scoring, 1 that stand twice, 2 with <unk>, 2 without words"
    )
    assert expected in caplog.text


def test_segments_end_where_the_recording_ends(local_script, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write_talk(tmp_path, "Me_2000", "8 10.02 <F0_M> last\n10 11 <F0_M> behind\n", seconds=10.0004)
    data = local_script(SCRIPT).prepare(tmp_path, "train")
    assert list(data.segments.values()) == [("tedlium_Me_2000", 8.0, 10.0)]
    assert "1 cut where the recording ends" in caplog.text
    assert "1 that begin after the end" in caplog.text


def test_comments_and_files_of_macos_are_passed_over(local_script, tmp_path):
    write_talk(tmp_path, "Me_2000", "0 1 <F0_M> hello")
    stm = tmp_path / "train" / "stm" / "Me_2000.stm"
    stm.write_text(";; LABEL\n\n" + stm.read_text())
    (tmp_path / "train" / "stm" / "._Me_2000.stm").write_text("junk")
    assert len(local_script(SCRIPT).prepare(tmp_path, "train").text) == 1


def test_all_faults_are_named_at_once(local_script, tmp_path):
    for talk in ("Me_2000", "No_2000", "Cut_2000", "Un_2000"):
        write_talk(tmp_path, talk, "0 1 <F0_M> hello\n3 2 <F0_M> backwards\nx 2 <F0_M> x\n")
    (tmp_path / "train" / "sph" / "No_2000.sph").unlink()
    (tmp_path / "train" / "stm" / "Un_2000.stm").unlink()
    cut = tmp_path / "train" / "sph" / "Cut_2000.sph"
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(DataError, match="5 faults") as caught:
        local_script(SCRIPT).prepare(tmp_path, "train")
    message = str(caught.value)
    assert "no recording sph/No_2000.sph" in message
    assert "no segments stm/Un_2000.stm" in message
    assert "Cut_2000.sph: is cut" in message
    assert "Me_2000.stm:2: found" in message
    assert "Me_2000.stm:3: found" in message


def test_wrong_folder_says_what_was_expected(local_script, tmp_path):
    with pytest.raises(DataError, match="the folder TEDLIUM_release2"):
        local_script(SCRIPT).prepare(tmp_path, "dev")
