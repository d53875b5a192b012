"""Soft actor-critic (Haarnoja et al. 2018, "Soft actor-critic algorithms and applications") for continuous actions.

One tick is a few steps in B environments, kept in a ring, and a few updates on transitions drawn from it. With two
critics Q, their slow copies Q', a policy pi over actions tanh(u) and a temperature alpha, an update descends

    critics      mean((y - Q(s, a))^2) / 2    y = r + discount * (min Q'(s', a') - alpha log pi(a'|s')),  a' ~ pi(s')
    policy       mean(alpha log pi(a|s) - min Q(s, a)),  a ~ pi(s)
    temperature  -mean(log alpha * (log pi(a|s) + target_entropy)),  which holds the entropy at its target

all three at once. Time limits are bootstrapped through.

The noise behind the actions that are played may remember its last value, z' = c z + sqrt(1 - c^2) e, as an Uhlenbeck
and Ornstein (1930) process does: each action is distributed as the policy says, yet a stretch of them has a direction,
which finds what white noise does not (Eberhard et al. 2023). It begins afresh with each episode.

Dimensions: T steps of a rollout, B environments, S slots of the replay, M transitions of an update, A action components,
O an observation's shape, D parameters.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jax.flatten_util import ravel_pytree

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction, Positive
from research.models.mlp import Activation
from research.numerics import replay
from research.numerics.optimizers import adam, descend
from research.rl import environments
from research.rl.environments import Environment, Episodes
from research.rl.experience import (
    Experience,
    batches,
    check_replay,
    draw,
    empty_ring,
    first_learning,
    learn_from,
    restored,
    write,
)
from research.rl.observations import flat
from research.rl.rollout import Play, finished, rollout, score
from research.rl.squashed import Networks, exploring, make_networks, most_likely


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "Pendulum-v1"
    """Name of an environment with continuous actions."""
    environments: Count = 4
    """Environments side by side."""
    rollout_length: Count = 1
    """Steps that each environment takes in a tick."""
    updates: Count = 4
    """Updates in a tick."""
    batch_size: Count = 128
    """Transitions of an update."""
    capacity: Count = 50_000
    """Transitions that the replay holds."""
    learning_starts: Count = 1000
    """Environment steps with random actions before the first update."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of policy and critics."""
    activation: Activation = "relu"
    """Between the layers."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation, by the policy's most likely action."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 1e-3
    """Adam's step size, for policy, critics and temperature."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    target_mixing: Fraction = 0.005
    """How far the critics' slow copies move to them at each update."""
    target_entropy: float = -1.0
    """Entropy for each action component that the temperature holds, in nats."""
    initial_temperature: Positive = 1.0
    """Weight of the entropy at first."""
    noise_memory: Fraction = 0.0
    """How much of the exploring noise stays from step to step (c): 0 is white."""


class State(NamedTuple):
    """params of policy, critics and temperature; target: the critics' slow copies; Adam's moments over params as one vector
    f32[D]; B episodes under way and the last noise f32[B,A] in them; the replay, leaves [S*B,...]"""

    params: dict[str, Any]
    target: Any
    optimizer: optax.OptState
    episodes: Episodes
    noise: Array
    ring: Experience


class Samples(NamedTuple):
    """What updates learn from.

    observation f32[...,O flat], action f32[...,A], reward f32[...], terminated bool[...], following f32[...,O flat]; noise
    f32[...,A] for the actions that the policy would take here, and following_noise f32[...,A] there
    """

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    following: Array
    noise: Array
    following_noise: Array


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """SAC as an experiment, in `setup.environment` or in an Environment of one's own."""
    check_replay(setup)
    environment = environments.chosen(environment, setup.environment)
    networks = make_networks(setup, environment)
    evaluated = lambda state: most_likely(environment, networks, state.params["policy"])
    return Experiment(
        init=partial(init, setup, environment, networks),
        step=partial(step, setup, environment, networks),
        evaluate=Play(environment, evaluated, setup.evaluation_episodes),
        score=score,
    )


def init(setup: Setup, environment: Environment, networks: Networks, key: Array, hyper: Hyper, data: Any) -> State:
    network_key, noise_key, episode_key = jax.random.split(key, 3)
    episodes = environments.start(environment, episode_key, setup.environments)
    params = networks.init(network_key, flat(environment, episodes.observation), hyper.initial_temperature)
    noise = jax.random.normal(noise_key, (setup.environments, networks.actions))
    optimizer = adam().init(ravel_pytree(params)[0])
    return State(params, params["critics"], optimizer, episodes, noise, empty_ring(setup, environment, episodes))


def step(
    setup: Setup, environment: Environment, networks: Networks, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    rollout_key, fresh_key, update_key = jax.random.split(tick.key, 3)
    random = tick.index < first_learning(setup)
    actor = exploring(environment, networks, state.params["policy"], hyper.noise_memory, random)
    (noise, episodes), (transitions, actions, _) = rollout(
        environment, actor, state.noise, state.episodes, rollout_key, setup.rollout_length, fresh_key
    )
    ring = write(environment, state.ring, transitions, actions, tick.index)
    learn = partial(learning, setup, environment, networks, hyper, ring, tick)
    carry = state.params, state.target, state.optimizer
    (params, target, optimizer), losses = learn_from(setup, tick, learn, carry, update_key)
    return State(params, target, optimizer, episodes, noise, ring), losses | finished(transitions)


def learning(
    setup: Setup,
    environment: Environment,
    networks: Networks,
    hyper: Hyper,
    ring: Experience,
    tick: Tick,
    carry: Any,
    key: Array,
) -> tuple[Any, dict[str, Array]]:
    """All updates of a tick; carry is (params, target, optimizer) -> carry, metrics f32[updates]"""
    place_key, noise_key, following_key = jax.random.split(key, 3)
    count = setup.updates * setup.batch_size
    found = replay.at(ring, draw(setup, place_key, tick.index, count))
    noise, following_noise = (jax.random.normal(k, found.action.shape) for k in (noise_key, following_key))
    samples = Samples(
        restored(environment, found.observation),
        found.action,
        found.reward,
        found.terminated,
        restored(environment, found.final_observation),
        noise,
        following_noise,
    )
    params, target, optimizer = carry
    weights, unravel = ravel_pytree(params)
    learn = partial(update, networks, hyper, unravel)
    (weights, target, optimizer), losses = lax.scan(learn, (weights, target, optimizer), batches(setup, samples))
    return (unravel(weights), target, optimizer), losses


def update(
    networks: Networks, hyper: Hyper, unravel: Any, carry: Any, samples: Samples
) -> tuple[Any, dict[str, Array]]:
    """One update on M samples; carry is (weights f32[D], target, optimizer)."""
    weights, target, optimizer = carry
    targets = soft_targets(networks, hyper, unravel(weights), target, samples)
    gradient, losses = jax.grad(lambda w: objective(networks, hyper, unravel(w), samples, targets), has_aux=True)(
        weights
    )
    weights, optimizer = descend(adam(), weights, optimizer, gradient, hyper.learning_rate)
    mix = lambda old, new: old + hyper.target_mixing * (new - old)
    target = jax.tree.map(mix, target, unravel(weights)["critics"])
    return (weights, target, optimizer), losses


def soft_targets(networks: Networks, hyper: Hyper, params: Any, target: Any, samples: Samples) -> Array:
    """y f32[M]: what was earned and the soft value of what followed."""
    action, log_probability = networks.act(params["policy"], samples.following, samples.following_noise.T)
    values = networks.values(target, samples.following, action).min(0)
    soft = values - jnp.exp(params["log_temperature"]) * log_probability
    return samples.reward + hyper.discount * jnp.where(samples.terminated, 0.0, soft)


def objective(
    networks: Networks, hyper: Hyper, params: Any, samples: Samples, targets: Array
) -> tuple[Array, dict[str, Array]]:
    """What an update descends, f32[], whose three parts touch different parameters, and what they say."""
    frozen = lax.stop_gradient(params)
    found = networks.values(params["critics"], samples.observation, samples.action)
    critic_loss = 0.5 * ((targets[None] - found) ** 2).mean(1).sum()
    action, log_probability = networks.act(params["policy"], samples.observation, samples.noise.T)
    values = networks.values(frozen["critics"], samples.observation, action).min(0)
    policy_loss = (jnp.exp(frozen["log_temperature"]) * log_probability - values).mean()
    entropy = -lax.stop_gradient(log_probability).mean()
    temperature_loss = params["log_temperature"] * (entropy - hyper.target_entropy * networks.actions)
    return critic_loss + policy_loss + temperature_loss, {
        "loss": critic_loss,
        "value": values.mean(),
        "entropy": entropy,
        "temperature": jnp.exp(params["log_temperature"]),
    }
