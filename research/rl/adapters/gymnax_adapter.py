"""gymnax's registered environments. The one file that imports gymnax.

Its `*-MinAtar` are not what Young and Tian 2019 describe and `minatar-*` of pgx_adapter keep: no sticky actions (0.1
there), only the actions that do something (3 to 6; all six there), a time limit of 1,000 steps, Freeway's of 2,500 (none
there, and Freeway is terminated after 2,501). CartPole, Acrobot, MountainCar and Pendulum step as gymnasium 1.3.0 does;
MountainCarContinuous too, but for the left wall, where gymnax lets the car keep its speed (tests/parity).
"""

import importlib
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.numerics.foreign import lenient, settle
from research.rl.adapters.gymnax_pictures import drawing
from research.rl.environments import Box, Discrete, Environment, Outcome


def names() -> tuple[str, ...]:
    return tuple(library().registered_envs)


def offers(name: str) -> bool:
    return name in names()


@lenient
def make(name: str) -> Environment:
    """Raises ValueError for a space that cannot be used, and where gymnax cannot fetch what the environment shows."""
    try:
        built, params = library().make(name)
    except OSError as error:  # MNISTBandit-bsuite downloads its images
        raise ValueError(
            f"environment={name!r} shows images that gymnax could not fetch ({error}); it needs the internet, once"
        ) from error
    return adapt(name, built, params)


def library() -> Any:
    """gymnax, imported late: it starts JAX's backend."""
    with Later("seaborn"):  # it takes 2 s, and gymnax only draws with it
        import gymnax
    return gymnax


class Later(types.ModuleType):
    """Stands for a module that is imported within the context, and loads it once something of it is used."""

    def __enter__(self) -> None:
        sys.modules.setdefault(self.__name__, self)

    def __exit__(self, *_: object) -> None:
        if sys.modules[self.__name__] is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@lenient
def adapt(name: str, built: Any, params: Any) -> Environment:
    """A gymnax environment object with its parameters as an Environment."""
    from gymnax.environments import spaces

    actions = action_space(name, built.action_space(params))
    seen = built.observation_space(params)
    one_hot = isinstance(seen, spaces.Discrete)
    shape = (seen.n,) if one_hot else tuple(seen.shape)
    kinds = jax.eval_shape(lambda key: built.reset_env(key, params)[1], jax.random.key(0))

    def observe(observation: Array) -> Array:
        if one_hot:
            return jax.nn.one_hot(observation, seen.n, dtype=jnp.float32)
        return jnp.reshape(observation, shape).astype(jnp.float32)

    @lenient
    def reset(key: Array) -> tuple[Any, Array]:
        observation, state = built.reset_env(key, params)
        return settle(state, kinds), observe(observation)

    @lenient
    def step(key: Array, state: Any, action: Array) -> Outcome:
        if isinstance(actions, Box):
            action = actions.low + (actions.high - actions.low) * (jnp.clip(action, -1, 1) + 1) / 2
        observation, state, reward, terminated, _ = built.step_env(key, state, action, params)
        truncated = built.is_truncated(state, params)
        reward, terminated, truncated = (jnp.reshape(x, ()) for x in (reward, terminated, truncated))
        return Outcome(settle(state, kinds), observe(observation), reward.astype(jnp.float32), terminated, truncated)

    return Environment(
        name,
        shape,
        actions,
        int(params.max_steps_in_episode),
        reset,
        step,
        one_hot,
        binary=one_hot or "MinAtar" in name,
        draw=drawing(built, params),
    )


def action_space(name: str, space: Any) -> Discrete | Box:
    """Translates a gymnax action space. Raises ValueError for one that no policy here can act in."""
    from gymnax.environments import spaces

    if isinstance(space, spaces.Discrete):
        return Discrete(space.n)
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        low, high = (np.broadcast_to(np.asarray(x, np.float32), space.shape) for x in (space.low, space.high))
        if np.all(np.isfinite(low) & np.isfinite(high)):
            return Box(low, high)
    raise ValueError(f"environment={name!r} has actions {space}; they must be Discrete or a bounded Box of rank 1")
