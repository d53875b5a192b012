"""Tree search from many positions at once, by mctx (Babuschkin et al. 2020), which this file alone names.

A search asks a judge for logits and a value at every position that it reaches, `simulations` times. By its rule it is

    puct    AlphaZero's (Silver et al. 2018): moves by prior, value and visits, from the root on with noise in its prior; it
            advises the shares of visits
    gumbel  Danihelka et al. 2022: a tournament among as many moves as there is time to compare, which improves on the prior
            with few simulations; it advises the prior raised by what the search found

Dimensions: B positions, A moves.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import mctx
from jax import Array

from research.games.boards import Board, Position, masked, played
from research.numerics.foreign import lenient

Rule = Literal["gumbel", "puct"]
Judge = Callable[[Array], tuple[Array, Array]]  # observations [B,H,W,C] -> logits f32[B,A], values f32[B] of the mover


class Noise(NamedTuple):
    """What makes searches at the root differ, f32[] each; nothing by default.

    gumbel_scale        with rule gumbel: 1 draws a move from the advised policy, 0 takes the best one
    dirichlet_fraction  with rule puct: share of noise in the prior over legal moves
    dirichlet_alpha     that noise's concentration
    """

    gumbel_scale: Array | float = 0.0
    dirichlet_fraction: Array | float = 0.0
    dirichlet_alpha: Array | float = 0.3


class Advice(NamedTuple):
    """action i32[B], by the rule; policy f32[B,A] that is advised; value f32[B] to whoever is to move"""

    action: Array
    policy: Array
    value: Array


@lenient
def search(
    board: Board,
    judge: Judge,
    rule: Rule,
    simulations: int,
    key: Array,
    positions: Position,
    noise: Noise = Noise(),  # noqa: B008  (it is a constant)
) -> Advice:
    """Advice at B positions. The value is the mean, by the advised policy, of the moves that the search has tried: the mean
    over all visits counts what a tournament tries and drops."""
    noise_key, search_key = jax.random.split(key)
    mask = positions.legal_action_mask
    logits, value = judge(positions.observation)
    logits = masked(logits, mask)
    if rule == "puct":
        logits = masked(jnp.log(stirred(noise_key, logits, mask, noise) + TINY), mask)
    root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=positions)
    look = partial(ahead, board, judge)
    if rule == "gumbel":
        found = mctx.gumbel_muzero_policy(
            (), search_key, root, look, simulations, ~mask, gumbel_scale=noise.gumbel_scale
        )
    else:
        found = mctx.muzero_policy(
            (),
            search_key,
            root,
            look,
            simulations,
            ~mask,
            qtransform=plain_values,
            dirichlet_fraction=0.0,  # mctx draws it over all moves, of which the illegal ones then take their share away
            temperature=0.0,
        )
    tried = found.search_tree.summary()
    weights = jnp.where(tried.visit_counts > 0, found.action_weights, 0.0)
    value = (weights * tried.qvalues).sum(1) / jnp.maximum(weights.sum(1), TINY)
    return Advice(found.action, found.action_weights, value)


TINY = 1e-30


def plain_values(tree: mctx.Tree, node: Array) -> Array:
    """What moves are worth to whoever is to move, f32[A] from -1 to 1: 0 where they have not been tried, as in AlphaZero."""
    return jnp.where(tree.children_visits[node] > 0, tree.qvalues(node), 0.0)


def stirred(key: Array, logits: Array, mask: Array, noise: Noise) -> Array:
    """The prior f32[B,A] of logits f32[B,A] with Dirichlet noise over legal moves bool[B,A] (Silver et al. 2018)."""
    drawn = jnp.where(mask, jax.random.gamma(key, noise.dirichlet_alpha, logits.shape), 0.0)
    share = drawn / jnp.maximum(drawn.sum(1, keepdims=True), TINY)
    return (1.0 - noise.dirichlet_fraction) * jax.nn.softmax(logits) + noise.dirichlet_fraction * share


def opinion(judge: Judge, positions: Position) -> Advice:
    """Without a search, at B positions: the judge's likeliest legal move, its policy and its value."""
    logits, value = judge(positions.observation)
    logits = masked(logits, positions.legal_action_mask)
    return Advice(logits.argmax(1).astype(jnp.int32), jax.nn.softmax(logits), value)


def sampled(judge: Judge, key: Array, positions: Position) -> Array:
    """Legal moves i32[B] as the judge's policy says, by chance."""
    logits, _ = judge(positions.observation)
    return jax.random.categorical(key, masked(logits, positions.legal_action_mask)).astype(jnp.int32)


def ahead(
    board: Board, judge: Judge, _: Any, key: Array, actions: Array, positions: Position
) -> tuple[mctx.RecurrentFnOutput, Position]:
    """What moves i32[B] lead to. A value is that to whoever is to move, so it changes its sign with each move."""
    movers = positions.current_player
    after = played(board, positions, actions)
    logits, value = judge(after.observation)
    reward = jnp.take_along_axis(after.rewards, movers[:, None], 1)[:, 0]
    discount = jnp.where(after.terminated, 0.0, -1.0)
    value = jnp.where(after.terminated, 0.0, value)
    logits = masked(logits, after.legal_action_mask)
    return mctx.RecurrentFnOutput(reward=reward, discount=discount, prior_logits=logits, value=value), after
