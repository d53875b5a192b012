"""Our self-play: moves found by a search with the net, and remembered, without the net's updates. What its
net has in common with that of pgx's example, `selfplay_pgx.py` says."""

import jax
import jax.numpy as jnp
from selfplay import serve_positions, settings

from research.engine.placement import configure
from research.games import alphazero, boards
from research.models.board import BoardNet


def main() -> None:
    options = settings()
    configure(1, light=False)
    setup = alphazero.Setup(
        board=options.board,
        net="residual",
        widths=(options.features,) * options.blocks,
        simulations=options.simulations,
        games=options.games,
        moves=options.moves,
        replay=options.games * options.moves,
    )
    board, hyper = boards.make(setup.board), alphazero.Hyper()
    net = BoardNet(setup.net, setup.widths, board.actions)
    state = jax.jit(lambda key: alphazero.init(setup, board, net, key, hyper, None))(jax.random.key(0))
    play = jax.jit(
        lambda state, tick: alphazero.play(setup, board, net, state, hyper, tick, jax.random.key(tick))[0],
        donate_argnums=0,
    )

    def go_on(tick: int) -> None:
        nonlocal state
        state = jax.block_until_ready(play(state, jnp.int32(tick)))

    serve_positions(options, go_on, ("pgx", "mctx", "jax"))


if __name__ == "__main__":
    main()
