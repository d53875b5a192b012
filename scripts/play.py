"""Shows what a run has learned: `python scripts/play.py runs/NAME` plays an episode, prints its return, draws a GIF.

It is one of the episodes of the evaluation that the run makes, or would make, at the tick of its last checkpoint, picked
by --episode.
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

from research.catalog import find
from research.command import command
from research.engine import saved
from research.engine.chunk import alive
from research.engine.fields import Interval, Natural, check
from research.engine.keys import at_tick, stream
from research.engine.placement import configure
from research.engine.plan import Plan, Recipe, source_hash
from research.rl import pictures
from research.rl.environments import Environment
from research.rl.rollout import Episode, Play, watch


@dataclass(frozen=True)
class Arguments:
    folder: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    seed: int | None = None
    """Which of the run's seeds; by default the first."""
    row: int | None = None
    """Which of the run's rows, from 0: a sweep has rows of the same seed."""
    episode: Natural = 0
    """Which episode of the evaluation, from 0."""
    best: bool = False
    """Play the best state instead of the last, where the recipe keeps it."""
    out: Path | None = None
    """The animation to write; by default play.gif in the run folder."""
    frames_per_second: Annotated[float, Interval(1, 50)] = 25.0
    """Steps shown in a second, 1 to 50."""
    recipe: str = ""
    """The recipe's name or file, where it is another than when the run began."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="play.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    out = chosen.out or chosen.folder / "play.gif"
    if out.suffix.lower() != ".gif":
        better = out / "play.gif" if out.is_dir() else out.with_suffix(".gif")
        raise ValueError(f"out={str(out)!r} must end in .gif; try {str(better)!r}")
    manifest = saved.manifest_of(chosen.folder)
    recipe = recipe_of(chosen, manifest)
    configure(1, light=recipe.light, device_count=1)
    plan = saved.plan_of(recipe, manifest)
    console = Console(highlight=False)
    show(plan, saved.row_of(plan, chosen.seed, chosen.row), chosen, out, console)
    if source_hash(recipe) != manifest.get("source"):
        told = "the code has changed since this run began: what was learned then acted in the environment as it is now"
        console.print(told, style="yellow", soft_wrap=True)
    console.print(str(out), soft_wrap=True)
    return 0


def recipe_of(chosen: Arguments, manifest: dict[str, Any]) -> Recipe:
    """The recipe by which the run was made: by its file where that was a user's own."""
    file = manifest.get("file")
    if file and not chosen.recipe and not Path(file).is_file():
        raise ValueError(f"the recipe's file {file!r} is no longer there; say where it is: --recipe PATH.py")
    return find(chosen.recipe or file or manifest["recipe"])


def show(plan: Plan, row: int, chosen: Arguments, out: Path, console: Console) -> None:
    """Plays, draws and tells of one episode."""
    play = play_of(plan, chosen.episode)
    state, tick = saved.state_of(plan, chosen.folder, row, chosen.best)
    seed, environment = plan.rows[row].seed, play.environment
    if not alive(state):
        raise ValueError(f"the state of seed {seed} holds a NaN at tick {tick}: that row diverged; play another one")
    episode = watched(play, seed, tick, state, chosen.episode)
    returns, lengths = episode.evaluation
    length, ending = int(lengths[chosen.episode]), "terminated" if episode.terminated else "truncated"
    pictures.save_gif(out, drawn(environment, episode, length, ending), round(1000 / chosen.frames_per_second))
    for text in (
        f"{environment.name}, seed {seed}, tick {tick}, episode {chosen.episode}: return {returns[chosen.episode]:g}, "
        f"length {length}, {ending}",
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
    play = plan.recipe.make(plan.setup).evaluate
    if not isinstance(play, Play):
        raise ValueError(
            f"recipe {plan.recipe.name!r} acts in no environment (its `evaluate` is no Play), so there is nothing to show; "
            "give the folder of a run that does, such as ppo's or dqn's"
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
