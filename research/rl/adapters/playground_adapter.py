"""mujoco_playground's robots (Zakka et al. 2025), the optional extra `playground`: "playground:CartpoleBalance" and its
like. The one file that names mujoco_playground.

The physics run in MJX's JAX implementation on every platform. Where an environment shows the actor less than a critic may
see, the observation is the actor's. Rewards are not scaled, and actions are repeated only within the environment.
"""

import difflib
import importlib
import subprocess
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.numerics.foreign import lenient, settle
from research.rl.environments import Box, Environment, Outcome

PREFIX = "playground:"


class Timed(NamedTuple):
    """physics: mujoco_playground's own state, without the key that it keeps there; time i32[] steps so far"""

    physics: Any
    time: Array


def offers(name: str) -> bool:
    return name.startswith(PREFIX)


def names() -> tuple[str, ...]:
    """Nothing where the package is missing."""
    try:
        return tuple(PREFIX + name for name in registry().ALL_ENVS)
    except ModuleNotFoundError:
        return ()


def registry() -> Any:
    """mujoco_playground's, imported late: it takes 5 s and is optional."""
    return importlib.import_module("mujoco_playground").registry


@lenient
def make(name: str) -> Environment:
    """Raises ValueError where the package or the robot's model is missing, and for a name that is not known."""
    own = name.removeprefix(PREFIX)
    try:
        robots = registry()
    except ModuleNotFoundError as error:
        raise ValueError(
            f"environment={name!r} needs the optional package mujoco_playground ({error}): pip install '.[playground]'"
        ) from error
    if own not in robots.ALL_ENVS:
        close = difflib.get_close_matches(own, robots.ALL_ENVS, n=3, cutoff=0.3) or robots.ALL_ENVS
        raise ValueError(
            f"environment={name!r} is not one that mujoco_playground has; close to it: "
            f"{', '.join(PREFIX + other for other in close)}"
        )
    try:
        built = robots.load(own, config_overrides={"impl": "jax"})
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(
            f"environment={name!r} needs robot models that mujoco_playground fetches with git, and could not ({error})"
        ) from error
    return adapt(name, built, int(robots.get_default_config(own).episode_length))


@lenient
def adapt(name: str, built: Any, time_limit: int) -> Environment:
    """A mujoco_playground environment object as an Environment, truncated after `time_limit` steps."""
    kinds = jax.eval_shape(lambda key: keyless(built.reset(key)), jax.random.key(0))

    @lenient
    def reset(key: Array) -> tuple[Any, Array]:
        physics = settle(keyless(built.reset(key)), kinds)
        return Timed(physics, jnp.int32(0)), seen(physics)

    @lenient
    def step(key: Array, state: Timed, action: Array) -> Outcome:
        # Its randomness is this step's, not what the state has carried since the reset.
        keyed = state.physics.replace(info=state.physics.info | {"rng": key})
        physics = settle(keyless(built.step(keyed, jnp.clip(action, -1, 1))), kinds)
        time = state.time + 1
        terminated = physics.done.astype(bool)
        return Outcome(
            Timed(physics, time), seen(physics), physics.reward.astype(jnp.float32), terminated, time >= time_limit
        )

    bound = np.ones(built.action_size, np.float32)
    return Environment(name, seen(kinds).shape, Box(-bound, bound), time_limit, reset, step)


def keyless(state: Any) -> Any:
    """A mujoco_playground state without its key."""
    return state.replace(info={name: x for name, x in state.info.items() if name != "rng"})


def seen(state: Any) -> Array:
    """What the actor sees of a mujoco_playground state, f32[O]."""
    return state.obs["state"] if isinstance(state.obs, dict) else state.obs
