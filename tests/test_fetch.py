"""Downloads: whole or absent under their final name, whatever the other side does."""

import errno
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pooch
import pytest

from research.data import fetch as module
from research.data.fetch import Remote, data_root, fetch, known

CONTENT = b"first line\nsecond line\n" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PACKAGE = Path(module.__file__).parents[2]


class Home(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT in good and bad ways, chosen by the path."""

    def do_GET(self):
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/silent":
            self.server.released.wait(30)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path == "/other":
            self.wfile.write(CONTENT.upper())
        elif self.path == "/good":
            self.wfile.write(CONTENT)
        else:
            self.wfile.write(CONTENT[:5000])
            if self.path == "/stalls":
                self.wfile.flush()
                self.server.released.wait(30)
            self.close_connection = True

    def log_message(self, *arguments):
        pass


@pytest.fixture
def home(monkeypatch):
    """The address of a local server. Proxies from the environment stay out."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Home)
    server.released = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.released.set()
    server.shutdown()
    server.server_close()


def register(monkeypatch, *urls, path="folder/it.txt"):
    monkeypatch.setitem(module.REGISTRY, "it", (Remote(path, urls, SHA256),))


def files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file()]


def test_a_file_comes_whole_and_only_once(home, monkeypatch, tmp_path):
    register(monkeypatch, f"{home}/good")
    path = fetch("it", tmp_path)
    assert path == tmp_path / "folder" / "it.txt"
    assert path.read_bytes() == CONTENT
    assert files(tmp_path) == ["it.txt"]
    register(monkeypatch, f"{home}/missing")
    assert fetch("it", tmp_path) == path


def test_of_several_files_the_folder_is_returned(home, monkeypatch, tmp_path):
    two = tuple(Remote(f"set/{name}", (f"{home}/good",), SHA256) for name in ("a", "b"))
    monkeypatch.setitem(module.REGISTRY, "it", two)
    assert fetch("it", tmp_path) == tmp_path / "set"
    assert sorted(files(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("bad", ["missing", "other", "breaks"])
def test_the_second_home_is_tried(home, monkeypatch, tmp_path, bad):
    register(monkeypatch, f"{home}/{bad}", f"{home}/good")
    assert fetch("it", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "bad, says",
    [
        ("missing", "status 404"),
        ("other", f"SHA-256 {hashlib.sha256(CONTENT.upper()).hexdigest()}, expected {SHA256}"),
        ("breaks", "broken off"),
    ],
)
def test_a_bad_home_leaves_nothing_and_is_named(home, monkeypatch, tmp_path, bad, says):
    register(monkeypatch, f"{home}/{bad}")
    with pytest.raises(OSError) as caught:
        fetch("it", tmp_path)
    message = str(caught.value)
    assert says in message and f"{home}/{bad}" in message and "it.txt" in message and "Try again" in message
    assert files(tmp_path) == []


def test_no_server_is_said_without_a_library_s_own_words(home, monkeypatch, tmp_path):
    register(monkeypatch, "http://127.0.0.1:9/it.txt")
    with pytest.raises(OSError, match="no connection") as caught:
        fetch("it", tmp_path)
    assert "HTTPConnectionPool" not in str(caught.value)
    assert files(tmp_path) == []


@pytest.mark.parametrize(("stops", "told"), [("stalls", "no connection"), ("silent", r"no answer in 0\.3 s")])
def test_a_server_that_stalls_is_given_up(home, monkeypatch, tmp_path, stops, told):
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    register(monkeypatch, f"{home}/{stops}")
    with pytest.raises(OSError, match=told):
        fetch("it", tmp_path)
    assert files(tmp_path) == []


def test_a_file_of_the_user_s_is_never_replaced(home, monkeypatch, tmp_path):
    register(monkeypatch, f"{home}/good", path="it.txt")
    (tmp_path / "it.txt").write_text("mine")
    with pytest.raises(ValueError) as caught:
        fetch("it", tmp_path)
    found = hashlib.sha256(b"mine").hexdigest()
    assert all(part in str(caught.value) for part in (str(tmp_path / "it.txt"), found, SHA256, "move it away"))
    assert (tmp_path / "it.txt").read_text() == "mine"


def test_a_full_disk_is_the_machine_s_fault(home, monkeypatch, tmp_path):
    def full(self, url, output_file, pooch):
        Path(output_file).write_bytes(CONTENT[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    register(monkeypatch, f"{home}/good")
    with pytest.raises(OSError, match=r"it\.txt could not be written: .*No space left"):
        fetch("it", tmp_path)
    assert files(tmp_path) == []


def test_a_root_that_is_a_file_is_refused(home, monkeypatch, tmp_path):
    register(monkeypatch, f"{home}/good")
    (tmp_path / "root").write_text("")
    with pytest.raises(OSError, match="could not be written"):
        fetch("it", tmp_path / "root")


def test_several_at_once_get_the_same_file(home, monkeypatch, tmp_path):
    register(monkeypatch, f"{home}/good")
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch("it", tmp_path), range(8)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert files(tmp_path) == ["it.txt"]


def test_killed_halfway_no_file_has_the_final_name(home, monkeypatch, tmp_path):
    program = (
        "import sys; from research.data.fetch import Remote, download; from pathlib import Path\n"
        f"download(Remote('', ({home + '/stalls'!r},), {SHA256!r}), Path(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "it.txt")], cwd=PACKAGE)
    for _ in range(300):
        if any(path.stat().st_size for path in tmp_path.iterdir()):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the download never began")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "it.txt").exists()
    register(monkeypatch, f"{home}/good", path="it.txt")
    assert fetch("it", tmp_path).read_bytes() == CONTENT


def test_names_are_checked_before_anything_is_fetched():
    with pytest.raises(ValueError, match=r"'imagenet' is not a known download; one of: mnist"):
        known("mnist", "imagenet")
    with pytest.raises(ValueError, match="nothing to fetch"):
        known()


def test_every_registered_file_has_a_checksum_and_a_place_of_its_own():
    remotes = [remote for group in module.REGISTRY.values() for remote in group]
    assert all(len(bytes.fromhex(remote.sha256)) == 32 and remote.urls for remote in remotes)
    assert len({remote.path for remote in remotes}) == len({remote.sha256 for remote in remotes}) == len(remotes)
    for group in module.REGISTRY.values():
        assert len({os.path.dirname(remote.path) for remote in group}) == 1  # `fetch` returns that folder


def test_the_data_root(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESEARCH_DATA_DIR", "../elsewhere")
    assert data_root() == tmp_path.parent / "elsewhere"
    assert data_root("mine") == tmp_path / "mine"
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("RESEARCH_DATA_DIR")
        else:
            monkeypatch.setenv("RESEARCH_DATA_DIR", unset)
        assert data_root() == (pooch.os_cache("research") / "data").resolve()


def test_the_shared_text_is_the_registered_one():
    root = os.environ.get("RESEARCH_DATA_DIR")
    if not root or not (data_root() / "text").exists():
        pytest.skip("RESEARCH_DATA_DIR does not name a folder with text/tinyshakespeare.txt")
    assert len(fetch("tinyshakespeare").read_text()) == 1_115_394
