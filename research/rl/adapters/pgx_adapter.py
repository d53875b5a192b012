"""pgx's games for one player (Koyamada et al. 2023): MinAtar by the rules of Young and Tian 2019, and 2048. The one file
of this family that names pgx.

`minatar-*`: all six actions, and with a chance of 0.1 the last action is taken once more. With the same chances Asterix,
Breakout, Freeway and SpaceInvaders equal the original, MinAtar 1.0.15, in every cell, reward and ending of 2,600 steps,
and Seaquest in all but 10 observations (tests/parity). pgx's Seaquest has other rules in places, as its source shows:
oxygen lasts a step longer, enemies get faster at the first surfacing and not at the second, and their bullets that have
left the board still count among at most 25. Long games there, which those steps do not hold, may differ by more.

`2048`: a move that shifts no tile ends the game with a reward of -1, where the game itself lets nothing happen; policies
here see no mask of legal moves. A reward is the sum of the tiles that merge.
"""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from research.numerics.foreign import lenient, settle
from research.rl.environments import Discrete, Environment, Outcome

# Module and class of a game, and what its rules leave open.
EXACT = {"use_minimal_action_set": False, "sticky_action_prob": 0.1}
GAMES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "2048": ("pgx.play2048", "Play2048", {}),
    "minatar-asterix": ("pgx.minatar.asterix", "MinAtarAsterix", EXACT),
    "minatar-breakout": ("pgx.minatar.breakout", "MinAtarBreakout", EXACT),
    "minatar-freeway": ("pgx.minatar.freeway", "MinAtarFreeway", EXACT),
    "minatar-seaquest": ("pgx.minatar.seaquest", "MinAtarSeaquest", EXACT),
    "minatar-space_invaders": ("pgx.minatar.space_invaders", "MinAtarSpaceInvaders", EXACT),
}

# These games have no time limit, but an evaluation takes all the steps that an episode may have: 32 episodes cost 0.7 s in
# Breakout and 10 s in Seaquest on one core. Freeway ends, by its rules, after 2,501 steps.
TIME_LIMIT = 10_000


def names() -> tuple[str, ...]:
    return tuple(GAMES)


def offers(name: str) -> bool:
    return name in GAMES


@lenient
def make(name: str) -> Environment:
    module, game, rules = GAMES[name]
    return adapt(name, getattr(importlib.import_module(module), game)(**rules))


@lenient
def adapt(name: str, built: Any) -> Environment:
    """A pgx game for one player as an Environment, truncated after TIME_LIMIT steps."""
    kinds = jax.eval_shape(built.init, jax.random.key(0))

    def seen(state: Any) -> Array:
        return state.observation.astype(jnp.float32)

    @lenient
    def reset(key: Array) -> tuple[Any, Array]:
        state = settle(built.init(key), kinds)
        return state, seen(state)

    @lenient
    def step(key: Array, state: Any, action: Array) -> Outcome:
        state = settle(built.step(state, action, key), kinds)
        truncated = state._step_count >= TIME_LIMIT
        return Outcome(state, seen(state), state.rewards[0].astype(jnp.float32), state.terminated, truncated)

    actions = Discrete(kinds.legal_action_mask.shape[0])
    binary = kinds.observation.dtype == jnp.bool_
    return Environment(name, kinds.observation.shape, actions, TIME_LIMIT, reset, step, binary=binary)
