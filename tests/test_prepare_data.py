"""scripts/prepare_data.py: what it fetches, and one message with the right exit code where it cannot."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pooch
import pytest
import tensorflow_datasets as tfds
from test_images import idx, records, write_prepared

from research.data import fetch, image_files
from research.data.fetch import Remote
from research.data.image_files import Facts
from scripts.prepare_data import main

PROJECT = Path(fetch.__file__).parents[2]


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "caches" / name)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A public home of a small MNIST: 12 training and 6 test images of 4x3 pixels."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(image_files.FACTS, "mnist", Facts(tuple("012"), (4, 3, 1), 12, 6))
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    remotes = []
    for i, split in enumerate((records(12, (4, 3, 1)), records(6, (4, 3, 1), seed=1))):
        for kind, array in (("images", split.images[..., 0]), ("labels", split.labels.astype(np.uint8))):
            (folder / f"{i}-{kind}.gz").write_bytes(idx(array))
            url = f"http://127.0.0.1:{server.server_port}/{i}-{kind}.gz"
            remotes.append(Remote(f"mnist/{i}-{kind}.gz", (url,), hashlib.sha256(idx(array)).hexdigest()))
    monkeypatch.setitem(fetch.REGISTRY, "mnist", tuple(remotes))
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def without_tensorflow(monkeypatch):
    monkeypatch.setattr(image_files, "find_spec", lambda name: None)


def test_without_tensorflow_the_publisher_s_files_come(served, monkeypatch, tmp_path, capsys):
    without_tensorflow(monkeypatch)
    root = tmp_path / "root"
    assert main(["mnist", "--root", str(root)]) == 0
    assert capsys.readouterr().out == f"mnist: 12 train, 6 test, in {root / 'mnist'}\n"
    assert sorted(path.name for path in (root / "mnist").iterdir()) == sorted(path.name for path in served.iterdir())


def test_what_is_there_is_kept(served, monkeypatch, tmp_path, capsys):
    folder = write_prepared(tmp_path / "root", records(12, (4, 3, 1)), records(6, (4, 3, 1), seed=1))
    monkeypatch.setattr(image_files, "find_spec", pytest.fail)
    assert main(["mnist", "--root", str(tmp_path / "root")]) == 0
    assert capsys.readouterr().out == f"mnist: 12 train, 6 test, in {folder}\n"
    assert not (tmp_path / "root" / "mnist").exists()


class Builder:
    """Stands for tensorflow-datasets' builder, whose own preparation needs TensorFlow."""

    def __init__(self, name: str, data_dir: Path):
        self.root = data_dir.parent
        self.data_path = data_dir / name / "3.0.1"

    def download_and_prepare(self, file_format: str) -> None:
        assert file_format == "array_record"  # the one that is read without TensorFlow
        write_prepared(self.root, records(12, (4, 3, 1)), records(6, (4, 3, 1), seed=1))


def test_with_tensorflow_its_datasets_are_prepared(served, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(image_files, "find_spec", lambda name: object())
    monkeypatch.setattr(tfds, "builder", Builder)
    assert main(["mnist", "--root", str(tmp_path / "root")]) == 0
    assert f"12 train, 6 test, in {tmp_path / 'root' / 'tfds' / 'mnist' / '3.0.1'}" in capsys.readouterr().out


def test_a_failed_preparation_is_the_machine_s_fault(served, monkeypatch, tmp_path):
    def fail(self, file_format):
        raise RuntimeError("their own kind of error")

    monkeypatch.setattr(image_files, "find_spec", lambda name: object())
    monkeypatch.setattr(tfds, "builder", Builder)
    monkeypatch.setattr(Builder, "download_and_prepare", fail)
    with pytest.raises(OSError, match="mnist could not be prepared: their own kind of error"):
        main(["mnist", "--root", str(tmp_path / "root")])


def test_a_home_that_changed_its_files_is_refused(served, monkeypatch, tmp_path):
    without_tensorflow(monkeypatch)
    (served / "1-images.gz").write_bytes(b"not what it was")
    with pytest.raises(OSError, match=r"1-images\.gz could not be downloaded .*expected"):
        main(["mnist", "--root", str(tmp_path / "root")])
    assert not (tmp_path / "root" / "mnist" / "1-images.gz").exists()


def test_all_names_are_checked_before_the_first_is_fetched(served, tmp_path):
    with pytest.raises(ValueError, match="'imagenet' is not a known download"):
        main(["mnist", "imagenet", "--root", str(tmp_path / "root")])
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    "arguments, code, says",
    [
        ([], 2, "nothing to fetch; give one of: mnist, cifar10, tinyshakespeare"),
        (["imagenet"], 2, "name='imagenet' is not a known download; one of: mnist"),
        (["mnist", "--rot", "x"], 2, "--rot"),
        (["tinyshakespeare", "--root", "damaged"], 2, "move it away and prepare the data again"),
        (["tinyshakespeare", "--root", "empty"], 1, "no connection"),
        (["tinyshakespeare", "--root", "file"], 1, "could not be written"),
    ],
)
def test_the_command_line_says_one_thing_and_whose_fault_it_was(tmp_path, arguments, code, says):
    (tmp_path / "damaged" / "text").mkdir(parents=True)
    (tmp_path / "damaged" / "text" / "tinyshakespeare.txt").write_text("To be")
    (tmp_path / "file").write_text("")
    # A proxy where nobody listens: no test reaches the network.
    offline = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"), "http://127.0.0.1:9")
    script = PROJECT / "scripts" / "prepare_data.py"
    environment = {**os.environ, **offline, "XDG_CACHE_HOME": str(tmp_path / "caches"), "COLUMNS": "1000"}
    done = subprocess.run(
        [sys.executable, script, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert says in done.stderr and "Traceback" not in done.stderr and done.stderr.count("╭") == 1
    assert (tmp_path / "damaged" / "text" / "tinyshakespeare.txt").read_text() == "To be"
    assert not [path for path in (tmp_path / "empty").rglob("*") if path.is_file()]
