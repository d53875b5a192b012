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
LETTER = r"[^\W\d_]"
# The apostrophes that stay with a part of a word, and how; of other languages none does.
INSIDE = {
    "en": (rf"(?<={LETTER})'(?={LETTER})|(?<=\d)'(?=s)", " '"),
    "fr": (rf"(?<={LETTER})'(?={LETTER})", "' "),
}


def tokenized(text: str, language: str) -> str:
    """A sentence as people write it -> lowercased words and signs with spaces between them.

    Signs stand alone, but for hyphens and dots inside of words and commas between digits; of dots only the last is a
    sentence's end. An apostrophe between letters goes with what follows in English (in the 1990's too), with what precedes
    in French.
    """
    text = text.translate(ALIKE).replace("…", "...").lower().strip()
    text = re.sub(r"([^\w\s.,'-])", r" \1 ", text)
    text = re.sub(r",(?!\d)|(?<!\d),", " , ", text)
    text = re.sub(r"\.{2,}|\.(?=\W*$)", lambda dots: f" {dots[0]} ", text)
    inside, apart = INSIDE.get(language, ("(?!)", ""))
    text = re.sub(f"({inside})|'", lambda mark: apart if mark[1] else " ' ", text)
    for sign, escape in ESCAPES:
        text = text.replace(sign, escape)
    return " ".join(text.split())


def detokenized(text: str) -> str:
    """Tokenised text as people write it, but for capital letters, which cannot be known.

    Escapes are undone; `@-@` joins; signs that close go to the word before, those that open to the word after, of straight
    quotation marks every second one closes; an apostrophe's part of a word is joined to it, an ending such as `s` also
    where the apostrophe stands alone. For other lone ones see `lone_joined`.
    """
    text = f" {html.unescape(text)} ".replace(" @-@ ", "-")
    text = re.sub(rf"(?<=\w) ('{LETTER}+)\b", r"\1", text)
    text = re.sub(rf"(?<={LETTER}') (?=\w)", "", text)
    text = re.sub(rf"(?<={LETTER}) ' (?=(?:s|t|m|d|re|ve|ll)(?!{LETTER}))", "'", text)
    text = re.sub(r' " (.*?) " ', r' "\1" ', lone_joined(text))
    text = re.sub(r" ([.,!?;:)\]}%]|\.{2,})(?=[ \"'])", r"\1", text)
    text = re.sub(r"(?<= )([(\[{]) ", r"\1", text)
    return " ".join(text.split())


def lone_joined(text: str) -> str:
    """Joins apostrophes that stand alone: to the word before and to the word after by turns, as quotation marks.

    One that is left over where these pair off, and stands behind an s or a digit, is a plural's or a foot's.
    """
    found, *parts = text.split(" ' ")
    opened = False
    for left, part in zip(range(len(parts), 0, -1), parts, strict=True):
        closes = opened or (left % 2 == 1 and found.endswith(tuple("s0123456789")))
        found += ("' " if closes else " '") + part
        opened = not closes
    return found
