"""Sequences out of a model that gives one token's logits at a time: sampled, greedy, or by beam search.

A model is `step(state, token i32[B]) -> (state, logits f32[B,V])`: it reads a token and says which may come next. Its
state is any pytree; the first axis of each leaf is B, except of scalars, which all sequences share. Everything here is
pure and compiles, alone or inside a larger program.

Dimensions: B sequences, V tokens of the vocabulary, T tokens generated at most, K hypotheses of each sequence.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

Step = Callable[[Any, Array], tuple[Any, Array]]


def filtered(logits: Array, temperature: Any = 1.0, top_k: Any = 0, top_p: Any = 1.0) -> Array:
    """Logits to sample from: divided by the temperature, then -inf outside of the k most probable tokens, then outside
    of the smallest set of most probable ones whose sum reaches p (nucleus: Holtzman et al. 2020, section 3.1).

    logits f32[B,V]; temperature f32[], 0 keeps the most probable token alone; top_k i32[], 0 keeps all; top_p f32[]; all
    three may be traced -> f32[B,V]. Probabilities are those left by the stage before; of equal tokens the first goes
    first; one token always stays.
    """
    logits = logits / jnp.where(temperature > 0, temperature, 1.0).astype(logits.dtype)
    limit = jnp.where(top_k > 0, top_k, logits.shape[-1])
    order = jnp.argsort(-logits, axis=-1)  # [B, V], stable
    place = jnp.argsort(order, axis=-1)  # [B, V], of each token in that order
    kept = place < jnp.where(temperature > 0, limit, 1)
    logits = jnp.where(kept, logits, -jnp.inf)
    descending = jnp.take_along_axis(jax.nn.softmax(logits), order, -1)
    before = jnp.cumsum(descending, -1) - descending
    # All that precede a token and do not yet reach p: with p = 1 a rounded sum must not cut the tail off.
    kept = jnp.take_along_axis((before < top_p) | jnp.asarray(top_p >= 1), place, -1) | (place == 0)
    return jnp.where(kept, logits, -jnp.inf)


def absorb(step: Step, state: Any, tokens: Array) -> Any:
    """Lets a model read a prompt up to its last token, which is where `sample` begins.

    tokens i32[B,S], S at least 1 -> state
    """
    state, _ = lax.scan(lambda state, token: (step(state, token)[0], None), state, tokens[:, :-1].T)
    return state


def check_prompt(prompt: int, context: int) -> None:
    """Raises ValueError where a prompt of so many tokens is empty or does not leave room in the context for another."""
    if not 1 <= prompt < context:
        raise ValueError(
            f"the prompt has {prompt} tokens, and must have at least 1 and at most {context - 1}, one less than the "
            f"context of {context}; give {'one' if prompt < 1 else 'its end alone'}"
        )


def sample(
    step: Step,
    state: Any,
    token: Array,
    key: Array,
    length: int,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
    end: int | None = None,
    padding: int = 0,
) -> tuple[Any, Array]:
    """Draws tokens one after another, each from the filtered logits -> state, i32[B,T].

    token i32[B], the last one of the prompt, not yet read; key key[]; length T and the tokens `end` and `padding` static
    To go on, give the state and the last column again. After `end` there is only `padding`.
    """

    def choose(key: Array, logits: Array) -> Array:
        return jax.random.categorical(key, filtered(logits, temperature, top_k, top_p)).astype(jnp.int32)

    return _generate(step, state, token, jax.random.split(key, length), choose, end, padding)


def greedy(
    step: Step, state: Any, token: Array, length: int, end: int | None = None, padding: int = 0
) -> tuple[Any, Array]:
    """Takes the most probable token every time, the first of equal ones. As `sample`, without a key -> state, i32[B,T]."""

    def choose(_: Array, logits: Array) -> Array:
        return jnp.argmax(logits, -1).astype(jnp.int32)

    return _generate(step, state, token, jnp.arange(length), choose, end, padding)


def _generate(
    step: Step, state: Any, token: Array, moments: Array, choose: Any, end: int | None, padding: int
) -> tuple[Any, Array]:
    """Scans `choose(moment, logits) -> i32[B]` over moments [T] -> state, i32[B,T]"""

    def advance(carry: Any, moment: Array) -> Any:
        state, token, ended = carry
        state, logits = step(state, token)
        token = jnp.where(ended, jnp.int32(padding), choose(moment, logits))
        return (state, token, ended if end is None else ended | (token == end)), token

    begin = (state, token.astype(jnp.int32), jnp.zeros(token.shape, bool))
    (state, _, _), tokens = lax.scan(advance, begin, moments)
    return state, tokens.T


class Hypotheses(NamedTuple):
    """tokens i32[B,K,T], up to and with the end token, then padding; score f32[B,K], -inf where there is none"""

    tokens: Array
    score: Array


class _Search(NamedTuple):
    """length i32[], tokens that live hypotheses have; live ones, whose score is a sum of log-probabilities, and finished
    ones, both sorted; state of live ones [B*K,...]; token i32[B*K] each one's last; settled bool[B]"""

    length: Array
    live: Hypotheses
    finished: Hypotheses
    state: Any
    token: Array
    settled: Array


def beam_search(
    step: Step, state: Any, token: Array, width: int, length: int, end: int, alpha: Any = 0.6, padding: int = 0
) -> Hypotheses:
    """The K = width best sequences found, best first, of those that finish within T = length tokens.

    state leaves [B,...] or []; token i32[B], the first to be read; width, length and the tokens end and padding static;
    alpha f32[], at least 0. `step` is given K hypotheses of each sequence, one after another: leaves [B*K,...], i32[B*K].
    What is the same for all hypotheses (an encoder's output) need not be in the state: `step` may close over it.

    A sequence scores log-probability / ((5 + tokens) / 6)**alpha, its end token counted (Wu et al. 2016, equation 14).
    In each step the K best continuations are looked at: those that end are kept apart, and the live ones filled up from
    the next best. A sequence of the batch is settled when it has K finished hypotheses or when no live one can still
    become the best, even if all its further tokens were certain; the search ends when all are, whatever its neighbours
    do. With K = 1 it is `greedy`. Where nothing finishes in time, the live hypotheses are returned, cut off.
    """
    if width < 1:
        raise ValueError(f"width={width} must be at least 1, which is greedy")
    batch = token.shape[0]
    none = Hypotheses(
        jnp.full((batch, width, length), padding, jnp.int32), jnp.full((batch, width), -jnp.inf, jnp.float32)
    )
    # In the beginning all hypotheses are one: the others are impossible, so that the first step spreads it.
    live = none._replace(score=none.score.at[:, 0].set(0.0))
    begin = _Search(
        jnp.int32(0),
        live,
        none,
        jax.tree.map(lambda x: jnp.repeat(x, width, 0) if jnp.ndim(x) else jnp.asarray(x), state),
        jnp.repeat(token.astype(jnp.int32), width),
        jnp.zeros(batch, bool),
    )

    def unsettled(search: _Search) -> Array:
        return (search.length < length) & ~search.settled.all()

    def extend(search: _Search) -> _Search:
        state, logits = step(search.state, search.token)
        found, parent = _continuations(search, logits)
        last = found.tokens[:, :, search.length]  # [B, 2K]
        among_best = jnp.arange(2 * width)[None] < width
        normal = found.score / _penalty(search.length + 1, alpha)
        ended = found._replace(score=jnp.where((last == end) & among_best, normal, -jnp.inf))
        finished, _ = _best(jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), search.finished, ended), width)
        live, chosen = _best(found._replace(score=jnp.where(last == end, -jnp.inf, found.score)), width)
        hopeless = live.score[:, 0] / _penalty(jnp.int32(length), alpha) <= finished.score[:, 0]
        return _Search(
            search.length + 1,
            live,
            # A settled sequence stays as it is while its neighbours go on.
            Hypotheses(
                jnp.where(search.settled[:, None, None], search.finished.tokens, finished.tokens),
                jnp.where(search.settled[:, None], search.finished.score, finished.score),
            ),
            _of_parents(state, jnp.take_along_axis(parent, chosen, 1)),
            live.tokens[:, :, search.length].reshape(-1),  # [B, K] -> [B*K]
            search.settled | hopeless | jnp.isfinite(finished.score).all(1),
        )

    search = lax.while_loop(unsettled, extend, begin)
    unfinished = jnp.isneginf(search.finished.score[:, 0])
    return Hypotheses(
        jnp.where(unfinished[:, None, None], search.live.tokens, search.finished.tokens),
        jnp.where(unfinished[:, None], search.live.score / _penalty(jnp.int32(length), alpha), search.finished.score),
    )


def _continuations(search: _Search, logits: Array) -> tuple[Hypotheses, Array]:
    """The 2K best of all live hypotheses with one more token; at least K of them do not end.

    logits f32[B*K,V] -> hypotheses with summed log-probabilities, parent i32[B,2K] from 0 to K - 1
    """
    batch, width = search.live.score.shape
    gain = jax.nn.log_softmax(logits.astype(jnp.float32)).reshape(batch, width, -1)  # [B, K, V]
    total = (search.live.score[:, :, None] + gain).reshape(batch, -1)  # [B, K*V]
    score, place = lax.top_k(total, 2 * width)
    parent, token = jnp.divmod(place, logits.shape[-1])
    tokens = jnp.take_along_axis(search.live.tokens, parent[:, :, None], 1).at[:, :, search.length].set(token)
    return Hypotheses(tokens, score), parent


def _best(hypotheses: Hypotheses, width: int) -> tuple[Hypotheses, Array]:
    """The `width` best, sorted, the first of equal ones first -> hypotheses, their places i32[B,width]"""
    score, place = lax.top_k(hypotheses.score, width)
    return Hypotheses(jnp.take_along_axis(hypotheses.tokens, place[:, :, None], 1), score), place


def _of_parents(state: Any, parent: Array) -> Any:
    """Gives each hypothesis its parent's state. state leaves [B*K,...] or [], parent i32[B,K]"""
    batch, width = parent.shape
    rows = (parent + width * jnp.arange(batch)[:, None]).reshape(-1)  # [B, K] -> [B*K]
    return jax.tree.map(lambda x: x[rows] if x.ndim else x, state)


def _penalty(length: Array, alpha: Any) -> Array:
    """What a score is divided by. length i32[], alpha f32[] -> f32[]"""
    return ((5 + length.astype(jnp.float32)) / 6) ** alpha
