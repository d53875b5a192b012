"""Labelled images for classification, whole in memory.

Dimensions: N images, H rows, W columns, C channels.
"""

import gzip
import hashlib
import io
import logging
import os
import re
import tarfile
import uuid
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pooch
from rich.console import Console
from rich.progress import track

from research.data.fetch import REGISTRY, data_root, fetch, verify

logger = logging.getLogger(__name__)


class Split(NamedTuple):
    """images u8[N,H,W,C], labels i32[N]"""

    images: np.ndarray
    labels: np.ndarray


class Images(NamedTuple):
    """A data set in three parts that share no record.

    classes  the labels' names, in order
    mean     f32[C] of the training images, whose pixels count as 0 to 1
    std      f32[C] likewise
    note     what a reader of a result must know about these very images; usually empty
    """

    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    note: str = ""


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


def load_images(name: str, validation: float, root: str | Path | None = None) -> Images:
    """Loads a set by name, cutting the share `validation` of its training records off for validation.

    digits   8x8 handwritten digits (scikit-learn's `load_digits`), embedded; writers are not kept apart
    mnist    LeCun, Cortes, Burges
    cifar10  Krizhevsky 2009

    Records come in the order of a hash of their content, and the cut is stratified in that order. So the arrays are the
    same however the files were prepared, and depend on no seed. `root` is explained at `data_root`.
    Raises ValueError for an unknown name or share and for missing, incomplete or damaged data.
    """
    if name not in FACTS:
        raise ValueError(f"data={name!r} is not a known image set; one of: {', '.join(FACTS)}")
    if not 0 <= validation <= 0.5:
        raise ValueError(f"validation={validation!r} must be at least 0 and at most 0.5; usual: 0.1")
    facts, note = FACTS[name], ""
    if name == "digits":
        train, test = cut(_digits(), facts.test)
    else:
        train, test, note = _cached(name, data_root(root))
    if note:
        _say(f"{name}: {note}")
    train, held_out = cut(train, round(validation * len(train.labels)))
    return Images(train, held_out, test, facts.classes, *moments(train.images), note)


def load_with_validation(name: str, validation: float) -> Images:
    """`load_images`, with one validation image at least. Raises ValueError for a share that holds out none, too."""
    images = load_images(name, validation)
    if not len(images.validation.labels):
        whole = len(images.train.labels)
        raise ValueError(
            f"validation={validation} holds out none of {whole} images; at least {1 / whole:.2g}, usual: 0.1"
        )
    return images


def prepare(name: str, root: str | Path | None = None) -> Path:
    """Puts a set under the data root from its public home, unless it is there. Returns the folder that holds it.

    With TensorFlow (the extra `prepare`) through tensorflow-datasets, else as the publisher's own files; the arrays
    that come of it are the same. Raises OSError where the network or the disk failed.
    """
    root = data_root(root)
    try:
        files, _ = _find(name, root)
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


def by_content(split: Split) -> Split:
    """The same records in the order of a hash of their pixels: arbitrary, but the same for every source."""
    digests = np.array([hashlib.sha256(image).hexdigest() for image in split.images])
    order = np.lexsort((split.labels, digests))  # the label decides between equal images
    return Split(split.images[order], split.labels[order])


def cut(split: Split, count: int) -> tuple[Split, Split]:
    """Cuts off `count` records, from every class in proportion, its first ones first. Both parts keep their order."""
    place = np.empty(len(split.labels))  # of a record within its class: above 0, below 1
    for label in np.unique(split.labels):
        members = np.flatnonzero(split.labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    taken = np.zeros(len(split.labels), bool)
    taken[np.argsort(place, kind="stable")[:count]] = True
    return Split(*(x[~taken] for x in split)), Split(*(x[taken] for x in split))


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, with pixels from 0 to 1.

    images u8[N,H,W,C] -> f32[C], f32[C]
    """
    counts = np.zeros((images.shape[-1], 256))
    for start in range(0, len(images), 4096):  # bincount widens what it counts to eight bytes
        block = images[start : start + 4096]
        counts += [np.bincount(block[..., c].ravel(), minlength=256) for c in range(images.shape[-1])]
    share = counts / counts.sum(axis=1, keepdims=True)
    value = np.arange(256) / 255
    mean = share @ value
    deviation = np.sqrt((share * (value - mean[:, None]) ** 2).sum(axis=1))
    return mean.astype(np.float32), deviation.astype(np.float32)


def _digits() -> Split:
    from sklearn.datasets import load_digits  # costs a second that the other sets need not pay

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    return by_content(Split(pixels, digits.target.astype(np.int32)))


def _cached(name: str, root: Path) -> tuple[Split, Split, str]:
    """Train, test and note of a set on disk, decoded at most once for each content of its files."""
    files, read = _find(name, root)
    content = hashlib.sha256(b"1")  # raise it when what is stored changes
    for file in files:
        content.update(f"{file.name} {pooch.file_hash(str(file))}\n".encode())
    path = pooch.os_cache("research") / "images" / f"{name}-{content.hexdigest()[:16]}.npz"
    splits = _restore(path)
    if splits is None:
        splits = [by_content(split) for split in read(name, files)]
        _check(name, splits, files)
        _store(path, splits)
    train, test = splits
    return train, test, _note(files)


def _find(name: str, root: Path) -> tuple[list[Path], Callable[[str, list[Path]], list[Split]]]:
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
        return [_decode(name, source[part], part) for part in ("train", "test")]
    # The libraries below raise whatever they like on damage; the one repair is the same.
    except Exception as error:
        raise ValueError(
            f"{folder} cannot be read as {name} in tensorflow-datasets' array_record format: {error}. Move it away and "
            f"run `python scripts/prepare_data.py {name}`"
        ) from error


def _decode(name: str, source: Any, part: str) -> Split:
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


def _check(name: str, splits: list[Split], files: list[Path]) -> None:
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


def _note(files: list[Path]) -> str:
    """What to say of images that are not the published ones."""
    features = [path for path in files if path.name == "features.json"]
    if features and re.search(r'"encodingFormat":\s*"jpeg"', features[0].read_text()):
        return (
            "these images were re-encoded as JPEG, so they are not the published ones: "
            "no published figure may be called reproduced on them"
        )
    return ""


@cache
def _say(note: str) -> None:
    """Logs a note once in a process."""
    logger.warning(note)


def _restore(path: Path) -> list[Split] | None:
    """What `_store` left; None where there is nothing, or nothing whole. Every byte of an array has a checksum."""
    try:
        with np.load(path) as stored:
            return [Split(stored[f"{part}_images"], stored[f"{part}_labels"]) for part in ("train", "test")]
    except FileNotFoundError:
        return None
    except (OSError, EOFError, KeyError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        logger.warning(f"{path} cannot be used ({error}); decoding again")
        return None


def _store(path: Path, splits: list[Split]) -> None:
    """Writes all or nothing. A cache that cannot be written costs time, never the run."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    (train, test) = splits
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(
                file,
                train_images=train.images,
                train_labels=train.labels,
                test_images=test.images,
                test_labels=test.labels,
            )
        os.replace(part, path)
    except OSError as error:
        logger.warning(f"{path} could not be written ({error}); the images will be decoded again next time")
    finally:
        with suppress(OSError):
            part.unlink()
