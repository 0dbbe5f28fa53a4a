import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from molflt.data.download import download
from molflt.errors import InputError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves `server.content`; breaks off after `server.cuts.pop(0)` bytes."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        if server.status:
            self.send_error(server.status)
            return
        start = 0
        if asked and self.headers.get("If-Range") == server.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(server.content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.announce:
            self.send_header("Content-Length", server.announce(body))
        self.end_headers()
        self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.etag = CONTENT, '"one"'
    server.announce = lambda body: str(len(body))
    server.status, server.cuts, server.requests = None, [], []
    server.url = f"http://127.0.0.1:{server.server_port}/file.bin"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def only_file(folder):
    (path,) = folder.iterdir()
    return path


def test_file_arrives_whole(server, tmp_path):
    path = download(server.url, tmp_path / "a" / "file.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert only_file(path.parent) == path


def test_file_that_is_there_is_not_fetched_again(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(CONTENT)
    download(server.url, path, sha256=SHA256, size=len(CONTENT))
    assert server.requests == []


def test_file_that_is_there_and_wrong_is_named_and_left(server, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match=r"file\.bin has 4 bytes instead of .*remove"):
        download(server.url, path, size=len(CONTENT))
    assert path.read_bytes() == b"mine"


def test_broken_connection_is_continued(server, tmp_path):
    server.cuts = [1000, 300_000]
    path = download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000-", "bytes=301000-"]
    assert only_file(tmp_path) == path


def test_what_arrived_is_kept_for_the_next_call(server, tmp_path):
    server.cuts = [1000, 1000, 1000]
    with pytest.raises(InputError, match="connection broke after 3,000 of 1,024,000"):
        download(server.url, tmp_path / "file.bin")
    assert not (tmp_path / "file.bin").exists()
    download(server.url, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=3000-"


def test_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    server.cuts = [1000, 0, 0]
    with pytest.raises(InputError):
        download(server.url, tmp_path / "file.bin")
    server.content, server.etag = CONTENT[::-1], '"two"'
    path = download(server.url, tmp_path / "file.bin")
    assert path.read_bytes() == CONTENT[::-1]


def test_without_a_version_nothing_is_continued(server, tmp_path):
    server.etag, server.cuts = "", [1000]
    path = download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, None]


def test_wrong_checksum_leaves_nothing(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(InputError, match=f"does not have the SHA-256 {SHA256}"):
        download(server.url, tmp_path / "file.bin", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_wrong_size_leaves_nothing(server, tmp_path):
    with pytest.raises(InputError, match="1,024,000 bytes instead of 5"):
        download(server.url, tmp_path / "file.bin", size=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("announced", ["abc", "-5", "1e3", "9" * 5000])
def test_sizes_that_are_no_number_are_refused(server, tmp_path, announced):
    server.announce = lambda body: announced
    with pytest.raises(InputError, match="no size that is a number"):
        download(server.url, tmp_path / "file.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_end_is_not_kept(server, tmp_path):
    server.announce, server.content = None, CONTENT * 10
    with pytest.raises(InputError, match="has more than 5 bytes"):
        download(server.url, tmp_path / "file.bin", size=5)
    assert list(tmp_path.iterdir()) == []


def test_second_mirror_is_used(server, tmp_path):
    gone = "http://127.0.0.1:9/file.bin"
    path = download([gone, server.url], tmp_path / "file.bin", sha256=SHA256)
    assert path.read_bytes() == CONTENT


def test_refusal_says_where_to_put_the_file(server, tmp_path):
    server.status = 403
    with pytest.raises(InputError) as error:
        download(server.url, tmp_path / "file.bin")
    assert "403 Forbidden" in str(error.value)
    assert f"put it at {tmp_path / 'file.bin'}." in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.requests) == 1


def test_no_network_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"Cannot download file\.bin \(.*refused"):
        download("http://127.0.0.1:9/x", tmp_path / "file.bin", timeout=2)


def test_other_schemes_are_refused(tmp_path):
    with pytest.raises(InputError, match="only http and https"):
        download("file:///etc/hostname", tmp_path / "file.bin")
