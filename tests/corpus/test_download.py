import functools
import hashlib
import http.server
import io
import logging
import stat
import tarfile
import threading
import urllib.request
import zipfile

import pytest

from sertoolkit.cli import main
from sertoolkit.corpus.download import _KeepTls, download, extract_archive
from sertoolkit.errors import DataError

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file as its server's settings say."""

    def do_GET(self):
        settings = self.server.settings
        self.server.requests.append(dict(self.headers))
        body, etag = settings["body"], settings.get("etag", '"v1"')
        wanted = self.headers.get("Range")
        start = 0
        if wanted and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if settings.get("status"):
            return self.send_error(settings["status"])
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", settings.get("type", "application/octet-stream"))
        self.send_header("Content-Length", str(len(body) - start))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        self.wfile.write(body[start : settings.get("cut", len(body))])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A server with `settings`, the `requests` it got, and its `url`."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.settings, server.requests = {"body": CONTENT}, []
        server.url = f"http://127.0.0.1:{server.server_port}/corpus.bin"
        thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_file_arrives_whole_and_nothing_else_stays(server, tmp_path):
    path = download(server.url, tmp_path / "a" / "file", sha256=SHA256.upper(), size=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_file_that_is_there_is_not_fetched_again(server, tmp_path):
    for _ in range(2):
        download(server.url, tmp_path / "file", sha256=SHA256)
    assert len(server.requests) == 1


def test_file_that_is_there_but_differs_is_an_error(server, tmp_path):
    (tmp_path / "file").write_bytes(b"other")
    with pytest.raises(DataError, match="found 5 bytes, expected 10240"):
        download(server.url, tmp_path / "file", size=len(CONTENT))


def test_broken_connection_goes_on_where_it_stopped(server, tmp_path):
    server.settings["cut"] = 3000
    with pytest.raises(OSError, match="3000 of 10240 bytes"):
        download(server.url, tmp_path / "file", sha256=SHA256)
    assert not (tmp_path / "file").exists()
    del server.settings["cut"]
    assert download(server.url, tmp_path / "file", sha256=SHA256).read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=3000-"


def test_file_that_changed_on_the_server_is_fetched_from_the_start(server, tmp_path):
    server.settings |= {"cut": 3000, "body": CONTENT[::-1]}
    with pytest.raises(OSError, match="3000 of"):
        download(server.url, tmp_path / "file")
    server.settings = {"body": CONTENT, "etag": '"v2"'}
    assert download(server.url, tmp_path / "file").read_bytes() == CONTENT


def test_server_that_names_no_version_is_never_resumed(server, tmp_path):
    server.settings |= {"cut": 3000, "etag": None}
    with pytest.raises(OSError, match="3000 of"):
        download(server.url, tmp_path / "file")
    del server.settings["cut"]
    download(server.url, tmp_path / "file", sha256=SHA256)
    assert "Range" not in server.requests[1]


def test_wrong_sum_shows_both_and_keeps_the_part(server, tmp_path):
    with pytest.raises(DataError, match=f"found sha256 {SHA256}, expected {'0' * 64}"):
        download(server.url, tmp_path / "file", sha256="0" * 64)
    assert [p.name for p in tmp_path.iterdir()] == ["file.part"]


def test_after_a_wrong_sum_it_begins_anew(server, tmp_path):
    server.settings["body"] = b"x" * len(CONTENT)
    with pytest.raises(DataError, match="sha256"):
        download(server.url, tmp_path / "file", sha256=SHA256)
    server.settings["body"] = CONTENT
    assert download(server.url, tmp_path / "file", sha256=SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "settings",
    [{"type": "text/html; charset=utf-8"}, {"body": b"\n <!DOCTYPE HTML><html>"}, {"body": b"<html>login"}],
)
def test_web_page_is_refused(server, tmp_path, settings):
    server.settings |= settings
    with pytest.raises(DataError, match="found a web page"):
        download(server.url, tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_answer_of_the_server_is_named(server, tmp_path):
    server.settings["status"] = 404
    with pytest.raises(OSError, match="404"):
        download(server.url, tmp_path / "file")


def test_unencrypted_address_without_a_sum_is_warned_of(server, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    download(server.url, tmp_path / "one", sha256=SHA256)
    assert not caplog.text
    download(server.url, tmp_path / "two")
    assert "cannot be verified" in caplog.text


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a", "host/a"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(DataError, match="expected an address"):
        download(url, tmp_path / "file")


def test_redirection_to_an_unencrypted_address_is_refused():
    request = urllib.request.Request("https://host/a")
    with pytest.raises(DataError, match="unencrypted http://other/a"):
        _KeepTls().redirect_request(request, io.BytesIO(), 302, "", {}, "http://other/a")


def make_tar(path, members, mode="w:gz"):
    """Members are (name, content) or TarInfo."""
    with tarfile.open(path, mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def special(kind, name="top/x", target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_is_unpacked_without_its_only_top_folder(tmp_path, mode):
    archive = make_tar(tmp_path / "a.tar", [("top/a.txt", b"a"), ("top/top/b.txt", b"b")], mode)
    assert tree(extract_archive(archive, tmp_path / "out")) == {"a.txt": b"a", "top/b.txt": b"b"}


def test_zip_with_several_top_entries_is_unpacked_as_it_is(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("wav/", b""), ("wav/03a01Fa.wav", b"a"), ("list.txt", b"b")])
    assert tree(extract_archive(archive, tmp_path / "out")) == {"wav/03a01Fa.wav": b"a", "list.txt": b"b"}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../out.txt", b"x")], "leads out"),
        ([("top/../../out.txt", b"x")], "leads out"),
        ([("/tmp/out.txt", b"x")], "leads out"),
        ([special(tarfile.SYMTYPE, target="/etc/passwd")], "link or a device"),
        ([special(tarfile.SYMTYPE, "top", ".."), ("top/out.txt", b"x")], "link or a device"),
        ([special(tarfile.LNKTYPE, target="top/a")], "link or a device"),
        ([special(tarfile.CHRTYPE)], "link or a device"),
        ([special(tarfile.FIFOTYPE)], "link or a device"),
        ([("top/a", b"1"), ("top/a", b"2")], "twice"),
        ([("zeros", bytes(70 << 20))], "more than 100 times"),
    ],
)
def test_hostile_tar_is_refused_and_leaves_nothing(tmp_path, members, message):
    archive = make_tar(tmp_path / "a.tar.gz", [("top/good.txt", b"good"), *members])
    with pytest.raises(DataError, match=message):
        extract_archive(archive, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]


@pytest.mark.parametrize("name", ["../out.txt", "a/../../out.txt", "/out.txt", "a\\..\\out.txt"])
def test_zip_with_a_name_that_leads_out_is_refused(tmp_path, name):
    archive = make_zip(tmp_path / "a.zip", [(name, b"x")])
    with pytest.raises(DataError, match="leads out"):
        extract_archive(archive, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_zip_with_a_link_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(DataError, match="link or a device"):
        extract_archive(make_zip(tmp_path / "a.zip", [(info, "/etc/passwd")]), tmp_path / "out")


def test_zip_bomb_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("zeros", bytes(70 << 20))])
    with pytest.raises(DataError, match="more than 100 times"):
        extract_archive(archive, tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_truncated_tar_is_refused(tmp_path, mode):
    whole = make_tar(tmp_path / "whole", [("a", CONTENT), ("b", CONTENT[::-1] * 3)], mode).read_bytes()
    archive = tmp_path / "a.tar"
    archive.write_bytes(whole[: len(whole) * 2 // 3 if mode != "w" else 15000])
    with pytest.raises(DataError, match="not a complete zip or tar archive"):
        extract_archive(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_zip_with_a_flipped_bit_is_refused(tmp_path):
    archive = make_zip(tmp_path / "a.zip", [("a", CONTENT)])
    data = bytearray(archive.read_bytes())
    data[60] ^= 1
    archive.write_bytes(data)
    with pytest.raises(DataError, match="not a complete zip or tar archive"):
        extract_archive(archive, tmp_path / "out")


def test_other_file_is_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    with pytest.raises(DataError, match="not a complete zip or tar archive"):
        extract_archive(tmp_path / "a.zip", tmp_path / "out")


def test_command_fetches_and_unpacks_once(server, tmp_path, capsys):
    server.settings["body"] = make_zip(tmp_path / "a.zip", [("wav/a.wav", b"a")]).read_bytes()
    command = [
        "download",
        server.url,
        "--out",
        str(tmp_path / "in.zip"),
        "--extract",
        str(tmp_path / "corpus"),
    ]
    assert main(command) == 0
    assert tree(tmp_path / "corpus") == {"a.wav": b"a"}
    assert main(command) == 0
    assert len(server.requests) == 1
    assert "there already" in capsys.readouterr().out


def test_command_names_a_wrong_file_and_ends_with_1(server, tmp_path, capsys):
    assert main(["download", server.url, "--out", str(tmp_path / "file"), "--size", "3"]) == 1
    assert "found 10240 bytes, expected 3" in capsys.readouterr().err
