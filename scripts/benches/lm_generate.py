"""Text of a model in nanoGPT's CPU setting, but with a longer context, a token at a time and one text at once: with a cache of
keys and values, as `generation.extend` does it, or by reading the whole prefix again for each token.

Either way all of it is one compiled program, and the prefix stands in a table of the longest length, so that nothing
compiles again as it grows. The weights are random: what they say costs nothing.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from serve import options, serve_rate

from research.engine.placement import configure
from research.language import lm
from research.language.generation import Sampling, extend, read
from research.models.sequences import GPT
from research.recipes.lm import NANOGPT_CPU

CHARACTERS = 65


@partial(jax.jit, static_argnums=(0, 1))
def reread(model: GPT, length: int, params: Any, key: Array) -> Array:
    """i32[length], each drawn after the model has read all of those before it once more"""

    def draw(tokens: Array, place: Array) -> tuple[Array, None]:
        logits: Any = model.apply(params, tokens[None, :length])
        token = jax.random.categorical(jax.random.fold_in(key, place), logits[0, place])
        return tokens.at[place + 1].set(token.astype(jnp.int32)), None

    tokens, _ = jax.lax.scan(draw, jnp.zeros(length + 1, jnp.int32), jnp.arange(length))
    return tokens[1:]


def main() -> None:
    chosen = options(by=("cache", "prefix"), length=256)
    length, cached = chosen.length, chosen.by == "cache"
    configure(1, light=True)
    model = lm.model_of(replace(NANOGPT_CPU.setup, context=length), CHARACTERS)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, length), jnp.int32))
    sampling = jax.tree.map(jnp.asarray, Sampling())
    repeats = max(1, 1024 // length) if cached else 1

    def generate() -> None:
        for number in range(repeats):
            key = jax.random.key(number)
            if cached:
                _, tokens = extend(model, params, read(model, params, [0]), jnp.int32(0), key, sampling, length)
            else:
                tokens = reread(model, length, params, key)
            np.asarray(tokens)

    serve_rate("tokens/s", repeats * length, generate, ("jax",))


if __name__ == "__main__":
    main()
