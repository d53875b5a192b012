"""AlphaZero (Silver et al. 2018), and Gumbel AlphaZero (Danihelka et al. 2022): one net learns from its own searches.

A tick lets B games go on by T moves, each move found by a search with the net as it is, and begins a game anew where one
ends. Every position is kept, with what the search advised there, and from the end of its game on with how that ended for
whoever was to move. Then U updates each take M positions by chance, one symmetry of the board for each, and descend

    mean(cross-entropy of the advised policy + value_weight * (value - outcome)^2) + decay of the matrices

Only positions whose games have ended are learned from; others are drawn too, and leave the batch that much smaller, down to
nothing in the first ticks of a long game. Where a move was by chance, as a game's first ones may be, (value - outcome)^2 is
left out and counts as 0 in the mean.

Dimensions: B games, T moves a tick, M positions in an update, A moves of the board, H rows, W columns, C planes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction, Natural, NonNegative, Positive, Precision
from research.engine.placement import spread
from research.games import boards
from research.games.boards import Board, Position, played
from research.games.contest import Judged, Opponent, check_even, judge_of, score
from research.games.memory import Memory, Moved, empty, remember
from research.games.search import Advice, Noise, Rule, search
from research.models.board import BoardNet, Kind
from research.models.board import check as check_net
from research.numerics import replay
from research.numerics.optimizers import adam, descend
from research.numerics.schedules import cosine


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    board: str = "tic_tac_toe"
    """Name of a board."""
    net: Kind = "dense"
    """Dense layers, or residual blocks of convolutions."""
    widths: tuple[int, ...] = (128, 128)
    """Units of each layer, or features of each block, which are all the same."""
    rule: Rule = "gumbel"
    """How a search chooses: Gumbel AlphaZero's way, or AlphaZero's."""
    simulations: Count = 16
    """Of a search, in self-play."""
    games: Count = 64
    """Games side by side."""
    moves: Count = 8
    """Moves of each game in a tick."""
    replay: Count = 16_384
    """Positions that are remembered, all games together; a multiple of games times moves."""
    updates: Count = 8
    """Of the net in a tick."""
    batch_size: Count = 256
    """Positions in an update."""
    symmetries: bool = True
    """Show each position turned or mirrored by chance, as the board's rules allow."""
    sampled_moves: Natural = 8
    """With rule=puct, a game's first moves that are drawn by the shares of visits; later ones are the most visited."""
    compute_dtype: Precision = "float32"
    """Type of the net's hidden layers; parameters, logits and values are float32."""
    opponent: Opponent = "random"
    """Whom the net is judged against: legal moves by chance, or, on tic_tac_toe, best moves by chance."""
    contests: Count = 1000
    """Games of an evaluation, half of them as either player."""
    judged_simulations: Natural = 16
    """Of a search in an evaluation; 0: the net's own best move."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2e-3
    """Of Adam, at its highest; it falls by half a cosine."""
    warmup: Fraction = 0.02
    """Share of the run in which the learning rate rises."""
    weight_decay: NonNegative = 1e-4
    """Of matrices, a step's share of them being this times the learning rate."""
    value_weight: NonNegative = 1.0
    """Of the value's loss."""
    opening: NonNegative = 0.0
    """A game of self-play begins with up to so many moves by chance, each number as likely. What would be played there is
    learned, but not how the game ended, which these moves may have decided."""
    gumbel_scale: NonNegative = 1.0
    """Of the noise in self-play with rule=gumbel: more tries more, and 0 nothing but what seems best."""
    dirichlet_fraction: Fraction = 0.25
    """With rule=puct, the share of noise in the prior over legal moves in self-play."""
    dirichlet_alpha: Positive = 0.3
    """That noise's concentration."""
    resign: Fraction = 1.0
    """A player resigns whose searched value is below minus this; 1: nobody does."""


class Games(NamedTuple):
    """B games under way.

    age f32[B] in moves; opening f32[B], how many of them are by chance; resolute bool[B], where nobody may resign; doomed
    f32[B], who there would have been first to: 1 for player 0, -1 for player 1, 0 for nobody
    """

    positions: Position
    age: Array
    opening: Array
    resolute: Array
    doomed: Array


class State(NamedTuple):
    """params f32 and Adam's moments; games under way; memory"""

    params: Any
    optimizer: optax.OptState
    games: Games
    memory: Memory


RESOLUTE = 0.1  # share of the games that are played to their end, which shows what resigning costs


def make(setup: Setup) -> Experiment:
    """AlphaZero on a board as an experiment."""
    board = boards.make(setup.board)
    check(setup)
    net = BoardNet(setup.net, setup.widths, board.actions, dtype=jnp.dtype(setup.compute_dtype))
    judge, simulations = partial(judge_of, net), setup.judged_simulations
    return Experiment(
        init=partial(init, setup, board, net),
        step=partial(step, setup, board, net),
        evaluate=Judged(board, judge, setup.rule, simulations, setup.opponent, setup.contests),
        score=score,
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    check_net(setup.net, setup.widths)
    block = setup.games * setup.moves
    if setup.replay % block:
        raise ValueError(
            f"replay={setup.replay} must be a multiple of games={setup.games} times moves={setup.moves}; nearest: "
            f"{max(1, round(setup.replay / block)) * block}"
        )
    if setup.opponent == "perfect" and setup.board != "tic_tac_toe":
        raise ValueError(f"opponent='perfect' knows tic_tac_toe alone, not board={setup.board!r}; use opponent=random")
    check_even("half as either player", contests=setup.contests)


def init(setup: Setup, board: Board, net: BoardNet, key: Array, hyper: Hyper, data: Any) -> State:
    """B games from their start, and an empty memory."""
    net_key, game_key = jax.random.split(key)
    params = net.init(net_key, board.start().observation[None])
    memory = empty(board, setup.replay)
    return State(params, adam().init(params), begun(setup, board, hyper, game_key), memory)


def begun(setup: Setup, board: Board, hyper: Hyper, key: Array) -> Games:
    """B games from their start."""
    opening_key, resolute_key = jax.random.split(key)
    opening = jnp.floor(jax.random.uniform(opening_key, (setup.games,)) * (hyper.opening + 1.0))
    resolute = jax.random.bernoulli(resolute_key, RESOLUTE, (setup.games,))
    none = jnp.zeros(setup.games)
    return Games(boards.starts(board, setup.games), none, opening, resolute, none)


def step(
    setup: Setup, board: Board, net: BoardNet, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    """T moves of each game, then U updates."""
    play_key, learn_key = jax.random.split(tick.key)
    state, games = play(setup, board, net, state, hyper, tick.index, play_key)
    state, losses = learn(setup, board, net, state, hyper, tick, learn_key)
    return state, games | losses


def play(
    setup: Setup, board: Board, net: BoardNet, state: State, hyper: Hyper, index: Array, key: Array
) -> tuple[State, dict[str, Ratio]]:
    """T moves of self-play in each game, into the memory."""
    judge = judge_of(net, state)
    noise = Noise(hyper.gumbel_scale, hyper.dirichlet_fraction, hyper.dirichlet_alpha)

    def move(games: Games, key: Array) -> tuple[Games, Moved]:
        search_key, draw_key, chance_key, fresh_key = jax.random.split(key, 4)
        positions = spread(games.positions)
        advice = search(board, judge, setup.rule, setup.simulations, search_key, positions, noise)
        own = games.age >= games.opening
        action = jnp.where(
            own, acted(setup, advice, games.age, draw_key), boards.opening_moves(board, chance_key, positions)
        )
        after = played(board, positions, action)
        sign = jnp.where(positions.current_player == 0, 1.0, -1.0)
        hopeless = own & (advice.value < -hyper.resign) & ~after.terminated
        resigned = hopeless & ~games.resolute
        doomed = jnp.where((games.doomed == 0) & hopeless, sign, games.doomed)
        ended = after.terminated | resigned
        outcome = jnp.where(resigned, -sign, after.rewards[:, 0])
        known = jnp.zeros(setup.games, bool)
        kept = Memory(positions.observation, advice.policy, own, known, sign)
        going_on = games._replace(positions=after, age=games.age + 1.0, doomed=doomed)
        fresh = begun(setup, board, hyper, fresh_key)
        moved = Moved(kept, ended, outcome, resigned, going_on.age, jnp.where(games.resolute, doomed, 0.0))
        return boards.chosen(ended, fresh, going_on), moved

    games, moved = lax.scan(move, state.games, jax.random.split(key, setup.moves))
    memory = remember(state.memory, moved, index)
    over = lambda which: (which & moved.ended).sum(dtype=jnp.float32)
    count, doomed = over(moved.ended), moved.doomed != 0
    # Of all games, those among them that moves by chance have ended.
    told = {
        "game_length": Ratio(jnp.where(moved.ended, moved.age, 0.0).sum(), count),
        "first_player_wins": Ratio(over(moved.outcome > 0), count),
        "draws": Ratio(over(moved.outcome == 0), count),
        "resigned": Ratio(over(moved.resigned), count),
        # Of the games that were played on where somebody would have resigned, those that he did not lose.
        "false_positives": Ratio(over(doomed & (moved.outcome * moved.doomed >= 0)), over(doomed)),
    }
    return state._replace(games=games, memory=memory), told


def acted(setup: Setup, advice: Advice, ages: Array, key: Array) -> Array:
    """The moves that are made, i32[B]: Gumbel's are drawn already."""
    if setup.rule == "gumbel":
        return advice.action
    drawn = jax.random.categorical(key, jnp.log(advice.policy))
    return jnp.where(ages < setup.sampled_moves, drawn, advice.action).astype(jnp.int32)


def learn(
    setup: Setup, board: Board, net: BoardNet, state: State, hyper: Hyper, tick: Tick, key: Array
) -> tuple[State, dict[str, Ratio]]:
    """U updates, each on M positions of the memory."""
    slots = setup.replay // setup.games
    rate = hyper.learning_rate * cosine(tick.index, tick.total, hyper.warmup)
    oldest, count = replay.complete(tick.index, setup.moves, slots, 1)

    def update(carry: tuple[Any, optax.OptState], key: Array) -> tuple[tuple[Any, optax.OptState], dict[str, Ratio]]:
        params, moments = carry
        draw_key, turn_key = jax.random.split(key)
        places = replay.draw(draw_key, oldest, count, slots, setup.games, setup.batch_size)
        batch = spread(replay.at(state.memory, places))
        if setup.symmetries:
            observation, policy = boards.turned(board, turn_key, batch.observation, batch.policy)
            batch = batch._replace(observation=observation, policy=policy)
        gradient, told = jax.grad(partial(objective, net, hyper), has_aux=True)(params, batch)
        params, moments = descend(adam(), params, moments, gradient, rate, weight_decay=hyper.weight_decay)
        return (params, moments), told

    (params, moments), told = lax.scan(update, (state.params, state.optimizer), jax.random.split(key, setup.updates))
    told = jax.tree.map(lambda x: x.sum(), told)
    return state._replace(params=params, optimizer=moments), told


def objective(net: Any, hyper: Hyper, params: Any, batch: Memory) -> tuple[Array, dict[str, Ratio]]:
    """What an update descends, f32[], and its parts."""
    logits, values = net.apply(params, batch.observation)
    known = batch.known.astype(jnp.float32)
    count, judged = known.sum(), known * batch.own.astype(jnp.float32)
    cross = (-(batch.policy * jax.nn.log_softmax(logits)).sum(1) * known).sum()
    squared = ((values - batch.outcome) ** 2 * judged).sum()
    entropy = (-jax.scipy.special.xlogy(batch.policy, batch.policy).sum(1) * known).sum()
    loss = (cross + hyper.value_weight * squared) / jnp.maximum(count, 1.0)
    return loss, {
        "policy_loss": Ratio(cross, count),
        "value_loss": Ratio(squared, judged.sum()),
        "advised_entropy": Ratio(entropy, count),
    }
