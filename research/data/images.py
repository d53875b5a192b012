"""Labelled images for classification, whole in memory.

Dimensions: N images, H rows, W columns, C channels.
"""

import hashlib
import logging
import zipfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch

from research.data.fetch import data_root
from research.data.image_files import FACTS, Split, check, find, note_of
from research.engine.files import replacing

logger = logging.getLogger(__name__)


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
    files, read = find(name, root)
    content = hashlib.sha256(b"1")  # raise it when what is stored changes
    for file in files:
        content.update(f"{file.name} {pooch.file_hash(str(file))}\n".encode())
    path = pooch.os_cache("research") / "images" / f"{name}-{content.hexdigest()[:16]}.npz"
    splits = _restore(path)
    if splits is None:
        splits = [by_content(split) for split in read(name, files)]
        check(name, splits, files)
        _store(path, splits)
    train, test = splits
    return train, test, note_of(files)


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
    train, test = splits
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, part.open("wb") as file:
            np.savez(
                file,
                train_images=train.images,
                train_labels=train.labels,
                test_images=test.images,
                test_labels=test.labels,
            )
    except OSError as error:
        logger.warning(f"{path} could not be written ({error}); the images will be decoded again next time")
