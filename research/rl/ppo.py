"""Proximal policy optimisation (Schulman et al. 2017), after the details that Huang et al. 2022 found to matter.

One tick is a rollout of T steps in B environments and several epochs of minibatch updates on it. With the ratio
r = pi(a|s) / pi_old(a|s) and advantages A, a minibatch descends

    -mean(min(r A, clip(r, 1 - c, 1 + c) A)) + value_coefficient * value_loss - entropy_coefficient * mean(entropy)

Unlike CleanRL and PureJaxRL it bootstraps through a time limit, standardises by moments taken once a tick (rewards
with this rollout's included, observations with those before it), does not cut scaled rewards, and stretches
continuous actions from [-1, 1] to the environment's bounds.

Dimensions: T steps of a rollout, B environments, N = T * B, M samples of a minibatch, E evaluation episodes,
A actions or action components, P parameters of the policy's distribution, O an observation's shape, H units of a memory,
D parameters in all.
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
from research.engine.fields import Count, Fraction, Natural, NonNegative, Positive
from research.models.mlp import Activation
from research.numerics.minibatches import check_minibatches, passes
from research.numerics.moments import Moments, deviation, seen, standardize, unseen
from research.numerics.optimizers import adam, descend
from research.numerics.returns import forward_sums, generalized_advantages, temporal_differences
from research.rl import annealing, environments
from research.rl.actor_critic import Agent, Choice, make_actor, make_agent, policy_play
from research.rl.environments import Environment, Episodes, Transition
from research.rl.objectives import divergence, policy_objective, standardized, value_objective
from research.rl.observations import Features, flat
from research.rl.rollout import finished, rollout, score


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "CartPole-v1"
    """Name of an environment."""
    environments: Count = 4
    """Environments side by side."""
    rollout_length: Count = 125
    """Steps that each environment takes in a tick."""
    epochs: Count = 4
    """Passes over a rollout."""
    minibatches: Count = 4
    """Updates in a pass."""
    widths: tuple[int, ...] = (64, 64)
    """Hidden layers of policy and value network."""
    activation: Activation = "tanh"
    """Between the layers."""
    features: Features = "dense"
    """Dense layers alone, or a convolution before them for observations that are small pictures."""
    memory: Natural = 0
    """Units of a recurrent layer (GRU) below both networks; 0 is none. Minibatches are then of whole environments."""
    normalize_observations: bool = False
    """Standardise observations by their running moments."""
    normalize_rewards: bool = False
    """Divide rewards by the running deviation of discounted returns."""
    normalize_advantages: bool = True
    """Standardise advantages within a minibatch."""
    clip_ratio: bool = True
    """Hold the ratio of new to old probability within `clip` of 1; without, the objective is the plain surrogate."""
    bootstrap_truncation: bool = True
    """Value what lies behind a time limit; without, a time limit counts as an ending, as in much published code."""
    clip_values: bool = True
    """Hold a new value within `clip` of the old one, as the policy is."""
    anneal_learning_rate: bool = True
    """Lower the learning rate linearly to 0."""
    stop_updates: bool = False
    """Leave out the rest of a tick's updates once the policy has moved by `largest_divergence`."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation."""
    evaluation_actions: Choice = "mode"
    """Act by the policy's most likely action, or sample as in training."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2.5e-4
    """Adam's step size at the start."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    gae_lambda: Fraction = 0.95
    """How far advantages look ahead: 0 is one temporal difference, 1 the whole return."""
    clip: Positive = 0.2
    """How far from 1 the ratio of new to old probability may earn."""
    entropy_coefficient: NonNegative = 0.01
    """Weight of the entropy that is added to the objective."""
    value_coefficient: NonNegative = 0.5
    """Weight of the value loss."""
    max_gradient_norm: Positive = 0.5
    """Global norm that a gradient is scaled down to."""
    largest_divergence: Positive = 0.02
    """Divergence from the policy that played, in nats, at which updates stop (stop_updates)."""


class State(NamedTuple):
    """params of the networks; Adam's moments over them as one vector f32[D]; B episodes under way; memory of them f32[B,H],
    or (); observation moments [O]; moments [] of the discounted returns under way, which are discounted f32[B]"""

    params: dict[str, Any]
    optimizer: optax.OptState
    episodes: Episodes
    memory: Any
    observation_moments: Moments
    return_moments: Moments
    discounted: Array


class Samples(NamedTuple):
    """What an update learns from: N steps, or with a memory N environments of T steps each.

    memory () or f32[N,H] before the first step, begins bool[N] or [N,T] at the first step of an episode,
    observation f32[N,O flat] or [N,T,O flat], action i32[N] or f32[N,A] (or [N,T,...]), log_probability f32[N] or [N,T] and
    value f32[N] or [N,T] before the first update, advantage f32[N] or [N,T]
    """

    memory: Any
    begins: Array
    observation: Array
    action: Array
    log_probability: Array
    value: Array
    advantage: Array


ADAM = adam(epsilon=1e-5)


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """PPO as an experiment, in `setup.environment` or in an Environment of one's own."""
    check(setup)
    environment = environments.chosen(environment, setup.environment)
    agent = make_agent(environment, setup.widths, setup.activation, setup.features, setup.memory)
    return Experiment(
        init=partial(init, setup, environment, agent),
        step=partial(step, setup, environment, agent),
        evaluate=policy_play(
            setup, environment, agent, lambda state: partial(view, setup, environment, state.observation_moments)
        ),
        score=score,
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    samples = setup.environments * setup.rollout_length
    if setup.memory:
        check_minibatches("environments", setup.environments, setup.minibatches)
    else:
        check_minibatches("environments * rollout_length", samples, setup.minibatches)
    if setup.normalize_advantages and samples == setup.minibatches:
        raise ValueError(
            f"minibatches={setup.minibatches} leaves one sample each, which cannot be standardised; "
            "use fewer, or normalize_advantages=False"
        )


def init(setup: Setup, environment: Environment, agent: Agent, key: Array, hyper: Hyper, data: Any) -> State:
    policy_key, value_key, episode_key = jax.random.split(key, 3)
    episodes = environments.start(environment, episode_key, setup.environments)
    params = agent.init(policy_key, value_key, flat(environment, episodes.observation))
    return State(
        params,
        ADAM.init(ravel_pytree(params)[0]),
        episodes,
        agent.forgotten(setup.environments),
        unseen(environment.observation_shape),
        unseen(()),
        jnp.zeros(setup.environments),
    )


def step(
    setup: Setup, environment: Environment, agent: Agent, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    rollout_key, fresh_key, update_key = jax.random.split(tick.key, 3)
    see = partial(view, setup, environment, state.observation_moments)
    actor = make_actor(agent, see, state.params, sampled=True)
    (memory, episodes), (transitions, actions, parameters) = rollout(
        environment, actor, state.memory, state.episodes, rollout_key, setup.rollout_length, fresh_key
    )
    ended = transitions.ended
    rewards, return_moments, discounted = scaled_rewards(setup, hyper, state, transitions)
    observation, begins = see(transitions.observation), transitions.length == 1
    values, next_values = judged(agent, state, observation, see(transitions.final_observation), begins)
    endings = transitions.terminated if setup.bootstrap_truncation else ended
    errors = temporal_differences(rewards, values, next_values, endings, hyper.discount)
    advantages = generalized_advantages(errors, ended, hyper.discount, hyper.gae_lambda)
    log_probability = jax.vmap(agent.distribution.log_probability)(parameters, actions)
    steps = (begins, observation, actions, log_probability, values, advantages)
    if setup.memory:
        steps = jax.tree.map(lambda x: x.swapaxes(0, 1), steps)  # [T, B, ...] -> [B, T, ...]
    else:
        steps = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), steps)  # [T, B, ...] -> [N, ...]
    samples = Samples(state.memory, *steps)
    learning_rate = annealing.learning_rate(setup, hyper, tick)
    params, optimizer, losses = learning(
        setup, agent, hyper, learning_rate, state.params, state.optimizer, samples, update_key
    )
    moments = seen(state.observation_moments, transitions.observation)
    after = State(params, optimizer, episodes, memory, moments, return_moments, discounted)
    return after, losses | finished(transitions)


def judged(agent: Agent, state: State, observation: Array, following: Array, begins: Array) -> tuple[Array, Array]:
    """Values of what T steps answered and of what they led to before any reset, each f32[T,B].

    observation f32[T,B,O flat], following f32[T,B,O flat], begins bool[T,B]"""
    before = agent.see(state.params, state.memory, observation, begins)
    after = agent.see(state.params, before, following[None], jnp.zeros_like(begins)[None])[0]
    return agent.values(state.params, before), agent.values(state.params, after)


def view(setup: Setup, environment: Environment, moments: Moments, observation: Array) -> Array:
    """What the networks see of observations f32[...,O]: f32[...,O flat], standardised where that is asked for."""
    return flat(environment, standardize(moments, observation) if setup.normalize_observations else observation)


def scaled_rewards(setup: Setup, hyper: Hyper, state: State, transitions: Transition) -> tuple[Array, Moments, Array]:
    """Rewards f32[T,B], divided by the running deviation of discounted returns where that is asked for."""
    if not setup.normalize_rewards:
        return transitions.reward, state.return_moments, state.discounted
    before = jnp.concatenate([jnp.zeros_like(transitions.ended[:1]), transitions.ended[:-1]])  # [T, B]
    decays = jnp.where(before, 0.0, hyper.discount)
    last, discounted = forward_sums(state.discounted, transitions.reward, decays)
    moments = seen(state.return_moments, discounted)
    return transitions.reward / deviation(moments), moments, jnp.where(transitions.ended[-1], 0.0, last)


def learning(
    setup: Setup,
    agent: Agent,
    hyper: Hyper,
    learning_rate: Array,
    params: Any,
    optimizer: optax.OptState,
    samples: Samples,
    key: Array,
) -> tuple[Any, optax.OptState, dict[str, Array]]:
    """All epochs of a tick -> params, optimizer, metrics averaged over the updates."""
    weights, unravel = ravel_pytree(params)

    def learn(carry: Any, minibatch: Samples) -> Any:
        weights, optimizer, stopped = carry
        gradient, losses = jax.grad(lambda w: objective(setup, agent, hyper, unravel(w), minibatch), has_aux=True)(
            weights
        )
        after = descend(ADAM, weights, optimizer, gradient, learning_rate, hyper.max_gradient_norm)
        if not setup.stop_updates:
            return (*after, stopped), losses
        stopped = stopped | (losses["divergence"] > hyper.largest_divergence)
        kept = jax.tree.map(lambda old, new: jnp.where(stopped, old, new), (weights, optimizer), after)
        return (*kept, stopped), losses | {"stopped": stopped.astype(jnp.float32)}

    carry = weights, optimizer, jnp.zeros((), bool)
    (weights, optimizer, _), losses = passes(learn, carry, samples, key, setup.epochs, setup.minibatches)
    return unravel(weights), optimizer, losses


def objective(
    setup: Setup, agent: Agent, hyper: Hyper, params: Any, samples: Samples
) -> tuple[Array, dict[str, Array]]:
    """What a minibatch descends, f32[], and its parts."""
    observed = seen_by(agent, params, samples)
    parameters = agent.parameters(params, observed)
    log_ratio = agent.distribution.log_probability(parameters, samples.action) - samples.log_probability
    advantage = standardized(samples.advantage) if setup.normalize_advantages else samples.advantage
    policy_loss = -policy_objective(log_ratio, advantage, hyper.clip if setup.clip_ratio else None)
    values = agent.values(params, observed)
    bound = hyper.clip if setup.clip_values else None
    value_loss = value_objective(values, samples.value, samples.value + samples.advantage, bound)
    entropy = agent.distribution.entropy(parameters).mean()
    loss = policy_loss + hyper.value_coefficient * value_loss - hyper.entropy_coefficient * entropy
    return loss, {
        "policy_loss": policy_loss,
        "value_loss": value_loss,
        "entropy": entropy,
        "divergence": divergence(log_ratio),
    }


def seen_by(agent: Agent, params: Any, samples: Samples) -> Array:
    """What the networks see of samples: f32[M,O flat], or with a memory f32[M,T,H]"""
    if agent.memory is None:
        return samples.observation
    steps = (x.swapaxes(0, 1) for x in (samples.observation, samples.begins))  # [M, T, ...] -> [T, M, ...]
    return agent.see(params, samples.memory, *steps).swapaxes(0, 1)  # [T, M, H] -> [M, T, H]
