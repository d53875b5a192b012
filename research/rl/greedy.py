"""What methods that learn action values share: a Q-network for an environment, and acting by it with some chance.

Dimensions: B environments, A actions, O an observation's shape.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from research.models.heads import QNetwork
from research.models.mlp import Activation, Initial, check_widths
from research.rl.environments import Discrete, Environment, Episodes
from research.rl.observations import Features, flat, grid_of
from research.rl.rollout import Actor, Play


def q_network(
    environment: Environment,
    features: Features,
    widths: tuple[int, ...],
    activation: Activation,
    layer_norm: bool = False,
    dueling: bool = False,
    initial: Initial = "orthogonal",
) -> "Values":
    """A network for an environment's observations.

    Raises ValueError for an environment without discrete actions, or without pictures where those are asked for."""
    if not isinstance(environment.actions, Discrete):
        raise ValueError(
            f"environment={environment.name!r} has continuous actions, of which no largest value can be looked up; "
            "use ppo or sac, or an environment with discrete actions"
        )
    check_widths(widths, usual=(120, 84))
    grid = grid_of(environment, features)
    network = QNetwork(widths, environment.actions.count, activation, layer_norm, dueling, grid, initial)
    return Values(network, math.prod(environment.observation_shape))


class Values(NamedTuple):
    """A Q-network whose parameters are one vector f32[D]; it sees observations of I numbers."""

    network: QNetwork
    inputs: int

    def init(self, key: Array) -> Array:
        """f32[D]"""
        return ravel_pytree(self.network.init(key, jnp.zeros((1, self.inputs))))[0]

    def apply(self, weights: Array, observation: Array) -> Array:
        """observation f32[...,I] -> f32[A,...]"""
        return self.network.apply(unraveller(self)(weights), observation)


@functools.cache
def unraveller(network: Values) -> Callable[[Array], Any]:
    """From a network's parameters as one vector to its parameters."""
    shapes = jax.eval_shape(lambda: network.network.init(jax.random.key(0), jnp.zeros((1, network.inputs))))
    return ravel_pytree(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes))[1]


def taken(values: Array, action: Array) -> Array:
    """The values of the actions taken: values f32[A,...], action i32[...] -> f32[...]"""
    return (values * jax.nn.one_hot(action, values.shape[0], dtype=values.dtype, axis=0)).sum(0)


def epsilon_greedy(environment: Environment, values: Callable[[Array], Array], epsilon: Array) -> Actor:
    """Takes a random action with chance epsilon f32[], otherwise one of the largest value.

    values  observations f32[B,O flat] -> f32[A,B]
    """
    assert isinstance(environment.actions, Discrete)
    count = environment.actions.count

    def draw(key: Array, shape: tuple[int, int]) -> Any:
        explore_key, action_key = jax.random.split(key)
        explores = jax.random.uniform(explore_key, shape) < epsilon
        return explores, jax.random.randint(action_key, shape, 0, count)

    def act(memory: Any, episodes: Episodes, drawn: Any) -> Any:
        explores, random = drawn
        found = values(flat(environment, episodes.observation))
        return memory, jnp.where(explores, random, jnp.argmax(found, 0).astype(random.dtype)), ()

    return Actor(draw, act)


def greedy_play(setup: Any, environment: Environment, values: Callable[[Any], Callable[[Array], Array]]) -> Play:
    """Plays `setup.evaluation_episodes` without exploration.

    values  from a state to what `epsilon_greedy` takes: observations f32[B,O flat] -> f32[A,B]
    """
    actor = lambda state: epsilon_greedy(environment, values(state), jnp.zeros(()))
    return Play(environment, actor, setup.evaluation_episodes)
