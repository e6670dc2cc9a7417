import pytest

from sertoolkit.errors import DataError

SCRIPT = "librispeech_tedlium_voxforge/asr/local/librispeech"
SPEAKERS = """\
; comment
61   | M | test-clean       | 8.08  | Paul-Gabriel Wiener
60 | F | test-clean | 1 | CBW|Simon
"""


def files(**changes):
    tree = {
        "SPEAKERS.TXT": SPEAKERS,
        "test-clean/61/70968/61-70968-0000.flac": "",
        "test-clean/61/70968/61-70968-0001.flac": "",
        "test-clean/61/70968/61-70968.trans.txt": "61-70968-0000 HE BEGAN\n61-70968-0001 DON'T\n",
        "test-clean/60/1/60-1-0000.flac": "",
        "test-clean/60/1/60-1.trans.txt": "60-1-0000 YES\n",
    }
    tree |= changes
    return {name: text for name, text in tree.items() if text is not None}


def test_speaker_is_the_reader_and_ids_begin_with_it(local_script, make_files, tmp_path):
    data = local_script(SCRIPT).prepare(make_files(files()), "test-clean")
    data.write(tmp_path / "out")  # which checks the order of ids
    assert data.text == {
        "libri_61-70968-0000": "HE BEGAN",
        "libri_61-70968-0001": "DON'T",
        "libri_60-1-0000": "YES",
    }
    assert data.utt2spk["libri_61-70968-0001"] == "libri_61"
    assert data.spk2gender == {"libri_61": "m", "libri_60": "f"}


def test_folders_that_are_no_readers_are_passed_over(local_script, make_files):
    tree = files(**{"test-clean/.DS_Store/1/x.flac": "", "test-clean/test-clean/61/y.flac": ""})
    assert len(local_script(SCRIPT).prepare(make_files(tree), "test-clean").wav) == 3


def test_files_of_macos_are_passed_over(local_script, make_files):
    tree = files(**{"test-clean/61/70968/._61-70968-0000.flac": "junk"})
    assert len(local_script(SCRIPT).prepare(make_files(tree), "test-clean").wav) == 3


def test_missing_audio_transcripts_and_readers_are_named_at_once(local_script, make_files):
    tree = files(
        **{
            "test-clean/61/70968/61-70968-0001.flac": None,
            "test-clean/61/70968/61-70968-0009.flac": "",
            "test-clean/60/1/60-1.trans.txt": None,
            "test-clean/7/1/7-1.trans.txt": "7-1-0000 FIVE 5\n",
            "test-clean/7/1/7-1-0000.flac": "",
        }
    )
    with pytest.raises(DataError, match="5 faults") as caught:
        local_script(SCRIPT).prepare(make_files(tree), "test-clean")
    message = str(caught.value)
    assert "no audio file for '61-70968-0001'" in message
    assert "61-70968-0009.flac: no line" in message
    assert "60-1.trans.txt: missing" in message
    assert "7-1.trans.txt:1" in message
    assert "reader 7 is not in SPEAKERS.TXT" in message


def test_unreadable_speaker_table_is_named_by_line(local_script, make_files):
    corpus = make_files(files(**{"SPEAKERS.TXT": SPEAKERS + "62 M test-clean\n"}))
    with pytest.raises(DataError, match=r"SPEAKERS.TXT:4"):
        local_script(SCRIPT).prepare(corpus, "test-clean")


def test_unknown_part_lists_the_parts(local_script, make_files):
    with pytest.raises(DataError, match=r"dev-clean.*test-clean"):
        local_script(SCRIPT).prepare(make_files(files()), "dev-clean")


def test_real_corpus(local_script, corpora):
    prepare = local_script(SCRIPT).prepare
    assert (
        prepare(corpora / "LibriSpeech", "test-clean").text["libri_1089-134691-0000"]
        == "HE COULD WAIT NO LONGER"
    )
    assert len(prepare(corpora / "LibriSpeech", "dev-clean").wav) == 1
