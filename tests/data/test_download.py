"""Downloads from a server on this machine: resumed, checked, from the next mirror where one is wrong or dead."""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support import archives
from support.preparing import define, run, spec_of

from zsr.data import download
from zsr.data.sources import Sources, verify
from zsr.errors import ZsrError


class Server:
    """Files by path; `cut` ends the first answer for a path after so many bytes, `pause` is before each answer."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.files: dict[str, bytes] = {}
        self.cut: dict[str, int] = {}
        self.asked: list[tuple[str, str | None]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Range")))
                time.sleep(outer.pause)
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
                if start and start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                self.wfile.write(content[start : outer.cut.pop(self.path, None)])

            def log_message(self, *_):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def link(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "WAIT", 0)
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


CONTENT = bytes(range(256)) * 40


def entry(urls: list[str], **more: object) -> dict:
    return {"path": "a.bin", "urls": urls, "bytes": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(), **more}


def get(file: dict) -> Path:
    return Sources("set", [file], []).file("a.bin")


def test_a_connection_that_ends_is_resumed(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files["/a"], server.cut["/a"] = CONTENT, 3000
    assert get(entry([server.link("/a")])).read_bytes() == CONTENT
    assert server.asked == [("/a", None), ("/a", "bytes=3000-")]
    assert {path.name for path in (root / "set").iterdir()} == {"a.bin", ".a.bin.checked.json", ".a.bin.lock"}


def test_two_jobs_fetch_one_file_once(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    """Both would append to the same `.part`."""
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files["/a"], server.pause = CONTENT, 0.5
    with ThreadPoolExecutor(2) as pool:
        places = list(pool.map(get, [entry([server.link("/a")])] * 2))
    assert [place.read_bytes() for place in places] == [CONTENT] * 2
    assert server.asked == [("/a", None)]


def test_a_later_run_resumes_too(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files["/a"] = CONTENT
    (root / "set").mkdir(parents=True)
    (root / "set/a.bin.part").write_bytes(CONTENT[:7000])
    assert get(entry([server.link("/a")])).read_bytes() == CONTENT
    assert server.asked == [("/a", "bytes=7000-")]


def test_a_wrong_file_goes_aside(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    """And the next mirror is asked."""
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files |= {"/wrong": CONTENT[::-1], "/right": CONTENT}
    assert get(entry([server.link("/gone"), server.link("/wrong"), server.link("/right")])).read_bytes() == CONTENT
    assert (root / "set/a.bin.bad").read_bytes() == CONTENT[::-1]


def test_no_mirror_has_it(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files["/wrong"] = CONTENT[::-1]
    with pytest.raises(ZsrError, match=r"wrong: .*a\.bin\.bad: wrong sha256 .*gone: HTTP Error 404") as caught:
        get(entry([server.link("/wrong"), server.link("/gone")]))
    assert "\n" not in str(caught.value) and not (root / "set/a.bin").exists()


@pytest.mark.parametrize(("content", "said"), [(b"<html>log in</html>", "it is a web page"), (b"", "it is empty")])
def test_an_error_page_is_no_archive(content: bytes, said: str, server: Server, tmp_path: Path):
    """Where no checksum is official."""
    server.files["/a.zip"] = content
    with pytest.raises(ZsrError, match=said):
        download.fetch([server.link("/a.zip")], tmp_path / "a.zip", None, lambda place: verify(place, {}))
    assert not (tmp_path / "a.zip").exists() and (tmp_path / "a.zip.bad").read_bytes() == content


def test_nothing_is_fetched_unasked(server: Server, root: Path):
    server.files["/a"] = CONTENT
    with pytest.raises(ZsrError, match="write `download: true`"):
        get(entry([server.link("/a")]))
    assert not server.asked and not root.exists()


def test_a_disk_that_refuses_is_not_the_network(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files["/a"] = CONTENT
    (root / "set").mkdir(parents=True)
    os.symlink("/dev/full", root / "set/a.bin.part")
    with pytest.raises(ZsrError, match="No space left on device; free space"):
        get(entry([server.link("/a")]))
    assert len(server.asked) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    server.files["/a"] = CONTENT
    (root / "set").mkdir(parents=True, mode=0o555)
    with pytest.raises(ZsrError, match="Permission denied; free space or mend the permissions"):
        get(entry([server.link("/a")]))


def test_the_first_digest_is_remembered_where_none_is_official(root: Path):
    path = root / "set/a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"one")
    first = verify(path, {"path": "a.bin"})
    assert first == hashlib.sha256(b"one").hexdigest() == verify(path, {"path": "a.bin"})
    path.write_bytes(b"another")
    with pytest.raises(ZsrError, match="another file than the one that was used before"):
        verify(path, {"path": "a.bin"})


def test_a_checked_file_is_not_read_twice_but_a_changed_one_is(root: Path):
    path = root / "set/a.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    verify(path, entry([]))
    note = json.loads((path.parent / ".a.bin.checked.json").read_text(encoding="utf-8"))
    times = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(times, times))
    assert verify(path, entry([])) == note["sha256"]  # size and time say that nothing changed
    with pytest.raises(ZsrError, match="wrong sha256"):
        verify(path, entry([]), deep=True)
    os.utime(path, ns=(times + 1, times + 1))
    with pytest.raises(ZsrError, match="wrong sha256"):
        verify(path, entry([]))


def test_from_the_link_to_the_array(server: Server, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The whole way, over a connection that breaks."""
    archives.eurosat(tmp_path / "made")
    content = (tmp_path / "made/eurosat/EuroSAT.zip").read_bytes()
    server.files["/z"], server.cut["/z"] = content, len(content) // 2
    file = {"path": "EuroSAT.zip", "urls": [server.link("/z")], "md5": hashlib.md5(content).hexdigest()}
    monkeypatch.setenv("ZSR_DOWNLOAD", "1")
    found = define("eurosat", files=[file])
    images, labels, facts = run(spec_of(found, "test", "native", 6), tmp_path / "out")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1] and images.shape == (6, 3, 64, 64)
    assert facts["files"] == {"EuroSAT.zip": hashlib.sha256(content).hexdigest()}
