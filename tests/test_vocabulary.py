"""Vocabularies: text comes back whole, special tokens never come from text, the same text gives the same tokens."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.data import vocabulary as module
from research.data.vocabulary import BEGIN, END, PADDING, SPECIALS, Stream, byte_pairs, characters, from_json

TEXT = "the cat sat on the mat, then the cat ate the rat\nthat the hat fat\n\n  naïve café 日本 🙂\r\n" * 3
PAIRS = byte_pairs([TEXT], 290)
JOINT = byte_pairs(["the cat\n", "die katze\n", "the cats\n", "die katzen\n"], 270, special=True)


def test_characters_are_sorted_and_narrow():
    vocabulary = characters(["ba", "cab\n"])
    assert vocabulary.characters == "\nabc" and len(vocabulary) == 4
    tokens = vocabulary.encode("cab\n")
    assert tokens.tolist() == [3, 1, 2, 0] and tokens.dtype == np.uint16
    assert vocabulary.decode(tokens) == "cab\n"


def test_more_characters_than_sixteen_bits_get_wider_tokens():
    signs = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x12900)]))
    vocabulary = characters([signs])
    assert len(vocabulary) > 2**16 and vocabulary.dtype == np.int32
    assert vocabulary.encode(signs[-2:]).tolist() == [len(signs) - 2, len(signs) - 1]


def test_an_unknown_character_is_named_with_its_place_and_the_known_ones():
    with pytest.raises(ValueError) as caught:
        characters(["abc"]).encode("bcéf")
    assert all(
        part in str(caught.value) for part in ("'é' (U+00E9)", "position 2", "3 known ones, 'abc'", "leave it out")
    )


def test_what_a_terminal_could_not_decode_is_refused():
    for vocabulary in (characters(["abc"]), PAIRS):
        with pytest.raises(ValueError, match=r"'\\udce9'.* position 1 .*(leave it out|UTF-8)"):
            vocabulary.encode("a\udce9")


def test_an_empty_text_has_no_characters():
    with pytest.raises(ValueError, match="the text is empty"):
        characters([""])


@settings(max_examples=50)
@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_byte_pairs_give_any_text_back(text):
    for vocabulary in (PAIRS, JOINT):
        assert vocabulary.decode(vocabulary.encode(text)) == text


@given(st.text(st.characters(codec="utf-8")), st.integers(0, 40))
def test_a_stream_says_every_character_once_it_is_complete(text, count):
    tokens = PAIRS.encode(text)[:count]
    whole = b"".join(PAIRS.spellings[token] for token in tokens)
    stream, said = Stream(PAIRS), ""
    for i, token in enumerate(tokens):
        said += stream.push(token)
        # A prefix of valid UTF-8: ignoring its broken end leaves the characters that are complete.
        assert said == b"".join(PAIRS.spellings[token] for token in tokens[: i + 1]).decode(errors="ignore")
    assert said + stream.close() == whole.decode(errors="replace") == PAIRS.decode(tokens)


def test_the_bytes_of_one_character_may_be_split_over_tokens():
    tokens = byte_pairs(["a"], 256).encode("é")
    stream = Stream(byte_pairs(["a"], 256))
    assert len(tokens) == 2
    assert [stream.push(token) for token in tokens] == ["", "é"] and stream.close() == ""
    assert PAIRS.decode(PAIRS.encode("🙂")[:-1]) == "�"


def test_spellings_are_those_of_the_library():
    from tokenizers import decoders

    decoder = decoders.ByteLevel()
    for vocabulary in (PAIRS, JOINT):
        assert len(set(vocabulary.spellings[vocabulary.offset :])) == len(vocabulary) - vocabulary.offset
        for piece, token in vocabulary.tokenizer.get_vocab().items():
            spelling = vocabulary.spellings[token + vocabulary.offset]
            assert spelling.decode(errors="replace") == decoder.decode([piece])


def test_frequent_pieces_are_joined():
    assert len(PAIRS.encode(TEXT)) < 0.6 * len(TEXT.encode())
    assert b" the" in PAIRS.spellings and len(PAIRS) == 290
    assert {b"the", b"die", b" katze"} <= set(JOINT.spellings)


def test_lines_are_encoded_one_by_one():
    cuts = [TEXT[: TEXT.index("\n\n") + 1], TEXT[TEXT.index("\n\n") + 1 :]]  # between two line ends
    assert np.concatenate([PAIRS.encode(part) for part in cuts]).tolist() == PAIRS.encode(TEXT).tolist()
    assert byte_pairs(TEXT.splitlines(keepends=True), 290).to_json() == PAIRS.to_json()


def test_special_tokens_never_come_from_text():
    assert (PADDING, BEGIN, END) == (0, 1, 2)
    assert JOINT.encode(bytes(range(128)).decode() + "<pad><s></s>[PAD]").min() == SPECIALS
    assert PAIRS.encode("".join(map(chr, range(128)))).min() == 0
    assert JOINT.decode([BEGIN, *JOINT.encode("die katze"), END, PADDING]) == "die katze"


@pytest.mark.parametrize(
    "size, special, says",
    [
        (255, False, "byte_pairs=255 is less than 256"),
        (258, True, "byte_pairs=258 is less than 259, the bytes and specials"),
        (400, False, "byte_pairs=400 is more than the text yields; give at most 260"),
        (400, True, "give at most 263"),
    ],
)
def test_a_size_is_met_or_refused(size, special, says):
    with pytest.raises(ValueError, match=says):
        byte_pairs(["aaa aaa aa"], size, special)  # yields the pieces aa, aaa, " aa", " aaa"


@pytest.mark.parametrize("vocabulary", [characters([TEXT]), PAIRS, JOINT], ids=["characters", "pairs", "joint"])
def test_plain_text_holds_a_whole_vocabulary(vocabulary):
    text = vocabulary.to_json()
    again = from_json(text)
    assert again.to_json() == text and type(again) is type(vocabulary)
    assert again.spellings == vocabulary.spellings
    assert again.encode(TEXT[:50]).tolist() == vocabulary.encode(TEXT[:50]).tolist()


def test_every_process_learns_the_same():
    program = f"from research.data.vocabulary import byte_pairs; print(byte_pairs([{TEXT!r}], 290).to_json())"
    for threads in ("1", "3"):
        environment = {
            **os.environ,
            "RAYON_NUM_THREADS": threads,
            "PYTHONHASHSEED": threads,
            "PYTHONIOENCODING": "utf-8",
        }
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=os.path.dirname(os.path.dirname(os.path.dirname(module.__file__))),
            env=environment,
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout) == json.loads(PAIRS.to_json())


@pytest.mark.parametrize("text", ["", b"\xff", "[]", "{}", '{"kind": "byte pairs", "special": true, "tokenizer": {}}'])
def test_what_is_no_vocabulary_is_refused(text):
    with pytest.raises(ValueError, match="cannot be read.*make it again"):
        from_json(text)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind='words' is no kind of vocabulary; one of: characters, byte pairs"):
        from_json('{"kind": "words"}')


@pytest.mark.parametrize("token", [-1, 4])
def test_a_token_beyond_the_vocabulary_is_refused(token):
    with pytest.raises(ValueError, match=f"token={token} is none of the vocabulary's 0 to 3"):
        characters(["abcd"]).decode([0, token])
