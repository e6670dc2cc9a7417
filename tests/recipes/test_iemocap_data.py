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


EVALUATED = f"dialog/EmoEvaluation/{DIALOG}.txt"


def dialog(name, evaluation, transcript, *turns):
    """Files of a dialog below the folder of its session."""
    tree = {f"dialog/EmoEvaluation/{name}.txt": evaluation, f"dialog/transcriptions/{name}.txt": transcript}
    return tree | {f"sentences/wav/{name}/{name}_{turn}.wav": "" for turn in turns}


def files(**changes):
    """A dialog of two turns in Session4, which changes, and one of one turn in each other session."""
    tree = dialog(DIALOG, EVALUATION, TRANSCRIPT, "F003", "M000")
    tree |= {
        f"dialog/EmoEvaluation/._{DIALOG}.txt": "\x00junk",
        f"sentences/wav/{DIALOG}/._{DIALOG}_F003.wav": "junk",
    }
    tree = {f"Session4/{name}": text for name, text in (tree | changes).items()}
    for number in (1, 2, 3, 5):
        name = f"Ses0{number}F_impro01"
        turn = f"[1.0 - 2.0]\t{name}_F000\tang\t[2.0000, 4.0000, 3.0000]\nC-E2:\tAnger;\t()\n"
        of_session = dialog(name, turn, f"{name}_F000 [001.0-002.0]: Yes.\n", "F000")
        tree |= {f"Session{number}/{path}": text for path, text in of_session.items()}
    return {name: text for name, text in tree.items() if text is not None}


def of_dialog(values):
    """What a list says of the turns of the dialog in Session4."""
    return {utt_id: value for utt_id, value in values.items() if DIALOG in utt_id}


def test_speaker_is_the_letter_of_the_last_field(local_script, make_files, tmp_path):
    data = local_script(SCRIPT).prepare(make_files(files()))
    data.write(tmp_path / "out")
    assert of_dialog(data.utt2spk) == {
        "Ses04F-Ses04M_impro01_F003": "Ses04F",
        "Ses04M-Ses04M_impro01_M000": "Ses04M",
    }
    assert set(of_dialog(data.utt2ses).values()) == {"Ses04"}
    assert (data.spk2gender["Ses04F"], data.spk2gender["Ses04M"]) == ("f", "m")


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
    assert of_dialog(text) == {
        "Ses04F-Ses04M_impro01_F003": "EXCUSE ME",
        "Ses04M-Ses04M_impro01_M000": "[LAUGHTER]",
    }


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
    assert "kept 6 of 7 utterances, 1 recorded but not evaluated" in caplog.text


def test_blanks_may_stand_for_tabs(local_script, make_files):
    evaluation = EVALUATION.replace("\t", "  ").replace("C-E3:  ", "C-E3:").replace("C-E4:", " C-E4 : ")
    data = local_script(SCRIPT).prepare(make_files(files(**{EVALUATED: evaluation})))
    assert data.utt2raters["Ses04F-Ses04M_impro01_F003"] == "C-E2:neu C-E3:neu,ang C-E4:neu C-F1:exc"
    assert data.extra["utt2activation"]["Ses04F-Ses04M_impro01_F003"] == "3.0000"


def test_labels_of_an_evaluator_on_two_lines_are_joined(local_script, make_files):
    evaluation = EVALUATION.replace("C-E4:\tNeutral state;", "C-E2:\tSadness; Neutral;")
    data = local_script(SCRIPT).prepare(make_files(files(**{EVALUATED: evaluation})))
    assert data.utt2raters["Ses04F-Ses04M_impro01_F003"] == "C-E2:neu,sad C-E3:neu,ang C-F1:exc"


def test_an_evaluator_without_a_label_is_not_lost(local_script, make_files):
    evaluation = EVALUATION.replace("C-E4:\tNeutral state;", "C-E4:\t;")
    data = local_script(SCRIPT).prepare(make_files(files(**{EVALUATED: evaluation})))
    assert data.utt2raters["Ses04F-Ses04M_impro01_F003"] == "C-E2:neu C-E3:neu,ang C-E4: C-F1:exc"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({f"sentences/wav/{DIALOG}/{DIALOG}_M000.wav": None}, r"\.txt:11: turn .*M000: no audio file in"),
        ({f"dialog/transcriptions/{DIALOG}.txt": TRANSCRIPT.splitlines()[0]}, r"txt:11: turn .*M000: no transcript"),
        ({EVALUATED: EVALUATION.replace("Frustration", "Frustation")},
         r"txt:12: unknown label 'frustation'; did you mean 'frustration'"),
        ({EVALUATED: EVALUATION.replace("\txxx", "\tnone")}, r"txt:11: unknown label 'none'"),
        ({EVALUATED: EVALUATION.replace("2.0000]", "2.0000")}, r"txt:3: found .*expected '\[start - end\] turn"),
        ({EVALUATED: EVALUATION.replace("C-E2:\tFru", "C-E2 Fru")}, r"txt:12: found 'C-E2 Frustration;.*a rating like"),
        ({EVALUATED: EVALUATION.replace("C-E2:\tFrustration;\t()", "")}, r"txt:11: turn .*M000: no rating"),
        ({EVALUATED: "C-E2:\tAnger;\t()\n" + EVALUATION}, r"txt:1: found 'C-E2.* before the first turn"),
        ({EVALUATED: EVALUATION.replace("_M000", "_F003")}, r"txt:11: turn Ses04M_impro01_F003 stands at .*txt:3 too"),
        ({EVALUATED: EVALUATION + "Ses04M neutral\n"}, r"txt:13: found 'Ses04M neutral'"),
        ({EVALUATED: EVALUATION.replace("Ses04M_impro01_M000", "Ses01M_impro01_M000")},
         r"txt:11: turn 'Ses01M_impro01_M000': expected a name like Ses04F"),
        ({EVALUATED.replace("01.txt", "02.txt"): EVALUATION},
         r"02\.txt:11: turn Ses04M_impro01_M000 stands at .*01\.txt:11 too"),
    ],
)  # fmt: skip
def test_faults_are_named_with_file_line_and_turn(local_script, make_files, change, message):
    with pytest.raises(DataError, match=message):
        local_script(SCRIPT).prepare(make_files(files(**change)))


def test_what_an_incomplete_copy_lacks_is_named_at_once(local_script, make_files):
    tree = files(**{EVALUATED: None})
    tree |= {f"Session3/sentences/wav/Ses03M_script0{number}_1/x.wav": "" for number in (1, 2)}
    tree = {name: text for name, text in tree.items() if not name.startswith(("Session2", "Session5/"))}
    tree["Session5/README.txt"] = ""
    with pytest.raises(DataError, match="4 faults") as caught:
        local_script(SCRIPT).prepare(make_files(tree))
    message = str(caught.value)
    assert "Session2: no such folder" in message
    assert "dialogs that have audio (2): Ses03M_script01_1, Ses03M_script02_1" in message
    assert f"dialogs that have audio (1): {DIALOG}" in message
    assert "Session5: no dialog" in message


def test_another_number_of_turns_than_the_release_has_is_a_warning(local_script, make_files, caplog):
    tree = make_files(files())
    prepare = local_script(SCRIPT).prepare
    for expected, warned in ((None, False), (6, False), (10039, True)):
        caplog.clear()
        prepare(tree, num_turns=expected)
        assert ("found 6 turns, the release has 10,039" in caplog.text) == warned


def test_wrong_folder_says_what_was_expected(local_script, tmp_path):
    with pytest.raises(DataError, match="IEMOCAP_full_release"):
        local_script(SCRIPT).prepare(tmp_path)
