"""The pages as tests read them: fenced blocks, command lines, programs."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "hooks"))  # what builds the site lies there

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAM = '"""'  # a block that begins with a docstring is all of a file


class Block(NamedTuple):
    """A fenced block: the page's name, the language, '' for command lines, and its text."""

    page: str
    language: str
    text: str


def blocks(page: Path, text: str | None = None) -> list[Block]:
    name = str(page.relative_to(ROOT))
    return [Block(name, *found) for found in FENCED.findall(page.read_text() if text is None else text)]


def python_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == "python"]


def programs() -> dict[str, str]:
    """{docstring's first line: text} of the files that pages show whole; the same one twice must be the same."""
    found: dict[str, str] = {}
    for block in python_blocks():
        if block.text.startswith(PROGRAM):
            first = block.text.splitlines()[0]
            assert found.setdefault(first, block.text) == block.text, f"{block.page} shows {first} otherwise"
    return found


def command_lines(page: Path, text: str | None = None) -> Iterator[list[str]]:
    """The words of each command line of a page: of its blocks without a language, and of `python ...` inside prose. A comment
    and what is read from a file are left out."""
    whole = page.read_text() if text is None else text
    lines = [
        line
        for block in blocks(page, whole)
        if not block.language
        for line in block.text.replace("\\\n", " ").splitlines()
    ]
    lines += re.findall(r"`((?:python scripts/|make |pip install )[^`\n]*)`", FENCED.sub("", whole))
    for line in lines:
        words = shlex.split(line, comments=True)
        if words:
            yield words[: words.index("<")] if "<" in words else words
