"""Translates with what a run has learned: `python scripts/translate.py runs/NAME < sentences.txt`, a sentence a line.

With --score it translates the run's test sentences instead and prints their BLEU, with --against OTHER_RUN beside those of
another run, on the same sentences.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console

from research.command import Learned, OfRun, command, learned
from research.data.pairs import padded
from research.data.vocabulary import Vocabulary, from_json
from research.engine.fields import Count, NonNegative, check
from research.language import bleu, translate, words
from research.recipes.translate import VOCABULARY, spaced


@dataclass(frozen=True)
class Arguments(OfRun):
    beam: Count = 5
    """Hypotheses that are kept of each sentence; 1 is greedy."""
    length_penalty: NonNegative = 0.6
    """How much longer translations are favoured; 0 is not at all."""
    batch: Count = 32
    """Sentences that are translated at a time; a terminal's are translated one by one."""
    as_is: bool = False
    """Sentences are given, and translations wanted, as Multi30k has them: lowercased, words and signs apart."""
    score: bool = False
    """Print BLEU of the test sentences, with 95 % intervals over sentences; read nothing."""
    against: Path | None = None
    """Another run, whose test sentences are the same: print BLEU of both and how sure the difference is."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="translate.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    folders = [chosen.folder, *([chosen.against] if chosen.against else [])]
    vocabularies = [vocabulary_of(folder) for folder in folders]
    told = Console(stderr=True, highlight=False)
    runs = [learned(replace(chosen, folder=folder), told) for folder in folders]
    if chosen.score or chosen.against:
        compare(runs, vocabularies, chosen)
        return 0
    run, vocabulary = runs[0], vocabularies[0]
    before, after = conversion(run.plan.setup, chosen.as_is, told)
    translated, longest = translator(run, vocabulary, chosen), run.plan.setup.buckets[-1]
    size = 1 if sys.stdin.isatty() else chosen.batch
    lines = encoded(vocabulary, before, longest)
    while tokens := list(islice(lines, size)):
        # A batch is filled up, so that all have one shape; and an empty line stays one, so that line n goes on to be line n.
        found = translated(padded(tokens + tokens[-1:] * (size - len(tokens)), longest))
        for text, read in zip(found, tokens, strict=False):
            print(after(text) if len(read) else "", flush=True)
    return 0


def vocabulary_of(folder: Path) -> Vocabulary:
    """Raises ValueError where a folder is no translation's run."""
    file = folder / VOCABULARY
    vocabulary = from_json(file.read_text(encoding="utf-8")) if file.is_file() else None
    if vocabulary is None or vocabulary.spellings[0]:
        raise ValueError(
            f"{folder} holds no {VOCABULARY} of two languages, so it is no translation's run; give one's folder"
        )
    return vocabulary


def conversion(setup: translate.Setup, as_is: bool, told: Console) -> tuple[Callable[[str], str], Callable[[str], str]]:
    """What is done to sentences before they are translated, and to translations."""
    if as_is or not translate.of_multi30k(setup):
        told.print("sentences are taken as they are, and must be written as the training text is", soft_wrap=True)
        return str.strip, str
    told.print("lowercased and tokenised as the training text is; translations are put together again", soft_wrap=True)
    return partial(words.tokenized, language=setup.source), words.detokenized


def translator(run: Learned, vocabulary: Vocabulary, chosen: Arguments) -> Callable[[np.ndarray], list[str]]:
    """Sentences i32[B,S] -> their translations. Every call of one shape runs the same program."""
    model, spellings = translate.model_of(run.plan.setup, len(vocabulary)), translate.table_of(vocabulary.spellings)
    params = jax.device_put(run.state.average)

    @jax.jit
    def search(params: Any, source: jax.Array) -> jax.Array:
        return translate.translate(model, params, source, chosen.beam, chosen.length_penalty).tokens[:, 0]

    return lambda source: translate.texts(np.asarray(search(params, source)), spellings)


def encoded(vocabulary: Vocabulary, before: Callable[[str], str], longest: int) -> Iterator[np.ndarray]:
    """Tokens of each line of standard input. Raises ValueError, naming the line, for one that does not fit."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            wrong = f"byte 0x{line[error.start]:02X} is not UTF-8; give text in UTF-8"
            raise ValueError(f"standard input, line {number}: {wrong}") from None
        tokens = vocabulary.encode(spaced(before(text)))
        if len(tokens) >= longest:
            wrong = f"{len(tokens)} tokens are more than the {longest - 1} that this run can read; give it in parts"
            raise ValueError(f"standard input, line {number}: {wrong}")
        yield tokens


def compare(runs: Sequence[Learned], vocabularies: Sequence[Vocabulary], chosen: Arguments) -> None:
    """Prints BLEU of one run's test sentences, or of two runs' and of their difference."""
    systems: list[tuple[list[str], list[str]]] = []
    for run, vocabulary in zip(runs, vocabularies, strict=True):
        data: Any = run.plan.recipe.load(run.plan.setup).final
        references = translate.texts(data.held_out.target, data.spellings)
        if systems and references != systems[0][1]:
            names = " and ".join(run.plan.name for run in runs)
            raise ValueError(f"{names} are tested on other texts; compare runs on the same")
        translated, found = translator(run, vocabulary, chosen), [""] * len(references)
        size = min(chosen.batch, len(references))
        for places in np.asarray(translate.by_length(translate.lengths(data.held_out.source), size)).tolist():
            for place, text in zip(places, translated(data.held_out.source[np.array(places)]), strict=True):
                found[place] = text
        systems.append((found, references))
    tokenized = translate.of_multi30k(runs[0].plan.setup)
    console = Console(highlight=False)
    console.print(f"{len(systems[0][1])} test sentences, beam {chosen.beam}, length penalty {chosen.length_penalty:g}")
    for kind in bleu.KINDS:
        counts = [bleu.counts(kind, *system, tokenized) for system in systems]
        for run, found in zip(runs, counts, strict=True):
            said = "{:.2f} [{:.2f}, {:.2f}]".format(*bleu.interval(found))
            console.print(f"{kind}  {said}  {run.plan.name}, seed {run.plan.rows[run.row].seed}", soft_wrap=True)
        if len(counts) > 1:
            difference, p = bleu.paired(*counts)
            console.print("{}  {:+.2f} [{:+.2f}, {:+.2f}]  difference, p = {:.3f}".format(kind, *difference, p))


if __name__ == "__main__":
    command(main)
