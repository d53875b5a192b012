"""What nets write: text that goes on from a prompt, block by block as it is made, and translations.

Dimensions: S tokens of a prompt or a source, T tokens that a model sees at once, B sources.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.data.vocabulary import BEGIN, END, PADDING
from research.models.sequences import GPT, EncoderDecoder, empty_cache
from research.numerics import decode

BLOCK = 8  # tokens between two looks at the host, or fewer where half a context leaves no room for them


class Sampling(NamedTuple):
    """How a token is drawn; see `decode.filtered`."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0


def continuation(
    model: GPT, params: Any, prompt: np.ndarray, key: Array, length: int, sampling: Sampling
) -> Iterator[np.ndarray]:
    """`length` tokens that follow on a prompt int[S], in blocks i32[at most BLOCK] of them.

    A model with attention sees at most T tokens. When these are full, its memory is filled anew with the later half of
    them, so that what is drawn depends on T / 2 to T tokens before it; recurrent layers remember from the prompt on.
    Raises ValueError for an empty prompt, or one that is longer than the context.
    """
    limited = model.shape.mixer == "attention"
    decode.check_prompt(len(prompt), model.shape.longest if limited else len(prompt) + 1)
    return blocks(model, params, [int(token) for token in prompt], key, length, sampling, limited)


def blocks(
    model: GPT, params: Any, seen: list[int], key: Array, length: int, sampling: Sampling, limited: bool
) -> Iterator[np.ndarray]:
    memory, longest = read(model, params, seen), model.shape.longest
    size = min(BLOCK, longest - longest // 2 + 1) if limited else BLOCK
    room = longest - len(seen) + 1
    for number, start in enumerate(range(0, length, size)):
        if limited and room < size:
            seen = seen[-(longest // 2) :]
            memory = read(model, params, seen)
            room = longest - len(seen) + 1
        memory, tokens = extend(
            model,
            params,
            memory,
            jnp.int32(seen[-1]),
            jax.random.fold_in(key, number),
            jax.tree.map(jnp.asarray, sampling),
            size,
        )
        block = np.asarray(tokens)[: length - start]
        seen += block.tolist()
        room -= size
        yield block


def read(model: GPT, params: Any, tokens: list[int]) -> Any:
    """A model's memory of all tokens but the last one."""
    nothing = empty_cache(model.shape, 1, model.shape.longest)
    return absorb(model, params, nothing, jnp.array([tokens[:-1]], jnp.int32)) if len(tokens) > 1 else nothing


@partial(jax.jit, static_argnums=0)
def absorb(model: GPT, params: Any, memory: Any, tokens: Array) -> Any:
    """tokens i32[1,S] -> memory"""
    return model.apply(params, tokens, memory, method=GPT.decode)[1]


@partial(jax.jit, static_argnums=(0, 6))
def extend(
    model: GPT, params: Any, memory: Any, token: Array, key: Array, sampling: Sampling, size: int
) -> tuple[Any, Array]:
    """Tokens after `token` i32[], which has not been read yet -> memory, i32[size]"""

    def next_token(memory: Any, token: Array) -> tuple[Any, Array]:
        logits, memory = model.apply(params, token[:, None], memory, method=GPT.decode)
        return memory, logits[:, 0]

    memory, tokens = decode.sample(next_token, memory, token[None], key, size, *sampling)
    return memory, tokens[0]


def lengths(tokens: Array) -> Array:
    """i32[B,S] -> i32[B], tokens before the padding"""
    return (tokens != PADDING).sum(1)


def translate(model: EncoderDecoder, params: Any, source: Array, width: int, alpha: Array | float) -> decode.Hypotheses:
    """The best `width` translations found, by beam search; 1 is greedy. source i32[B,S] -> tokens i32[B,width,T], scores"""
    longest = model.shape.longest
    memory: Any = model.apply(params, source, lengths(source), method="encode")
    memory = jax.tree.map(lambda x: jnp.repeat(x, width, 0), memory)  # [B*width, ...]

    def read(cache: Any, token: Array) -> tuple[Any, Array]:
        logits, cache = model.apply(params, token[:, None], cache, memory, method="decode")
        return cache, logits[:, 0]

    begin = jnp.full(source.shape[:1], BEGIN, jnp.int32)
    cache = empty_cache(model.shape, source.shape[0], longest)
    return decode.beam_search(read, cache, begin, width, longest, END, alpha, PADDING)
