"""The files that image sets come in: their publishers' own, or a folder that tensorflow-datasets prepared.

Dimensions: N images, H rows, W columns, C channels.
"""

import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from research.data.fetch import REGISTRY, data_root, fetch, verify


class Split(NamedTuple):
    """images u8[N,H,W,C], labels i32[N]"""

    images: np.ndarray
    labels: np.ndarray


class Facts(NamedTuple):
    """What a complete set must have: its classes, the shape of an image, how many records train and test hold."""

    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    train: int
    test: int


DIGITS = tuple("0123456789")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FACTS = {
    "digits": Facts(DIGITS, (8, 8, 1), 1_437, 360),
    "mnist": Facts(DIGITS, (28, 28, 1), 60_000, 10_000),
    "cifar10": Facts(THINGS, (32, 32, 3), 50_000, 10_000),
}


def prepare(name: str, root: str | Path | None = None) -> Path:
    """Puts a set under the data root from its public home, unless it is there. Returns the folder that holds it.

    With TensorFlow (the extra `prepare`) through tensorflow-datasets, else as the publisher's own files; the arrays
    that come of it are the same. Raises OSError where the network or the disk failed.
    """
    root = data_root(root)
    try:
        files, _ = find(name, root)
        return files[0].parent
    except ValueError:
        if find_spec("tensorflow") is None:
            return fetch(name, root)
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=root / "tfds")
    try:
        builder.download_and_prepare(file_format="array_record")
    # Not every error of a failed download is an OSError there.
    except Exception as error:
        raise OSError(f"{root / 'tfds' / name} could not be prepared: {error}; mend that and try again") from error
    return Path(builder.data_path)


def find(name: str, root: Path) -> tuple[list[Path], Callable[[str, list[Path]], list[Split]]]:
    """The set's files under the data root and what reads them. The publisher's own go before a prepared folder."""
    originals = [root / remote.path for remote in REGISTRY[name]]
    if all(path.exists() for path in originals):
        return originals, read_original
    prepared = [path.parent for path in (root / "tfds" / name).glob("*/dataset_info.json") if _version(path.parent)]
    if prepared:
        return sorted(path for path in max(prepared, key=_version).iterdir() if path.is_file()), read_prepared
    missing = next(path for path in originals if not path.exists())
    raise ValueError(
        f"data={name!r} is missing: there is neither {missing} nor {root / 'tfds' / name}; one must be there. "
        f"Run `python scripts/prepare_data.py {name}`, or set RESEARCH_DATA_DIR to a folder that holds it"
    )


def _version(folder: Path) -> tuple[int, ...]:
    """(3, 0, 1) of a folder 3.0.1; nothing of any other, such as the 3.0.1.incompleteXYZ of a preparation under way."""
    return tuple(map(int, folder.name.split("."))) if re.fullmatch(r"\d+(\.\d+)*", folder.name) else ()


def read_original(name: str, files: list[Path]) -> list[Split]:
    """Train and test of MNIST or CIFAR-10 from the files that their authors publish, each checked before it is read."""
    for path, remote in zip(files, REGISTRY[name], strict=True):
        verify(path, remote.sha256)
    if name == "mnist":
        images = [_idx(path)[..., None] for path in files[::2]]
        labels = [_idx(path).astype(np.int32) for path in files[1::2]]
        return [Split(*split) for split in zip(images, labels, strict=True)]
    with tarfile.open(files[0]) as archive:
        batches = [f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]
        return [_batches([_member(archive, batch) for batch in part]) for part in batches]


def _idx(path: Path) -> np.ndarray:
    """An array of bytes in the idx format: 0, 0, type 8, number of dimensions, their sizes (big-endian), the bytes."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _member(archive: tarfile.TarFile, file: str) -> bytes:
    member = archive.extractfile(f"cifar-10-batches-bin/{file}")
    assert member is not None  # the archive's checksum was right
    return member.read()


def _batches(contents: list[bytes]) -> Split:
    """CIFAR-10's binary batches: records of one label, then 32x32 red, 32x32 green, 32x32 blue."""
    records = np.frombuffer(b"".join(contents), np.uint8).reshape(-1, 1 + 3 * 32 * 32)
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # [N, H, W, C]
    return Split(np.ascontiguousarray(images), records[:, 0].astype(np.int32))


def read_prepared(name: str, files: list[Path]) -> list[Split]:
    """Train and test from a folder that tensorflow-datasets prepared as array_record. Needs no TensorFlow."""
    import tensorflow_datasets as tfds  # costs a second that a warm cache saves

    folder = files[0].parent
    try:
        source = tfds.builder_from_directory(folder).as_data_source(decoders={"image": tfds.decode.SkipDecoding()})
        return [decode(name, source[part], part) for part in ("train", "test")]
    # The libraries below raise whatever they like on damage; the one repair is the same.
    except Exception as error:
        raise ValueError(
            f"{folder} cannot be read as {name} in tensorflow-datasets' array_record format: {error}. Move it away and "
            f"run `python scripts/prepare_data.py {name}`"
        ) from error


def decode(name: str, source: Any, part: str) -> Split:
    from PIL import Image

    starts = range(0, len(source), 1000)
    # Pillow directly takes two thirds of the time of the library's own decoding, which also asks for OpenCV.
    images = np.empty((len(source), *FACTS[name].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    for start in _progress(starts, f"decoding {name} {part}: {len(source)} images"):
        for i, record in enumerate(source.__getitems__(list(range(start, min(start + 1000, len(source))))), start):
            images[i] = np.asarray(Image.open(io.BytesIO(record["image"]))).reshape(FACTS[name].shape)
            labels[i] = record["label"]
    return Split(images, labels)


def _progress(steps: Sequence[int], what: str) -> Iterable[int]:
    """The steps, with a bar on a terminal and one line elsewhere."""
    console = Console(stderr=True, markup=False)
    if not console.is_terminal:
        console.print(what)
        return steps
    return track(steps, what, console=console, transient=True)


def check(name: str, splits: list[Split], files: list[Path]) -> None:
    """Raises ValueError unless a set is complete."""
    facts = FACTS[name]
    for part, split, count in zip(("train", "test"), splits, (facts.train, facts.test), strict=True):
        low, high = split.labels.min(initial=0), split.labels.max(initial=0)
        if split.images.shape != (count, *facts.shape) or low < 0 or high >= len(facts.classes):
            raise ValueError(
                f"{files[0].parent} holds {part} images {split.images.shape} with labels {low} to {high}; {name} has "
                f"{(count, *facts.shape)} and 0 to {len(facts.classes) - 1}. Move it away and run "
                f"`python scripts/prepare_data.py {name}`"
            )


def note_of(files: list[Path]) -> str:
    """What to say of images that are not the published ones."""
    features = [path for path in files if path.name == "features.json"]
    if features and re.search(r'"encodingFormat":\s*"jpeg"', features[0].read_text()):
        return (
            "these images were re-encoded as JPEG, so they are not the published ones: "
            "no published figure may be called reproduced on them"
        )
    return ""
