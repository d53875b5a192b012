"""Classifies sentences with what a run of `finetune` has learned, and shows which words moved each decision:
`python scripts/explain.py runs/NAME < sentences.txt`, a sentence a line.

It prints each sentence's class, its probability and its three strongest words, and writes words.html. Where standard input
is a terminal, or empty, the first of the run's test sentences are taken.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro

from research.command import Learned, OfRun, command, given_lines, inputs_of, learned, terminal
from research.data.vocabulary import Vocabulary, from_json
from research.engine.fields import Count, check
from research.engine.files import write_text
from research.language import finetune
from research.language.highlights import Explained, page, plain, words_of
from research.recipes.finetune import CLASSES, encode, padded
from research.recipes.lm import VOCABULARY

ABOUT = (
    "Integrated gradients (Sundararajan et al. 2017): all words' vectors grow together from 0 to what they are, and each "
    "word gets its part of how the log odds of the decision change on the way. What the parts fail to add up to is the "
    "error of the integral. They say what moved this net, not what a reader would go by."
)


@dataclass(frozen=True)
class Arguments(OfRun):
    count: Count = 20
    """How many of the test sentences are taken, where none are given."""
    nodes: Count = 64
    """Points of the integral; raise it where much is not accounted for."""
    out: Path = Path("words.html")
    """The page."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="explain.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    file = chosen.folder / CLASSES
    if not file.is_file():
        raise ValueError(f"{chosen.folder} holds no {CLASSES}, so it is no run of finetune; give the folder of one")
    vocabulary = from_json((chosen.folder / VOCABULARY).read_bytes())
    told = terminal(stderr=True, highlight=False)
    given = [] if sys.stdin.isatty() else list(sentences(vocabulary))
    run = learned(chosen, told)
    inputs = inputs_of(run, chosen.folder)
    data, classes = inputs.final, json.loads(inputs.files[CLASSES])
    longest = run.plan.setup.buckets[-1]
    cut = sum(len(tokens) > longest for tokens in given)
    if cut:
        told.print(f"{cut} of the {len(given)} sentences are cut to {longest} tokens", style="yellow")
    texts = padded(given, longest) if given else np.asarray(data.held_out.text)[: chosen.count]
    labels = [""] * len(texts) if given else [classes[label] for label in data.held_out.label[: chosen.count].tolist()]
    found = explained(run, data, vocabulary, classes, texts, labels, chosen.nodes)
    for line in plain(found):
        print(line)
    write_text(chosen.out, page(found, f"Words that moved {run.plan.name}", ABOUT))
    told.print(str(chosen.out), soft_wrap=True)
    return 0


def sentences(vocabulary: Vocabulary) -> list[np.ndarray]:
    """Tokens of each line of standard input. Raises ValueError, naming the line, for one that does not fit."""
    found = []
    for number, text in enumerate(given_lines(), 1):
        if not text.strip():
            raise ValueError(f"standard input, line {number} is empty; give a sentence")
        found.append(encode(vocabulary, text, f"standard input, line {number}"))
    return found


def explained(
    run: Learned,
    data: finetune.Data,
    vocabulary: Vocabulary,
    classes: Sequence[str],
    texts: np.ndarray,
    labels: Sequence[str],
    nodes: int,
) -> list[Explained]:
    """What was decided on each sentence i32[N,T], and why."""
    ask = jax.jit(partial(finetune.reasons, run.plan.setup, nodes=nodes))
    learned = jax.device_put((data, run.state.trained, np.float32(run.plan.rows[run.row].hyper.lora_scale)))
    found = []
    for text, label in zip(texts, labels, strict=True):
        why = jax.tree.map(np.asarray, ask(*learned, text))
        known = text[text != finetune.ABSENT].tolist()
        words = words_of([vocabulary.spellings[token] for token in known], why.moved[: len(known)])
        decided = int(why.probabilities.argmax())
        told = classes[decided], float(why.probabilities[decided]), label, float(why.log_odds), float(why.baseline)
        found.append(Explained(words, *told))
    return found


if __name__ == "__main__":
    command(main)
