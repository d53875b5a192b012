"""A policy over actions tanh(u), u Gaussian, with two critics, and acting by it: the agent of soft actor-critic.

Dimensions: B environments, M transitions, A action components, O an observation's shape.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from research.models.distributions import squashed_sample
from research.models.heads import PolicyNetwork, ValueNetwork
from research.models.mlp import check_widths
from research.rl.environments import Box, Environment, Episodes
from research.rl.observations import flat
from research.rl.rollout import Actor


class Networks(NamedTuple):
    """policy f32[...,O flat] -> f32[2A,...] of a Gaussian; critic f32[...,O flat + A] -> f32[...]"""

    policy: PolicyNetwork
    critic: ValueNetwork
    actions: int

    def init(self, key: Array, observation: Array, temperature: Array) -> dict[str, Any]:
        """Parameters of the policy, of two critics [2,...] and the temperature's logarithm, for f32[B,O flat]."""
        policy_key, critic_key = jax.random.split(key)
        both = jnp.concatenate([observation, jnp.zeros((len(observation), self.actions))], -1)
        return {
            "policy": self.policy.init(policy_key, observation),
            # One after the other: a batched QR decomposition hangs in a small thread pool.
            "critics": lax.map(lambda key: self.critic.init(key, both), jax.random.split(critic_key)),
            "log_temperature": jnp.log(jnp.asarray(temperature, jnp.float32)),
        }

    def act(self, policy: Any, observation: Array, noise: Array) -> tuple[Array, Array]:
        """observation f32[...,O flat], noise f32[A,...] -> action f32[...,A], log-probability f32[...]"""
        return squashed_sample(self.policy.apply(policy, observation), noise)

    def values(self, critics: Any, observation: Array, action: Array) -> Array:
        """Both critics: observation f32[M,O flat], action f32[M,A] -> f32[2,M]"""
        both = jnp.concatenate([observation, action], -1)
        return jax.vmap(self.critic.apply, (0, None))(critics, both)


def make_networks(setup: Any, environment: Environment) -> Networks:
    """Raises ValueError for an environment with discrete actions, or for widths that do not fit."""
    if not isinstance(environment.actions, Box):
        raise ValueError(
            f"environment={environment.name!r} has discrete actions; sac needs continuous ones, such as Pendulum-v1: "
            "use ppo, dqn or pqn"
        )
    check_widths(setup.widths, usual=(64, 64))
    actions = len(environment.actions.low)
    policy = PolicyNetwork(setup.widths, 2 * actions, continuous=False, activation=setup.activation)
    return Networks(policy, ValueNetwork(setup.widths, setup.activation), actions)


def exploring(environment: Environment, networks: Networks, policy: Any, noise_memory: Array, random: Array) -> Actor:
    """Acts by the policy with noise that remembers; what it keeps is its noise f32[B,A].

    noise_memory f32[] in [0, 1]; random bool[]: uniform actions instead, by the same noise
    """

    def act(last: Array, episodes: Episodes, fresh: Array) -> Any:
        # Noise that ended an episode must not begin the next.
        kept = jnp.where(episodes.length == 0, 0.0, noise_memory)[:, None]
        noise = kept * last + jnp.sqrt(1.0 - kept**2) * fresh
        action, _ = networks.act(policy, flat(environment, episodes.observation), noise.T)
        uniform = lax.erf(noise * 0.5**0.5)  # in (-1, 1)
        return noise, jnp.where(random, uniform, action), ()

    return Actor(lambda key, shape: jax.random.normal(key, (*shape, networks.actions)), act)


def most_likely(environment: Environment, networks: Networks, policy: Any) -> Actor:
    """Acts by the policy without noise."""

    def act(memory: Any, episodes: Episodes, none: Array) -> Any:
        observation = flat(environment, episodes.observation)
        action, _ = networks.act(policy, observation, jnp.zeros((networks.actions, len(observation))))
        return memory, action, ()

    return Actor(lambda key, shape: jnp.zeros(shape), act)
