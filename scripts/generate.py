"""Lets a language model go on from a prompt: `python scripts/generate.py runs/NAME --prompt "ROMEO:"`."""

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import tyro

from research.command import OfRun, command, learned, terminal
from research.data.vocabulary import Stream, from_json
from research.engine.fields import Count, Fraction, Interval, Natural, NonNegative, check
from research.engine.plan import Plan
from research.language import generation, lm
from research.recipes.lm import VOCABULARY


@dataclass(frozen=True)
class Arguments(OfRun):
    prompt: str = "\n"
    """What the text begins with."""
    tokens: Count = 500
    """How many tokens to add: characters, or pieces of words."""
    temperature: NonNegative = 0.8
    """Above 1 more varied, below 1 more likely; 0 takes the most probable token every time."""
    top_k: Natural = 0
    """Draw among the k most probable tokens alone; 0 is among all."""
    top_p: Fraction = 1.0
    """Draw among the fewest most probable tokens whose probabilities sum to p."""
    draw: Annotated[int, Interval(0, 2**32 - 1)] = 0
    """Seed of the drawing: another number is another text."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="generate.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    file = chosen.folder / VOCABULARY
    if not file.is_file():
        raise ValueError(
            f"{chosen.folder} holds no {VOCABULARY}, so it is no language model's run; give the folder of one"
        )
    vocabulary = from_json(file.read_bytes())
    prompt = vocabulary.encode(chosen.prompt)  # what cannot be read is refused before anything is loaded
    run = learned(chosen, terminal(stderr=True, highlight=False), partial(fits, chosen.folder))
    model = lm.model_of(run.plan.setup, len(vocabulary))
    sampling = generation.Sampling(chosen.temperature, min(chosen.top_k, len(vocabulary)), chosen.top_p)
    key, stream = jax.random.key(chosen.draw), Stream(vocabulary)
    blocks = generation.continuation(model, run.state.params, prompt, key, chosen.tokens, sampling)
    sys.stdout.write(chosen.prompt)
    for block in blocks:
        sys.stdout.write("".join(map(stream.push, block.tolist())))
        sys.stdout.flush()
    sys.stdout.write(stream.close() + "\n")
    return 0


def fits(folder: Path, plan: Plan) -> None:
    """Raises ValueError for a run that has a vocabulary, and is no language model's."""
    if not isinstance(plan.setup, lm.Setup):
        raise ValueError(
            f"{folder} is a run of {plan.recipe.name!r}, which is no language model; give the folder of one"
        )


if __name__ == "__main__":
    command(main)
