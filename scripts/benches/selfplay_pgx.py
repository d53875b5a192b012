# /// script
# dependencies = ["pgx==2.6.0", "mctx==0.0.71", "dm-haiku==0.0.16", "jax==0.10.2"]
# ///
"""Self-play as in pgx's published AlphaZero example: its net (Haiku, pre-activated blocks with batch norm, here as in play),
mctx's Gumbel search with that example's arguments, and pgx's own resetting of games that are over, in one scan under pmap.

Blocks, features, simulations, games and moves are those of `selfplay_ours.py`; that net has no batch norm, but a dense layer
over the whole board in each block, and heads of 4 features in place of 2 and 1."""

from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import mctx
import pgx
from pgx.experimental import auto_reset
from selfplay import serve_positions, settings


def net(
    observation: jax.Array, training: bool, actions: int, blocks: int, features: int
) -> tuple[jax.Array, jax.Array]:
    """Observations [B,H,W,C] -> logits f32[B,A], values f32[B]"""

    def normed(x: jax.Array) -> jax.Array:
        return jax.nn.relu(hk.BatchNorm(True, True, 0.9)(x, training))

    x = hk.Conv2D(features, 3)(observation.astype(jnp.float32))
    for _ in range(blocks):
        inner = hk.Conv2D(features, 3)(normed(x))
        x = x + hk.Conv2D(features, 3)(normed(inner))
    x = normed(x)
    logits = hk.Linear(actions)(hk.Flatten()(normed(hk.Conv2D(2, 1)(x))))
    value = hk.Linear(features)(hk.Flatten()(normed(hk.Conv2D(1, 1)(x))))
    return logits, jnp.tanh(hk.Linear(1)(jax.nn.relu(value)))[:, 0]


def main() -> None:
    options = settings()
    env = pgx.make(options.board)
    forward = hk.without_apply_rng(
        hk.transform_with_state(lambda x, training: net(x, training, env.num_actions, options.blocks, options.features))
    )
    reset = jax.vmap(auto_reset(env.step, env.init))

    def judged(model: Any, positions: pgx.State) -> tuple[jax.Array, jax.Array]:
        (logits, value), _ = forward.apply(*model, positions.observation, False)
        logits = logits - logits.max(-1, keepdims=True)
        return jnp.where(positions.legal_action_mask, logits, jnp.finfo(logits.dtype).min), value

    def look(model: Any, key: jax.Array, action: jax.Array, positions: pgx.State) -> Any:
        mover = positions.current_player
        positions = jax.vmap(env.step)(positions, action)
        logits, value = judged(model, positions)
        reward = positions.rewards[jnp.arange(options.games), mover]
        found = mctx.RecurrentFnOutput(
            reward=reward,
            discount=jnp.where(positions.terminated, 0.0, -1.0),
            prior_logits=logits,
            value=jnp.where(positions.terminated, 0.0, value),
        )
        return found, positions

    def play(model: Any, positions: pgx.State, key: jax.Array) -> Any:
        def move(positions: pgx.State, key: jax.Array) -> Any:
            search_key, reset_key = jax.random.split(key)
            logits, value = judged(model, positions)
            found = mctx.gumbel_muzero_policy(
                params=model,
                rng_key=search_key,
                root=mctx.RootFnOutput(prior_logits=logits, value=value, embedding=positions),
                recurrent_fn=look,
                num_simulations=options.simulations,
                invalid_actions=~positions.legal_action_mask,
                qtransform=mctx.qtransform_completed_by_mix_value,
                gumbel_scale=1.0,
            )
            mover = positions.current_player
            after = reset(positions, found.action, jax.random.split(reset_key, options.games))
            kept = positions.observation, found.action_weights, after.rewards[jnp.arange(options.games), mover]
            return after, (*kept, after.terminated)

        return jax.lax.scan(move, positions, jax.random.split(key, options.moves))

    begun = jax.vmap(env.init)(jax.random.split(jax.random.key(0), options.games))
    model = forward.init(jax.random.key(0), begun.observation, True)
    whole = jax.pmap(play)
    one = lambda tree: jax.tree.map(lambda x: x[None], tree)
    model, positions = one(model), one(begun)
    # What it gives back is laid out otherwise, and compiles again.
    positions, _ = whole(model, positions, jax.random.key(0)[None])

    def go_on(number: int) -> None:
        nonlocal positions
        positions, _ = jax.block_until_ready(whole(model, positions, jax.random.key(1 + number)[None]))

    serve_positions(options, go_on, ("pgx", "mctx", "dm-haiku", "jax"))


if __name__ == "__main__":
    main()
