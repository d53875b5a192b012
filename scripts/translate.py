"""Translates with what a run has learned: `python scripts/translate.py runs/NAME < sentences.txt`, a sentence a line.

With --score it translates the run's test sentences instead and prints their BLEU, with --against OTHER_RUN beside those of
another run, on the same sentences. For that the texts that the run was trained on must still be there, unchanged.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console

from research.command import Learned, OfRun, command, given_lines, inputs_of, learned, terminal
from research.data.pairs import padded
from research.data.vocabulary import Vocabulary, from_json, spelling_table, spelt_out
from research.engine.fields import Count, NonNegative, check
from research.language import bleu, translate, words
from research.recipes.translate import VOCABULARY, spaced


class Search(NamedTuple):
    """How translations are looked for, where nothing is asked."""

    beam: Count = 5
    length_penalty: NonNegative = 0.6


@dataclass(frozen=True)
class Arguments(OfRun):
    beam: int | None = None
    """Hypotheses that are kept of each sentence; 1 is greedy. By default 5, and for BLEU what the run was evaluated with."""
    length_penalty: float | None = None
    """How much longer translations are favoured; 0 is not at all. By default 0.6, and for BLEU as the run was evaluated."""
    batch: Count = 32
    """Sentences that are translated at a time; a terminal's are translated one by one."""
    as_is: bool = False
    """Sentences are given, and translations wanted, as Multi30k has them: lowercased, words and signs apart."""
    score: bool = False
    """Print BLEU of the test sentences, with 95 % intervals over sentences; read nothing."""
    against: Path | None = None
    """Another run, whose test sentences are the same: print BLEU of both and how sure the difference is. --seed, --row,
    --best and --recipe hold for both runs."""


class System(NamedTuple):
    """What translates: a run, its folder, what its tokens stand for, and how it looks for translations."""

    run: Learned
    folder: Path
    vocabulary: Vocabulary
    search: Search


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="translate.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    asked = {name: value for name in Search._fields if (value := getattr(chosen, name)) is not None}
    check(Search(**asked), Search())
    folders = [chosen.folder, *([chosen.against] if chosen.against else [])]
    vocabularies = [vocabulary_of(folder) for folder in folders]
    told = terminal(stderr=True, highlight=False)
    scored = chosen.score or chosen.against is not None
    systems = []
    for folder, vocabulary in zip(folders, vocabularies, strict=True):
        run = learned(replace(chosen, folder=folder), told)
        usual = Search(run.plan.setup.beam, run.plan.rows[run.row].hyper.length_penalty) if scored else Search()
        systems.append(System(run, folder, vocabulary, usual._replace(**asked)))
    if scored:
        compare(systems, chosen.batch)
    else:
        translate_input(systems[0], chosen, told)
    return 0


def translate_input(system: System, chosen: Arguments, told: Console) -> None:
    """Prints a translation of each line of standard input."""
    setup = system.run.plan.setup
    before, after = conversion(setup, chosen.as_is, told)
    translated, longest = translator(system), setup.buckets[-1]
    size = 1 if sys.stdin.isatty() else chosen.batch
    for tokens in batches(encoded(system.vocabulary, before, longest), size):
        # A batch is filled up, so that all have one shape; and an empty line stays one, so that line n goes on to be line n.
        found = translated(padded(tokens + tokens[-1:] * (size - len(tokens)), longest))
        for text, read in zip(found, tokens, strict=False):
            print(after(text) if len(read) else "", flush=True)


def vocabulary_of(folder: Path) -> Vocabulary:
    """Raises ValueError where a folder is no translation's run."""
    file = folder / VOCABULARY
    vocabulary = from_json(file.read_bytes()) if file.is_file() else None
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


def translator(system: System) -> Callable[[np.ndarray], list[str]]:
    """Sentences i32[B,S] -> their translations. Every call of one shape runs the same program."""
    run, _, vocabulary, (beam, length_penalty) = system
    model, spellings = translate.model_of(run.plan.setup, len(vocabulary)), spelling_table(vocabulary.spellings)
    params = jax.device_put(run.state.average)

    @jax.jit
    def search(params: Any, source: jax.Array) -> jax.Array:
        return translate.translate(model, params, source, beam, length_penalty).tokens[:, 0]

    return lambda source: spelt_out(np.asarray(search(params, source)), spellings)


def encoded(vocabulary: Vocabulary, before: Callable[[str], str], longest: int) -> Iterator[np.ndarray]:
    """Tokens of each line of standard input. Raises ValueError, naming the line, for one that does not fit."""
    for number, text in enumerate(given_lines(), 1):
        tokens = vocabulary.encode(spaced(before(text)))
        if len(tokens) >= longest:
            wrong = f"{len(tokens)} tokens are more than the {longest - 1} that this run can read; give it in parts"
            raise ValueError(f"standard input, line {number}: {wrong}")
        yield tokens


def batches(sentences: Iterator[np.ndarray], size: int) -> Iterator[list[np.ndarray]]:
    """Sentences in lists of `size`; those before one that does not fit come before its error is raised."""
    batch: list[np.ndarray] = []
    try:
        for sentence in sentences:
            batch.append(sentence)
            if len(batch) == size:
                yield batch
                batch = []
    except ValueError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def compare(systems: Sequence[System], batch: int) -> None:
    """Prints BLEU of one run's test sentences, or of two runs' and of their difference."""
    tests = [inputs_of(system.run, system.folder).final for system in systems]
    references, *others = [spelt_out(data.held_out.target, data.spellings) for data in tests]
    if any(other != references for other in others):
        names = " and ".join(system.run.plan.name for system in systems)
        raise ValueError(f"{names} are tested on other texts; compare runs on the same")
    counts: dict[str, list[np.ndarray]] = {kind: [] for kind in bleu.KINDS}
    for system, data in zip(systems, tests, strict=True):
        found = all_translated(translator(system), data.held_out.source, batch)
        for kind in bleu.KINDS:
            counts[kind].append(bleu.counts(kind, found, references, translate.of_multi30k(system.run.plan.setup)))
    console = terminal(highlight=False)
    console.print(f"{len(references)} test sentences")
    for kind in bleu.KINDS:
        for (run, _, _, search), found in zip(systems, counts[kind], strict=True):
            said = "{:.2f} [{:.2f}, {:.2f}]".format(*bleu.interval(found))
            how = f"seed {run.plan.rows[run.row].seed}, beam {search.beam}, length penalty {search.length_penalty:g}"
            console.print(f"{kind}  {said}  {run.plan.name}, {how}", soft_wrap=True)
        if len(systems) > 1:
            difference, p = bleu.paired(*counts[kind])
            console.print("{}  {:+.2f} [{:+.2f}, {:+.2f}]  difference, p = {:.3f}".format(kind, *difference, p))


def all_translated(translated: Callable[[np.ndarray], list[str]], source: np.ndarray, batch: int) -> list[str]:
    """Sentences i32[M,S] -> their translations, in their order; those of like length are translated together."""
    found = [""] * len(source)
    for places in np.asarray(translate.by_length(translate.lengths(source), min(batch, len(source)))).tolist():
        for place, text in zip(places, translated(source[np.array(places)]), strict=True):
            found[place] = text
    return found


if __name__ == "__main__":
    command(main)
