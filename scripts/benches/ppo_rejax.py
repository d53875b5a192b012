# /// script
# dependencies = ["rejax==0.1.3", "gymnax==0.0.9"]
# ///
"""rejax's PPO on CartPole-v1 with the settings of ppo_ours.py: seeds vmapped, its own evaluation off."""

import argparse
import time
from importlib.metadata import version

import jax
import rejax
from serve import serve

# Both with the settings of PureJaxRL's PPO for that environment.
SETTINGS = {
    "CartPole-v1": {"agent_kwargs": {"activation": "tanh", "hidden_layer_sizes": (64, 64)}, "num_envs": 4}
    | {"num_minibatches": 4, "learning_rate": 2.5e-4},
    "Breakout-MinAtar": {"agent_kwargs": {"activation": "relu", "hidden_layer_sizes": (64, 64)}, "num_envs": 64}
    | {"num_minibatches": 8, "learning_rate": 5e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=512_000)
    parser.add_argument("--environment", choices=list(SETTINGS), default="CartPole-v1")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    # The callback that it calls between stretches of training plays 128 episodes; an empty one measures training alone.
    algorithm = (
        rejax.get_algo("ppo")
        .create(
            env=options.environment,
            **SETTINGS[options.environment],
            num_steps=128,
            num_epochs=4,
            gamma=0.99,
            gae_lambda=0.95,
            clip_eps=0.2,
            ent_coef=0.01,
            vf_coef=0.5,
            max_grad_norm=0.5,
            total_timesteps=options.steps,
            eval_freq=options.steps,
            skip_initial_evaluation=True,
        )
        .replace(eval_callback=lambda algorithm, state, key: ())
    )
    train = jax.jit(jax.vmap(algorithm.train))
    keys = jax.random.split(jax.random.key(0), options.seeds)

    def measure() -> dict[str, object]:
        begin = time.perf_counter()
        jax.block_until_ready(train(keys))
        rate = options.seeds * options.steps / (time.perf_counter() - begin)
        versions = {name: version(name) for name in ("rejax", "gymnax", "jax")}
        return {"rate": rate, "unit": "environment steps/s", "seeds": options.seeds, "versions": versions}

    serve(measure)


if __name__ == "__main__":
    main()
