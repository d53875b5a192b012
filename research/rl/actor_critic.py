"""A policy and a value network side by side, and acting by the policy: what policy-gradient methods share.

Dimensions: B environments, A actions or action components, P parameters of the policy's distribution, O an observation's
shape.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from research.models.heads import CATEGORICAL, DIAGONAL_GAUSSIAN, Distribution, PolicyNetwork, ValueNetwork
from research.models.mlp import Activation
from research.rl.environments import Discrete, Environment, Episodes
from research.rl.rollout import Actor, Play, flat


class Agent(NamedTuple):
    """What acts and judges: the two networks and the distribution that the policy's outputs stand for."""

    policy: PolicyNetwork
    value: ValueNetwork
    distribution: Distribution

    def init(self, policy_key: Array, value_key: Array, observation: Array) -> dict[str, Any]:
        """Parameters of both networks for observations f32[B,O flat]."""
        return {
            "policy": self.policy.init(policy_key, observation),
            "value": self.value.init(value_key, observation),
        }

    def parameters(self, params: dict[str, Any], observation: Array) -> Array:
        """observation f32[...,O flat] -> f32[P,...]"""
        return self.policy.apply(params["policy"], observation)

    def values(self, params: dict[str, Any], observation: Array) -> Array:
        """observation f32[...,O flat] -> f32[...]"""
        return self.value.apply(params["value"], observation)


def make_agent(environment: Environment, widths: tuple[int, ...], activation: Activation) -> Agent:
    """Raises ValueError for widths that do not fit."""
    if any(width < 1 for width in widths):
        raise ValueError(f"widths={widths} must all be at least 1; usual: (64, 64)")
    actions = environment.actions
    discrete = isinstance(actions, Discrete)
    count = actions.count if discrete else len(actions.low)
    return Agent(
        PolicyNetwork(widths, count, not discrete, activation),
        ValueNetwork(widths, activation),
        CATEGORICAL if discrete else DIAGONAL_GAUSSIAN,
    )


def make_actor(agent: Agent, see: Callable[[Array], Array], params: Any, sampled: bool) -> Actor:
    """Acts by the policy; its notes are the distribution's parameters f32[P,B]."""

    def draw(key: Array, shape: tuple[int, int]) -> Array:
        return jnp.moveaxis(agent.distribution.noise(key, shape, agent.policy.actions), 1, 0)  # [A,T,B] -> [T,A,B]

    def act(memory: Any, episodes: Episodes, noise: Array) -> Any:
        parameters = agent.parameters(params, see(episodes.observation))
        action = agent.distribution.sample(parameters, noise) if sampled else agent.distribution.mode(parameters)
        return memory, action, parameters

    return Actor(draw, act)


def policy_play(setup: Any, environment: Environment, agent: Agent) -> Play:
    """Plays `setup.evaluation_episodes` as `setup.evaluation_actions` says, by a state's params."""
    sampled = setup.evaluation_actions == "sample"
    actor = lambda state: make_actor(agent, partial(flat, environment), state.params, sampled)
    return Play(environment, actor, setup.evaluation_episodes)
