import logging

import pytest

from sertoolkit.corpus.data_dir import DataDir
from sertoolkit.errors import DataError

LOCAL = "english_small/asr/local/"


def data_dir(texts):
    return DataDir(
        wav={u: f"{u}.wav" for u in texts}, utt2spk={u: u.split("-")[0] for u in texts}, text=dict(texts)
    )


def corpora_of(**changes):
    """One utterance or so of every corpus, as data dirs."""
    local = {
        "arctic": {
            f"arctic_{s}-a{n:04d}": f"ARCTIC {word}"
            for s in ("bdl", "slt")
            for n, word in ((380, "A"), (381, "B"), (400, "C"), (401, "D"), (500, "E"), (501, "F"))
        },
        "ljspeech": {"ljspeech-LJ001-0001": "LJ", "ljspeech-LJ001-0033": "LATER"},
        "vctk": {
            "vctk_p225-003": "SAME",
            "vctk_p225-020": "OWN",
            "vctk_p228-003": "SAME",
            "vctk_p229-003": "SAME",
        },
        "fsdd": {"fsdd_theo-0_00": "ZERO", "fsdd_jackson-0_09": "ZERO", "fsdd_jackson-0_10": "ZERO"},
        "librispeech": {"libri_61-70968-0000": "LIBRI"},
    }
    return {name: data_dir(texts) for name, texts in (local | changes).items()}


def test_arctic_drops_sentences_with_digits_and_counts_them(local_script, make_files, caplog):
    caplog.set_level(logging.INFO)
    folder = "cmu_us_bdl_arctic/"
    lines = (
        '( arctic_a0001 "Author -- of the trail, etc." )\n'
        '( arctic_a0438 "March 16, 1908." )\n'
        '( arctic_b0539 "Not here." )\n'
    )
    corpus = make_files(
        {
            folder + "etc/txt.done.data": lines,
            folder + "wav/arctic_a0001.wav": "",
            folder + "wav/arctic_a0438.flac": "",
        }
    )
    data = local_script(LOCAL + "arctic").prepare(corpus)
    assert data.text == {"arctic_bdl-a0001": "AUTHOR OF THE TRAIL ETC"}
    assert "kept 1 of 3 utterances, 1 with digits in the text, 1 without audio" in caplog.text


def test_arctic_names_lines_and_audio_that_do_not_fit(local_script, make_files):
    folder = "cmu_us_slt_arctic/"
    corpus = make_files(
        {folder + "etc/txt.done.data": "arctic_a0001 text\n", folder + "wav/arctic_a0002.wav": ""}
    )
    with pytest.raises(DataError, match=r"txt.done.data:1[\s\S]*arctic_a0002.wav: no line"):
        local_script(LOCAL + "arctic").prepare(corpus)


def test_vctk_reads_both_releases(local_script, make_files, caplog):
    caplog.set_level(logging.INFO)
    corpus = make_files(
        {
            "txt/p225/p225_003.txt": "Six spoons.\n",
            "wav48_silence_trimmed/p225/p225_003_mic1.flac": "",
            "wav48_silence_trimmed/p225/p225_003_mic2.flac": "",
            "wav48_silence_trimmed/p315/p315_003_mic1.flac": "",
        }
    )
    data = local_script(LOCAL + "vctk").prepare(corpus)
    assert data.text == {"vctk_p225-003": "SIX SPOONS"}
    assert "1 of the second microphone, 1 without a text" in caplog.text


def test_ljspeech_takes_the_written_out_text_and_literal_quotes(local_script, make_files):
    corpus = make_files(
        {"metadata.csv": 'LJ001-0001|In 1455 "he"|In fourteen "he"\n', "wavs/LJ001-0001.wav": ""}
    )
    assert local_script(LOCAL + "ljspeech").prepare(corpus).text == {"ljspeech-LJ001-0001": "IN FOURTEEN HE"}


def test_ljspeech_names_a_line_with_other_fields(local_script, make_files):
    corpus = make_files({"metadata.csv": "LJ001-0001|only two\n", "wavs/LJ001-0001.wav": ""})
    with pytest.raises(DataError, match=r"metadata.csv:1: found 2 fields"):
        local_script(LOCAL + "ljspeech").prepare(corpus)


def test_fsdd_spells_the_digit(local_script, make_files):
    data = local_script(LOCAL + "fsdd").prepare(make_files({"recordings/7_jackson_3.wav": ""}))
    assert data.text == {"fsdd_jackson-7_03": "SEVEN"}


def test_fsdd_names_a_file_that_is_no_recording(local_script, make_files):
    with pytest.raises(DataError, match="seven_jackson"):
        local_script(LOCAL + "fsdd").prepare(make_files({"recordings/seven_jackson_3.wav": ""}))


def test_sets_keep_test_sentences_and_speakers_apart(local_script):
    sets = local_script(LOCAL + "sets").make_sets(corpora_of())
    ids = {name: set(data.utt_ids) for name, data in sets.items()}
    assert ids["train"] == {
        "arctic_bdl-a0380", "arctic_slt-a0380", "ljspeech-LJ001-0001", "vctk_p225-020", "fsdd_jackson-0_09",
    }  # fmt: skip
    assert ids["valid"] == {f"arctic_{s}-{n}" for s in ("bdl", "slt") for n in ("a0381", "a0400")}
    assert ids["test_arctic"] == {f"arctic_{s}-{n}" for s in ("bdl", "slt") for n in ("a0401", "a0500")}
    assert ids["test_vctk"] == {"vctk_p228-003"}
    assert ids["test_fsdd"] == {"fsdd_theo-0_00"}


def test_synthetic_voices_join_train_and_valid(local_script):
    espeak = {"espeak_train": {"espeak_1-1": "SAID"}, "espeak_valid": {"espeak_2-1": "TOLD"}}
    sets = local_script(LOCAL + "sets").make_sets(corpora_of(**espeak))
    assert "espeak_1-1" in sets["train"].text
    assert "espeak_2-1" in sets["valid"].text


def test_empty_set_is_named(local_script):
    with pytest.raises(DataError, match=r"test_vctk: no utterance"):
        local_script(LOCAL + "sets").make_sets(corpora_of(vctk={"vctk_p225-020": "OWN"}))


def test_test_sentence_in_train_is_an_error(local_script):
    script = local_script(LOCAL + "sets")
    sets = script.make_sets(corpora_of(ljspeech={"ljspeech-LJ001-0001": "LIBRI"}))
    with pytest.raises(DataError, match=r"test_librispeech: train also has 'LIBRI'"):
        script.overlap_table(sets)


def test_overlap_table_counts_and_lets_the_digits_pass(local_script):
    script = local_script(LOCAL + "sets")
    rows = dict(
        row.split("\t", 1) for row in script.overlap_table(script.make_sets(corpora_of())).splitlines()
    )
    assert rows["test_fsdd"].split("\t") == ["1", "1", "0", "1", "1"]
    assert rows["test_arctic"].split("\t") == ["4", "2", "2", "2", "0"]


def test_real_corpora_give_the_documented_sets(local_script, corpora):
    arctic = local_script(LOCAL + "arctic").prepare(corpora / "CMU_ARCTIC")
    librispeech = local_script("librispeech_tedlium_voxforge/asr/local/librispeech")
    parts = [librispeech.prepare(corpora / "LibriSpeech", part) for part in ("test-clean", "dev-clean")]
    local = {
        "arctic": arctic,
        "ljspeech": local_script(LOCAL + "ljspeech").prepare(corpora / "LJSpeech-1.1"),
        "vctk": local_script(LOCAL + "vctk").prepare(corpora / "VCTK-Corpus"),
        "fsdd": local_script(LOCAL + "fsdd").prepare(corpora / "free-spoken-digit-dataset"),
        "librispeech": DataDir(
            wav=parts[0].wav | parts[1].wav,
            text=parts[0].text | parts[1].text,
            utt2spk=parts[0].utt2spk | parts[1].utt2spk,
        ),
    }
    script = local_script(LOCAL + "sets")
    sets = script.make_sets(local)
    script.overlap_table(sets)
    assert {name: len(data.utt_ids) for name, data in sets.items()} == {
        "train": 1293, "valid": 40, "test_arctic": 196, "test_librispeech": 7, "test_vctk": 10,
        "test_fsdd": 100,
    }  # fmt: skip
