"""A page of sentences whose words are coloured by how much they moved a decision. All of it runs on the host.

Dimensions: T tokens of a sentence, K classes.
"""

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

FOR, AGAINST = "46, 125, 50", "198, 40, 40"  # red, green and blue: green and red
STYLE = """
body { font: 16px/1.6 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; color: #26313f; background: #fff }
span.word { padding: .1em .15em; border-radius: .2em }
.told { font-size: 13px; color: #667 }
li { margin-bottom: .8em }
"""


class Explained(NamedTuple):
    """A sentence's words, each with its part in the log odds of the class that was decided on; that class, its probability,
    the class that the sentence has, '' where that is not known; the log odds, and those of no words at all"""

    words: list[tuple[str, float]]
    decided: str
    probability: float
    label: str
    log_odds: float
    baseline: float

    @property
    def gap(self) -> float:
        """What the words' parts fail to add up to."""
        return self.log_odds - self.baseline - sum(part for _, part in self.words)


def words_of(spellings: Sequence[bytes], moved: np.ndarray) -> list[tuple[str, float]]:
    """Tokens' bytes, and what each one moved f[T] -> words, each with the sum of its tokens. A word begins with the white
    space before it; what is nothing else goes to the word before."""
    found: list[tuple[bytes, float]] = []
    for spelling, part in zip(spellings, moved.tolist(), strict=True):
        if not found or (found[-1][0].strip() and spelling[:1].isspace()):
            found.append((spelling, part))
        else:
            found[-1] = found[-1][0] + spelling, found[-1][1] + part
    if len(found) > 1 and not found[-1][0].strip():
        (text, part), (end, more) = found[-2:]
        found[-2:] = [(text + end, part + more)]
    return [(text.decode("utf-8", "replace").strip(), part) for text, part in found]


def page(sentences: Sequence[Explained], title: str, about: str) -> str:
    """A page of HTML that needs nothing else."""
    strongest = max((abs(part) for one in sentences for _, part in one.words), default=0.0) or 1.0
    parts = [
        "<!doctype html>",
        f'<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>',
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(about)}</p>",
        f"<p>{shaded('words for the decision', 1.0)} {shaded('words against it', -1.0)} "
        f"The deepest colour is {strongest:.2f} of log odds; point at a word for its part.</p>",
        "<ol>",
        *(item(one, strongest) for one in sentences),
        "</ol></html>",
    ]
    return "\n".join(parts) + "\n"


def item(one: Explained, strongest: float) -> str:
    words = " ".join(shaded(word, part / strongest, f"{part:+.3f}") for word, part in one.words)
    wrong = f", labelled {html.escape(one.label)}" if one.label and one.label != one.decided else ""
    told = (
        f"<b>{html.escape(one.decided)}</b>, probability {one.probability:.3f}{wrong}; log odds {one.log_odds:+.2f}, without "
        f"words {one.baseline:+.2f}, not accounted for {one.gap:+.3f}"
    )
    return f'<li>{words}<br><span class="told">{told}</span></li>'


def shaded(word: str, share: float, title: str = "") -> str:
    """A word with a background as deep as a share from -1 to 1."""
    colour = FOR if share > 0 else AGAINST
    told = f' title="{html.escape(title)}"' if title else ""
    return f'<span class="word"{told} style="background: rgba({colour}, {0.75 * abs(share):.3f})">{html.escape(word)}</span>'


def plain(sentences: Sequence[Explained]) -> Iterator[str]:
    """A line for each sentence: the class, its probability, and the three words that moved the decision most."""
    for one in sentences:
        strongest = sorted(one.words, key=lambda word: -abs(word[1]))[:3]
        told = ", ".join(f"{word} {part:+.2f}" for word, part in strongest)
        yield f"{one.decided}\t{one.probability:.3f}\t{told}"
