"""A policy and a value network side by side, and acting by the policy: what policy-gradient methods share.

Dimensions: B environments, A actions or action components, P parameters of the policy's distribution, O an observation's
shape.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from research.models.distributions import CATEGORICAL, DIAGONAL_GAUSSIAN, Distribution
from research.models.heads import Memory, PolicyNetwork, ValueNetwork
from research.models.mlp import Activation, check_widths
from research.rl.environments import Discrete, Environment, Episodes
from research.rl.observations import Features, flat, grid_of
from research.rl.rollout import Actor, Play

Choice = Literal["mode", "sample"]  # of an action: the likeliest one, or one drawn


class Agent(NamedTuple):
    """What acts and judges: the two networks and the distribution that the policy's outputs stand for. Where it has a
    memory, they see what it remembers, H numbers, in place of the observation."""

    policy: PolicyNetwork
    value: ValueNetwork
    distribution: Distribution
    memory: Memory | None = None

    def init(self, policy_key: Array, value_key: Array, observation: Array) -> dict[str, Any]:
        """Parameters of the networks for observations f32[B,O flat]."""
        if self.memory is None:
            return self.heads(policy_key, value_key, observation)
        memory_key, policy_key = jax.random.split(policy_key)
        before = self.forgotten(len(observation))
        memory = self.memory.init(memory_key, before, observation[None], jnp.ones((1, len(observation)), bool))
        return self.heads(policy_key, value_key, before) | {"memory": memory}

    def heads(self, policy_key: Array, value_key: Array, seen: Array) -> dict[str, Any]:
        """Parameters of the two networks alone, which see f32[B,H or O flat]."""
        return {"policy": self.policy.init(policy_key, seen), "value": self.value.init(value_key, seen)}

    def forgotten(self, count: int) -> Any:
        """The memory of B = count episodes that begin: f32[B,H], or ()"""
        return () if self.memory is None else jnp.zeros((count, self.memory.units))

    def see(self, params: dict[str, Any], memory: Any, observation: Array, begins: Array) -> Array:
        """What the networks see of T steps in a row, the memory before them being f32[...,H] or ().

        observation f32[T,...,O flat], begins bool[T,...] at the first step of an episode -> f32[T,...,H or O flat]"""
        return observation if self.memory is None else self.memory.apply(params["memory"], memory, observation, begins)

    def parameters(self, params: dict[str, Any], seen: Array) -> Array:
        """seen f32[...,H or O flat] -> f32[P,...]"""
        return self.policy.apply(params["policy"], seen)

    def values(self, params: dict[str, Any], seen: Array) -> Array:
        """seen f32[...,H or O flat] -> f32[...]"""
        return self.value.apply(params["value"], seen)


def make_agent(
    environment: Environment,
    widths: tuple[int, ...],
    activation: Activation,
    features: Features = "dense",
    memory: int = 0,
) -> Agent:
    """An agent for an environment, with a memory of so many units, or none.

    Raises ValueError for fields that do not fit each other or the environment."""
    check_widths(widths, usual=(64, 64))
    grid = grid_of(environment, features)
    actions = environment.actions
    discrete = isinstance(actions, Discrete)
    count = actions.count if discrete else len(actions.low)
    heads_grid = None if memory else grid
    return Agent(
        PolicyNetwork(widths, count, not discrete, activation, heads_grid),
        ValueNetwork(widths, activation, heads_grid),
        CATEGORICAL if discrete else DIAGONAL_GAUSSIAN,
        Memory(memory, activation, grid) if memory else None,
    )


def make_actor(agent: Agent, see: Callable[[Array], Array], params: Any, sampled: bool) -> Actor:
    """Acts by the policy; its notes are the distribution's parameters f32[P,B].

    see  observations f32[B,O] -> f32[B,O flat]"""

    def draw(key: Array, shape: tuple[int, int]) -> Array:
        return jnp.moveaxis(agent.distribution.noise(key, shape, agent.policy.actions), 1, 0)  # [A,T,B] -> [T,A,B]

    def act(memory: Any, episodes: Episodes, noise: Array) -> Any:
        seen = agent.see(params, memory, see(episodes.observation)[None], episodes.length[None] == 0)[0]
        parameters = agent.parameters(params, seen)
        memory = () if agent.memory is None else seen
        action = agent.distribution.sample(parameters, noise) if sampled else agent.distribution.mode(parameters)
        return memory, action, parameters

    return Actor(draw, act, agent.forgotten)


def policy_play(
    setup: Any, environment: Environment, agent: Agent, view: Callable[[Any], Callable[[Array], Array]] | None = None
) -> Play:
    """Plays `setup.evaluation_episodes` as `setup.evaluation_actions` says, by a state's params.

    view  from a state to how it sees observations, where they are not only flattened
    """
    sampled = setup.evaluation_actions == "sample"
    see = view or (lambda state: partial(flat, environment))
    actor = lambda state: make_actor(agent, see(state), state.params, sampled)
    return Play(environment, actor, setup.evaluation_episodes)
