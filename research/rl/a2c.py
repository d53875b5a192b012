"""Advantage actor-critic (Mnih et al. 2016, synchronous): a short rollout, one gradient step on all of it.

With advantages A, which look ahead as `gae_lambda` says (1: n-step returns), a tick descends

    -mean(A log pi(a|s)) + value_coefficient * mean((V - A - V_old)^2) / 2 - entropy_coefficient * mean(entropy)

Time limits are bootstrapped through.

Dimensions: T steps of a rollout, B environments, N = T * B, O an observation's shape, D parameters in all.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction, NonNegative, Positive
from research.models.mlp import Activation
from research.numerics.optimizers import descend
from research.numerics.returns import generalized_advantages, temporal_differences
from research.rl import annealing, environments
from research.rl.actor_critic import Agent, Choice, make_actor, make_agent, policy_play
from research.rl.environments import Environment, Episodes
from research.rl.observations import Features, flat
from research.rl.rollout import finished, rollout, score


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "CartPole-v1"
    """Name of an environment."""
    environments: Count = 16
    """Environments side by side."""
    rollout_length: Count = 5
    """Steps that each environment takes in a tick."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of policy and value network."""
    activation: Activation = "tanh"
    """Between the layers."""
    features: Features = "dense"
    """Dense layers alone, or a convolution before them for observations that are small pictures."""
    anneal_learning_rate: bool = True
    """Lower the learning rate linearly to 0."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation."""
    evaluation_actions: Choice = "mode"
    """Act by the policy's most likely action, or sample as in training."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 7e-4
    """RMSprop's step size at the start."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    gae_lambda: Fraction = 1.0
    """How far advantages look ahead: 0 is one temporal difference, 1 the whole rollout."""
    entropy_coefficient: NonNegative = 0.01
    """Weight of the entropy that is added to the objective."""
    value_coefficient: NonNegative = 0.5
    """Weight of the value loss."""
    max_gradient_norm: Positive = 0.5
    """Global norm that a gradient is scaled down to."""


class State(NamedTuple):
    """params of both networks; RMSprop's moments over them as one vector f32[D]; B episodes under way"""

    params: dict[str, Any]
    optimizer: optax.OptState
    episodes: Episodes


RMSPROP = optax.scale_by_rms(decay=0.99, eps=1e-5)


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """A2C as an experiment, in `setup.environment` or in an Environment of one's own."""
    environment = environments.chosen(environment, setup.environment)
    agent = make_agent(environment, setup.widths, setup.activation, setup.features)
    return Experiment(
        init=partial(init, setup, environment, agent),
        step=partial(step, setup, environment, agent),
        evaluate=policy_play(setup, environment, agent),
        score=score,
    )


def init(setup: Setup, environment: Environment, agent: Agent, key: Array, hyper: Hyper, data: Any) -> State:
    policy_key, value_key, episode_key = jax.random.split(key, 3)
    episodes = environments.start(environment, episode_key, setup.environments)
    params = agent.init(policy_key, value_key, flat(environment, episodes.observation))
    return State(params, RMSPROP.init(ravel_pytree(params)[0]), episodes)


def step(
    setup: Setup, environment: Environment, agent: Agent, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    rollout_key, fresh_key = jax.random.split(tick.key)
    actor = make_actor(agent, partial(flat, environment), state.params, sampled=True)
    (_, episodes), (transitions, actions, _) = rollout(
        environment, actor, (), state.episodes, rollout_key, setup.rollout_length, fresh_key
    )
    observation, following = (flat(environment, x) for x in (transitions.observation, transitions.final_observation))
    values, next_values = (agent.values(state.params, x) for x in (observation, following))
    errors = temporal_differences(transitions.reward, values, next_values, transitions.terminated, hyper.discount)
    advantages = generalized_advantages(errors, transitions.ended, hyper.discount, hyper.gae_lambda)
    weights, unravel = ravel_pytree(state.params)
    gradient, losses = jax.grad(
        lambda w: objective(agent, hyper, unravel(w), observation, actions, advantages, values + advantages),
        has_aux=True,
    )(weights)
    learning_rate = annealing.learning_rate(setup, hyper, tick)
    weights, optimizer = descend(RMSPROP, weights, state.optimizer, gradient, learning_rate, hyper.max_gradient_norm)
    return State(unravel(weights), optimizer, episodes), losses | finished(transitions)


def objective(
    agent: Agent, hyper: Hyper, params: Any, observation: Array, actions: Array, advantages: Array, targets: Array
) -> tuple[Array, dict[str, Array]]:
    """What a tick descends, f32[], and its parts. All with leading [T,B]."""
    parameters = jnp.moveaxis(agent.parameters(params, observation), 0, 1)  # [P,T,B] -> [T,P,B]
    log_probability = jax.vmap(agent.distribution.log_probability)(parameters, actions)
    policy_loss = -(log_probability * advantages).mean()
    value_loss = 0.5 * ((agent.values(params, observation) - targets) ** 2).mean()
    entropy = jax.vmap(agent.distribution.entropy)(parameters).mean()
    loss = policy_loss + hyper.value_coefficient * value_loss - hyper.entropy_coefficient * entropy
    return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
