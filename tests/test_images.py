"""Image sets: complete, the same from every source, never trusted where damaged.

Small sets in the real formats stand for MNIST and CIFAR-10; the real ones are checked where RESEARCH_DATA_DIR has them.
"""

import gzip
import hashlib
import io
import json
import logging
import struct
import tarfile
from pathlib import Path

import numpy as np
import pooch
import pytest
from PIL import Image
from rich.console import Console

from research.data import fetch, image_files, images
from research.data.fetch import Remote, data_root
from research.data.image_files import Facts, Split, decode, note_of, read_prepared
from research.data.images import by_content, cut, load_images, moments

ROOT = data_root()  # resolved here: RESEARCH_DATA_DIR may be relative to the folder where pytest was started


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    """Every test has a cache folder of its own, and no note has been said yet."""
    folder = tmp_path / "caches"
    monkeypatch.setattr(pooch, "os_cache", lambda name: folder / name)
    images._say.cache_clear()
    return folder


def records(count: int, shape: tuple[int, ...], seed: int = 0) -> Split:
    """Distinct random images with labels 0, 1, 2, 0, 1, ..."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return Split(pixels, np.arange(count, dtype=np.int32) % 3)


def same(one: Split, other: Split) -> bool:
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(one, other, strict=True))


def subset(names: set[bytes], split: Split) -> bool:
    return {image.tobytes() for image in split.images} <= names


@pytest.fixture
def small(monkeypatch):
    """MNIST with 12 training and 6 test images of 4x3 pixels; CIFAR-10 with 10 and 2."""
    monkeypatch.setitem(image_files.FACTS, "mnist", Facts(tuple("012"), (4, 3, 1), 12, 6))
    monkeypatch.setitem(image_files.FACTS, "cifar10", Facts(tuple("012"), (32, 32, 3), 10, 2))
    return records(12, (4, 3, 1)), records(6, (4, 3, 1), seed=1)


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes())


def write_originals(monkeypatch, root: Path, train: Split, test: Split) -> list[Path]:
    """MNIST's four files, registered with their checksums."""
    remotes = []
    for name, split in (("train", train), ("t10k", test)):
        for kind, array in (("images", split.images[..., 0]), ("labels", split.labels.astype(np.uint8))):
            path = root / "mnist" / f"{name}-{kind}.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(idx(array))
            remotes.append(Remote(f"mnist/{path.name}", (), hashlib.sha256(path.read_bytes()).hexdigest()))
    monkeypatch.setitem(fetch.REGISTRY, "mnist", tuple(remotes))
    return [root / remote.path for remote in remotes]


def write_prepared(root: Path, train: Split, test: Split, version: str = "3.0.1", encoding: str = "png") -> Path:
    """The folder that tensorflow-datasets prepares."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    folder = root / "tfds" / "mnist" / version
    folder.mkdir(parents=True)
    splits = []
    for name, split in (("train", train), ("test", test)):
        writer = ArrayRecordWriter(str(folder / f"mnist-{name}.array_record-00000-of-00001"), "group_size:1")
        for pixels, label in zip(split.images, split.labels, strict=True):
            file = io.BytesIO()
            Image.fromarray(pixels[..., 0]).save(file, encoding)
            example = tf_example_pb2.Example()
            example.features.feature["image"].bytes_list.value.append(file.getvalue())
            example.features.feature["label"].int64_list.value.append(int(label))
            writer.write(example.SerializeToString())
        writer.close()
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits.append({"name": name, "shardLengths": [str(len(split.labels))], "filepathTemplate": template})
    core = "tensorflow_datasets.core.features."
    shape = {"dimensions": [str(size) for size in train.images.shape[1:]]}
    image = {"shape": shape, "dtype": "uint8", "encodingFormat": encoding}
    features = {
        "image": {"pythonClassName": f"{core}image_feature.Image", "image": image},
        "label": {"pythonClassName": f"{core}class_label_feature.ClassLabel", "classLabel": {"numClasses": "3"}},
    }
    described = {"pythonClassName": f"{core}features_dict.FeaturesDict", "featuresDict": {"features": features}}
    info = {"name": "mnist", "version": version, "fileFormat": "array_record", "splits": splits}
    (folder / "features.json").write_text(json.dumps(described))
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


# What is cut, and in which order.


def test_cut_takes_the_first_of_every_class_in_proportion():
    # Class 0 has six records, class 1 two. Places within the class: 1/12 3/12 5/12 ... and 1/4 3/4.
    # The four smallest are 1/12, 3/12, 5/12 (class 0) and 1/4 (class 1).
    labels = np.array([0, 0, 1, 0, 0, 1, 0, 0], np.int32)
    split = Split(np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), labels)
    rest, part = cut(split, 4)
    assert part.images.ravel().tolist() == [0, 1, 2, 3]
    assert rest.images.ravel().tolist() == [4, 5, 6, 7]
    assert part.labels.tolist() == [0, 0, 1, 0]


def test_the_order_depends_on_content_alone():
    split = records(30, (4, 3, 1))
    # Two equal images with different labels must not keep the order in which they came.
    split.images[7] = split.images[8]
    order = np.random.default_rng(1).permutation(30)
    order = order[::-1] if list(order).index(7) < list(order).index(8) else order
    shuffled = Split(split.images[order], split.labels[order])
    assert same(by_content(split), by_content(shuffled))
    assert not same(split, by_content(split))


def test_moments_by_hand():
    # Channel 0 holds 0, 255, 255, 0: mean 1/2, deviation 1/2. Channel 1 holds 51 = 0.2 * 255 throughout.
    pixels = np.array([[[[0, 51], [255, 51]]], [[[255, 51], [0, 51]]]], np.uint8)
    mean, std = moments(pixels)
    assert mean.dtype == std.dtype == np.float32
    np.testing.assert_allclose(mean, [0.5, 0.2], rtol=1e-6)
    np.testing.assert_allclose(std, [0.5, 0], atol=1e-7)


def test_moments_do_not_depend_on_the_block_size():
    pixels = records(5000, (2, 2, 3)).images
    mean, std = moments(pixels)
    np.testing.assert_allclose(mean, (pixels / 255).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(std, (pixels / 255).std((0, 1, 2)), rtol=1e-6)


# digits


def test_digits_is_cut_into_three_disjoint_stratified_parts():
    loaded = load_images("digits", 0.1)
    parts = loaded.train, loaded.validation, loaded.test
    assert [part.images.shape for part in parts] == [(1293, 8, 8, 1), (144, 8, 8, 1), (360, 8, 8, 1)]
    assert all(part.images.dtype == np.uint8 and part.labels.dtype == np.int32 for part in parts)
    contents = [{image.tobytes() for image in part.images} for part in parts]
    assert len(contents[0] | contents[1] | contents[2]) == sum(map(len, contents)) == 1797  # all differ
    everything = np.bincount(np.concatenate([part.labels for part in parts]))
    for part in parts:
        assert (abs(np.bincount(part.labels) - everything * len(part.labels) / 1797) < 2).all()
    assert loaded.classes == tuple("0123456789") and loaded.note == ""
    np.testing.assert_allclose(loaded.mean, (loaded.train.images / 255).mean(), rtol=1e-6)


def test_digits_keeps_scikit_learn_s_pixels_and_labels():
    from sklearn.datasets import load_digits

    source = load_digits()
    # Sixteen grey levels above 0 fill the byte: 0 -> 0, 8 -> 127.5 -> 128 (to even), 16 -> 255.
    level = {0: 0, 1: 16, 8: 128, 16: 255}
    known = {image.astype(np.uint8).tobytes(): label for image, label in zip(source.images, source.target, strict=True)}
    loaded = load_images("digits", 0.25)
    for part in loaded[:3]:
        for image, label in zip(part.images[..., 0], part.labels, strict=True):
            assert known[np.rint(image * (16 / 255)).astype(np.uint8).tobytes()] == label
    found = np.unique(np.concatenate([part.images.ravel() for part in loaded[:3]]))
    assert len(found) == 17 and set(level.values()) <= set(found.tolist())


def test_the_digits_split_is_the_one_that_published_figures_stand_on():
    loaded = load_images("digits", 0.1)
    digests = [hashlib.sha256(part.images.tobytes() + part.labels.tobytes()).hexdigest()[:12] for part in loaded[:3]]
    assert digests == ["7bfbcb2e460b", "564dc02978ee", "9776114e3b70"]


def test_the_test_set_does_not_depend_on_the_validation_share():
    none, some = load_images("digits", 0), load_images("digits", 0.5)
    assert same(none.test, some.test)
    assert len(none.validation.labels) == 0 and len(none.train.labels) == 1437
    assert len(some.validation.labels) == 718  # round(1437 / 2), to even


# Sets on disk


def test_original_and_prepared_files_give_the_same_arrays(small, monkeypatch, tmp_path):
    train, test = small
    write_originals(monkeypatch, tmp_path / "originals", train, test)
    original = load_images("mnist", 0.25, tmp_path / "originals")
    shuffled = (Split(*(array[::-1] for array in split)) for split in small)
    write_prepared(tmp_path / "prepared", *shuffled)
    prepared = load_images("mnist", 0.25, tmp_path / "prepared")
    for one, other in zip(original[:3], prepared[:3], strict=True):
        assert same(one, other)
    assert same(original.test, by_content(test))
    assert [len(part.labels) for part in original[:3]] == [9, 3, 6]
    assert sorted(original.validation.labels) == [0, 1, 2]
    assert subset({image.tobytes() for image in train.images}, original.validation)


def test_the_validation_records_stay_when_the_files_are_in_another_order(small, monkeypatch, tmp_path):
    train, test = small
    order = np.random.default_rng(2).permutation(12)
    write_originals(monkeypatch, tmp_path / "one", train, test)
    one = load_images("mnist", 0.25, tmp_path / "one")
    write_originals(monkeypatch, tmp_path / "two", Split(*(array[order] for array in train)), test)
    assert same(one.validation, load_images("mnist", 0.25, tmp_path / "two").validation)


def test_cifar10_s_binary_batches_are_planes_of_red_green_blue(small, monkeypatch, tmp_path):
    def record(label: int) -> bytes:
        # Red counts columns, green counts rows, blue is the label.
        red = bytes(range(32)) * 32
        green = bytes(row for row in range(32) for _ in range(32))
        return bytes([label]) + red + green + bytes([label]) * 1024

    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
            content = record(i % 3) + record((i + 1) % 3)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    path = tmp_path / "cifar10" / "it.tar.gz"
    path.parent.mkdir()
    path.write_bytes(archive.getvalue())
    remote = Remote("cifar10/it.tar.gz", (), hashlib.sha256(archive.getvalue()).hexdigest())
    monkeypatch.setitem(fetch.REGISTRY, "cifar10", (remote,))
    loaded = load_images("cifar10", 0, tmp_path)
    assert loaded.train.images.shape == (10, 32, 32, 3)
    # Labels 0 1, 1 2, 2 0, 0 1, 1 2 in five batches and 2 0 in the test batch.
    assert sorted(loaded.train.labels) == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2] and sorted(loaded.test.labels) == [0, 2]
    for image, label in zip(loaded.train.images, loaded.train.labels, strict=True):
        assert image[3, 7].tolist() == [7, 3, label]


def test_the_publisher_s_files_go_before_a_prepared_folder(small, monkeypatch, tmp_path):
    train, test = small
    write_prepared(tmp_path, records(12, (4, 3, 1), seed=5), test, encoding="jpeg")
    write_originals(monkeypatch, tmp_path, train, test)
    loaded = load_images("mnist", 0, tmp_path)
    assert same(loaded.train, by_content(train)) and loaded.note == ""


def test_the_newest_whole_version_is_read(small, tmp_path):
    train, test = small
    write_prepared(tmp_path, records(12, (4, 3, 1), seed=5), test, "3.0.9")
    newest = write_prepared(tmp_path, train, test, "3.0.10")
    # tensorflow-datasets works in such a folder until a preparation is complete.
    under_way = newest.with_name("incomplete.ABCDEF_3.0.11")
    under_way.mkdir()
    (under_way / "dataset_info.json").write_text("{}")
    assert same(load_images("mnist", 0, tmp_path).train, by_content(train))


def test_a_preparation_under_way_counts_as_missing(small, tmp_path):
    whole = write_prepared(tmp_path, *small)
    whole.rename(whole.with_name("incomplete.ABCDEF_3.0.1"))
    with pytest.raises(ValueError, match="data='mnist' is missing"):
        load_images("mnist", 0, tmp_path)


def test_images_encoded_again_as_jpeg_say_so_once(small, tmp_path, caplog):
    write_prepared(tmp_path, *small, encoding="jpeg")
    with caplog.at_level(logging.WARNING):
        loaded = [load_images("mnist", 0.25, tmp_path) for _ in range(2)]
    assert all("no published figure may be called reproduced" in each.note for each in loaded)
    assert [record.message for record in caplog.records if "JPEG" in record.message] == [f"mnist: {loaded[0].note}"]


# What can be wrong


@pytest.mark.parametrize(
    "name, validation, says",
    [
        ("fashion", 0.1, "data='fashion' is not a known image set; one of: digits, mnist, cifar10"),
        ("digits", -0.1, "validation=-0.1 must be at least 0 and at most 0.5; usual: 0.1"),
        ("digits", 0.6, "validation=0.6 must be"),
        ("digits", float("nan"), "validation=nan must be"),
    ],
)
def test_bad_input_is_named_with_its_rule_and_repair(name, validation, says):
    with pytest.raises(ValueError) as caught:
        load_images(name, validation)
    assert says in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_missing_data_says_where_it_looked_and_what_to_do(name, tmp_path):
    with pytest.raises(ValueError) as caught:
        load_images(name, 0.1, tmp_path)
    message = str(caught.value)
    for part in (
        tmp_path / "tfds" / name,
        tmp_path / name,
        f"python scripts/prepare_data.py {name}",
        "RESEARCH_DATA_DIR",
    ):
        assert str(part) in message


def test_an_original_file_with_a_wrong_checksum_is_refused(small, monkeypatch, tmp_path, caches):
    damaged = write_originals(monkeypatch, tmp_path, *small)[2]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError) as caught:
        load_images("mnist", 0.1, tmp_path)
    assert str(damaged) in str(caught.value) and "expected" in str(caught.value) and "move it away" in str(caught.value)
    assert not caches.exists()


@pytest.mark.parametrize(
    "damage", ["first half", "no records", "bits", "no features", "wrong features", "not JSON", "no test split"]
)
def test_a_damaged_prepared_folder_is_refused(small, tmp_path, caches, damage):
    folder = write_prepared(tmp_path, *small)
    data = folder / "mnist-train.array_record-00000-of-00001"
    content = bytearray(data.read_bytes())
    if damage == "first half":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "no records":
        data.write_bytes(b"")
    elif damage == "bits":
        content[100:200] = bytes(byte ^ 0x55 for byte in content[100:200])
        data.write_bytes(content)
    elif damage == "no features":
        (folder / "features.json").unlink()
    elif damage == "wrong features":
        (folder / "features.json").write_text("{}")
    elif damage == "not JSON":
        (folder / "dataset_info.json").write_text("{")
    else:
        (folder / "mnist-test.array_record-00000-of-00001").unlink()
    with pytest.raises(ValueError, match=r"cannot be read as mnist .* Move it away and run") as caught:
        load_images("mnist", 0.1, tmp_path)
    assert str(folder) in str(caught.value)
    assert not caches.exists()


@pytest.mark.parametrize(
    "train, test, says",
    [
        (records(11, (4, 3, 1)), records(6, (4, 3, 1)), "(11, 4, 3, 1) with labels 0 to 2; mnist has (12, 4, 3, 1)"),
        (records(12, (4, 3, 1)), records(7, (4, 3, 1)), "test images (7, 4, 3, 1)"),
        (records(12, (3, 4, 1)), records(6, (4, 3, 1)), "(12, 3, 4, 1)"),
        (Split(records(12, (4, 3, 1)).images, np.arange(12)), records(6, (4, 3, 1)), "labels 0 to 11"),
    ],
)
def test_an_incomplete_set_is_refused(small, monkeypatch, tmp_path, caches, train, test, says):
    write_originals(monkeypatch, tmp_path, train, test)
    with pytest.raises(ValueError) as caught:
        load_images("mnist", 0.1, tmp_path)
    assert says in str(caught.value) and "prepare_data.py mnist" in str(caught.value)
    assert not caches.exists()


# The cache of decoded arrays


@pytest.fixture
def decodings(small, monkeypatch, tmp_path):
    """A prepared set, and a list that grows each time it is decoded."""
    write_prepared(tmp_path, *small)
    happened, read = [], read_prepared
    monkeypatch.setattr(image_files, "read_prepared", lambda *arguments: happened.append(1) or read(*arguments))
    return happened


def test_a_set_is_decoded_once(decodings, tmp_path, caches):
    first, second = (load_images("mnist", 0.25, tmp_path) for _ in range(2))
    assert len(decodings) == 1
    assert all(same(*pair) for pair in zip(first[:3], second[:3], strict=True))
    assert [path.suffix for path in (caches / "research" / "images").iterdir()] == [".npz"]


def test_other_content_is_decoded_again(decodings, small, tmp_path):
    load_images("mnist", 0.25, tmp_path)
    changed = records(12, (4, 3, 1), seed=9)
    write_prepared(tmp_path, changed, small[1], "3.0.2")
    assert same(load_images("mnist", 0, tmp_path).train, by_content(changed))
    assert len(decodings) == 2


def test_a_cache_damaged_anywhere_is_never_trusted(decodings, small, tmp_path, caches):
    good = load_images("mnist", 0.25, tmp_path)
    (path,) = (caches / "research" / "images").iterdir()
    content = path.read_bytes()
    train, test = map(by_content, small)
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        restored = images._restore(path)
        # A byte that no reader looks at, such as a time of day, may change unnoticed; an array may not.
        assert restored is None or (same(restored[0], train) and same(restored[1], test)), position
    for length in range(0, len(content), 97):
        path.write_bytes(content[:length])
        assert images._restore(path) is None
        assert len(decodings) == 1
    again = load_images("mnist", 0.25, tmp_path)
    assert len(decodings) == 2 and same(good.train, again.train)
    assert path.read_bytes() == content


def test_a_cache_that_cannot_be_written_costs_only_time(decodings, tmp_path, caches, caplog):
    caches.write_text("a file where the folder should be")
    loaded = [load_images("mnist", 0.25, tmp_path) for _ in range(2)]
    assert len(decodings) == 2 and same(loaded[0].train, loaded[1].train)
    assert "could not be written" in caplog.text


def test_an_interrupted_write_leaves_no_cache(decodings, tmp_path, caches, monkeypatch):
    def stopped(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", stopped)
    with pytest.raises(KeyboardInterrupt):
        load_images("mnist", 0.25, tmp_path)
    assert list((caches / "research" / "images").iterdir()) == []


# The real sets


def real(name: str) -> list[Path]:
    """Files of a set prepared by tensorflow-datasets under RESEARCH_DATA_DIR."""
    folders = sorted((ROOT / "tfds" / name).glob("[0-9]*"))
    if not folders:
        pytest.skip(f"set RESEARCH_DATA_DIR to a folder that holds tfds/{name} (looked in {ROOT})")
    return sorted(folders[-1].iterdir())


def test_mnist_is_byte_exact_and_cut_as_documented(monkeypatch):
    from tensorflow_datasets.core.hashing import Hasher

    splits = read_prepared("mnist", real("mnist"))
    # tensorflow-datasets sorts records by a hash of their number in the idx files. Undone, the files' MD5 sums
    # (uncompressed: images, labels) must be the canonical ones.
    canonical = {
        "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
        "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
    }
    for (part, sums), split in zip(canonical.items(), splits, strict=True):
        count = len(split.labels)
        hasher = Hasher(part)
        order = sorted(range(count), key=hasher.hash_key)  # the idx number of each record
        pixels, labels = np.empty_like(split.images), np.empty(count, np.uint8)
        pixels[order], labels[order] = split.images, split.labels
        files = (
            struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes(),
            struct.pack(">2i", 2049, count) + labels.tobytes(),
        )
        assert tuple(hashlib.md5(file).hexdigest() for file in files) == sums

    # The rest without decoding a second time.
    monkeypatch.setattr(image_files, "read_prepared", lambda name, files: splits)
    loaded = load_images("mnist", 0.1, ROOT)
    assert [len(part.labels) for part in loaded[:3]] == [54_000, 6_000, 10_000]
    # Zalando's and others' published normalisation, of all 60,000: 0.1307 and 0.3081.
    np.testing.assert_allclose(moments(splits[0].images), [[0.1307], [0.3081]], atol=5e-5)
    share = np.bincount(loaded.validation.labels) / np.bincount(splits[0].labels)
    np.testing.assert_allclose(share, 0.1, atol=2e-4)


def test_cifar10_is_complete_and_its_jpeg_copy_says_so():
    import tensorflow_datasets as tfds

    files = real("cifar10")
    decoders = {"image": tfds.decode.SkipDecoding()}
    source = tfds.builder_from_directory(files[0].parent).as_data_source(decoders=decoders)
    assert len(source["train"]) == 50_000
    test = decode("cifar10", source["test"], "test")
    assert test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(test.labels).tolist() == [1000] * 10
    encoding = json.loads((files[0].parent / "features.json").read_text())
    jpeg = encoding["featuresDict"]["features"]["image"]["image"].get("encodingFormat") == "jpeg"
    assert bool(note_of(files)) == jpeg


def test_where_somebody_watches_progress_is_a_bar(monkeypatch):
    for terminal in (True, False):
        screen = io.StringIO()
        console = lambda screen=screen, terminal=terminal, **how: Console(
            file=screen, force_terminal=terminal, width=80
        )
        monkeypatch.setattr(image_files, "Console", console)
        assert list(image_files._progress(range(3), "Reading mnist")) == [0, 1, 2]
        said = screen.getvalue()
        assert ("100%" in said) is terminal and "Reading mnist" in said
        assert terminal or said == "Reading mnist\n"
