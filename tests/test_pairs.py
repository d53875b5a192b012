"""Sentences in pairs and with labels: bad lines named, buckets that lose nothing, batches a function of the tick."""

import hashlib
import http.server
import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pooch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from research.data import fetch
from research.data.fetch import Remote, data_root
from research.data.pairs import (
    SPLITS,
    bucket_rows,
    bucketed,
    load_labelled,
    load_multi30k,
    load_pairs,
    load_sst2,
    padded,
    sst2_text,
    turn,
)
from research.data.vocabulary import BEGIN, END, PADDING

ROOT = data_root()


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        (tmp_path / name).write_bytes(text.encode())
        return tmp_path / name

    return write


# Files


def test_pairs_keep_their_lines(write):
    pairs = load_pairs(write("a", "one\n\nthree\n"), write("b", "un\r\ndeux\r\ntrois"))
    assert pairs.source == ["one", "", "three"] and pairs.target == ["un", "deux", "trois"]


def test_files_of_unequal_length_are_both_named_with_the_first_line_too_many(write):
    a, b = write("a", "1\n2\n"), write("b", "1\n2\n3\n4\n")
    for files in ((a, b), (b, a)):
        with pytest.raises(ValueError) as caught:
            load_pairs(*files)
        assert f"{b} has 4 lines and {a} has 2: line 3 of {b} has no partner" in str(caught.value)


def test_a_missing_or_empty_file_is_named(write, tmp_path):
    a, empty = write("a", "1\n"), write("empty", "")
    with pytest.raises(ValueError, match="empty is empty; give a file with a line"):
        load_pairs(a, empty)
    with pytest.raises(ValueError, match="nowhere is not a file"):
        load_pairs(tmp_path / "nowhere", a)


def test_labels_are_counted_in_the_order_of_their_names(write):
    data = load_labelled(write("a.tsv", "good film\tpos\nbad film\tneg\nfine\tpos \n"))
    assert data.texts == ["good film", "bad film", "fine"]
    assert data.classes == ("neg", "pos") and data.labels.tolist() == [1, 0, 1] and data.labels.dtype == np.int32
    assert load_labelled(write("b.tsv", "x\tpos\n"), data.classes).labels.tolist() == [1]


def test_a_heading_is_no_example(write):
    assert load_labelled(write("a.tsv", "sentence\tlabel\nfine\t1\n")).texts == ["fine"]
    with pytest.raises(ValueError, match="a heading and nothing below"):
        load_labelled(write("b.tsv", "sentence\tlabel\n"))


@pytest.mark.parametrize(
    "line, says",
    [
        ("no tab", "has no label"),
        ("an empty one\t", "has no label"),
        ("a blank one\t ", "has no label"),
        ("", "has no label"),
        ("\t1", "has no text"),
        ("one\ttwo\t1", "has 3 columns"),
        ("other\t2", "has the label '2'; known: 0, 1"),
    ],
)
def test_a_bad_line_is_named(write, line, says):
    path = write("a.tsv", "text\t1\n" * 311 + line + "\ntext\t0\n")
    with pytest.raises(ValueError) as caught:
        load_labelled(path, ("0", "1"))
    assert f"{path}, line 312 {says}" in str(caught.value)


# Downloads


class Home(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def home(monkeypatch, tmp_path):
    """A local server of the folder `served`, and a way to register its files in place of the real ones."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Home, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def register(name, files):
        remotes = []
        for file, text in files.items():
            (folder / file).write_text(text)
            url = f"http://127.0.0.1:{server.server_port}/{file}"
            remotes.append(Remote(f"{name}/{file}", (url,), hashlib.sha256(text.encode()).hexdigest()))
        monkeypatch.setitem(fetch.REGISTRY, name, tuple(remotes))

    yield register
    server.shutdown()
    server.server_close()


def test_multi30k_is_fetched_and_read_by_split(home, tmp_path):
    files = {f"{split}.lc.norm.tok.{lang}": f"{split} {lang}\n" for split in SPLITS for lang in ("en", "de", "fr")}
    assert [remote.path for remote in fetch.REGISTRY["multi30k"]] == [f"multi30k/{file}" for file in files]
    home("multi30k", files)
    found = load_multi30k("de", "en", tmp_path / "root")
    assert tuple(found) == SPLITS
    assert all(pairs == ([f"{split} de"], [f"{split} en"]) for split, pairs in found.items())


def test_sst2_is_fetched_and_read_by_split(home, tmp_path):
    files = {"train.tsv": "good\t1\nbad\t0\n", "dev.tsv": "bad\t0\n", "test.tsv": "good\t1\n"}
    assert [remote.path for remote in fetch.REGISTRY["sst2"]] == [f"sst2/{file}" for file in files]
    home("sst2", files)
    found = load_sst2(tmp_path / "root")
    assert [x.labels.tolist() for x in found.values()] == [[1, 0], [0], [1]]
    assert tuple(found) == ("train", "dev", "test")


def test_sst2s_sentences_without_their_labels_are_a_text_of_their_own(home, monkeypatch, tmp_path):
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "caches")
    small = {"dev.tsv": "bad\t0\n", "test.tsv": "good\t1\n"}
    home("sst2", small | {"train.tsv": "so good \t1\nso bad\t0\n"})
    path = sst2_text(tmp_path / "root")
    assert path.read_text() == "so good\nso bad\n", "the training part alone"
    written = path.stat().st_mtime_ns
    assert sst2_text(tmp_path / "root") == path and path.stat().st_mtime_ns == written
    home("sst2", small | {"train.tsv": "so so\t1\nso bad\t0\n"})
    other = sst2_text(tmp_path / "other")
    assert other != path and other.read_text() == "so so\nso bad\n" and path.read_text() == "so good\nso bad\n"


def test_languages_are_checked_first(tmp_path):
    with pytest.raises(ValueError, match="target='nl' is not a language of multi30k; one of: en, de, fr"):
        load_multi30k("en", "nl", tmp_path)
    with pytest.raises(ValueError, match="both 'en'"):
        load_multi30k("en", "en", tmp_path)


def test_the_real_sets_are_complete():
    if not (ROOT / "multi30k").exists() or not (ROOT / "sst2").exists():
        pytest.skip(f"set RESEARCH_DATA_DIR to a folder that holds multi30k and sst2 (looked in {ROOT})")
    sizes = [len(pairs.source) for pairs in load_multi30k("de", "fr", ROOT).values()]
    assert sizes == [29_000, 1_014, 1_000, 1_000, 461]
    assert [len(data.texts) for data in load_sst2(ROOT).values()] == [6_920, 872, 1_821]


# Buckets


def test_padding_by_hand():
    table = padded([np.array([7, 8]), np.array([9])], 4, begin=True)
    assert table.tolist() == [[BEGIN, 7, 8, END], [BEGIN, 9, END, PADDING]] and table.dtype == np.int32
    assert padded([np.array([7, 8])], 2, end=False).tolist() == [[7, 8]]
    with pytest.raises(ValueError, match="sentence 2 needs 3 tokens, more than length=2"):
        padded([np.array([7]), np.array([7, 8])], 2)


def sentences(lengths: list[int]) -> list[np.ndarray]:
    """Distinct sentences: the n-th is made of the token n + 10."""
    return [np.full(length, n + 10) for n, length in enumerate(lengths)]


def test_buckets_by_hand():
    # With their special token the pairs need 3, 5, 3, 9 and 4 places of (4, 8): one is too long.
    source, target = sentences([2, 1, 1, 8, 3]), sentences([1, 4, 2, 1, 2])
    buckets, dropped = bucketed(source, target, (4, 8), tokens=8)
    assert dropped == 1
    (first, goals), (second, _) = buckets.tables
    assert first.tolist() == [[10, 10, END, 0], [12, END, 0, 0], [14, 14, 14, END]]
    assert goals.tolist() == [[BEGIN, 10, END, 0, 0], [BEGIN, 12, 12, END, 0], [BEGIN, 14, 14, END, 0]]
    assert second.tolist() == [[11, END, 0, 0, 0, 0, 0, 0]]
    # Batches of 2 and of 1 pair: 3 pairs are 1.5 batches, rounded to even 2, and one pair is one.
    assert buckets.counts.tolist() == [2, 1]
    assert sorted(buckets.schedule.tolist()) == [[0, 0], [0, 1], [1, 0]]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=60), st.integers(0, 3))
def test_every_pair_is_in_the_smallest_bucket_with_room(lengths, seed):
    lengths = [*lengths, (3, 3)]
    source, target = (sentences(list(side)) for side in zip(*lengths, strict=True))
    buckets, dropped = bucketed(source, target, (4, 8, 16), tokens=32, seed=seed)
    assert dropped == sum(max(pair) + 1 > 16 for pair in lengths)
    assert sum(len(x) for x, _ in buckets.tables) == len(lengths) - dropped
    for inputs, goals in buckets.tables:
        need = np.maximum((inputs != 0).sum(1), (goals != 0).sum(1) - 1)
        assert need.max() <= inputs.shape[1] == goals.shape[1] - 1
        assert need.min() > {4: 0, 8: 4, 16: 8}[inputs.shape[1]]
    # Each bucket's batches are numbered in the order in which the schedule takes them.
    for bucket, count in enumerate(buckets.counts):
        assert buckets.schedule[buckets.schedule[:, 0] == bucket, 1].tolist() == list(range(count))


def test_one_program_takes_turns_at_every_shape():
    source = target = sentences([2] * 6 + [6] * 3)
    buckets, _ = bucketed(source, target, (4, 8), tokens=8)
    rows = [bucket_rows(table.shape[1], 8) for table, _ in buckets.tables]

    def read(table, count, batch):
        places = (batch * count + jnp.arange(count)) % table.shape[0]
        return jnp.zeros(64, jnp.int32).at[table[places, 0]].add(1)  # how often each sentence was read

    @jax.jit
    def run(buckets, first):
        def take(seen, index):
            bucket, batch = turn(buckets.schedule, buckets.counts, index)
            branches = [partial(read, x, count) for (x, _), count in zip(buckets.tables, rows, strict=True)]
            return seen + jax.lax.switch(bucket, branches, batch), bucket

        return jax.lax.scan(take, jnp.zeros(64, jnp.int32), first + jnp.arange(6))

    placed = jax.tree.map(jnp.asarray, buckets)
    assert buckets.counts.tolist() == [3, 3]
    for first in (0, 6):  # both epochs read every pair once
        seen, bucket = run(placed, first)
        assert seen[10:19].tolist() == [1] * 9 and int(seen.sum()) == 9
        assert np.bincount(bucket).tolist() == [3, 3]
    assert [int(turn(placed.schedule, placed.counts, jnp.int32(i))[1]) for i in range(6, 12)] == (
        buckets.schedule[:, 1] + 3
    ).tolist()


def test_a_schedule_mixes_the_buckets_as_the_seed_says():
    pairs = sentences([2] * 40 + [6] * 40)
    orders = [bucketed(pairs, pairs, (4, 8), 8, seed=seed)[0].schedule[:, 0].tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize(
    "lengths, tokens, says",
    [
        ((8, 4), 16, r"lengths=\(8, 4\) must rise"),
        ((), 16, r"lengths=\(\) must rise"),
        ((4, 8), 6, "tokens=6 is less than a sentence of the bucket of 8; give at least 8"),
        ((2, 3), 16, r"every pair is longer than lengths=\(2, 3\) allow, the shortest 6"),
    ],
)
def test_impossible_buckets_are_refused(lengths, tokens, says):
    with pytest.raises(ValueError, match=says):
        bucketed(sentences([5]), sentences([5]), lengths, tokens)
