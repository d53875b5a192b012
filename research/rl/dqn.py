"""Deep Q-learning (Mnih et al. 2015) from a replay, with what was found to help as switches.

One tick is a few steps in B environments, kept in a ring, and a few updates on transitions drawn from it. With the
target network's parameters w', an update descends the mean of importance * (y - Q(s, a))^2 / 2, where

    y = r + discount * r' + ... + discount^n * max_a Q(s_n, a; w')

Double (van Hasselt et al. 2016): the maximum's action is the learned network's. Time limits are bootstrapped through.

Dimensions: T steps of a rollout, B environments, S slots of the replay, M transitions of an update, n steps of a return,
O an observation's shape, A actions, D parameters.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction, Positive
from research.models.mlp import Activation, Initial
from research.numerics import replay
from research.numerics.optimizers import adam, descend
from research.numerics.returns import n_step_returns
from research.rl import annealing, environments
from research.rl.environments import Environment, Episodes
from research.rl.experience import Experience, batches, check_replay, empty_ring, learn_from, restored, write
from research.rl.greedy import Values, epsilon_greedy, greedy_play, q_network, taken
from research.rl.observations import Features
from research.rl.priorities import Priorities, drawn, newest, none_yet, revised
from research.rl.rollout import finished, rollout, score


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "CartPole-v1"
    """Name of an environment with discrete actions."""
    environments: Count = 1
    """Environments side by side."""
    rollout_length: Count = 10
    """Steps that each environment takes in a tick."""
    updates: Count = 1
    """Updates in a tick."""
    batch_size: Count = 128
    """Transitions of an update."""
    capacity: Count = 10_000
    """Transitions that the replay holds."""
    learning_starts: Count = 10_000
    """Environment steps before the first update."""
    target_every: Count = 50
    """Ticks between two moves of the target network."""
    features: Features = "dense"
    """Dense layers alone, or a convolution before them for observations that are small pictures."""
    widths: tuple[int, ...] = (120, 84)
    """Hidden layers of the network."""
    activation: Activation = "relu"
    """Between the layers."""
    initial_weights: Initial = "uniform"
    """What the network's weights are drawn from. Behind the first layer orthogonal ones are twice as large, and so are the
    first values; learned from there they overshoot and come back late or never."""
    double: bool = True
    """Let the learned network choose the action that the target network values."""
    dueling: bool = False
    """Split values into the state's and each action's advantage."""
    n_steps: Count = 1
    """Rewards that a target counts before it bootstraps."""
    prioritized: bool = False
    """Draw transitions in proportion to a power of their last error, and weigh them back."""
    anneal_learning_rate: bool = True
    """Lower the learning rate linearly to 0."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation, without exploration."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2.5e-4
    """Adam's step size at the start."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    epsilon_start: Fraction = 1.0
    """Chance of a random action at the start."""
    epsilon_end: Fraction = 0.05
    """Chance of a random action after the exploration."""
    exploration_fraction: Fraction = 0.5
    """Share of the run over which that chance falls."""
    target_mixing: Fraction = 1.0
    """How far the target network moves to the learned one: 1 is all the way."""
    max_gradient_norm: Positive = 10.0
    """Global norm that a gradient is scaled down to."""
    priority_exponent: Fraction = 0.6
    """How much a larger error is preferred (prioritized)."""
    importance_exponent: Fraction = 0.4
    """How far that is weighed back at the start; fully at the end (prioritized)."""


class State(NamedTuple):
    """weights and target f32[D] of the two networks; Adam's moments; B episodes under way; the replay, leaves [S*B,...];
    Priorities of its S * B transitions, or ()"""

    weights: Array
    target: Array
    optimizer: optax.OptState
    episodes: Episodes
    ring: Experience
    priorities: Priorities | tuple[()]


class Samples(NamedTuple):
    """What updates learn from.

    observation f32[...,O flat], action i32[...]; sums f32[...] of the next n rewards, and weight f32[...] of the value of
    what they led to, following f32[...,O flat], whose actions the target network gives values f32[...,A]
    """

    observation: Array
    action: Array
    sums: Array
    weight: Array
    following: Array
    values: Array


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """DQN as an experiment, in `setup.environment` or in an Environment of one's own."""
    check_replay(setup, setup.n_steps, setup.prioritized)
    environment = environments.chosen(environment, setup.environment)
    network = q_network(
        environment,
        setup.features,
        setup.widths,
        setup.activation,
        dueling=setup.dueling,
        initial=setup.initial_weights,
    )
    return Experiment(
        init=partial(init, setup, environment, network),
        step=partial(step, setup, environment, network),
        evaluate=greedy_play(setup, environment, lambda state: partial(network.apply, state.weights)),
        score=score,
    )


def init(setup: Setup, environment: Environment, network: Values, key: Array, hyper: Hyper, data: Any) -> State:
    network_key, episode_key = jax.random.split(key)
    episodes = environments.start(environment, episode_key, setup.environments)
    weights = network.init(network_key)
    ring = empty_ring(setup, environment, episodes)
    return State(weights, weights, adam().init(weights), episodes, ring, none_yet(setup))


def step(
    setup: Setup, environment: Environment, network: Values, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    rollout_key, fresh_key, update_key = jax.random.split(tick.key, 3)
    epsilon = annealing.exploration(hyper, tick)
    actor = epsilon_greedy(environment, partial(network.apply, state.weights), epsilon)
    (_, episodes), (transitions, actions, _) = rollout(
        environment, actor, (), state.episodes, rollout_key, setup.rollout_length, fresh_key
    )
    ring = write(environment, state.ring, transitions, actions, tick.index)
    learn = partial(learning, setup, environment, network, hyper, ring, tick, state.target)
    carry = state.weights, state.optimizer, newest(setup, state.priorities, tick.index)
    (weights, optimizer, priorities), losses = learn_from(setup, tick, learn, carry, update_key)
    moved = hyper.target_mixing * weights + (1.0 - hyper.target_mixing) * state.target
    target = lax.select((tick.index + 1) % setup.target_every == 0, moved, state.target)
    metrics = losses | finished(transitions) | {"epsilon": epsilon}
    return State(weights, target, optimizer, episodes, ring, priorities), metrics


def learning(
    setup: Setup,
    environment: Environment,
    network: Values,
    hyper: Hyper,
    ring: Experience,
    tick: Tick,
    target: Array,
    carry: Any,
    key: Array,
) -> tuple[Any, dict[str, Array]]:
    """All updates of a tick; carry is (weights, optimizer, priorities) -> carry, metrics f32[updates]

    All their minibatches are drawn, read and valued by the target network at once, by the priorities at the tick's start:
    a few large operations, and one pass over the tree."""
    weights, optimizer, priorities = carry
    places, importance = drawn(setup, hyper, priorities, tick, key)
    minibatches = batches(setup, read(setup, environment, network, hyper, target, ring, places))
    learning_rate = annealing.learning_rate(setup, hyper, tick)
    learn = partial(update, setup, network, learning_rate, hyper.max_gradient_norm)
    (weights, optimizer), (errors, losses) = lax.scan(learn, (weights, optimizer), (minibatches, importance))
    return (weights, optimizer, revised(hyper, priorities, places, errors)), losses


def read(
    setup: Setup,
    environment: Environment,
    network: Values,
    hyper: Hyper,
    target: Array,
    ring: Experience,
    places: Array,
) -> Samples:
    """Samples [M] of what stands at places i32[M] of a ring."""
    count = setup.environments
    rewards, terminated, ended = replay.stretch(
        (ring.reward, ring.terminated, ring.ended), places, setup.n_steps, count
    )
    sums, weight, last = n_step_returns(rewards, terminated, ended, hyper.discount)
    observation, action = replay.at((ring.observation, ring.action), places)
    following = replay.later(ring.final_observation, places, last, count)
    observation, following = (restored(environment, x) for x in (observation, following))
    return Samples(observation, action, sums, weight, following, network.apply(target, following).T)


def update(
    setup: Setup,
    network: Values,
    learning_rate: Array,
    max_gradient_norm: Array,
    carry: Any,
    minibatch: tuple[Samples, Array],
) -> tuple[Any, tuple[Array, dict[str, Array]]]:
    """One update on M samples with their importance f32[M]; carry is (weights, optimizer) -> carry, errors f32[M], metrics"""
    weights, optimizer = carry
    samples, importance = minibatch
    targets = bootstrapped(setup, network, weights, samples)
    (loss, (errors, values)), gradient = jax.value_and_grad(partial(objective, network), has_aux=True)(
        weights, samples.observation, samples.action, targets, importance
    )
    carry = descend(adam(), weights, optimizer, gradient, learning_rate, max_gradient_norm)
    return carry, (errors, {"loss": loss, "value": values.mean()})


def bootstrapped(setup: Setup, network: Values, weights: Array, samples: Samples) -> Array:
    """Targets f32[M] of M samples."""
    values = samples.values.T  # [A, M]
    best = jnp.argmax(network.apply(weights, samples.following) if setup.double else values, 0)
    return samples.sums + samples.weight * taken(values, best)


def objective(
    network: Values, weights: Array, observation: Array, action: Array, targets: Array, importance: Array
) -> tuple[Array, tuple[Array, Array]]:
    """-> the weighted mean of half the squared errors f32[], (errors f32[M], values f32[M])"""
    values = taken(network.apply(weights, observation), action)
    errors = targets - values
    return 0.5 * (importance * errors**2).mean(), (errors, values)
