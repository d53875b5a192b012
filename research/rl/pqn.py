"""Parallelised Q-learning (Gallici et al. 2025): no replay, no target network, but layer norm and many environments.

One tick is a rollout of T steps in B environments and several epochs of minibatch updates towards Q(lambda) targets,
which descend the mean of (g - Q(s, a))^2 / 2. rejax reads every greedy value one step late, PureJaxQL the last but one (their
open issues); these are worked out by hand in tests/test_returns.py. Time limits are bootstrapped through.

Dimensions: T steps of a rollout, B environments, N = T * B, M samples of a minibatch, E evaluation episodes,
O an observation's shape, A actions, D parameters.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction, Positive
from research.models.mlp import Activation
from research.numerics.minibatches import check_minibatches, passes
from research.numerics.optimizers import adam, descend
from research.numerics.returns import q_lambda_targets
from research.rl import annealing, environments
from research.rl.environments import Environment, Episodes
from research.rl.greedy import Values, epsilon_greedy, greedy_play, q_network, taken
from research.rl.observations import Features, flat
from research.rl.rollout import finished, rollout, score


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "CartPole-v1"
    """Name of an environment with discrete actions."""
    environments: Count = 16
    """Environments side by side."""
    rollout_length: Count = 128
    """Steps that each environment takes in a tick."""
    epochs: Count = 5
    """Passes over a rollout."""
    minibatches: Count = 16
    """Updates in a pass."""
    features: Features = "dense"
    """Dense layers alone, or a convolution before them for observations that are small pictures."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of the network."""
    activation: Activation = "relu"
    """Between the layers, behind a layer norm."""
    anneal_learning_rate: bool = True
    """Lower the learning rate linearly to 0."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation, without exploration."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 3e-4
    """Adam's step size at the start."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    q_lambda: Fraction = 0.9
    """How far targets look ahead: 0 is one step, 1 to the end of the rollout."""
    epsilon_start: Fraction = 1.0
    """Chance of a random action at the start."""
    epsilon_end: Fraction = 0.05
    """Chance of a random action after the exploration."""
    exploration_fraction: Fraction = 0.5
    """Share of the run over which that chance falls."""
    max_gradient_norm: Positive = 10.0
    """Global norm that a gradient is scaled down to."""


class State(NamedTuple):
    """weights f32[D]; Adam's moments over them; B episodes under way"""

    weights: Array
    optimizer: optax.OptState
    episodes: Episodes


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """PQN as an experiment, in `setup.environment` or in an Environment of one's own."""
    check_minibatches("environments * rollout_length", setup.environments * setup.rollout_length, setup.minibatches)
    environment = environments.chosen(environment, setup.environment)
    network = q_network(environment, setup.features, setup.widths, setup.activation, layer_norm=True)
    return Experiment(
        init=partial(init, setup, environment, network),
        step=partial(step, setup, environment, network),
        evaluate=greedy_play(setup, environment, lambda state: partial(network.apply, state.weights)),
        score=score,
    )


def init(setup: Setup, environment: Environment, network: Values, key: Array, hyper: Hyper, data: Any) -> State:
    network_key, episode_key = jax.random.split(key)
    weights = network.init(network_key)
    return State(weights, adam().init(weights), environments.start(environment, episode_key, setup.environments))


def step(
    setup: Setup, environment: Environment, network: Values, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    rollout_key, fresh_key, update_key = jax.random.split(tick.key, 3)
    epsilon = annealing.exploration(hyper, tick)
    actor = epsilon_greedy(environment, partial(network.apply, state.weights), epsilon)
    (_, episodes), (transitions, actions, _) = rollout(
        environment, actor, (), state.episodes, rollout_key, setup.rollout_length, fresh_key
    )
    best = network.apply(state.weights, flat(environment, transitions.final_observation)).max(0)  # [T, B]
    targets = q_lambda_targets(
        transitions.reward, best, transitions.terminated, transitions.ended, hyper.discount, hyper.q_lambda
    )
    samples = (flat(environment, transitions.observation), actions, targets)
    samples = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), samples)  # [T, B, ...] -> [N, ...]
    learning_rate = annealing.learning_rate(setup, hyper, tick)

    def learn(carry: Any, minibatch: Any) -> Any:
        weights, optimizer = carry
        (loss, value), gradient = jax.value_and_grad(partial(objective, network), has_aux=True)(weights, *minibatch)
        carry = descend(adam(), weights, optimizer, gradient, learning_rate, hyper.max_gradient_norm)
        return carry, {"loss": loss, "value": value}

    carry = state.weights, state.optimizer
    (weights, optimizer), losses = passes(learn, carry, samples, update_key, setup.epochs, setup.minibatches)
    metrics = losses | finished(transitions) | {"epsilon": epsilon}
    return State(weights, optimizer, episodes), metrics


def objective(
    network: Values, weights: Array, observation: Array, action: Array, targets: Array
) -> tuple[Array, Array]:
    """-> the mean of half the squared errors f32[], the mean value f32[]"""
    found = taken(network.apply(weights, observation), action)
    return 0.5 * ((targets - found) ** 2).mean(), found.mean()
