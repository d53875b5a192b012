"""What the tokens of a model stand for: characters, or pieces of bytes found by byte-pair encoding (Sennrich et al. 2016).

Every token spells some bytes of UTF-8. A text decodes to the bytes of its tokens one after another, so decoding is the
same for every kind of vocabulary; only encoding differs. With `special`, a vocabulary of byte pairs begins with three
tokens that spell nothing and that no text encodes to: PADDING, BEGIN and END, for sentences.

Texts come as pieces, any iterable of strings, so that what is larger than memory can be streamed through; a piece ends
where a line does, because no token of a byte-pair vocabulary reaches past a line's end. So the tokens of a text do not
depend on the pieces it came in.

Dimensions: N tokens.
"""

import codecs
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

PADDING, BEGIN, END = 0, 1, 2
SPECIALS = 3
BYTES = 256
MOST = 2**24  # tokens of a vocabulary
CODE_POINTS = 0x110000
FILE = "vocabulary.json"  # of a run folder


class Vocabulary:
    """Tokens 0, 1, ..., each with a spelling.

    spellings  each token's bytes
    """

    spellings: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.spellings)

    @property
    def dtype(self) -> Any:
        """The narrower of u16 and i32 that holds every token."""
        return np.uint16 if len(self) <= 2**16 else np.int32

    def encode(self, text: str) -> np.ndarray:
        """text -> u16[N] or i32[N]. Raises ValueError for a character that no token spells."""
        raise NotImplementedError

    def decode(self, tokens: Iterable[int]) -> str:
        """tokens int[N] -> text; bytes that are no character become U+FFFD. Raises ValueError for an unknown token."""
        stream = Stream(self)
        return "".join(map(stream.push, tokens)) + stream.close()

    def to_json(self) -> str:
        """The whole vocabulary as plain text, for `from_json`; equal vocabularies give equal text."""
        raise NotImplementedError


class Stream:
    """Decodes token by token as they are generated: a character comes out with the last token that its bytes need."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.spellings = vocabulary.spellings
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The characters that are complete now; often none or one. Raises ValueError for an unknown token."""
        if not 0 <= token < len(self.spellings):
            raise ValueError(f"token={token} is none of the vocabulary's 0 to {len(self.spellings) - 1}")
        return self.decoder.decode(self.spellings[token])

    def close(self) -> str:
        """What is left: U+FFFD for a character that never became complete."""
        return self.decoder.decode(b"", final=True)


@dataclass(frozen=True)
class Characters(Vocabulary):
    """One token for each character.

    characters  distinct, in the order of their tokens
    """

    characters: str

    @cached_property
    def spellings(self) -> tuple[bytes, ...]:  # type: ignore[override]
        return tuple(character.encode() for character in self.characters)

    @cached_property
    def _tokens(self) -> np.ndarray:
        """Each code point's token, i32[CODE_POINTS]; -1 where it has none."""
        tokens = np.full(CODE_POINTS, -1, np.int32)
        tokens[_code_points(self.characters)] = np.arange(len(self.characters))
        return tokens

    def encode(self, text: str) -> np.ndarray:
        tokens = self._tokens[_code_points(text)]
        if tokens.min(initial=0) < 0:
            position = int(np.argmin(tokens))
            known = self.characters if len(self) <= 100 else f"{self.characters[:100]}..."
            raise ValueError(
                f"character {text[position]!r} (U+{ord(text[position]):04X}) at position {position} of the text is none of "
                f"the {len(self)} known ones, {known!r}; leave it out, or train on a text that has it"
            )
        return tokens.astype(self.dtype)

    def to_json(self) -> str:
        return json.dumps({"kind": "characters", "characters": self.characters}, ensure_ascii=False)


class BytePairs(Vocabulary):
    """Byte-level byte-pair encoding: any text has an encoding. Made by `byte_pairs`.

    Registered special tokens of the library would be found in a user's text and encoded as such, so ours are kept
    outside of it: its tokens come after them.
    """

    def __init__(self, tokenizer: Any, special: bool) -> None:
        self.tokenizer = tokenizer
        self.offset = SPECIALS if special else 0
        pieces = sorted(tokenizer.get_vocab().items(), key=lambda piece: piece[1])
        values = _byte_values()
        self.spellings = (b"",) * self.offset + tuple(bytes(values[sign] for sign in piece) for piece, _ in pieces)

    def encode(self, text: str) -> np.ndarray:
        try:
            # In lines, which the library spreads over threads; this call leaves out where in the text each token lies.
            encodings = self.tokenizer.encode_batch_fast(list(_lines(text)))
        except TypeError:
            lone = re.search("[\ud800-\udfff]", text)
            assert lone is not None  # the one thing in a str that the library refuses
            raise ValueError(
                f"character {lone[0]!r} at position {lone.start()} of the text is half a character; give text in UTF-8"
            ) from None
        tokens = [token for encoding in encodings for token in encoding.ids]
        return (np.array(tokens, np.int64) + self.offset).astype(self.dtype)

    def to_json(self) -> str:
        tokenizer = json.loads(self.tokenizer.to_str())
        content = {"kind": "byte pairs", "special": self.offset > 0, "tokenizer": tokenizer}
        return json.dumps(content, ensure_ascii=False)


def characters(pieces: Iterable[str]) -> Characters:
    """The distinct characters of a text, sorted. Raises ValueError where there is none."""
    seen = np.zeros(CODE_POINTS, bool)
    for piece in pieces:
        seen[_code_points(piece)] = True
    if not seen.any():
        raise ValueError("the text is empty, and a vocabulary needs characters; give a text that has some")
    return Characters("".join(map(chr, np.flatnonzero(seen))))


def byte_pairs(pieces: Iterable[str], size: int, special: bool = False) -> BytePairs:
    """Learns a byte-level byte-pair encoding of `size` tokens in all; the same text gives the same one every time.

    For a joint vocabulary of two languages, chain the lines of both. Words are cut as GPT-2 does (Radford et al. 2019),
    after lines are. Raises ValueError for a size below the 256 bytes (and 3 specials), or above what the text yields.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    least = BYTES + (SPECIALS if special else 0)
    # The errors name the option that gives the size.
    if size < least:
        raise ValueError(
            f"byte_pairs={size} is less than {least}, the bytes{' and specials' * special}; give at least {least}"
        )
    if size > MOST:  # the library ends the process where it cannot have the memory for so many
        raise ValueError(f"byte_pairs={size} is more than {MOST}; usual: 2048 to 32768")
    tokenizer = Tokenizer(models.BPE())
    lines = pre_tokenizers.Split("\n", "merged_with_previous")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([lines, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size - least + BYTES, show_progress=False, initial_alphabet=alphabet)
    # In lines, because the library holds 256 of what it is given.
    tokenizer.train_from_iterator((line for piece in pieces for line in _lines(piece)), trainer)
    vocabulary = BytePairs(tokenizer, special)
    if len(vocabulary) != size:
        raise ValueError(
            f"byte_pairs={size} is more than the text yields; give at most {len(vocabulary)}, or more text"
        )
    return vocabulary


def from_json(text: str | bytes) -> Vocabulary:
    """What `to_json` wrote. Raises ValueError for anything else."""
    try:
        content = json.loads(text)
        if content["kind"] == "characters":
            return Characters(content["characters"])
        if content["kind"] == "byte pairs":
            from tokenizers import Tokenizer

            return BytePairs(Tokenizer.from_str(json.dumps(content["tokenizer"])), content["special"])
    # The library raises bare exceptions on damage; the one repair is the same.
    except Exception as error:
        raise ValueError(f"the vocabulary cannot be read: {error!r}; make it again from its text") from error
    raise ValueError(f"kind={content['kind']!r} is no kind of vocabulary; one of: characters, byte pairs")


def files_of(vocabulary: Vocabulary) -> dict[str, str]:
    """What a run folder holds of its vocabulary, for `Inputs.files`."""
    return {FILE: vocabulary.to_json() + "\n"}


def of_run(folder: Path, kind: str) -> Vocabulary:
    """The vocabulary of a run, which is one of that kind. Raises ValueError where the folder holds none."""
    if not (folder / FILE).is_file():
        raise ValueError(f"{folder} holds no {FILE}, so it is no {kind}; give the folder of one")
    return from_json((folder / FILE).read_bytes())


def _lines(text: str) -> Iterator[str]:
    """Lines with their ends, which are LF and nothing else."""
    return iter(io.StringIO(text, newline="\n"))


def _code_points(text: str) -> np.ndarray:
    """u32[N]. A lone surrogate, as an undecodable argument of a command holds one, is a character like any other."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _byte_values() -> dict[str, int]:
    """What byte each sign of the library's spelling stands for.

    Visible characters of Latin-1 stand for themselves; the other bytes, in order, are written U+0100, U+0101, ...
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(BYTES) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(BYTES + i): byte for i, byte in enumerate(hidden)}


def spelling_table(spellings: Sequence[bytes]) -> np.ndarray:
    """Each token's bytes -> u8[N,W], with zeros behind: a vocabulary as an array, for `Inputs.data` and `spelt_out`."""
    return np.array(spellings).view(np.uint8).reshape(len(spellings), -1)


def spelt_out(tokens: np.ndarray, table: np.ndarray) -> list[str]:
    """What sentences of tokens int[M,T] say, by a table of spellings u8[N,W]; in one line, without spaces at the ends."""
    spelt = [bytes(token).rstrip(b"\0") for token in np.asarray(table)]
    found = (b"".join(spelt[token] for token in sentence) for sentence in np.asarray(tokens).tolist())
    return [" ".join(text.decode("utf-8", "replace").split()) for text in found]
