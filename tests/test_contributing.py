"""CONTRIBUTING.md tells a newcomer what there is: it names every module of the shared packages, and nothing that is gone."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
LIST = TEXT.partition("## What is there already")[2]
THERE = {name: " ".join(told.split()) for name, told in re.findall(r"^- `(\w+)/`: (.+(?:\n  .+)*)", LIST, re.MULTILINE)}


@pytest.mark.parametrize("package", ["numerics", "models", "data"])
def test_every_module_is_named(package):
    there = {path.stem for path in (ROOT / "research" / package).glob("*.py")} - {"__init__"}
    assert set(re.findall(r"`(\w+)`", THERE[package])) == there


@pytest.mark.parametrize("package", ["numerics", "models", "data", "engine", "rl"])
def test_what_is_named_is_there(package):
    for entry in THERE[package].split(" · "):
        name, told = re.fullmatch(r"`(\w+)` ?(.*)", entry).groups()
        module = importlib.import_module(f"research.{package}.{name}")
        words = re.findall(r"[A-Za-z]\w*", told.split(":")[0])
        assert words and all(hasattr(module, word) for word in words), entry


def test_three_files_are_all_that_a_new_experiment_asks_to_read():
    named = re.search(r"This one, `(\S+)` .* and `(\S+)`", TEXT).groups()
    lines = TEXT.count("\n") + sum((ROOT / name).read_text().count("\n") for name in named)
    assert lines <= 300
