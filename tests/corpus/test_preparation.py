import logging
from collections import Counter

import pytest

from sertoolkit.corpus.preparation import index_audio, log_kept, run_script
from sertoolkit.errors import ConfigError, DataError


def test_audio_is_indexed_by_stem_without_hidden_and_other_files(tmp_path):
    for name in ("b.FLAC", "a.wav", "._a.wav", "notes.txt"):
        (tmp_path / name).touch()
    assert {stem: path.name for stem, path in index_audio(tmp_path).items()} == {"a": "a.wav", "b": "b.FLAC"}


def test_paths_are_absolute(tmp_path, monkeypatch):
    (tmp_path / "a.wav").touch()
    monkeypatch.chdir(tmp_path)
    assert index_audio(tmp_path.relative_to(tmp_path))["a"] == tmp_path / "a.wav"


def test_recording_in_two_formats_is_an_error(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "a.flac").touch()
    with pytest.raises(DataError, match=r"a\.wav and a\.flac"):
        index_audio(tmp_path)


def test_what_is_dropped_is_said_with_its_reason(caplog):
    caplog.set_level(logging.INFO)
    log_kept("X", 7, Counter({"too short": 2, "without text": 1}))
    assert "X: kept 7 of 10 utterances, 2 too short, 1 without text" in caplog.text


@pytest.mark.parametrize(("error", "code"), [(DataError("bad"), 1), (ConfigError("bad"), 2), (None, 0)])
def test_local_script_ends_with_the_code_of_its_error(monkeypatch, capsys, error, code):
    def run(args):
        assert args.out == "x"
        if error:
            raise error

    monkeypatch.setattr("sys.argv", ["local.py", "--out", "x"])
    assert run_script("doc", lambda parser: parser.add_argument("--out"), run) == code
    assert ("local.py: error: bad" in capsys.readouterr().err) == bool(error)
