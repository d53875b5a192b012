"""Learning: every algorithm of RL in five tiny environments whose values are known (see known_values.py)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_values import DISCOUNT, KNOWN, STATES, environment, trained

from research.rl import a2c, dqn, greedy, ppo, pqn, q_learning, reinforce, sac, squashed
from research.rl.actor_critic import make_agent

SEEN = jnp.eye(STATES)  # both observations
TOLERANCE = 0.05  # of values and returns; the worst of ten seeds was off by 0.012


class Method(NamedTuple):
    """How an algorithm learns here, and what of its state is known.

    module     with `make(setup, environment)` and `Hyper`
    hyper      besides a discount of 1/2
    values     (environment, setup, state) -> f32[S], or f32[S,A] where it learns action values
    continuous True where it acts by numbers
    truncates  False where a time limit counts as an ending
    except_for tasks whose values it cannot know
    """

    module: Any
    setup: Any
    ticks: int
    hyper: dict[str, float]
    values: Callable[[Any, Any, Any], jax.Array]
    continuous: bool = False
    truncates: bool = True
    except_for: tuple[str, ...] = ()


def of_states(environment, setup, state):
    return make_agent(environment, setup.widths, setup.activation).values(state.params, SEEN)


def recalled(environment, setup, state):
    """With a memory that has just begun."""
    agent = make_agent(environment, setup.widths, setup.activation, memory=setup.memory)
    seen = agent.see(state.params, agent.forgotten(STATES), SEEN[None], jnp.ones((1, STATES), bool))
    return agent.values(state.params, seen[0])


def soft(environment, setup, state):
    """The smaller of the critics' values of the policy's most likely action."""
    networks = squashed.make_networks(setup, environment)
    action, _ = networks.act(state.params["policy"], SEEN, jnp.zeros((1, STATES)))
    return networks.values(state.params["critics"], SEEN, action).min(0)


def of_actions(**network):
    def values(environment, setup, state):
        found = greedy.q_network(environment, setup.features, setup.widths, setup.activation, **network)
        return found.apply(state.weights, SEEN).T

    return values


COMMON = {"environments": 8, "evaluation_episodes": 16}
NET = COMMON | {"widths": (16,)}
REPLAY = NET | {"rollout_length": 1, "batch_size": 32, "capacity": 400, "learning_starts": 48, "target_every": 5}
REPLAY |= {"activation": "tanh"}
MINIBATCHES = {"rollout_length": 16, "epochs": 2, "minibatches": 4}
NO_ENTROPY = {"entropy_coefficient": 0.0}
EVERYWHERE = {"epsilon_end": 1.0}  # always explores
METHODS = {
    "ppo": Method(ppo, ppo.Setup(**NET | MINIBATCHES), 200, {"learning_rate": 1e-2} | NO_ENTROPY, of_states),
    "ppo, continuous": Method(
        ppo, ppo.Setup(**NET | MINIBATCHES), 400, {"learning_rate": 1e-2} | NO_ENTROPY, of_states, continuous=True
    ),
    "ppo-recurrent": Method(
        ppo,
        ppo.Setup(**NET | MINIBATCHES, memory=8),
        200,
        {"learning_rate": 1e-2} | NO_ENTROPY,
        recalled,
        # To a memory a state is another one at the beginning of an episode and after a step: not all of them are shown.
        except_for=("later", "later, truncated", "chosen, truncated", "matched, truncated"),
    ),
    "sac": Method(
        sac,
        sac.Setup(**NET, batch_size=32, capacity=400, learning_starts=48),
        400,
        {"learning_rate": 1e-2, "target_mixing": 0.05, "target_entropy": -4.0},
        soft,
        continuous=True,
    ),
    "a2c": Method(a2c, a2c.Setup(**NET), 400, {"learning_rate": 1e-2} | NO_ENTROPY, of_states),
    "reinforce": Method(
        reinforce,
        reinforce.Setup(**NET, rollout_length=8),
        300,
        {"learning_rate": 2e-2} | NO_ENTROPY,
        of_states,
        truncates=False,
    ),
    "q-learning": Method(
        q_learning,
        q_learning.Setup(**COMMON, rollout_length=10),
        60,
        {"step_size": 0.5} | EVERYWHERE,
        lambda environment, setup, state: state.table,
    ),
    "dqn": Method(dqn, dqn.Setup(**REPLAY, double=False), 900, {"learning_rate": 1e-2} | EVERYWHERE, of_actions()),
    "dqn, double, dueling, 3 steps, prioritized": Method(
        dqn,
        dqn.Setup(**REPLAY, dueling=True, n_steps=3, prioritized=True),
        600,
        {"learning_rate": 1e-2} | EVERYWHERE,
        of_actions(dueling=True),
    ),
    "pqn": Method(
        pqn,
        pqn.Setup(**NET | MINIBATCHES),
        250,
        {"learning_rate": 1e-2} | EVERYWHERE,
        of_actions(layer_norm=True),
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_learns_what_is_known(name):
    """Values of both states, and of both actions where the algorithm has such; and the best action wherever one is."""
    method = METHODS[name]
    hyper = method.module.Hyper(discount=DISCOUNT, **method.hyper)

    def learn(task):
        world = environment(task, method.continuous)
        experiment = method.module.make(method.setup, world)
        state, _ = trained(experiment, hyper, method.ticks, jnp.uint32(0))
        played = experiment.evaluate(jax.random.key(0), state, jax.tree.map(jnp.float32, hyper), ())
        return method.values(world, method.setup, state), played.returns

    tasks = jax.tree.map(lambda *x: np.stack(x), *[known.task for known in KNOWN.values()])
    learned = map(np.asarray, jax.jit(jax.vmap(learn))(tasks))
    wrong = []
    for (title, known), values, returns in zip(KNOWN.items(), *learned, strict=True):
        best = known.values.max(1) if method.truncates else known.as_ended
        expected = known.values if values.shape == known.values.shape else best
        if title not in method.except_for and not np.abs(values - expected).max() <= TOLERANCE:
            wrong.append(f"{title}: values {values.round(3).tolist()}, known {expected.round(3).tolist()}")
        if known.best is not None and not np.abs(returns - known.best).max() <= TOLERANCE:
            wrong.append(f"{title}: returns from {returns.min()} to {returns.max()}, best {known.best}")
    assert not wrong, "\n".join(wrong)
