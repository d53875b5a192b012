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
# # An experiment of one's own, from nothing
#
# A run is four pure functions: `init`, `step`, `evaluate` and `score`. We write them for a small network that learns
# a sine, try them in a bare loop, and give them to the engine, which adds seeds, progress, a run folder and resuming.
#
# Open this file in Jupyter with jupytext, or run it as a script: `python notebooks/quickstart.py`.

# %%
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from IPython.display import Image

from research import Budget, Experiment, Inputs, Plan, Recipe, Row, Tick
from research.engine.fields import Count, Positive
from research.engine.run import run
from research.report import curves, summary

# %% [markdown]
# ## Setup, Hyper, State
#
# *Will this recompile?* `Setup` holds shapes and branches: a change compiles again. `Hyper` holds numbers: a change
# never does, and many values run side by side in one program. `State` is everything that a checkpoint must hold, and
# no randomness.

# %%


@dataclass(frozen=True)
class Setup:
    width: Count = 64
    """Hidden units."""
    batch_size: Count = 64
    """Points in an update."""


class Hyper(NamedTuple):
    learning_rate: Positive = 1e-2
    """Adam's step size at the start; it falls to zero along a cosine."""


class State(NamedTuple):
    params: Any
    optimizer: Any


# %% [markdown]
# ## Four pure functions
#
# `tick` brings what changes from step to step: its index, the length of the whole run, and this row's randomness.

# %%


def make(setup: Setup) -> Experiment:
    net = nn.Sequential([nn.Dense(setup.width), jnp.tanh, nn.Dense(1)])
    adam = optax.scale_by_adam()

    def loss(params, x, y):
        return jnp.mean((net.apply(params, x[:, None])[:, 0] - y) ** 2)

    def init(key, hyper, data):
        params = net.init(key, data["x"][:1, None])
        return State(params, adam.init(params))

    def step(state: State, hyper: Hyper, data, tick: Tick):
        x = jax.random.uniform(tick.key, (setup.batch_size,), minval=-3, maxval=3)
        value, gradient = jax.value_and_grad(loss)(state.params, x, jnp.sin(x))
        direction, optimizer = adam.update(gradient, state.optimizer)
        rate = hyper.learning_rate * 0.5 * (1 + jnp.cos(jnp.pi * tick.index / tick.total))
        params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
        return State(params, optimizer), {"loss": value}

    def evaluate(key, state: State, hyper: Hyper, data):
        return loss(state.params, data["x"], data["y"])

    return Experiment(init, step, evaluate, score=lambda outputs: {"error": outputs})


def load(setup: Setup) -> Inputs:
    x = np.linspace(-3, 3, 301, dtype=np.float32)
    return Inputs({"x": x, "y": np.sin(x)})


# %% [markdown]
# ## By hand
#
# Nothing needs the engine: the functions run in a plain loop, where a print or a breakpoint is one line away.

# %%
experiment, data = make(Setup()), load(Setup()).data
init_key, *tick_keys = jax.random.split(jax.random.key(0), 4)
state = experiment.init(init_key, Hyper(), data)
for index, key in enumerate(tick_keys):
    tick = Tick(jnp.int32(index), jnp.int32(3), key)
    state, metrics = experiment.step(state, Hyper(), data, tick)
    print(index, float(metrics["loss"]))

# %% [markdown]
# ## Four seeds
#
# A recipe names the experiment and its budget. The engine compiles all four rows into one program. The same call again
# would resume, or find the run complete.

# %%
recipe = Recipe(
    name="sine",
    make=make,
    setup=Setup(),
    hyper=Hyper(),
    load=load,
    budget=Budget(steps=2000, chunk=100, record_every=20, evaluate_every=500),
    watch=("error", "loss"),
)
plan = Plan(recipe, recipe.setup, tuple(Row(seed, recipe.hyper) for seed in range(4)), recipe.budget)
folder = run(plan, Path(tempfile.mkdtemp()))
print(sorted(path.name for path in folder.iterdir()))

# %%
result = summary.summarize(folder)
low, high = result["interval"]["error"]
print(f"error {result['error']:.2g}, 95 % interval [{low:.2g}, {high:.2g}], n = {result['n']} seeds")
assert result["n"] == 4
assert result["max"]["error"] < 0.01

# %% [markdown]
# The learning curve, with a band over the seeds:

# %%
picture = curves.draw(folder)
Image(str(picture))

# %% [markdown]
# Put `Setup` to `recipe` into a file `my_idea.py` and the command line does the rest:
#
#     python scripts/train.py ./my_idea.py --seeds 4 --hyper.learning-rate 3e-3
