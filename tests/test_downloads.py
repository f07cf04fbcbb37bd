"""Downloads: known by their digest, and gone on with."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ppi_lib.downloads import fetch_files, file_digest
from ppi_lib.errors import InputError

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
BLOB = hashlib.sha1(b"blob 256000\0" + CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `content` from where it is asked to, and notes what it was asked for."""

    def do_GET(self):
        asked = self.headers.get("Range", "bytes=0-")
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        self.server.asked.append(asked)
        self.send_response(416 if start >= len(CONTENT) else 206 if start else 200)
        self.send_header("Content-Length", str(max(0, len(CONTENT) - start)))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.server.most])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.most = [], len(CONTENT)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PPI_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


def fetch(server, digest: str = SHA256):
    return fetch_files("set", f"http://127.0.0.1:{server.server_port}/", {"f.bin": digest})


def test_git_says_the_same_of_a_blob(tmp_path):
    (tmp_path / "f").write_bytes(b"hello\n")
    assert file_digest(tmp_path / "f", "0" * 40) == "ce013625030ba8dba906f756967f9e9ca394464a"
    assert file_digest(tmp_path / "f", "0" * 64) == hashlib.sha256(b"hello\n").hexdigest()


@pytest.mark.parametrize("digest", [SHA256, BLOB])
def test_a_download_that_was_cut_off_goes_on_where_it_was(server, tmp_path, digest):
    server.most = 100_000
    with pytest.raises(InputError, match="couldn't be downloaded"):
        fetch(server, digest)
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["f.bin.part"]
    server.most = len(CONTENT)
    assert (fetch(server, digest) / "f.bin").read_bytes() == CONTENT
    assert server.asked[0] == "bytes=0-"
    assert 0 < int(server.asked[1].removeprefix("bytes=").removesuffix("-")) <= 100_000
    fetch(server, digest)
    assert len(server.asked) == 2


@pytest.mark.parametrize("digest", ["0" * 64, "0" * 40])
def test_another_file_is_refused_and_not_kept(server, tmp_path, digest):
    with pytest.raises(InputError, match=r"couldn't be downloaded .*another digest than 000"):
        fetch(server, digest)
    assert list((tmp_path / "set").iterdir()) == []


def test_a_part_that_is_longer_than_the_file_is_dropped(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "f.bin.part").write_bytes(CONTENT + b"more")
    with pytest.raises(InputError, match="couldn't be downloaded"):
        fetch(server)
    assert (fetch(server) / "f.bin").read_bytes() == CONTENT


def test_a_changed_file_in_the_cache_is_refused_by_the_kind_of_its_digest(server, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "f.bin").write_bytes(b"other")
    with pytest.raises(InputError, match=r"its SHA-256 isn't .*Delete it"):
        fetch(server)
    with pytest.raises(InputError, match=r"its git blob id isn't .*Delete it"):
        fetch(server, BLOB)
