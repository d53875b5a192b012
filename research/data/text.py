"""Texts for language models as tokens: whole in memory, or in a file that is read while a run goes on.

A token file is flat: little-endian u16 or i32, nothing else. A folder holds one for training and one for validation,
and `tokens.json`, which says what they are.

Dimensions: N tokens of a text, B crops in a batch, T tokens that a model sees at once.
"""

import codecs
import hashlib
import json
import mmap
import os
import shutil
import uuid
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pooch
from jax import Array
from rich.console import Console

from research.data.fetch import fetch
from research.data.vocabulary import Vocabulary, byte_pairs, characters, from_json

NAMES = ("tinyshakespeare",)
PIECE = 2**20  # bytes of a text that are in memory at a time, up to the end of a line
ABOUT = "tokens.json"


class Text(NamedTuple):
    """train u16|i32[N], validation u16|i32[N], which may be mapped from a file; what their tokens stand for; and of streamed
    texts a digest, which tells them from all others"""

    train: np.ndarray
    validation: np.ndarray
    vocabulary: Vocabulary
    digest: str = ""


def load_text(
    text: str | Path, size: int | None = None, validation: float = 0.1, root: str | Path | None = None
) -> Text:
    """The tokens of a text, in memory: one for each character, or byte pairs of a vocabulary of `size`.

    text        tinyshakespeare, fetched unless it is under the data root (`root` is explained at `data_root`); or a file
    validation  share of the characters, at the end, that is held out

    As nanoGPT does, the known characters are those of the whole text, so that what is held out can be encoded; byte
    pairs are learned from the training part alone.
    Raises ValueError for a share out of range and for a file that is missing, empty or not UTF-8.
    """
    path = find_text(text, root)
    vocabulary, parts = _tokens(path, size, validation)
    nothing = np.zeros(0, vocabulary.dtype)
    train, held_out = (np.concatenate([nothing, *part]) for part in parts)
    return Text(train, held_out, vocabulary)


def stream_text(
    text: str | Path, size: int | None = None, validation: float = 0.1, root: str | Path | None = None
) -> Text:
    """The same as `load_text`, in token files in the user's cache folder, written the first time.

    Neither the text nor its tokens are ever in memory as a whole, if the text has lines. Raises as `load_text`, and
    OSError where the disk refuses.
    """
    path = find_text(text, root)
    content = pooch.file_hash(str(path), alg="sha256")
    name = hashlib.sha256(f"1 {content} {size} {validation}".encode()).hexdigest()[:16]  # raise 1 when a format changes
    folder = pooch.os_cache("research") / "tokens" / f"{path.stem}-{name}"
    if not folder.exists():
        Console(stderr=True, soft_wrap=True, markup=False).print(f"writing the tokens of {path} to {folder}")
        vocabulary, (train, held_out) = _tokens(path, size, validation)
        write_tokens(folder, vocabulary, train, held_out)
    return open_tokens(folder)._replace(digest=name)


def find_text(text: str | Path, root: str | Path | None = None) -> Path:
    """The file of a text that is given by name or by path. Raises ValueError where there is none."""
    if str(text) in NAMES:
        return fetch(str(text), root)
    path = Path(text).expanduser()
    if not path.is_file():
        raise ValueError(
            f"text={str(text)!r} is neither {', '.join(NAMES)} nor a file; give the path of a text in UTF-8"
        )
    return path


def pieces(path: Path) -> Iterator[str]:
    """A file's text in pieces of whole lines. Raises ValueError, naming the line, for what is not UTF-8."""
    line = 1
    with path.open("rb") as file:
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        while block := file.read(PIECE) + file.readline():
            try:
                yield block.decode()
            except UnicodeDecodeError as error:
                line += block.count(b"\n", 0, error.start)
                raise ValueError(
                    f"{path}, line {line}: byte 0x{block[error.start]:02X} is not UTF-8; save the text as UTF-8"
                ) from None
            line += block.count(b"\n")


def lines(path: Path) -> list[str]:
    """A file's lines without their ends, which are LF or CR LF. Raises ValueError for a file without text."""
    if not path.is_file():
        raise ValueError(f"{path} is not a file; give the path of a text in UTF-8")
    found = "".join(pieces(path)).removesuffix("\n").split("\n")
    if found == [""]:
        raise ValueError(f"{path} is empty; give a file with a line of text for each example")
    return [line.removesuffix("\r") for line in found]


def _tokens(path: Path, size: int | None, validation: float) -> tuple[Vocabulary, list[Iterator[np.ndarray]]]:
    """The vocabulary of a text, and the tokens of its training and its validation part, piece by piece."""
    if not 0 <= validation <= 0.5:
        raise ValueError(f"validation={validation!r} must be at least 0 and at most 0.5; usual: 0.1")
    total = sum(map(len, pieces(path)))
    if total == 0:
        raise ValueError(f"{path} is empty; give a file with text")
    cut = int(total * (1 - validation))
    vocabulary: Vocabulary
    vocabulary = characters(pieces(path)) if size is None else byte_pairs(_between(path, 0, cut), size)
    return vocabulary, [map(vocabulary.encode, _between(path, *ends)) for ends in ((0, cut), (cut, total))]


def _between(path: Path, first: int, last: int) -> Iterator[str]:
    """The characters first, ..., last - 1 of a file, in pieces."""
    start = 0
    for piece in pieces(path):
        part = piece[max(first - start, 0) : max(last - start, 0)]
        if part:
            yield part
        start += len(piece)
        if start >= last:
            return


def write_tokens(
    folder: Path, vocabulary: Vocabulary, train: Iterable[np.ndarray], validation: Iterable[np.ndarray]
) -> None:
    """Writes a folder of token files, each from arrays int[N] one after another; all or nothing.

    Where the folder is there already, as when another process was faster, it stays. Raises OSError for the disk.
    """
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    dtype = np.dtype(vocabulary.dtype).newbyteorder("<")
    about = {"dtype": dtype.str, "vocabulary": json.loads(vocabulary.to_json())}
    try:
        part.mkdir(parents=True)
        for name, arrays in (("train", train), ("validation", validation)):
            with (part / f"{name}.bin").open("wb") as file:
                for array in arrays:
                    file.write(array.astype(dtype).tobytes())
                about[name] = file.tell() // dtype.itemsize
        (part / ABOUT).write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        if not folder.exists():
            os.rename(part, folder)
    except OSError as error:
        if not folder.exists():
            raise OSError(f"{folder} could not be written: {error}; make room or set XDG_CACHE_HOME") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def open_tokens(folder: Path) -> Text:
    """Maps what `write_tokens` wrote. Raises ValueError where a file has not the length that it was written with."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        vocabulary = from_json(json.dumps(about["vocabulary"]))
        dtype = np.dtype(about["dtype"])
        train, held_out = (_map(folder / f"{name}.bin", dtype, about[name]) for name in ("train", "validation"))
        return Text(train, held_out, vocabulary)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} cannot be read as tokens: {error}; remove it, and it is written again") from error


def _map(path: Path, dtype: np.dtype, count: int) -> np.ndarray:
    found = path.stat().st_size
    if found != count * dtype.itemsize:
        raise ValueError(f"{path.name} has {found} bytes, not {count * dtype.itemsize}")
    return np.memmap(path, dtype, "r") if count else np.zeros(0, dtype)


@dataclass(frozen=True, eq=False)
class Crops:
    """Batches of random crops as a feed: which ones a tick reads is a function of seed and tick, so resume is exact.

    Give it as `Inputs.feed`; a step finds i32[B,T+1] in `tick.feed`, its inputs [:, :-1] and its targets [:, 1:]. Every
    row of a lane reads the same crops. The crops of equal seeds are the same on every machine and NumPy.

    tokens  u16|i32[N], in memory or mapped
    batch   B
    length  T
    """

    tokens: np.ndarray
    batch: int
    length: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_crops(len(self.tokens), self.length)
        if self._mapping is not None:
            self._mapping.madvise(mmap.MADV_RANDOM)  # reading ahead of a crop is reading in vain

    def __call__(self, first: int, count: int) -> np.ndarray:
        """The crops of ticks first, ..., first + count - 1 -> i32[count,B,T+1]"""
        starts = np.stack([self.starts(tick) for tick in range(first, first + count)])  # [count, B]
        found = np.empty((*starts.shape, self.length + 1), np.int32)
        tokens, offsets = np.asarray(self.tokens), np.arange(self.length + 1)
        self._expect(starts)
        for crops, at in zip(found, starts, strict=True):
            crops[:] = tokens[at[:, None] + offsets]  # [B, T+1]
            if self._mapping is not None:
                # Pages that were read count as this process's memory until it gives them back; the system keeps them
                # for as long as it has room.
                self._mapping.madvise(mmap.MADV_DONTNEED)
        return found

    def _expect(self, starts: np.ndarray) -> None:
        """Asks for all crops at once, because a disk brings many pages in little more time than one."""
        if self._mapping is None:
            return
        size = self.tokens.itemsize
        first = self.tokens.ctypes.data - np.frombuffer(self._mapping, np.uint8).ctypes.data
        for byte in (first + starts.ravel() * size).tolist():
            page = byte - byte % mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_WILLNEED, page, byte + (self.length + 1) * size - page)

    def starts(self, tick: int) -> np.ndarray:
        """Where the crops of a tick begin, i64[B]: uniform, each tick with a counter of its own (Salmon et al. 2011)."""
        # Raw bits, because NumPy may change how a Generator makes other numbers of them.
        bits = np.random.Philox(key=[self.seed, zlib.crc32(b"crops")], counter=[0, tick, 0, 0]).random_raw(self.batch)
        return (bits % np.uint64(len(self.tokens) - self.length)).astype(np.int64)

    @cached_property
    def _mapping(self) -> mmap.mmap | None:
        """What `tokens` is a view of, if that is a file."""
        base: Any = self.tokens
        while isinstance(base, np.ndarray):
            base = base.base
        return base if isinstance(base, mmap.mmap) else None


def draw_crops(key: Array, tokens: Array, batch: int, length: int) -> Array:
    """A batch of random crops of resident tokens, for use inside a step; each row of a lane draws for itself.

    key key[], tokens u16|i32[N], batch B and length T static -> i32[B,T+1]
    """
    check_crops(tokens.shape[0], length)
    starts = jax.random.randint(key, (batch, 1), 0, tokens.shape[0] - length)
    return tokens[starts + jnp.arange(length + 1)[None]].astype(jnp.int32)  # [B, T+1]


def check_crops(count: int, length: int) -> None:
    """Raises ValueError where N = count tokens are too few for a crop of T = length and the token after it."""
    if count <= length:
        raise ValueError(
            f"length={length} needs {length + 1} tokens, and the text has {count}; give a longer text or a shorter length"
        )
