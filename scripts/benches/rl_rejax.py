# /// script
# dependencies = ["rejax==0.1.3", "gymnax==0.0.9"]
# ///
"""rejax's training with its own evaluation off; several seeds are vmapped. --settings are its fields, in JSON."""

import jax
import rejax
from serve import options, serve_rate


def main() -> None:
    chosen = options(method=("ppo", "dqn", "pqn"), environment="CartPole-v1", steps=512_000, rows=1, settings={})
    # The callback that it calls between stretches of training plays 128 episodes; an empty one measures training alone.
    algorithm = (
        rejax.get_algo(chosen.method)
        .create(
            env=chosen.environment,
            **chosen.settings,
            total_timesteps=chosen.steps,
            eval_freq=chosen.steps,
            skip_initial_evaluation=True,
        )
        .replace(eval_callback=lambda algorithm, state, key: ())
    )
    several = chosen.rows > 1
    train = jax.jit(jax.vmap(algorithm.train) if several else algorithm.train)
    key = jax.random.split(jax.random.key(0), chosen.rows) if several else jax.random.key(0)

    def work() -> None:
        jax.block_until_ready(train(key))

    packages = ("rejax", "gymnax", "jax")
    serve_rate("environment steps/s", chosen.rows * chosen.steps, work, packages, rows=chosen.rows)


if __name__ == "__main__":
    main()
