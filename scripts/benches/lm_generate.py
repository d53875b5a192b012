"""Text of a model in nanoGPT's CPU setting, but with a context of 256, a token at a time and one text at once: with a cache of
keys and values, as `generation.extend` does it, or by reading the whole prefix again for each token.

Either way all of it is one compiled program, and the prefix stands in a table of the longest length, so that nothing
compiles again as it grows. The weights are random: what they say costs nothing.
"""

import argparse
import time
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from serve import serve

from research.engine.placement import configure
from research.language import lm
from research.language.generation import Sampling, extend, read
from research.models.sequences import GPT
from research.recipes.lm import NANOGPT_CPU

CHARACTERS, LENGTH = 65, 256


@partial(jax.jit, static_argnums=0)
def reread(model: GPT, params: Any, key: Array) -> Array:
    """i32[LENGTH], each drawn after the model has read all of those before it once more"""

    def draw(tokens: Array, place: Array) -> tuple[Array, None]:
        logits: Any = model.apply(params, tokens[None, :LENGTH])
        token = jax.random.categorical(jax.random.fold_in(key, place), logits[0, place])
        return tokens.at[place + 1].set(token.astype(jnp.int32)), None

    tokens, _ = jax.lax.scan(draw, jnp.zeros(LENGTH + 1, jnp.int32), jnp.arange(LENGTH))
    return tokens[1:]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=("cache", "prefix"), required=True)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    configure(1, light=True)
    model = lm.model_of(replace(NANOGPT_CPU.setup, context=LENGTH), CHARACTERS)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, LENGTH), jnp.int32))
    sampling = jax.tree.map(jnp.asarray, Sampling())
    repeats = 4 if options.by == "cache" else 1

    def measure() -> dict[str, object]:
        begun = time.perf_counter()
        for number in range(repeats):
            key = jax.random.key(number)
            if options.by == "cache":
                _, tokens = extend(model, params, read(model, params, [0]), jnp.int32(0), key, sampling, LENGTH)
            else:
                tokens = reread(model, params, key)
            np.asarray(tokens)
        return {"rate": repeats * LENGTH / (time.perf_counter() - begun), "unit": "tokens/s"}

    serve(measure)


if __name__ == "__main__":
    main()
