import logging

import pytest

from sertoolkit.errors import DataError

SCRIPT = "iemocap/ser/local/iemocap"
DIALOG = "Ses04M_impro01"
EVALUATION = """\
% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes04M_impro01_F003\tneu\t[2.5000, 3.0000, 2.0000]
C-E2:\tNeutral;\t()
C-E3:\tNeutral; Anger;\t(what; a comment)
C-E4:\tNeutral state;\t()
C-F1:\tExcited;\t(curious)
A-E3:\tval 3; act 2; dom  2;\t()
A-E4:\tval ; act 3; dom  3;\t(mildly aggravated but staying polite)

[9.0 - 9.9]\tSes04M_impro01_M000\txxx\t[2.5000, 2.5000, 2.5000]
C-E2:\tFrustration;\t()
"""
TRANSCRIPT = """\
Ses04M_impro01_F003 [006.2901-008.2357]: Excuse me.
M: unheard
Ses04M_impro01_M000 [009.0000-009.9000]: [LAUGHTER]
Ses04M_impro01_FXX0 [010.0000-011.0000]: Hm.
"""


def files(**changes):
    session = "Session4/"
    tree = {
        f"{session}dialog/EmoEvaluation/{DIALOG}.txt": EVALUATION,
        f"{session}dialog/EmoEvaluation/._{DIALOG}.txt": "\x00junk",
        f"{session}dialog/transcriptions/{DIALOG}.txt": TRANSCRIPT,
        f"{session}sentences/wav/{DIALOG}/{DIALOG}_F003.wav": "",
        f"{session}sentences/wav/{DIALOG}/._{DIALOG}_F003.wav": "junk",
        f"{session}sentences/wav/{DIALOG}/{DIALOG}_M000.wav": "",
    }
    tree |= {session + name: text for name, text in changes.items()}
    return {name: text for name, text in tree.items() if text is not None}


def test_speaker_is_the_letter_of_the_last_field(local_script, make_files, tmp_path):
    data = local_script(SCRIPT).prepare(make_files(files()))
    data.write(tmp_path / "out")
    assert data.utt2spk == {
        "Ses04F-Ses04M_impro01_F003": "Ses04F",
        "Ses04M-Ses04M_impro01_M000": "Ses04M",
    }
    assert set(data.utt2ses.values()) == {"Ses04"}
    assert data.spk2gender == {"Ses04F": "f", "Ses04M": "m"}


def test_every_label_of_every_evaluator_is_kept(local_script, make_files):
    data = local_script(SCRIPT).prepare(make_files(files()))
    assert data.utt2raters["Ses04F-Ses04M_impro01_F003"] == "C-E2:neu C-E3:neu,ang C-E4:neu C-F1:exc"


def test_consensus_and_attributes_are_those_released(local_script, make_files):
    data = local_script(SCRIPT).prepare(make_files(files()))
    assert data.utt2emo["Ses04F-Ses04M_impro01_F003"] == "neu"
    assert data.utt2emo["Ses04M-Ses04M_impro01_M000"] == "xxx"
    values = {name: table["Ses04F-Ses04M_impro01_F003"] for name, table in data.extra.items()}
    assert values == {"utt2valence": "2.5000", "utt2activation": "3.0000", "utt2dominance": "2.0000"}


def test_text_is_normalised_and_never_empty(local_script, make_files):
    text = local_script(SCRIPT).prepare(make_files(files())).text
    assert text == {"Ses04F-Ses04M_impro01_F003": "EXCUSE ME", "Ses04M-Ses04M_impro01_M000": "[LAUGHTER]"}


def test_windows_line_ends_change_nothing(local_script, make_files):
    tree = files(**{f"dialog/EmoEvaluation/{DIALOG}.txt": EVALUATION.replace("\n", "\r\n")})
    assert local_script(SCRIPT).prepare(make_files(tree)).utt2emo["Ses04F-Ses04M_impro01_F003"] == "neu"


def test_dots_of_the_code_page_of_windows_end_no_line(local_script, make_files):
    transcript = TRANSCRIPT.replace("Excuse me.", "Excuse \x85 me.").replace("F003 [", "F003[")
    evaluation = EVALUATION.replace("what; a comment", "what\x85C-E9:\tSadness;")
    tree = {
        f"dialog/transcriptions/{DIALOG}.txt": transcript,
        f"dialog/EmoEvaluation/{DIALOG}.txt": evaluation,
    }
    data = local_script(SCRIPT).prepare(make_files(files(**tree)))
    assert data.text["Ses04F-Ses04M_impro01_F003"] == "EXCUSE ME"
    assert "C-E9" not in data.utt2raters["Ses04F-Ses04M_impro01_F003"]


def test_recordings_without_an_evaluation_are_counted(local_script, make_files, caplog):
    caplog.set_level(logging.INFO)
    tree = files(**{f"sentences/wav/{DIALOG}/{DIALOG}_FXX0.wav": ""})
    local_script(SCRIPT).prepare(make_files(tree))
    assert "kept 2 of 3 utterances, 1 recorded but not evaluated" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"sentences/wav/{DIALOG}/{DIALOG}_M000.wav": None}, "M000: no audio file"),
        ({f"dialog/transcriptions/{DIALOG}.txt": TRANSCRIPT.splitlines()[0]}, "M000: no transcript"),
        ({f"dialog/EmoEvaluation/{DIALOG}.txt": EVALUATION.replace("Frustration", "Frustation")},
         "unknown label 'frustation'; did you mean 'frustration'"),
        ({f"dialog/EmoEvaluation/{DIALOG}.txt": EVALUATION.replace("\txxx", "\tnone")},
         "unknown label 'none'"),
        ({f"dialog/EmoEvaluation/{DIALOG}.txt": EVALUATION.replace("\tneu\t", " neu ")}, "parted by tabs"),
    ],
)  # fmt: skip
def test_faults_are_named_with_file_and_turn(local_script, make_files, change, message):
    with pytest.raises(DataError, match=message):
        local_script(SCRIPT).prepare(make_files(files(**change)))


def test_wrong_folder_says_what_was_expected(local_script, tmp_path):
    with pytest.raises(DataError, match="IEMOCAP_full_release"):
        local_script(SCRIPT).prepare(tmp_path)
