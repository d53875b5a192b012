"""Sentences in pairs, for translation, and sentences with labels, for classification; padded batches of either.

Dimensions: N examples, L tokens that a bucket has room for, P batches of an epoch.
"""

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pooch
from jax import Array

from research.data.fetch import fetch
from research.data.text import lines
from research.data.vocabulary import BEGIN, END, PADDING
from research.engine.files import write_text

LANGUAGES = ("en", "de", "fr")
TOGETHER = 8  # the examples of a batch are a multiple, so that devices can share it
SPLITS = ("train", "val", "test_2016_flickr", "test_2017_flickr", "test_2017_mscoco")


class Pairs(NamedTuple):
    """Line n of the source means line n of the target."""

    source: list[str]
    target: list[str]


class Labelled(NamedTuple):
    """texts, labels i32[N] which count in `classes`, the labels' names; lines i32[N], where each stands in its file, from 1"""

    texts: list[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    lines: np.ndarray


def load_pairs(source: str | Path, target: str | Path) -> Pairs:
    """Two files, line by line. Raises ValueError where one is missing, empty, not UTF-8, or longer than the other."""
    paths = Path(source).expanduser(), Path(target).expanduser()
    pairs = Pairs(*map(lines, paths))
    if len(pairs.source) != len(pairs.target):
        (fewer, short), (more, long) = sorted(zip(map(len, pairs), paths, strict=True))
        raise ValueError(
            f"{long} has {more} lines and {short} has {fewer}: line {fewer + 1} of {long} has no partner; "
            "line n of one file must translate line n of the other"
        )
    return pairs


def load_multi30k(source: str, target: str, root: str | Path | None = None) -> dict[str, Pairs]:
    """Multi30k's task 1, lowercased, normalised and tokenised by its authors (Elliott et al. 2016), by split.

    source, target  two of en, de, fr
    Fetched unless it is under the data root (`root` is explained at `data_root`). Raises ValueError for other languages.
    """
    for name, language in (("source", source), ("target", target)):
        if language not in LANGUAGES:
            raise ValueError(f"{name}={language!r} is not a language of multi30k; one of: {', '.join(LANGUAGES)}")
    if source == target:
        raise ValueError(f"source and target are both {source!r}; give two of: {', '.join(LANGUAGES)}")
    folder = fetch("multi30k", root)
    return {
        split: load_pairs(*(folder / f"{split}.lc.norm.tok.{language}" for language in (source, target)))
        for split in SPLITS
    }


def load_labelled(path: str | Path, classes: Sequence[str] | None = None) -> Labelled:
    """A file of lines `text TAB label`. A first line whose label is the word "label" is a heading.

    classes  the labels' names in order, as of another split; by default those that the file has, sorted
    Raises ValueError, naming file and line, for a line without text or label, with more columns or another label.
    """
    path = Path(path).expanduser()
    texts, names, numbers = [], [], []
    for number, line in enumerate(lines(path), 1):
        text, *columns = line.split("\t")
        if len(columns) != 1 or not columns[0].strip() or not text.strip():
            wrong = "has no label" if not "".join(columns).strip() else "has no text" if not text.strip() else ""
            wrong = wrong or f"has {1 + len(columns)} columns"
            raise ValueError(f"{path}, line {number} {wrong}; every line must be a text, one tab and its label")
        label = columns[0].strip()
        if number == 1 and label == "label":
            continue
        if classes is not None and label not in classes:
            raise ValueError(f"{path}, line {number} has the label {label!r}; known: {', '.join(classes)}")
        texts.append(text)
        names.append(label)
        numbers.append(number)
    if not texts:
        raise ValueError(f"{path} has a heading and nothing below; give a file with examples")
    known = tuple(sorted(set(names)) if classes is None else classes)
    place = {name: i for i, name in enumerate(known)}
    labels = np.array([place[name] for name in names], np.int32)
    return Labelled(texts, labels, known, np.array(numbers, np.int32))


def held_out_parts(count: int, share: float, of: str) -> tuple[slice, slice, slice]:
    """Which of `count` examples to learn from, to validate and to test: a share at the end is held out, half for each.

    of  what they are, as in "pairs of my.en". Raises ValueError where a part would be empty.
    """
    out = int(count * share)
    first, last = count - out, count - out // 2
    if not 0 < first < last < count:
        enough = max(0.1, math.ceil(200 / count) / 100)  # two examples at least
        raise ValueError(
            f"held_out={share} of the {count} {of} leaves none to train, to validate or to test; "
            f"give {f'held_out={enough:g}' if count > 2 else 'at least 3 of them'}"
        )
    return slice(first), slice(first, last), slice(last, count)


def load_sst2(root: str | Path | None = None) -> dict[str, Labelled]:
    """SST-2, whole sentences (Socher et al. 2013), by split: train, dev, test; class 1 is positive.

    Fetched unless it is under the data root (`root` is explained at `data_root`).
    """
    folder = fetch("sst2", root)
    return {split: load_labelled(folder / f"{split}.tsv", ("0", "1")) for split in ("train", "dev", "test")}


def sst2_text(root: str | Path | None = None) -> Path:
    """SST-2's training sentences without their labels, one a line, as a file in the user's cache folder: a text to read
    before labels are seen. Raises as `load_sst2`, and OSError where the disk refuses."""
    texts = load_sst2(root)["train"].texts
    content = "".join(f"{text.strip()}\n" for text in texts)
    path = Path(pooch.os_cache("research")) / "texts" / f"sst2-{zlib.crc32(content.encode()):08x}.txt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, content)
    return path


def padded(
    sequences: Sequence[np.ndarray], length: int, begin: bool = False, end: bool = True, filler: int = PADDING
) -> np.ndarray:
    """Sequences one below the other, each between BEGIN and END where asked for, then `filler`.

    sequences int[<=length - begin - end] -> i32[N,length]. Raises ValueError for a sequence that is too long.
    """
    table = np.full((len(sequences), length), filler, np.int32)
    for number, (row, sequence) in enumerate(zip(table, sequences, strict=True), 1):
        used = len(sequence) + begin + end
        if used > length:
            raise ValueError(
                f"sentence {number} needs {used} tokens, more than length={length}; leave it out or give more"
            )
        if begin:
            row[0] = BEGIN
        row[begin : begin + len(sequence)] = sequence
        if end:
            row[used - 1] = END
    return table


class Buckets(NamedTuple):
    """Examples of about equal length in tables of their own, and which table each tick reads. A pytree, for `Inputs.data`.

    tables    for each bucket source i32[N,L] and target i32[N,L+1], or text i32[N,L] and label i32[N]
    schedule  i32[P,2], the bucket of each batch of an epoch, and how many batches of that bucket came before
    counts    i32[buckets], the batches that an epoch takes of each

    A tick's bucket depends on the tick's index alone, which no row batches, so one program holds every shape:

        bucket, batch = turn(data.schedule, data.counts, tick.index)
        lax.switch(bucket, [partial(update, table) for table in data.tables], state, batch)

    where `update` reads the places `epoch_indices(order, batch, rows, N)` of its table, with `rows` as `bucket_rows` has
    it; source[places] is what the encoder reads, target[places, :-1] what the decoder does, target[places, 1:] the goal.
    """

    tables: tuple[tuple[np.ndarray, np.ndarray], ...]
    schedule: np.ndarray
    counts: np.ndarray


def bucketed(
    source: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
    lengths: Sequence[int],
    tokens: int,
    seed: int = 0,
    multiple: int = 1,
) -> tuple[Buckets, int]:
    """Puts each pair into the first bucket with room for both sentences -> buckets, how many pairs were too long.

    source, target  int[<L], encoded, without special tokens
    lengths         room in each bucket, rising, for a sentence and one special token; an empty bucket is left out
    tokens          what a batch holds, padding counted, of either language
    multiple        of which the pairs in a batch are one
    Raises ValueError for lengths that do not rise, a batch too small for a pair, and where every pair is too long.
    """
    need = np.array([max(len(x), len(y)) + 1 for x, y in zip(source, target, strict=True)], np.int64)

    def table(members: list[int], length: int) -> tuple[np.ndarray, np.ndarray]:
        goals = padded([target[n] for n in members], length + 1, begin=True)
        return padded([source[n] for n in members], length), goals

    return fill_buckets(need, table, lengths, tokens, seed, multiple)


def fill_buckets(
    need: np.ndarray,
    table: Callable[[list[int], int], tuple[np.ndarray, np.ndarray]],
    lengths: Sequence[int],
    tokens: int,
    seed: int = 0,
    multiple: int = 1,
) -> tuple[Buckets, int]:
    """Puts each example into the first bucket with room for the tokens int[N] that it needs; the rest as `bucketed`.

    table  makes a bucket's table of the examples that are its members, and of its length
    """
    check_rising("lengths", lengths)
    chosen = np.searchsorted(lengths, need)
    tables: list[tuple[np.ndarray, np.ndarray]] = []
    order: list[int] = []
    for i, length in enumerate(lengths):
        members = np.flatnonzero(chosen == i).tolist()
        if len(members):
            batches = max(1, round(len(members) / bucket_rows(length, tokens, multiple)))
            order += [len(tables)] * batches
            tables.append(table(members, length))
    if not tables:
        raise ValueError(
            f"every pair is longer than lengths={tuple(lengths)} allow, the shortest {need.min()}; give more"
        )
    return Buckets(tuple(tables), *_scheduled(np.array(order, np.int32), seed)), int((chosen == len(lengths)).sum())


def check_rising(name: str, lengths: Sequence[int], least: int = 1) -> None:
    """Raises ValueError for lengths of buckets that do not rise from at least `least`; `name` is what they are called."""
    if list(lengths) != sorted(set(lengths)) or not lengths or lengths[0] < least:
        raise ValueError(f"{name}={tuple(lengths)} must rise from at least {least}; as in (24, 40, 64)")


def bucket_rows(length: int, tokens: int, multiple: int = 1) -> int:
    """The pairs in a batch of a bucket: the largest multiple that fits. Raises ValueError where none does."""
    rows = tokens // length // multiple * multiple
    if not rows:
        pairs = "a sentence" if multiple == 1 else f"{multiple} sentences"
        raise ValueError(
            f"tokens={tokens} is less than {pairs} of the bucket of {length}; give at least {length * multiple}"
        )
    return rows


def _scheduled(order: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The batches of an epoch i32[P], by bucket, in an order of the seed's -> schedule, counts."""
    order = order[np.argsort(np.random.Philox(key=[seed, zlib.crc32(b"buckets")]).random_raw(len(order)))]
    counts = np.bincount(order).astype(np.int32)
    before = np.empty_like(order)
    for bucket, count in enumerate(counts):
        before[order == bucket] = np.arange(count)
    return np.stack([order, before], axis=1), counts


def turn(schedule: Array, counts: Array, index: Array) -> tuple[Array, Array]:
    """The bucket of a tick, and the number of its batch among all of that bucket since the run began.

    schedule i32[P,2], counts i32[buckets], index i32[] -> i32[], i32[]
    """
    epoch, place = jnp.divmod(index, schedule.shape[0])
    bucket, before = schedule[place]
    return bucket, before + epoch * counts[bucket]
