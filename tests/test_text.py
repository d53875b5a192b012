"""Texts as tokens: the same in memory and from files, crops a function of seed and tick, bad input named with its line."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pooch
import pytest

from research.data import text as module
from research.data.fetch import data_root
from research.data.text import (
    Crops,
    check_crops,
    draw_crops,
    find_text,
    lines,
    load_text,
    open_tokens,
    stream_text,
    write_tokens,
)
from research.data.vocabulary import characters

ROOT = data_root()
PACKAGE = Path(module.__file__).parents[2]
STORY = "".join(f"Line {i}: où est le café n°{i * i}?\n" for i in range(40))


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    """Every test has a cache folder of its own."""
    folder = tmp_path / "caches"
    monkeypatch.setattr(pooch, "os_cache", lambda name: folder / name)
    return folder


@pytest.fixture
def story(tmp_path) -> Path:
    path = tmp_path / "story.txt"
    path.write_text(STORY, encoding="utf-8")
    return path


def same(one: module.Text, other: module.Text) -> bool:
    arrays = zip(one[:2], other[:2], strict=True)
    return one.vocabulary.to_json() == other.vocabulary.to_json() and all(
        np.array_equal(x, y) and x.dtype == y.dtype for x, y in arrays
    )


# Loading


def test_characters_of_the_whole_text_and_the_first_nine_tenths_for_training(tmp_path):
    path = tmp_path / "text"
    path.write_text("abcdefghijklmnopqrs!")  # 20 characters; the ! is held out, and yet known
    text = load_text(path)
    assert text.vocabulary.characters == "!abcdefghijklmnopqrs"
    assert text.vocabulary.decode(text.train) == "abcdefghijklmnopqr"
    assert text.vocabulary.decode(text.validation) == "s!"
    assert len(load_text(path, validation=0).validation) == 0
    assert len(load_text(path, validation=0.5).validation) == 10


def test_byte_pairs_are_learned_from_the_training_part_alone(tmp_path):
    path = tmp_path / "text"
    path.write_text("abab " * 18 + "xyxy " * 2)
    text = load_text(path, size=259)
    assert not [piece for piece in text.vocabulary.spellings if b"xy" in piece]
    assert text.vocabulary.decode(text.train) == "abab " * 18
    assert text.vocabulary.decode(text.validation) == "xyxy " * 2


@pytest.mark.parametrize("size", [None, 300])
@pytest.mark.parametrize("piece", [1, 50, 2**20])
def test_streamed_tokens_are_the_resident_ones(monkeypatch, story, size, piece):
    whole = load_text(story, size, 0.25)
    monkeypatch.setattr(module, "PIECE", piece)
    assert same(stream_text(story, size, 0.25), whole)
    assert same(load_text(story, size, 0.25), whole)
    assert whole.vocabulary.decode([*whole.train, *whole.validation]) == STORY


def test_tokens_are_written_once_for_each_content_and_setting(monkeypatch, story, caches):
    first = stream_text(story)
    assert isinstance(first.train, np.memmap)
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_tokens", lambda *arguments: pytest.fail("written twice"))
        assert same(stream_text(story), first)
    stream_text(story, validation=0.2)
    story.write_text(STORY + "more")
    assert len(stream_text(story).train) > len(first.train)
    assert len(list((caches / "research" / "tokens").iterdir())) == 3


def test_nothing_held_out_can_be_streamed(story):
    assert len(stream_text(story, validation=0).validation) == 0


def test_a_broken_off_writing_leaves_nothing(story, caches):
    def tokens():
        yield np.zeros(3, np.uint16)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(caches / "it", characters(["a"]), tokens(), ())
    assert list(caches.iterdir()) == []


def test_a_full_disk_is_the_machine_s_fault(story, caches, monkeypatch):
    caches.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="story-.* could not be written: .*make room or set XDG_CACHE_HOME"):
        stream_text(story)


def test_of_two_writers_one_wins(caches):
    vocabulary = characters(["ab"])

    def slow():
        write_tokens(caches / "it", vocabulary, [np.array([1, 1])], ())
        yield np.array([0])

    write_tokens(caches / "it", vocabulary, slow(), ())
    assert open_tokens(caches / "it").train.tolist() == [1, 1]
    assert [path.name for path in caches.iterdir()] == ["it"]


@pytest.mark.parametrize("damage", ["short", "gone", "other"])
def test_damaged_token_files_are_refused(story, caches, damage):
    stream_text(story)
    (folder,) = (caches / "research" / "tokens").iterdir()
    if damage == "short":
        (folder / "train.bin").write_bytes((folder / "train.bin").read_bytes()[:-2])
    elif damage == "gone":
        (folder / "validation.bin").unlink()
    else:
        (folder / "tokens.json").write_text("{}")
    with pytest.raises(ValueError, match="cannot be read as tokens: .*remove it"):
        stream_text(story)


def test_the_token_files_are_plain(story, caches):
    text = stream_text(story)
    (folder,) = (caches / "research" / "tokens").iterdir()
    assert np.fromfile(folder / "train.bin", "<u2").tolist() == load_text(story).train.tolist()
    about = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
    assert (about["dtype"], about["train"], about["validation"]) == ("<u2", len(text.train), len(text.validation))


@pytest.mark.parametrize(
    "content, validation, says",
    [
        (b"", 0.1, "is empty; give a file with text"),
        (b"\xef\xbb\xbf", 0.1, "is empty"),
        (b"one\ntwo\nth\xe9\n", 0.1, "text, line 3: byte 0xE9 is not UTF-8"),
        (b"text", 0.6, "validation=0.6 must be at least 0 and at most 0.5"),
        (b"text", -0.1, "validation=-0.1"),
    ],
)
@pytest.mark.parametrize("load", [load_text, stream_text])
def test_bad_input_is_named(tmp_path, monkeypatch, load, content, validation, says):
    monkeypatch.setattr(module, "PIECE", 5)  # the line's number must count over pieces
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=says):
        load(path, validation=validation)


def test_a_missing_text_is_named(tmp_path):
    with pytest.raises(ValueError, match="'nowhere.txt' is neither tinyshakespeare nor a file; give the path"):
        load_text("nowhere.txt")
    with pytest.raises(ValueError, match="nor a file"):
        find_text(tmp_path)


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbfab")
    assert load_text(tmp_path / "text").vocabulary.characters == "ab"


def test_lines_end_where_editors_say(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("one\r\n\ntwo\u2028\x0cstill two\n".encode())
    assert lines(path) == ["one", "", "two\u2028\x0cstill two"]
    path.write_bytes(b"no end")
    assert lines(path) == ["no end"]


# Crops


def test_crops_are_runs_of_the_text():
    crops = Crops(np.arange(100, 150, dtype=np.uint16), batch=6, length=4)(0, 50)
    assert crops.shape == (50, 6, 5) and crops.dtype == np.int32
    assert (np.diff(crops, axis=-1) == 1).all()
    # 46 places to begin at; 300 draws leave out a given one with probability (45/46)**300 = 0.1 %.
    assert (crops[..., 0].min(), crops[..., -1].max()) == (100, 149)


def test_crops_begin_anywhere_with_equal_chance():
    crops = Crops(np.arange(11, dtype=np.uint16), batch=10, length=1, seed=3)(0, 1000)
    counts = np.bincount(crops[..., 0].ravel(), minlength=10)
    # Chi-square of 9 degrees of freedom: above 27.9 with probability 0.001.
    assert len(counts) == 10 and ((counts - 1000) ** 2 / 1000).sum() < 27.9


def test_a_tick_s_crops_depend_on_seed_and_tick_alone():
    tokens = np.arange(5000, dtype=np.uint16)
    crops = Crops(tokens, 3, 8)
    whole = crops(0, 20)
    assert np.array_equal(np.concatenate([crops(0, 7), crops(7, 1), crops(8, 12)]), whole)
    assert len(np.unique(whole[..., 0])) > 55  # of 60; ticks do not repeat one another
    assert not np.array_equal(Crops(tokens, 3, 8, seed=1)(0, 20), whole)
    assert np.array_equal(Crops(tokens, 2, 8)(5, 1), whole[5:6, :2])


def test_crops_stay_the_same_for_ever():
    # A stored run must resume with a later version of this code and of NumPy.
    assert Crops(np.arange(1000, dtype=np.uint16), 3, 8).starts(0).tolist() == [310, 265, 341]
    assert Crops(np.arange(1000, dtype=np.uint16), 3, 8, seed=7).starts(2**40).tolist() == [88, 405, 629]


def test_mapped_crops_are_the_resident_ones_in_every_process(story):
    resident, mapped = Crops(load_text(story).train, 4, 16), Crops(stream_text(story).train, 4, 16)
    assert resident._mapping is None and mapped._mapping is not None
    assert Crops(stream_text(story).train[5:-5], 4, 16)._mapping is not None
    assert np.array_equal(resident(3, 9), mapped(3, 9))
    program = (
        "import sys; from research.data.text import Crops, load_text\n"
        "print(Crops(load_text(sys.argv[1]).train, 4, 16)(11, 1).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", program, story], cwd=PACKAGE, capture_output=True, check=True)
    assert json.loads(done.stdout) == mapped(3, 9)[8:].tolist()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat_however_much_is_read(tmp_path):
    """Reads crops all over a file of 128 MB, in a process of its own that prints the growth of its memory."""
    with (tmp_path / "tokens.bin").open("wb") as file:
        for _ in range(8):
            file.write(np.full(2**23, 7, np.uint16).tobytes())  # written, so that it is in the page cache
    program = (
        "import sys, numpy as np\n"
        "from research.data.text import Crops\n"
        "def mapped():\n"
        "    return int(open('/proc/self/status').read().split('RssFile:')[1].split()[0])\n"
        "crops = Crops(np.memmap(sys.argv[1], np.uint16, 'r'), 64, 256)\n"
        "crops(0, 1); before = mapped()\n"
        "for tick in range(1, 21): assert crops(tick, 1).min() == 7\n"
        "print(mapped() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "tokens.bin"],
        cwd=PACKAGE,
        capture_output=True,
        check=True,
        text=True,
    )
    assert int(done.stdout) < 20_000  # kB; 43,000 and more where pages are not given back


def test_resident_crops_are_drawn_on_the_device():
    tokens = jnp.arange(100, 150, dtype=jnp.uint16)
    draw = jax.jit(draw_crops, static_argnums=(2, 3))
    crops = jnp.concatenate([draw(key, tokens, 6, 4) for key in jax.random.split(jax.random.key(0), 50)])
    assert crops.shape == (300, 5) and crops.dtype == jnp.int32
    assert bool((jnp.diff(crops, axis=-1) == 1).all())
    assert (int(crops[:, 0].min()), int(crops[:, -1].max())) == (100, 149)
    keys = jax.random.split(jax.random.key(1), 2)  # rows of a lane draw for themselves
    rows = jax.vmap(draw, (0, None, None, None))(keys, tokens, 6, 4)
    assert not jnp.array_equal(rows[0], rows[1])


def test_a_text_shorter_than_a_crop_is_refused():
    check_crops(9, 8)
    for build in (
        lambda: Crops(np.zeros(8, np.uint16), 2, 8),
        lambda: draw_crops(jax.random.key(0), jnp.zeros(8, jnp.uint16), 2, 8),
    ):
        with pytest.raises(ValueError, match="length=8 needs 9 tokens, and the text has 8; give a longer text"):
            build()


# The real text


def test_tinyshakespeare_is_nanogpt_s():
    if not (ROOT / "text" / "tinyshakespeare.txt").exists():
        pytest.skip(f"set RESEARCH_DATA_DIR to a folder that holds text/tinyshakespeare.txt (looked in {ROOT})")
    text = load_text("tinyshakespeare", root=ROOT)
    assert (len(text.train), len(text.validation), len(text.vocabulary)) == (1_003_854, 111_540, 65)
    # The ids that nanoGPT's preparation gives "First Citizen".
    assert text.train[:13].tolist() == [18, 47, 56, 57, 58, 1, 15, 47, 58, 47, 64, 43, 52]
