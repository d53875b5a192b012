# /// script
# dependencies = ["rejax==0.1.3", "gymnax==0.0.9"]
# ///
"""rejax's DQN or PQN with its configs/gymnax/cartpole.yaml, its own evaluation off."""

import argparse
import time
from importlib.metadata import version

import jax
import rejax
from serve import serve

COMMON = {"max_grad_norm": 10, "eps_start": 1, "eps_end": 0.05, "exploration_fraction": 0.5}
SETTINGS = {
    "dqn": {"agent": "DuelingQNetwork", "agent_kwargs": {"activation": "swish"}, "num_envs": 10, "fill_buffer": 5_000}
    | {"batch_size": 100, "learning_rate": 0.001, "num_epochs": 5, "polyak": 0.98, "gamma": 0.99, "ddqn": True},
    "pqn": {"num_envs": 16, "num_steps": 128, "num_minibatches": 16, "learning_rate": 0.0003, "num_epochs": 5}
    | {"gamma": 0.99, "td_lambda": 0.9},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=list(SETTINGS), required=True)
    parser.add_argument("--environment", default="CartPole-v1")
    parser.add_argument("--steps", type=int, help="of a repetition; by default as many as take some seconds")
    parser.add_argument("--capacity", type=int, default=50_000)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    steps = options.steps or {"dqn": 20_000, "pqn": 131_072}[options.method]
    capacity = {"buffer_size": options.capacity} if options.method == "dqn" else {}
    # The callback that it calls between stretches of training plays 128 episodes; an empty one measures training alone.
    algorithm = (
        rejax.get_algo(options.method)
        .create(
            env=options.environment,
            **COMMON,
            **SETTINGS[options.method],
            **capacity,
            total_timesteps=steps,
            eval_freq=steps,
            skip_initial_evaluation=True,
        )
        .replace(eval_callback=lambda algorithm, state, key: ())
    )
    train = jax.jit(algorithm.train)

    def measure() -> dict[str, object]:
        begin = time.perf_counter()
        jax.block_until_ready(train(jax.random.key(0)))
        rate = steps / (time.perf_counter() - begin)
        versions = {name: version(name) for name in ("rejax", "gymnax", "jax")}
        return {"rate": rate, "unit": "environment steps/s", "capacity": options.capacity, "versions": versions}

    serve(measure)


if __name__ == "__main__":
    main()
