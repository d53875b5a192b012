"""Our self-play: moves found by a search with the net, and remembered, without the net's updates. What its
net has in common with that of pgx's example, `selfplay_pgx.py` says."""

import argparse
import time
from importlib.metadata import version

import jax
import jax.numpy as jnp
from serve import serve

from research.engine.placement import configure
from research.games import alphazero, boards
from research.models.board import BoardNet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--board", default="go_9x9")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--simulations", type=int, default=32)
    parser.add_argument("--games", type=int, default=16)
    parser.add_argument("--moves", type=int, default=2, help="of each game in a repetition")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
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
    ticks = 0

    def measure() -> dict[str, object]:
        nonlocal state, ticks
        begin = time.perf_counter()
        state = jax.block_until_ready(play(state, jnp.int32(ticks)))
        rate = options.games * options.moves / (time.perf_counter() - begin)
        ticks += 1
        versions = {name: version(name) for name in ("pgx", "mctx", "jax")}
        return {"rate": rate, "unit": "positions/s", "settings": vars(options), "versions": versions}

    serve(measure)


if __name__ == "__main__":
    main()
