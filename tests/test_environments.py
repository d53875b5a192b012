"""Environments: what gymnax's own step gives, endings told apart, auto-reset, accounts of returns, clear refusals."""

import subprocess
import sys
from types import SimpleNamespace

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from gymnax.environments import spaces
from gymnax.utils import load_mnist

from research.engine.experiment import Tick
from research.rl import environments, ppo
from research.rl.adapters import gymnax_adapter, pgx_adapter, playground_adapter
from research.rl.environments import Box, Discrete, Environment, Outcome

KEY = jax.random.key(0)
# tests/parity plays the other games of pgx.
NAMES = [*gymnax.registered_envs, "2048"]


def countdown(terminates_at: int = 10, time_limit: int = 3) -> Environment:
    """The observation counts steps from 0; each step earns its number."""

    def step(key, state, action):
        state = state + 1
        seen = state.astype(jnp.float32)
        return Outcome(state, seen[None], seen, state >= terminates_at, state >= time_limit)

    return Environment("countdown", (1,), Discrete(2), time_limit, lambda key: (jnp.int32(0), jnp.zeros(1)), step)


def play(environment: Environment, actions, key=KEY):
    """Takes the actions [T,B] -> episodes, transitions [T,B]."""
    steps, count = actions.shape[:2]

    def act(episodes, moment):
        key, action = moment
        step_key, fresh_key = jax.random.split(key)
        fresh = environments.fresh(environment, fresh_key, (count,))
        return environments.advance(environment, jax.random.split(step_key, count), episodes, action, fresh)

    start_key, act_key = jax.random.split(key)
    start = environments.start(environment, start_key, count)
    return jax.lax.scan(act, start, (jax.random.split(act_key, steps), actions))


def test_a_time_limit_truncates_and_the_final_observation_survives_the_reset():
    # Limit 3: observations 0 1 2 | 0 1, final observations 1 2 3 1 2, the third of them truncated, none terminated.
    episodes, transitions = play(countdown(), jnp.zeros((5, 2), jnp.int32))
    assert transitions.observation[:, 0, 0].tolist() == [0, 1, 2, 0, 1]
    assert transitions.final_observation[:, 0, 0].tolist() == [1, 2, 3, 1, 2]
    assert transitions.truncated[:, 0].tolist() == [False, False, True, False, False]
    assert not transitions.terminated.any()
    assert episodes.observation[:, 0].tolist() == [2, 2]


def test_an_ending_of_the_task_is_terminated_and_not_truncated():
    _, transitions = play(countdown(terminates_at=2), jnp.zeros((4, 1), jnp.int32))
    assert transitions.terminated[:, 0].tolist() == [False, True, False, True]
    assert not transitions.truncated.any()
    assert transitions.ended.tolist() == transitions.terminated.tolist()


def test_returns_and_lengths_are_of_whole_episodes():
    # Rewards 1 2 3 | 1 2: running totals 1 3 6 | 1 3.
    episodes, transitions = play(countdown(), jnp.zeros((5, 2), jnp.int32))
    assert transitions.total[:, 1].tolist() == [1, 3, 6, 1, 3]
    assert transitions.length[:, 1].tolist() == [1, 2, 3, 1, 2]
    assert episodes.total.tolist() == [3, 3] and episodes.length.tolist() == [2, 2]


def test_the_time_limit_holds_though_the_step_does_not_say_so():
    never = countdown(time_limit=99)._replace(time_limit=3)
    _, transitions = play(never, jnp.zeros((7, 1), jnp.int32))
    assert transitions.truncated[:, 0].tolist() == [False, False, True, False, False, True, False]
    # An ending of the task at that very step stays one.
    _, transitions = play(
        countdown(terminates_at=3, time_limit=99)._replace(time_limit=3), jnp.zeros((3, 1), jnp.int32)
    )
    assert bool(transitions.terminated[2, 0]) and not bool(transitions.truncated[2, 0])


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("reward", jnp.int32(1), r"'countdown': step's reward is int32\[\]; it must be float32\[\]: convert it"),
        ("terminated", jnp.float32(0), r"step's terminated is float32\[\]; it must be bool\[\]"),
        ("observation", jnp.zeros(2), r"step's observation is float32\[2\]; it must be float32\[1\]"),
        ("state", jnp.float32(0), r"step's state is float32\[\], reset's is int32\[\]; they must be alike"),
    ],
)
def test_an_environment_of_ones_own_is_checked_before_anything_is_compiled(field, value, told):
    good = countdown()
    environments.check(good)
    bad = good._replace(step=lambda *arguments: good.step(*arguments)._replace(**{field: value}))
    with pytest.raises(ValueError, match=told):
        ppo.make(ppo.Setup(), bad)


def test_episodes_end_apart():
    # Action 1 terminates at once, action 0 goes on.
    def step(key, state, action):
        return Outcome(state + 1, jnp.zeros(1), jnp.float32(1), action == 1, state + 1 >= 9)

    environment = Environment("exit", (1,), Discrete(2), 9, lambda key: (jnp.int32(0), jnp.zeros(1)), step)
    episodes, _ = play(environment, jnp.array([[0, 1], [0, 0]]))
    assert episodes.length.tolist() == [2, 1]


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "Breakout-MinAtar"])
def test_steps_are_gymnax_steps(name):
    """Our step and gymnax's own from the same state agree in all but the reset that gymnax mixes in."""
    environment = environments.make(name)
    discrete = isinstance(environment.actions, Discrete)
    action = jnp.int32(1) if discrete else jnp.full(len(environment.actions.low), 0.5)
    state, observation = environment.reset(KEY)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        theirs, params = gymnax.make(name)
        expected_observation, expected_state = theirs.reset(KEY, params)
        for index in range(20):
            np.testing.assert_allclose(observation, expected_observation, atol=1e-5)
            key = jax.random.fold_in(KEY, index)
            raw = action if discrete else action * environment.actions.high
            expected_observation, expected_state, reward, terminated, truncated, info = theirs.step(
                key, expected_state, raw, params
            )
            outcome = environment.step(jax.random.split(key)[0], state, action)
            np.testing.assert_allclose(outcome.observation, info["final_observation"], atol=1e-5)
            np.testing.assert_allclose(outcome.reward, reward, atol=1e-5)
            assert bool(outcome.terminated) == bool(terminated) and bool(outcome.truncated) == bool(truncated)
            if terminated or truncated:
                break
            state, observation = outcome.state, outcome.observation


def test_cartpole_at_its_limit_is_truncated_not_terminated():
    environment = environments.make("CartPole-v1")
    state, _ = environment.reset(KEY)
    still = jax.tree.map(jnp.zeros_like, state).replace(time=jnp.int32(499))
    outcome = environment.step(KEY, still, jnp.int32(0))
    assert bool(outcome.truncated) and not bool(outcome.terminated)
    fallen = still.replace(theta=jnp.float32(1.0), time=jnp.int32(3))
    outcome = environment.step(KEY, fallen, jnp.int32(0))
    assert bool(outcome.terminated) and not bool(outcome.truncated)


@pytest.mark.parametrize(
    "name", ["Acrobot-v1", "Pendulum-v1", "Asterix-MinAtar", "FrozenLake-misc", "MemoryChain-bsuite"]
)
def test_states_keep_their_types_and_have_no_weak_ones(name):
    environment = environments.make(name)
    actions = environment.actions
    action = jnp.zeros((3,), jnp.int32) if isinstance(actions, Discrete) else jnp.zeros((3, len(actions.low)))
    before = environments.start(environment, KEY, 3)
    after, _ = play(environment, action[None])
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(before)] == [(x.shape, x.dtype) for x in jax.tree.leaves(after)]
    assert not any(x.weak_type for x in jax.tree.leaves((before, after)))
    assert before.observation.shape == (3, *environment.observation_shape)


def test_actions_are_stretched_to_the_box_and_held_in_it():
    # Pendulum's torque lies in [-2, 2]: 1/2 is a torque of 1, and anything above 1 is one of 2.
    environment = environments.make("Pendulum-v1")
    assert isinstance(environment.actions, Box) and environment.actions.high.tolist() == [2.0]
    state, _ = environment.reset(KEY)
    torque = [float(environment.step(KEY, state, jnp.array([a])).state.last_u.squeeze()) for a in (0.5, 1.0, 7.0, -7.0)]
    assert torque == [1.0, 2.0, 2.0, -2.0]


def test_fresh_episodes_differ_and_repeat_by_key():
    environment = environments.make("CartPole-v1")
    first, again = (environments.fresh(environment, KEY, (2, 3)).observation for _ in range(2))
    assert first.shape == (2, 3, 4)
    assert len(np.unique(np.asarray(first).reshape(6, 4), axis=0)) == 6
    assert first.tolist() == again.tolist()


@pytest.fixture
def small_mnist(monkeypatch):
    """MNISTBandit-bsuite downloads its images."""
    data = np.ones((3, 28, 28), np.uint8), np.arange(3, dtype=np.uint8)
    monkeypatch.setattr(load_mnist, "load_mnist", lambda: (data, data))


@pytest.mark.parametrize("name", NAMES)
def test_every_environment_runs_and_ppo_learns_in_it(name, small_mnist):
    """A step is compiled and taken; PPO's is only traced, for compiling them all takes minutes."""
    environment = environments.make(name)
    setup = ppo.Setup(environments=2, rollout_length=2, epochs=1, minibatches=1, widths=(4,), evaluation_episodes=2)
    experiment = ppo.make(setup, environment)
    before = jax.eval_shape(lambda: experiment.init(KEY, ppo.Hyper(), None))
    tick = Tick(jnp.int32(0), jnp.int32(1), KEY, None)
    after, _ = jax.eval_shape(lambda state: experiment.step(state, ppo.Hyper(), None, tick), before)
    assert jax.tree.structure(before) == jax.tree.structure(after)
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert (old.shape, old.dtype, old.weak_type) == (new.shape, new.dtype, False)
        assert not jnp.issubdtype(new.dtype, jax.dtypes.prng_key)

    actions = environment.actions
    action = jnp.int32(actions.count - 1) if isinstance(actions, Discrete) else jnp.ones(len(actions.low))
    state, observation = jax.jit(environment.reset)(KEY)
    outcome = jax.jit(environment.step)(KEY, state, action)
    for seen in (observation, outcome.observation):
        assert seen.shape == environment.observation_shape and seen.dtype == jnp.float32 and np.isfinite(seen).all()
        assert not environment.binary or set(np.unique(seen)) <= {0, 1}
    assert outcome.reward.shape == () and outcome.reward.dtype == jnp.float32 and np.isfinite(outcome.reward)
    assert environment.time_limit == 1 or not outcome.truncated


def test_an_illegal_move_of_2048_ends_the_game():
    environment = environments.make("2048")
    state, _ = environment.reset(KEY)
    # Two tiles of 2 in the left column: 0 shifts left, which moves nothing; up merges them and earns 4.
    state = state.replace(_board=jnp.zeros(16, jnp.int32).at[jnp.array([0, 4])].set(1))
    state = state.replace(legal_action_mask=jnp.array([False, True, True, True]))
    step = jax.jit(environment.step)
    stuck, merged = step(KEY, state, jnp.int32(0)), step(KEY, state, jnp.int32(1))
    assert bool(stuck.terminated) and float(stuck.reward) == -1
    assert not bool(merged.terminated) and float(merged.reward) == 4


def test_games_without_a_time_limit_are_truncated_at_ours():
    environment = environments.make("minatar-breakout")
    assert environment.time_limit == pgx_adapter.TIME_LIMIT and environment.actions == Discrete(6)
    state, _ = environment.reset(KEY)
    step = jax.jit(environment.step)
    last = step(KEY, state.replace(_step_count=jnp.int32(pgx_adapter.TIME_LIMIT - 1)), jnp.int32(0))
    assert bool(last.truncated) and not bool(last.terminated)
    assert not bool(step(KEY, state, jnp.int32(0)).truncated)


def test_mnist_that_cannot_be_fetched_is_named(monkeypatch):
    def fail():
        raise OSError("no internet")

    monkeypatch.setattr(load_mnist, "load_mnist", fail)
    with pytest.raises(ValueError, match="MNISTBandit-bsuite.*could not fetch.*no internet"):
        environments.make("MNISTBandit-bsuite")


def test_a_missing_playground_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco_playground", None)
    with pytest.raises(ValueError, match=r"playground:CartpoleBalance.*pip install '\.\[playground\]'"):
        environments.make("playground:CartpoleBalance")
    assert playground_adapter.names() == ()


def test_a_playground_without_that_robot_or_its_model_is_told_so(monkeypatch):
    """The package is there, in another's place, and fetches robot models with git."""
    asked: list[object] = []

    def load(name, config_overrides):
        asked.append((name, config_overrides))
        if name == "Gone":
            raise subprocess.CalledProcessError(128, ["git", "clone"])
        return Robots()

    robots = SimpleNamespace(
        ALL_ENVS=("CartpoleBalance", "CartpoleSwingup", "Gone"),
        load=load,
        get_default_config=lambda name: SimpleNamespace(episode_length=7),
    )
    monkeypatch.setattr(playground_adapter, "registry", lambda: robots)
    assert playground_adapter.names() == ("playground:CartpoleBalance", "playground:CartpoleSwingup", "playground:Gone")
    with pytest.raises(
        ValueError, match="not one that mujoco_playground has; close to it: playground:CartpoleBalance, "
    ):
        environments.make("playground:CartpolBalance")
    with pytest.raises(ValueError, match="needs robot models .* with git, and could not .*'git', 'clone'"):
        environments.make("playground:Gone")
    assert environments.make("playground:CartpoleSwingup").time_limit == 7
    assert asked[-1] == ("CartpoleSwingup", {"impl": "jax"})


@pytest.mark.parametrize(
    "space", [spaces.Box(-np.inf, 1.0, (2,)), spaces.Box(0.0, 1.0, (2, 2)), spaces.Tuple([spaces.Discrete(2)])]
)
def test_actions_that_no_policy_makes_are_refused(space):
    with pytest.raises(ValueError, match="environment='own' has actions .*must be Discrete or a bounded Box of rank 1"):
        gymnax_adapter.action_space("own", space)


@struct.dataclass
class Robot:
    """As much of mujoco_playground's state as its adapter uses."""

    data: jax.Array
    obs: dict[str, jax.Array]
    reward: jax.Array
    done: jax.Array
    info: dict[str, jax.Array]


class Robots:
    """Stands for a mujoco_playground environment: data is the last action and a draw by the key of its state."""

    action_size = 2

    def reset(self, rng):
        seen = {"state": jnp.zeros(3), "privileged_state": jnp.zeros(5)}
        return Robot(jnp.zeros(3), seen, 0.0, jnp.zeros(()), {"rng": rng, "last": jnp.zeros(2)})

    def step(self, state, action):
        key, state.info["rng"] = jax.random.split(state.info["rng"])
        data = jnp.concatenate([action, jax.random.uniform(key, (1,))])
        done = (action[1] < 0).astype(jnp.float32)
        return state.replace(data=data, obs=state.obs | {"state": data}, reward=action[0], done=done)


def test_robots_of_playground_keep_no_key_and_are_truncated_at_their_length():
    environment = playground_adapter.adapt("playground:Robots", Robots(), 2)
    assert environment.observation_shape == (3,) and environment.actions.low.tolist() == [-1, -1]
    state, _ = environment.reset(KEY)
    assert not any(x.weak_type or jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(state))
    step = jax.jit(environment.step)
    first = step(jax.random.key(1), state, jnp.array([0.5, 7.0]))
    other = step(jax.random.key(2), state, jnp.array([0.5, 7.0]))
    assert first.observation[:2].tolist() == [0.5, 1] and float(first.reward) == 0.5
    assert first.observation[2] != other.observation[2]
    assert jax.tree.structure(first.state) == jax.tree.structure(state)
    assert not first.truncated and not first.terminated
    second = step(KEY, first.state, jnp.array([0.0, -1.0]))
    assert second.truncated and second.terminated


def test_close_names_come_from_every_library():
    with pytest.raises(ValueError, match="close to it: minatar-breakout"):
        environments.make("minatar-breakot")


def test_an_unknown_name_is_refused_with_close_ones():
    with pytest.raises(ValueError, match=r"environment='Cartpole-v2' .*close to it: .*CartPole-v1"):
        environments.make("Cartpole-v2")


def test_gymnax_is_loaded_without_what_only_draws():
    """In a process of its own: another test may have loaded it."""
    script = """
import sys
from research.rl import environments
environments.make("CartPole-v1")
assert "seaborn" not in sys.modules and "scipy.stats" not in sys.modules
assert not {"pgx", "mujoco_playground"} & set(sys.modules)
from gymnax.environments.misc import pong
assert len(pong.sns.color_palette("cubehelix", 2)) == 2
import seaborn
assert seaborn.__file__
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
