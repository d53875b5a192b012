# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An environment of one's own
#
# An `Environment` is two pure functions, `reset` and `step`. We write a small one whose best return can be computed
# exactly, train PPO and DQN in it, put their returns beside the best one and a random pilot's, and look at an episode.
#
# Open this file in Jupyter with jupytext, or run it as a script: `python notebooks/own_environment.py`.

# %%
import functools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from IPython.display import display
from PIL import Image

from research import Budget, Plan, Row
from research.engine import saved
from research.engine.run import run
from research.recipes import rl
from research.report import summary
from research.rl import dqn, environments, pictures, ppo, rollout
from research.rl.adapters import gymnax_adapter
from research.rl.environments import Discrete, Environment, Outcome

# %% [markdown]
# ## A lander with one engine
#
# It falls from a height of 10 to 20. Coasting raises its speed by 1, burning lowers it by 1 and costs 0.02. Touching
# the ground earns 1, less 0.1 times the square of what the speed is above 1. Above a height of 30 it is lost, for -1.
#
# An episode ends in two ways, and a learner must know which: it is *terminated* where the lander touches the ground or
# is lost, since nothing more can be earned then, and *truncated* after 40 steps, where it only runs out of time. Methods
# here bootstrap through a truncation and not through a termination.
#
# Both functions work on scalars: the rollout makes batches of them with `vmap`. Whatever is random comes from `key`.

# %%
LIMIT, LOWEST, HIGHEST, CEILING, FUEL = 40, 10, 20, 30, 0.02


class Lander(NamedTuple):
    """height i32[] above the ground, speed i32[] downwards, time i32[]"""

    height: Any
    speed: Any
    time: Any


def observe(state):
    return jnp.stack([state.height, state.speed]).astype(jnp.float32) / jnp.float32(10)


def reset(key):
    state = Lander(jax.random.randint(key, (), LOWEST, HIGHEST + 1), jnp.int32(0), jnp.int32(0))
    return state, observe(state)


def step(key, state, action):
    speed = state.speed + 1 - 2 * action  # action 1 burns
    state = Lander(jnp.maximum(state.height - speed, 0), speed, state.time + 1)
    landed, lost = state.height == 0, state.height > CEILING
    over = landed | lost
    late = ~over & (state.time >= LIMIT)
    crash = 0.1 * jnp.maximum(speed - 1, 0).astype(jnp.float32) ** 2
    reward = jnp.where(landed, 1.0 - crash, jnp.where(lost, -1.0, 0.0)) - FUEL * action.astype(jnp.float32)
    return Outcome(state, observe(state), reward, over, late)


# %% [markdown]
# A picture is optional: without `draw`, observations are shown as bars. It gets a state as NumPy numbers, on the host.

# %%


def draw(state):
    canvas = pictures.Canvas((0.0, 14.0), 46.0)
    canvas.box((-23, -4), (23, 0), pictures.GREY)
    canvas.line([(-23, CEILING), (23, CEILING)], pictures.GREY, 0.1)
    height, speed = float(state.height), float(state.speed)
    canvas.polygon([(-1.2, height), (1.2, height), (0.5, height + 2.4), (-0.5, height + 2.4)], pictures.BLUE)
    canvas.line([(2.5, height + 1.2), (2.5, height + 1.2 - speed)], pictures.RED, 0.25)
    return canvas.frame()


lander = Environment("lander", (2,), Discrete(2), LIMIT, reset, step, draw=draw)

# %% [markdown]
# ## By hand
#
# Three pilots that do not look: one never burns and crashes, one always burns and is lost, and one hovers until its time
# is up.


# %%
def fly(actions):
    """One episode of actions taken in turn, over and over -> steps, return, terminated, truncated."""
    state, _ = lander.reset(jax.random.key(0))
    total = 0.0
    for time in range(LIMIT):
        outcome = lander.step(jax.random.key(time), state, jnp.int32(actions[time % len(actions)]))
        state, total = outcome.state, total + float(outcome.reward)
        if outcome.terminated | outcome.truncated:
            return time + 1, round(total, 2), bool(outcome.terminated), bool(outcome.truncated)


never, always, hovering = fly([0]), fly([1]), fly([0, 1, 1, 0])
print("never burns ", never)
print("always burns", always)
print("hovers      ", hovering)
assert never[2:] == always[2:] == (True, False) and hovering == (LIMIT, -0.4, False, True)

# %% [markdown]
# ## What can be earned
#
# Height, speed and time are whole numbers, so that the best return follows by going backwards from the end, and a
# random pilot's expected return alike. This says the rules a second time, in plain Python: a check of `step`, too.

# %%


@functools.cache
def worth(height, speed, time, best):
    """Return from here to the episode's end: of the best pilot, or of one that burns every other step at random."""
    values = []
    for action in (0, 1):
        faster = speed + 1 - 2 * action
        lower = max(height - faster, 0)
        landed, lost = lower == 0, lower > CEILING
        earned = landed * (1 - 0.1 * max(faster - 1, 0) ** 2) - lost - FUEL * action
        goes_on = not landed and not lost and time + 1 < LIMIT
        values.append(earned + (worth(lower, faster, time + 1, best) if goes_on else 0))
    return max(values) if best else sum(values) / 2


heights = range(LOWEST, HIGHEST + 1)
optimum, at_random = (np.mean([worth(height, 0, 0, best) for height in heights]) for best in (True, False))
print(f"best {optimum:.3f}, at random {at_random:.3f}")

# %% [markdown]
# An `Actor` is what acts in a rollout. A random one should earn, over many episodes, what was just computed.

# %%
dice = rollout.Actor(
    draw=lambda key, shape: jax.random.randint(key, shape, 0, 2),
    act=lambda memory, episodes, drawn: (memory, drawn, ()),
)
tried = np.asarray(jax.jit(lambda key: rollout.play(lander, dice, key, 4096).returns)(jax.random.key(1)))
error = tried.std() / np.sqrt(len(tried))
print(f"random pilot: {tried.mean():.3f}, standard error {error:.3f}, n = {len(tried)} episodes")
assert abs(tried.mean() - at_random) < 5 * error

# %% [markdown]
# ## PPO and DQN
#
# A method's `make` takes an Environment of one's own. A recipe adds settings and a budget; the engine trains three
# seeds of it as one program and scores each with 64 episodes.

# %%
learners = [
    rl.recipe(
        "lander-ppo",
        lambda setup: ppo.make(setup, lander),
        ppo.Setup(
            environment="lander", environments=8, rollout_length=64, widths=(32, 32), evaluation_episodes=64
        ),
        ppo.Hyper(learning_rate=3e-3),
        Budget(steps=30 * 512, chunk=10, evaluate_every=30),
        about="PPO lands.",
        watch=rl.POLICY_WATCH,
    ),
    rl.recipe(
        "lander-dqn",
        lambda setup: dqn.make(setup, lander),
        dqn.Setup(
            environment="lander",
            environments=8,
            rollout_length=4,
            batch_size=64,
            capacity=8192,
            learning_starts=1024,
            updates=2,
            target_every=25,
            widths=(32, 32),
            anneal_learning_rate=False,
            evaluation_episodes=64,
        ),
        dqn.Hyper(learning_rate=3e-3),
        Budget(steps=600 * 32, chunk=200, record_every=200, evaluate_every=600),
        about="DQN lands.",
        watch=rl.VALUE_WATCH,
    ),
]
runs = Path(tempfile.mkdtemp())
folders = {}
for recipe in learners:
    plan = Plan(recipe, recipe.setup, tuple(Row(seed, recipe.hyper) for seed in range(3)), recipe.budget)
    folders[recipe.name] = run(plan, runs)

# %%
print(f"{'random':12} {at_random:6.3f}  (exact)")
print(f"{'best':12} {optimum:6.3f}  (exact)")
for name, folder in folders.items():
    found = summary.summarize(folder)
    low, high = found["min"]["episode_return"], found["max"]["episode_return"]
    print(f"{name:12} {found['episode_return']:6.3f}  (from {low:.3f} to {high:.3f}, n = {found['n']} seeds)")
    assert low > optimum - 0.1
    assert high <= max(worth(height, 0, 0, True) for height in heights) + 1e-6

# %% [markdown]
# Three seeds are enough for a look, not for a claim. A return above the best one is no mistake: 64 episodes start
# from heights that are a little better or worse than all heights together.
#
# ## An episode
#
# What was learned is in the run folder: `scripts/play.py FOLDER` makes a GIF of it, and so does this, frame by frame.
# The red line is the lander's speed: how far it fell in the last step.

# %%
recipe = learners[0]
plan = Plan(recipe, recipe.setup, tuple(Row(seed, recipe.hyper) for seed in range(3)), recipe.budget)
play = recipe.make(recipe.setup).evaluate
state = saved.state_of(plan, folders["lander-ppo"], row=0).state
watched = jax.jit(lambda state, key: rollout.watch(lander, play.actor(state), key, play.count, jnp.int32(0)))
episode = jax.device_get(watched(state, jax.random.key(7)))
length = int(episode.evaluation.lengths[0])
frames = [lander.draw(jax.tree.map(lambda x, t=t: x[t], episode.states)) for t in range(length + 1)]
captions = [f"step {t}   return {episode.totals[t]:.2g}" for t in range(length + 1)]
shown = [pictures.captioned(frame, text) for frame, text in zip(frames, captions)]
few = [shown[t] for t in (0, length // 2, length - 1, length)]
strip = Image.new("RGB", (len(few) * (few[0].width + 8), few[0].height))
for i, picture in enumerate(few):
    strip.paste(picture, (i * (picture.width + 8), 0))
display(strip.resize((strip.width // 2, strip.height // 2)))

# %% [markdown]
# ## One that is written for gymnax already
#
# `gymnax_adapter.adapt` takes any object that follows gymnax's interface, with its parameters; `environments.make` does
# that for the names that gymnax registers. Here is CartPole where things fall as slowly as on the Moon: random pushes balance it longer.

# %%
built, params = gymnax.make("CartPole-v1")
moon = gymnax_adapter.adapt("moon", built, params.replace(gravity=1.62))
lengths = {}
for place in (environments.make("CartPole-v1"), moon):
    lengths[place.name] = rollout.play(place, dice, jax.random.key(0), 256).lengths.mean()
    print(f"{place.name:12} {float(lengths[place.name]):.1f} steps by random pushes, mean of 256 episodes")
assert lengths["moon"] > lengths["CartPole-v1"]

# %% [markdown]
# ## From the command line
#
# Put the environment and a recipe that is called `recipe` into a file `lander.py`, and it is used like a name:
#
#     python scripts/train.py ./lander.py --seeds 5
#     python scripts/sweep.py ./lander.py --grid learning_rate=3e-4,1e-3,3e-3 --seeds 5
#     python scripts/play.py runs/lander-... --seed 2
