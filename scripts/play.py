"""Shows what a run has learned: `python scripts/play.py runs/NAME` plays an episode, prints its return, draws a GIF.

It is one of the episodes of the evaluation that the run makes, or would make, at the tick of its last checkpoint, picked
by --episode. Of a run that has learned a board game, it plays against you, here in the terminal, and says what its policy
and its search think where you ask.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from jax import Array
from PIL.Image import Image
from rich.console import Console

from research.command import check_ending, command, given_lines, terminal
from research.data.pictures import save_gif
from research.engine.fields import Interval, Natural, check
from research.engine.keys import at_tick, stream
from research.engine.plan import Plan
from research.games import person
from research.games.contest import Plays, player_of
from research.learned import Learned, OfRun, learned
from research.rl import pictures
from research.rl.environments import Environment
from research.rl.rollout import Episode, Play, watch


@dataclass(frozen=True)
class Arguments(OfRun):
    episode: Natural = 0
    """Which episode of the evaluation, from 0."""
    out: Path | None = None
    """The animation to write; by default play.gif in the run folder."""
    frames_per_second: Annotated[float, Interval(1, 50)] = 25.0
    """Steps shown in a second, 1 to 50."""
    second: bool = False
    """On a board: you move second."""
    simulations: Natural | None = None
    """On a board: of a search before each of its moves; 0: the net's own choice; by default as in the run's evaluation."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="play.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    out = chosen.out or chosen.folder / "play.gif"
    check_ending(out, "play.gif")
    console = terminal(highlight=False)
    run = learned(chosen, console, lambda plan: fits(plan, chosen))
    if on_board(run.plan):
        sit_down(run, chosen, console)
    else:
        show(run, chosen, out, console)
        console.print(str(out), soft_wrap=True)
    return 0


def on_board(plan: Plan) -> bool:
    return isinstance(plan.experiment.evaluate, Plays)


def fits(plan: Plan, chosen: Arguments) -> None:
    """Raises ValueError where there is nothing to play, and for an option that says nothing of it."""
    board, usual = on_board(plan), Arguments(chosen.folder)
    for name in ("episode", "out", "frames_per_second") if board else ("second", "simulations"):
        if getattr(chosen, name) != getattr(usual, name):
            others = "episodes" if board else "boards"
            raise ValueError(
                f"{name}={str(getattr(chosen, name))!r} is for {others}, and this run plays none; leave it out"
            )
    if board:
        player_of(plan)
    else:
        play_of(plan, chosen.episode)


def sit_down(run: Learned, chosen: Arguments, console: Console) -> None:
    """A game against the person who types."""
    judged = player_of(run.plan)
    (board, search), (_, look) = (judged.advisor(run.state, asked) for asked in (chosen.simulations, 0))
    think = lambda key, position, searched: (search if searched else look)(key, position)
    tell = lambda text: console.print(text, soft_wrap=True, markup=False)
    if not judged.searched(chosen.simulations):
        tell(
            "simulations=0: it does not search, so `search` says what `policy` does; --simulations 32 lets it look ahead"
        )
    person.session(board, think, given_lines(), tell, chosen.second)


def show(run: Learned, chosen: Arguments, out: Path, console: Console) -> None:
    """Plays, draws and tells of one episode."""
    play = play_of(run.plan, chosen.episode)
    seed, environment = run.plan.rows[run.row].seed, play.environment
    episode = watched(play, seed, run.tick, run.state, chosen.episode)
    returns, lengths = episode.evaluation
    length, ending = int(lengths[chosen.episode]), "terminated" if episode.terminated else "truncated"
    save_gif(out, drawn(environment, episode, length, ending), round(1000 / chosen.frames_per_second))
    for text in (
        f"{environment.name}, seed {seed}, tick {run.tick}, episode {chosen.episode}: return "
        f"{returns[chosen.episode]:g}, length {length}, {ending}",
        f"the evaluation's {len(returns)} episodes: mean return {returns.astype(np.float64).mean():g}, "
        f"lowest {returns.min():g} (episode {returns.argmin()}), highest {returns.max():g} (episode {returns.argmax()})",
    ):
        console.print(text, soft_wrap=True)


def drawn(environment: Environment, episode: Episode, length: int, ending: str) -> list[Image]:
    """The picture before each step and after the last, with the return so far and how the episode ended."""
    states = [jax.tree.map(lambda x, step=step: x[step], episode.states) for step in range(length + 1)]
    frames = pictures.frames(environment.draw, environment.one_hot, states, episode.observations[: length + 1])
    captions = [f"step {step}   return {episode.totals[step]:g}" for step in range(length + 1)]
    captions[-1] += f"   {ending}"
    return [pictures.captioned(frame, text) for frame, text in zip(frames, captions, strict=True)]


def play_of(plan: Plan, episode: int) -> Play:
    """The evaluation of a plan's experiment. Raises ValueError where it plays no episodes, or not that one."""
    play = plan.experiment.evaluate
    if not isinstance(play, Play):
        raise ValueError(
            f"recipe {plan.recipe.name!r} acts in no environment and plays no board (its `evaluate` is neither Play nor "
            "Plays), so there is nothing to show; give the folder of a run that does, such as ppo's or alphazero-tic-tac-toe's"
        )
    if episode >= play.count:
        raise ValueError(f"episode={episode} must be below {play.count}, the evaluation's episodes; usual: 0")
    return play


def watched(play: Play, seed: int, tick: int, state: Any, chosen: int) -> Episode:
    """One episode of the evaluation that a row's state has at a tick, as NumPy arrays."""

    def evaluate(state: Any, seed: Array, tick: Array, chosen: Array) -> Episode:
        key = at_tick(stream(seed, "evaluate"), tick)
        return watch(play.environment, play.actor(state), key, play.count, chosen)

    return jax.device_get(jax.jit(evaluate)(state, np.uint32(seed), np.int32(tick), np.int32(chosen)))


if __name__ == "__main__":
    command(main)
