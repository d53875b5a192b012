"""Makes gymnasium_reference.npz: single steps of gymnasium's classic control, from states that float32 can hold.

python tests/parity/make_gymnasium_reference.py (gymnasium 1.3.0, which gymnax brings along)
"""

from pathlib import Path

import gymnasium
import numpy as np

STEPS = 400
# Half of the steps are random, half push along with a speed, which reaches goals: (component of the state, actions).
PUSHES = {
    "CartPole-v1": (3, (0, 1)),
    "Acrobot-v1": (3, (0, 2)),
    "MountainCar-v0": (1, (0, 2)),
    "MountainCarContinuous-v0": (1, ((-1.0,), (1.0,))),
    "Pendulum-v1": (1, ((-2.0,), (2.0,))),
}


def steps(name: str) -> dict[str, np.ndarray]:
    """state f32[N,S] and action before, observation f32[N,O], reward f32[N], terminated bool[N] after"""
    random = np.random.default_rng(0)
    environment = gymnasium.make(name)
    limit = environment.spec.max_episode_steps
    inner = environment.unwrapped
    component, (backward, forward) = PUSHES[name]
    environment.action_space.seed(0)
    inner.reset(seed=0)
    kept = []
    for index in range(STEPS):
        state = np.asarray(inner.state, np.float32)
        inner.state = state.astype(np.float64)
        pushed = forward if state[component] >= 0 else backward
        action = environment.action_space.sample() if index < STEPS // 2 else pushed
        action = np.asarray(action, environment.action_space.dtype)
        observation, reward, terminated, _, _ = inner.step(action if action.ndim else int(action))
        kept.append((state, action, observation, np.float32(reward), terminated))
        if terminated or random.random() < 1 / 200:
            inner.reset()
    fields = "state", "action", "observation", "reward", "terminated"
    arrays = dict(zip(fields, map(np.stack, zip(*kept, strict=True)), strict=True))
    return {f"{name}.{field}": x for field, x in arrays.items()} | {f"{name}.limit": np.int32(limit)}


def main() -> None:
    arrays = {}
    for name in PUSHES:
        arrays |= steps(name)
        print(name, "terminated", arrays[f"{name}.terminated"].sum())
    np.savez_compressed(Path(__file__).with_name("gymnasium_reference.npz"), **arrays)


if __name__ == "__main__":
    main()
