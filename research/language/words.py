"""Words and signs of a sentence, apart from each other or put together: a small form of what the Moses scripts do.

Tokenised text is as Multi30k's (Elliott et al. 2016): lowercased, one kind of quotation marks, words and signs apart, with
`&apos;`, `&quot;` and so on for signs that Moses escapes.
"""

import html
import re

ALIKE = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'", "´": "'", "`": "'", "–": "-", "—": "-"}
)
ESCAPES = (("&", "&amp;"), ("|", "&#124;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;"), ('"', "&quot;"))


def tokenized(text: str, language: str) -> str:
    """A sentence as people write it -> lowercased words and signs with spaces between them.

    Signs stand alone, but for hyphens and dots inside of words and commas between digits; of dots only the last is a
    sentence's end. The apostrophe of English goes with what follows, that of French with what precedes.
    """
    text = text.translate(ALIKE).replace("…", "...").lower().strip()
    text = re.sub(r"([^\w\s.,'-])", r" \1 ", text)
    text = re.sub(r",(?!\d)|(?<!\d),", " , ", text)
    text = re.sub(r"\.{2,}|\.(?=\W*$)", lambda dots: f" {dots[0]} ", text)
    if language == "en":
        text = re.sub(r"(?<=\w)'(?=[^\W\d_])", " '", text)
    elif language == "fr":
        text = re.sub(r"(?<=[^\W\d_])'(?=\w)", "' ", text)
    text = re.sub(r"(?<!\w)'(?!\w)", " ' ", text)
    for sign, escape in ESCAPES:
        text = text.replace(sign, escape)
    return " ".join(text.split())


def detokenized(text: str) -> str:
    """Tokenised text as people write it, but for capital letters, which cannot be known.

    Escapes are undone; `@-@` joins; signs that close go to the word before, those that open to the word after, of straight
    quotation marks every second one closes; an apostrophe's part of a word is joined to it.
    """
    text = f" {html.unescape(text)} ".replace(" @-@ ", "-")
    text = re.sub(r' " (.*?) " ', r' "\1" ', text)
    text = re.sub(r" ([.,!?;:)\]}%]|\.{2,})(?=[ \"])", r"\1", text)
    text = re.sub(r"(?<= )([(\[{]) ", r"\1", text)
    text = re.sub(r"(?<=\w) ('[^\W\d_]+)\b", r"\1", text)
    text = re.sub(r"(?<= )([^\W\d_]+') (?=\w)", r"\1", text)
    return " ".join(text.split())
