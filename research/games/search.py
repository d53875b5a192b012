"""Tree search from many positions at once, by mctx (Babuschkin et al. 2020), which this file alone names.

A search asks a judge for logits and a value at every position that it reaches, `simulations` times. By its rule it is

    puct    AlphaZero's (Silver et al. 2018): moves by prior, value and visits; noise on the root's prior; it advises the
            shares of visits
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

from research.games.boards import Board, Position, legal, played
from research.numerics.foreign import lenient

Rule = Literal["gumbel", "puct"]
Judge = Callable[[Array], tuple[Array, Array]]  # observations [B,H,W,C] -> logits f32[B,A], values f32[B] of the mover


class Advice(NamedTuple):
    """action i32[B], by the rule; weights f32[B,A], the policy that the search advises; value f32[B] of whoever is to move"""

    action: Array
    weights: Array
    value: Array


@lenient
def search(
    board: Board,
    judge: Judge,
    rule: Rule,
    simulations: int,
    key: Array,
    positions: Position,
    noise: Array | float = 0.0,
    dirichlet: float = 0.3,
) -> Advice:
    """Advice at B positions.

    noise  at the root: Gumbel's scale, 1 to sample and 0 for the best move; or the share of Dirichlet noise of concentration
           `dirichlet` in puct's prior
    """
    logits, value = judge(positions.observation)
    root = mctx.RootFnOutput(prior_logits=legal(logits, positions.legal_action_mask), value=value, embedding=positions)
    look = partial(ahead, board, judge)
    invalid = ~positions.legal_action_mask
    if rule == "gumbel":
        found = mctx.gumbel_muzero_policy(
            (),
            key,
            root,
            look,
            simulations,
            invalid,
            gumbel_scale=noise,
        )
    else:
        found = mctx.muzero_policy(
            (),
            key,
            root,
            look,
            simulations,
            invalid,
            dirichlet_fraction=noise,
            dirichlet_alpha=dirichlet,
            temperature=0.0,
        )
    return Advice(found.action, found.action_weights, found.search_tree.summary().value)


def opinion(judge: Judge, positions: Position) -> Advice:
    """Without a search: the judge's likeliest legal move, its policy and its value."""
    logits, value = judge(positions.observation)
    logits = legal(logits, positions.legal_action_mask)
    return Advice(logits.argmax(1).astype(jnp.int32), jax.nn.softmax(logits), value)


def ahead(
    board: Board, judge: Judge, _: Any, key: Array, actions: Array, positions: Position
) -> tuple[mctx.RecurrentFnOutput, Position]:
    """What moves i32[B] lead to. A value is that of whoever is to move, so it changes its sign with each move."""
    movers = positions.current_player
    after = played(board, positions, actions)
    logits, value = judge(after.observation)
    reward = jnp.take_along_axis(after.rewards, movers[:, None], 1)[:, 0]
    # Not every game changes the mover with each move: a pass is a move, but two moves in a row have no change of sign.
    sign = jnp.where(after.current_player == movers, 1.0, -1.0)
    discount = jnp.where(after.terminated, 0.0, sign)
    value = jnp.where(after.terminated, 0.0, value)
    logits = legal(logits, after.legal_action_mask)
    return mctx.RecurrentFnOutput(reward=reward, discount=discount, prior_logits=logits, value=value), after
