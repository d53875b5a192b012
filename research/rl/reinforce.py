"""REINFORCE (Williams 1992): whole episodes, and the return that followed each action.

One tick is a rollout in B environments and one gradient step on its whole episodes: all that began early enough to end
within the rollout whatever they do, so that a short one is no likelier to be among them. With returns G from each step to
its episode's end, a baseline b and all those steps counted alike, it descends

    -mean((G - b) log pi(a|s)) - entropy_coefficient * mean(entropy)

The baseline is a learned value of the state, or 0. An episode that a time limit cuts has no return from the steps it did
not take: as in the classic algorithm, the limit counts as its end.

Dimensions: T steps, B environments, O an observation's shape, D parameters in all.
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
from research.engine.fields import Count, Fraction, NonNegative, Positive
from research.models.mlp import Activation
from research.numerics.optimizers import adam, descend
from research.numerics.returns import discounted_returns
from research.rl import environments
from research.rl.actor_critic import Agent, Choice, make_actor, make_agent, policy_play
from research.rl.environments import Environment, Transition
from research.rl.observations import Features, flat
from research.rl.rollout import finished, rollout, score


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "CartPole-v1"
    """Name of an environment."""
    environments: Count = 2
    """Environments side by side."""
    rollout_length: Count = 1000
    """Steps that each environment takes in a tick, at least its time limit; episodes that begin later than that before the
    rollout's end are not learned from."""
    baseline: bool = True
    """Subtract a learned value of the state from the return."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of policy and value network."""
    activation: Activation = "tanh"
    """Between the layers."""
    features: Features = "dense"
    """Dense layers alone, or a convolution before them for observations that are small pictures."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation."""
    evaluation_actions: Choice = "mode"
    """Act by the policy's most likely action, or sample as in training."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2e-3
    """Adam's step size."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    entropy_coefficient: NonNegative = 0.01
    """Weight of the entropy that is added to the objective."""
    value_coefficient: NonNegative = 0.5
    """Weight of the baseline's loss."""
    max_gradient_norm: Positive = 1.0
    """Global norm that a gradient is scaled down to."""


class State(NamedTuple):
    """params of both networks; Adam's moments over them as one vector f32[D]"""

    params: dict[str, Any]
    optimizer: optax.OptState


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """REINFORCE as an experiment, in `setup.environment` or in an Environment of one's own.

    Raises ValueError where an episode may be longer than what is played.
    """
    environment = environments.chosen(environment, setup.environment)
    if setup.rollout_length < environment.time_limit:
        raise ValueError(
            f"rollout_length={setup.rollout_length} is less than the {environment.time_limit} steps that an episode of "
            f"{environment.name} may have, and no episode would surely be whole; use at least {environment.time_limit}, "
            f"better {2 * environment.time_limit}"
        )
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
    return State(params, adam().init(ravel_pytree(params)[0]))


def step(
    setup: Setup, environment: Environment, agent: Agent, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    start_key, rollout_key, fresh_key = jax.random.split(tick.key, 3)
    episodes = environments.start(environment, start_key, setup.environments)
    actor = make_actor(agent, partial(flat, environment), state.params, sampled=True)
    _, (transitions, actions, _) = rollout(
        environment, actor, (), episodes, rollout_key, setup.rollout_length, fresh_key
    )
    counted, returns = whole_episodes(transitions, environment.time_limit, hyper.discount)
    observation = flat(environment, transitions.observation)
    weights, unravel = ravel_pytree(state.params)
    gradient, losses = jax.grad(
        lambda w: objective(setup, agent, hyper, unravel(w), observation, actions, returns, counted), has_aux=True
    )(weights)
    weights, optimizer = descend(
        adam(), weights, state.optimizer, gradient, hyper.learning_rate, hyper.max_gradient_norm
    )
    return State(unravel(weights), optimizer), losses | finished(transitions)


def whole_episodes(transitions: Transition, limit: int, discount: Array) -> tuple[Array, Array]:
    """Which of [T,B] steps belong to an episode that began `limit` steps or more before the rollout's end, f32[T,B] of 0
    and 1, and returns to the episode's end f32[T,B]."""
    length = transitions.length.shape[0]
    step = lax.broadcasted_iota(jnp.int32, transitions.length.shape, 0)
    began = step + 1 - transitions.length
    ended = transitions.ended
    returns = discounted_returns(transitions.reward, jnp.zeros_like(transitions.reward), ended, ended, discount)
    return (began <= length - limit).astype(jnp.float32), returns


def objective(
    setup: Setup,
    agent: Agent,
    hyper: Hyper,
    params: Any,
    observation: Array,
    actions: Array,
    returns: Array,
    counted: Array,
) -> tuple[Array, dict[str, Array]]:
    """What a tick descends, f32[], and its parts. All with leading [T,B]."""
    mean = lambda x: (x * counted).sum() / counted.sum()
    parameters = jnp.moveaxis(agent.parameters(params, observation), 0, 1)  # [P,T,B] -> [T,P,B]
    log_probability = jax.vmap(agent.distribution.log_probability)(parameters, actions)
    entropy = mean(jax.vmap(agent.distribution.entropy)(parameters))
    values = agent.values(params, observation) if setup.baseline else jnp.zeros_like(returns)
    policy_loss = -mean((returns - jax.lax.stop_gradient(values)) * log_probability)
    value_loss = 0.5 * mean((values - returns) ** 2)
    loss = policy_loss + hyper.value_coefficient * value_loss - hyper.entropy_coefficient * entropy
    parts = {"policy_loss": policy_loss, "entropy": entropy}
    return loss, parts | ({"value_loss": value_loss} if setup.baseline else {})
