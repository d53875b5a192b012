"""Makes minatar_reference.npz: the original MinAtar, played with the very chances that pgx draws from the same keys.

pip install MinAtar==1.0.15 jax numpy && python tests/parity/make_minatar_reference.py

What a game draws from a key, and in which order, is written down here after pgx 2.6.0; where pgx or JAX's generator
changes, this file has to follow. Step i uses fold_in(key(0), i), the episode that follows on it fold_in(key(1), i + 1).
pgx's Seaquest is not quite the original's, as research/rl/adapters/pgx_adapter.py says.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

STEPS = 2600  # Freeway ends after 2501
STICKY = 0.1
STEP_KEY, RESET_KEY = jax.random.key(0), jax.random.key(1)
COIN = jnp.array([True, False])


class Chances:
    """Stands for the generator of a game: gives what is queued, whichever of its functions is called."""

    def __init__(self) -> None:
        self.queue: list[Any] = []

    def take(self, *_: Any, **__: Any) -> Any:
        return self.queue.pop(0)

    rand = randint = take


def flag(key: jax.Array) -> float:
    """A number below or above one half, as True or False are drawn."""
    return 0.25 if jax.random.choice(key, COIN) else 0.75


def rare(key: jax.Array) -> float:
    """A number below or above one third."""
    return 0.25 if jax.random.choice(key, COIN, p=jnp.array([1 / 3, 2 / 3])) else 0.75


def row(key: jax.Array) -> int:
    return int(jax.random.choice(key, jnp.arange(1, 9)))


def cars(key: jax.Array) -> list[Any]:
    speed_key, direction_key = jax.random.split(key)
    speeds = jax.random.randint(speed_key, [8], 1, 6, dtype=jnp.int32)
    directions = jax.random.choice(direction_key, jnp.array([-1, 1], dtype=jnp.int32), [8])
    return [np.array(speeds, int), 0.5 + 0.25 * np.array(directions)]


def start(name: str, key: jax.Array) -> list[Any]:
    """What a reset draws."""
    if name == "breakout":
        return [int(jax.random.choice(key, 2))]
    return cars(key) if name == "freeway" else []


def chances(name: str, game: Any, key: jax.Array) -> tuple[jax.Array, list[Any]]:
    """The key that decides whether the last action is repeated, and what the game draws in this step."""
    if name == "freeway":
        sticky_key, car_key = jax.random.split(key)
        return sticky_key, cars(car_key)
    if name == "asterix":
        sticky_key, side_key, gold_key, slot_key = jax.random.split(key, 4)
        free = np.array([x is None for x in game.entities], np.float32)
        if game.spawn_timer or not free.any():
            return sticky_key, [] if game.spawn_timer else [flag(side_key), rare(gold_key)]
        slot = int(jax.random.choice(slot_key, jnp.arange(8), p=jnp.array(free / free.sum())))
        return sticky_key, [flag(side_key), rare(gold_key), int(free[:slot].sum())]
    if name == "seaquest":
        keys = jax.random.split(key, 6)
        enemy = [] if game.e_spawn_timer else [flag(keys[1]), rare(keys[2]), row(keys[3])]
        return keys[0], enemy + ([] if game.d_spawn_timer else [flag(keys[4]), row(keys[5])])
    return key, []


def chosen(name: str, seen: np.ndarray, random: np.random.Generator) -> int:
    """Random actions, but most of the time what gets on: out of an enemy's row, under the ball, across the road, a shot."""
    if random.random() < 0.1:
        return int(random.integers(6))
    if name == "asterix":
        at = int(seen[..., 0].any(1).argmax())
        return 0 if not seen[at, :, 1].any() else 4 if at < 8 and not seen[at + 1, :, 1].any() else 2
    if name == "breakout":
        ball, paddle = (int(seen[..., channel].any(0).argmax()) for channel in (1, 0))
        return 3 if ball > paddle else 1 if ball < paddle else 0
    if name == "freeway":
        return 2
    return int(random.choice([1, 3, 5, 5] if name == "space_invaders" else 6))


def play(name: str) -> dict[str, np.ndarray]:
    """action i8[T]; observation before it, bits of bool[T,O]; reward f32[T] and terminated bool[T] after it"""
    random = np.random.default_rng(0)
    module = import_module(f"minatar.environments.{name}")
    game = module.Env.__new__(module.Env)
    generator = Chances()
    generator.queue = start(name, jax.random.fold_in(RESET_KEY, 0))
    original, np.random.RandomState = np.random.RandomState, lambda: generator  # which a game makes for itself
    game.__init__(ramping=True)
    np.random.RandomState = original
    last, kept = 0, []
    for index in range(STEPS):
        seen = game.state()
        action = chosen(name, seen, random)
        sticky_key, generator.queue = chances(name, game, jax.random.fold_in(STEP_KEY, index))
        last = last if jax.random.uniform(sticky_key) < STICKY else action
        reward, terminated = game.act(last)
        kept.append((np.int8(action), seen, np.float32(reward), terminated))
        if terminated:
            last, generator.queue = 0, start(name, jax.random.fold_in(RESET_KEY, index + 1))
            game.reset()
    action, seen, reward, terminated = map(np.stack, zip(*kept, strict=True))
    print(name, "episodes", terminated.sum(), "reward", reward.sum())
    fields = {"action": action, "observation": np.packbits(seen), "shape": np.int32(seen.shape[1:])}
    return {f"{name}.{x}": y for x, y in (fields | {"reward": reward, "terminated": terminated}).items()}


def main() -> None:
    arrays: dict[str, np.ndarray] = {}
    for name in ("asterix", "breakout", "freeway", "seaquest", "space_invaders"):
        arrays |= play(name)
    np.savez_compressed(Path(__file__).with_name("minatar_reference.npz"), **arrays)


if __name__ == "__main__":
    main()
