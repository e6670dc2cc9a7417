from __future__ import annotations

import functools
import http.server
import io
import logging
import re
import subprocess
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sertoolkit.errors import DataError

LOCAL = "librispeech_tedlium_voxforge/asr/local"


def write_submission(top: Path, name: str, prompts: str = "x/mfc/a01 HELLO\n", kind: str = "wav") -> Path:
    """A submission with 0.1 s of silence for each prompt."""
    (top / name / kind).mkdir(parents=True)
    (top / name / "etc").mkdir()
    (top / name / "etc" / "PROMPTS").write_bytes(prompts.encode("latin-1"))
    for line in prompts.splitlines():
        stem = line.split()[0].replace("\\", "/").rpartition("/")[2]
        soundfile.write(top / name / kind / f"{stem}.{kind}", np.zeros(1600), 16000)
    return top / name / kind


def test_speaker_is_all_before_the_date_and_ids_sort(local_script, tmp_path):
    for name in (
        "1snoke-20120412-hge",
        "anne-marie-20080101-a",
        "anne-20080101-b",
        "J\xfcrg.K-2008010112-x_y",
    ):
        write_submission(tmp_path, name)
    data = local_script(f"{LOCAL}/voxforge").prepare(tmp_path)
    data.write(tmp_path / "out")  # which checks the order of ids
    assert sorted(set(data.utt2spk.values())) == [
        "voxforge_1snoke", "voxforge_anne", "voxforge_anne_marie", "voxforge_j_rg_k",
    ]  # fmt: skip
    assert data.text["voxforge_1snoke-20120412-hge-a01"] == "HELLO"
    assert data.utt2dur["voxforge_1snoke-20120412-hge-a01"] == 0.1


def test_anonymous_submissions_are_people_of_their_own(local_script, tmp_path):
    for name in ("anonymous-20080101-abc", "anonymous-20080101-abd", "Anonymous-20090101-abc"):
        write_submission(tmp_path, name)
    assert len(local_script(f"{LOCAL}/voxforge").prepare(tmp_path).spk2utt) == 3


def test_what_cannot_be_used_is_dropped_with_a_count(local_script, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    prompts = (
        "x/a01 KEPT\na\\b\\a02 WELL - KEPT\nx/a03 1908\nx/a04 DAMAGED\nx/a05 EIGHT\nx/a06 LOST\nx/a07 OTHER\n"
    )
    audio = write_submission(tmp_path, "me-20080101-abc", prompts)
    (audio / "a04.wav").write_bytes(b"")
    soundfile.write(audio / "a05.wav", np.zeros(800), 8000)
    (audio / "a06.wav").unlink()
    (audio / "a07.wav").rename(audio / "b07.wav")
    (audio / "._a01.wav").touch()
    write_submission(tmp_path, "you-20080101-abc", "x/a01 FLAC\n", kind="flac")
    (write_submission(tmp_path, "they-20080101-abc").parent / "etc" / "PROMPTS").unlink()
    (tmp_path / "archives").mkdir()
    data = local_script(f"{LOCAL}/voxforge").prepare(tmp_path)
    assert sorted(data.text.values()) == ["FLAC", "KEPT", "WELL KEPT"]
    reasons = (
        "1 below 16 kHz, 1 damaged, 2 without a prompt, 2 without audio, 1 without words that can be spelled"
    )
    assert f"kept 3 of 10 utterances, {reasons}" in caplog.text
    assert "a04.wav: has 0 bytes" in caplog.text


def test_case_of_a_name_does_not_make_another_speaker(local_script, tmp_path):
    for name in ("Tony-20080101-abc", "tony-20090101-abc", "TONY-20100101-abc"):
        write_submission(tmp_path, name)
    data = local_script(f"{LOCAL}/voxforge").prepare(tmp_path)
    assert data.utt2spk == {
        f"voxforge_tony-{year}0101-abc-a01": "voxforge_tony" for year in (2008, 2009, 2010)
    }
    voxforge_set = local_script(f"{LOCAL}/sets").voxforge_set
    assert voxforge_set("voxforge_Tony") == voxforge_set("voxforge_tony")


def test_what_is_there_twice_is_used_once_with_a_count(local_script, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    audio = write_submission(tmp_path, "me-20080101-abc", "x/a01 ONE\nx/a02 TWO\nx/a03 THREE\nx/a03 DREI\n")
    soundfile.write(audio / "a01.flac", np.zeros(1600), 16000)  # beside a01.wav
    (audio.parent / "flac").mkdir()
    soundfile.write(audio.parent / "flac" / "a02.flac", np.zeros(1600), 16000)
    write_submission(tmp_path, "Me-20080101-abc", "x/a01 ONE\n")
    data = local_script(f"{LOCAL}/voxforge").prepare(tmp_path)
    assert sorted(data.text.values()) == ["ONE", "TWO"]
    assert "kept 2 of 6 utterances, 3 recorded twice, 1 with two prompts" in caplog.text


def test_recordings_of_48_khz_are_taken_and_stereo_is_not(local_script, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    audio = write_submission(tmp_path, "me-20080101-abc", "x/a01 ONE\nx/a02 TWO\n")
    soundfile.write(audio / "a01.wav", np.zeros(4800), 48000)
    soundfile.write(audio / "a02.wav", np.zeros((1600, 2)), 16000)
    data = local_script(f"{LOCAL}/voxforge").prepare(tmp_path)
    assert data.utt2dur == {"voxforge_me-20080101-abc-a01": 0.1}
    assert "kept 1 of 2 utterances, 1 not mono" in caplog.text


def test_nothing_to_use_says_why(local_script, tmp_path):
    audio = write_submission(tmp_path, "me-20080101-abc")
    soundfile.write(audio / "a01.wav", np.zeros(800), 8000)
    with pytest.raises(DataError, match=r"in 1 folders .* \(kept 0 of 1 utterances, 1 below 16 kHz\)"):
        local_script(f"{LOCAL}/voxforge").prepare(tmp_path)


def test_prompts_may_be_latin_1_or_utf_8(local_script, tmp_path):
    read_prompts = local_script(f"{LOCAL}/voxforge").read_prompts
    for encoding in ("latin-1", "utf-8"):
        (tmp_path / "PROMPTS").write_bytes("x/a01 CAF\xc9\r\n\r\n".encode(encoding))
        assert read_prompts(tmp_path / "PROMPTS") == {"a01": "CAF\xc9"}


def test_wrong_folder_says_what_was_expected(local_script, tmp_path):
    with pytest.raises(DataError, match="nothing to use in 0 folders <speaker>-<YYYYMMDD>-<xyz>"):
        local_script(f"{LOCAL}/voxforge").prepare(tmp_path)


@pytest.fixture
def page(tmp_path: Path):
    """Address of a page that lists two archives, the second of them damaged, and their folder."""
    folder = tmp_path / "server"
    folder.mkdir()
    with tarfile.open(folder / "me-20080101-abc.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("me-20080101-abc/etc/PROMPTS")
        member.size = 12
        archive.addfile(member, io.BytesIO(b"x/a01 HELLO\n"))
    (folder / "you-20080101-abc.tgz").write_bytes(b"no archive")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", folder
        server.shutdown()


def test_download_goes_on_with_what_is_missing(local_script, tmp_path, page):
    fetch_all = local_script(f"{LOCAL}/fetch_voxforge").fetch_all
    url, folder = page
    with pytest.raises(DataError, match="you-20080101-abc.tgz: not a complete"):
        fetch_all(url, tmp_path / "out")
    assert (tmp_path / "out" / "me-20080101-abc" / "etc" / "PROMPTS").is_file()

    (folder / "you-20080101-abc.tgz").write_bytes((folder / "me-20080101-abc.tgz").read_bytes())
    (folder / "me-20080101-abc.tgz").write_bytes(b"not read again")
    fetch_all(url, tmp_path / "out")
    assert (tmp_path / "out" / "you-20080101-abc").is_dir()


def test_archive_that_stays_damaged_is_left_out_by_its_name(local_script, tmp_path, page, caplog):
    fetch_all = local_script(f"{LOCAL}/fetch_voxforge").fetch_all
    out = tmp_path / "the corpus"
    with pytest.raises(DataError, match=r"1 fault\n") as caught:
        fetch_all(page[0], out)
    (command,) = re.findall(r"printf .* >>.*left_out.txt'", str(caught.value))
    subprocess.run(["bash", "-c", command], check=True)
    fetch_all(page[0], out)
    assert "left out, as" in caplog.text
    assert "left_out.txt says: you-20080101-abc.tgz" in caplog.text
    assert not (out / "you-20080101-abc").exists()


def test_archive_that_the_server_refuses_is_left_out_by_its_name_too(local_script, tmp_path, page):
    url, folder = page
    (folder / "index.html").write_text(
        '<a href="me-20080101-abc.tgz"></a><a href="gone-20080101-abc.tgz"></a>'
    )
    with pytest.raises(DataError, match=r"printf .* gone-20080101-abc.tgz >>(.|\n)*answers 404"):
        local_script(f"{LOCAL}/fetch_voxforge").fetch_all(url, tmp_path / "out")
    assert (tmp_path / "out" / "me-20080101-abc").is_dir()


def test_page_without_archives_is_an_error(local_script, tmp_path, page):
    for archive in page[1].iterdir():
        archive.unlink()
    with pytest.raises(DataError, match="has the page moved"):
        local_script(f"{LOCAL}/fetch_voxforge").fetch_all(page[0], tmp_path / "out")
