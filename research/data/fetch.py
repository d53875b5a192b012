"""Public files, downloaded once, checked against a known SHA-256, kept under the data root."""

import os
from pathlib import Path
from typing import NamedTuple, Self

import pooch
import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from research.engine.files import replacing

PATIENCE = 30  # seconds without a byte before a server is given up


class Remote(NamedTuple):
    """A public file.

    path    where it is kept, relative to the data root
    urls    its homes, tried in this order
    sha256  of its content
    """

    path: str
    urls: tuple[str, ...]
    sha256: str


def _mnist(file: str, sha256: str) -> Remote:
    homes = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
    return Remote(f"mnist/{file}", tuple(home + file for home in homes), sha256)


def _multi30k(split: str, language: str, sha256: str) -> Remote:
    home = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/tok/"
    file = f"{split}.lc.norm.tok.{language}"
    return Remote(f"multi30k/{file}", (home + file,), sha256)


def _sst2(file: str, sha256: str) -> Remote:
    home = "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/master/data/SST2/"
    return Remote(f"sst2/{file}", (home + file,), sha256)


REGISTRY: dict[str, tuple[Remote, ...]] = {
    "mnist": (
        _mnist("train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        _mnist("train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        _mnist("t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        _mnist("t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    "cifar10": (
        Remote(
            "cifar10/cifar-10-binary.tar.gz",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    "tinyshakespeare": (
        Remote(
            "text/tinyshakespeare.txt",
            ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",),
            "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ),
    ),
    "multi30k": (
        _multi30k("train", "en", "08925f8e0572bcd5a006702fc5fe20e2d77c6917d4eebd576fc20de6693c2119"),
        _multi30k("train", "de", "cb5a23529b65ec2061f1dc446192a9c37382b63cc75f81a0be59d34894b3a505"),
        _multi30k("train", "fr", "8fa41bb718412bcb7c5dfa58603842810a01543eae86a51279f9886b901266e1"),
        _multi30k("val", "en", "46573ce391ae227f1c72f873392436a20ef18e0a6d518098cfbd70b77c8572ec"),
        _multi30k("val", "de", "97232bd273eceb7207f689527386a97e4be2616b18ada47576bdaf96c8ae1f00"),
        _multi30k("val", "fr", "b303e301aa21fe7822a846b2b3fb2d5a1121ec807cd5b1d006fb7b2b5507168a"),
        _multi30k("test_2016_flickr", "en", "5b7f32627cf99eced828311b955dae9800bb52bc8b91cf8b6526829e605b29d2"),
        _multi30k("test_2016_flickr", "de", "c6a33d39d48f9f510de147651316cd9d918e09ad0219df734a2f16b6baccacc4"),
        _multi30k("test_2016_flickr", "fr", "1463bd5960f9bfe098ec3cd752d3df0c49c84dc646fb518964a29232658cd836"),
        _multi30k("test_2017_flickr", "en", "c9d1dfd7a26add989382e534af235af9f0f658b2a30e7eb0efdaf142496ee54f"),
        _multi30k("test_2017_flickr", "de", "02067e4a9402786a4fcb8c1b6f4307e4a5073ced64800abead5273b54f5f31f6"),
        _multi30k("test_2017_flickr", "fr", "c0583117a47b31e8a6c6a97cfe8de153e462074668f4e994764fcc80b21d33b4"),
        _multi30k("test_2017_mscoco", "en", "fe69ae004d71c42ead0301e70c57de5b1b6b5fb7f52210d42b22801e98e656f3"),
        _multi30k("test_2017_mscoco", "de", "e2825990b8a4e5289d2cdba801d57c187810bab9b4f5d87a30c35800a0d871b6"),
        _multi30k("test_2017_mscoco", "fr", "0b6a4620f02b6b9acf7811fda23f90fed9c6baa0b96aa224db50a273078c84d1"),
    ),
    "sst2": (
        _sst2("train.tsv", "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920"),
        _sst2("dev.tsv", "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359"),
        _sst2("test.tsv", "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7"),
    ),
}


def data_root(root: str | Path | None = None) -> Path:
    """The folder that holds the data: `root`, else $RESEARCH_DATA_DIR, else `research/data` in the user's cache folder.

    A relative path counts from the working directory.
    """
    chosen = root or os.environ.get("RESEARCH_DATA_DIR") or pooch.os_cache("research") / "data"
    return Path(chosen).expanduser().resolve()


def known(*names: str) -> None:
    """Raises ValueError for the first name that is not in the registry, and where there is none."""
    choice = f"one of: {', '.join(REGISTRY)}"
    if not names:
        raise ValueError(f"names=() says nothing to fetch; give {choice}")
    for name in names:
        if name not in REGISTRY:
            raise ValueError(f"name={name!r} is not a known download; {choice}")


def fetch(name: str, root: str | Path | None = None) -> Path:
    """Downloads what is missing of `name` and checks all of it. Returns the file, or the folder of several files.

    Raises ValueError for an unknown name and for a file of the user's that is not the known one (it is left alone),
    OSError where the network or the disk failed. A file under its final name is always whole.
    """
    known(name)
    for remote in REGISTRY[name]:
        path = data_root(root) / remote.path
        if path.exists():
            verify(path, remote.sha256)
        else:
            download(remote, path)
    return path if len(REGISTRY[name]) == 1 else path.parent


def verify(path: Path, sha256: str) -> None:
    """Raises ValueError unless the file has this checksum."""
    found = pooch.file_hash(str(path), alg="sha256")
    if found != sha256:
        raise ValueError(
            f"{path} has SHA-256 {found}, expected {sha256}; it is damaged or another file: "
            "move it away and prepare the data again"
        )


def download(remote: Remote, path: Path) -> None:
    """Brings a file from the first of its homes that has it. Raises OSError where none does or the disk refuses it."""
    failures = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            for url in remote.urls:
                failure = _attempt(url, part, remote.sha256)
                if failure is None:
                    return
                failures.append(f"{url}: {failure}")
            raise ConnectionError(
                f"{path} could not be downloaded from {'; '.join(failures)}. Try again with a connection that reaches one "
                f"of these, or put the file there by hand (SHA-256 {remote.sha256})"
            )
    except ConnectionError:  # an OSError, and no disk's
        raise
    except OSError as error:
        raise OSError(f"{path} could not be written: {error}; make room or choose another data root") from error


def _attempt(url: str, part: Path, sha256: str) -> str | None:
    """Downloads to `part`. Returns what went wrong on the other side, or None. Raises OSError for the disk."""
    try:
        with _Bar(url) as bar:
            pooch.HTTPDownloader(progressbar=bar, timeout=PATIENCE)(url, str(part), None)
    except requests.HTTPError as error:
        return f"status {error.response.status_code}" if error.response is not None else "bad status"
    except requests.Timeout:
        return f"no answer in {PATIENCE} s"
    except requests.ConnectionError:
        return "no connection"
    except requests.RequestException as error:
        return f"broken off ({error})"
    found = pooch.file_hash(str(part), alg="sha256")
    return None if found == sha256 else f"the content has SHA-256 {found}, expected {sha256}"


class _Bar:
    """A progress bar with the four methods that pooch calls."""

    def __init__(self, file: str):
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        console = Console(stderr=True)
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task(file, total=None)

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    @property
    def total(self) -> float | None:
        return self.progress.tasks[self.task].total

    @total.setter
    def total(self, size: float) -> None:
        self.progress.update(self.task, total=size or None)

    def update(self, size: int) -> None:
        self.progress.advance(self.task, size)

    def reset(self) -> None:
        self.progress.reset(self.task, total=self.total)

    def close(self) -> None:
        """Pooch is done; the bar goes at the end of the `with` block."""
