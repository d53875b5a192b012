"""Draws what a GAN has learned to make: `python scripts/sample.py runs/NAME --count 64 --out grid.png`.

`--class 7` asks a GAN that was told classes for one of them, `--between` shows ways from one sample to another, and
`--training` makes an animation, training.gif, of the samples that the run drew as it learned.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax import Array
from PIL import Image

from research.command import check_ending, command, terminal
from research.data.image_files import FACTS
from research.data.pictures import save_gif, tiled
from research.engine.fields import Count, Interval, check
from research.engine.plan import Plan
from research.gan import adversarial, images, points, sampling
from research.gan.pictures import scatter
from research.learned import Learned, OfRun, learned


@dataclass(frozen=True)
class Arguments(OfRun):
    count: Count = 64
    """Samples."""
    of: Annotated[str, tyro.conf.arg(name="class")] = ""
    """A class, by its name or number, where the run was told classes; by default all in turn."""
    between: bool = False
    """Each row of images is on the way from one sample to another."""
    training: bool = False
    """No new samples, but those that the run drew at its evaluations, as an animation."""
    draw: Annotated[int, Interval(0, 2**32 - 1)] = 0
    """Seed of the drawing: another number is other samples."""
    out: Path | None = None
    """The picture to write; by default samples.png or training.gif in the run folder."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="sample.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    usual = "training.gif" if chosen.training else "samples.png"
    out = chosen.out or chosen.folder / usual
    check_ending(out, usual)
    console = terminal(highlight=False)
    if chosen.training:
        plain = Arguments(chosen.folder, training=True, out=chosen.out)
        if chosen != plain:
            raise ValueError(
                "training shows the pictures that the run drew, of its first row; leave all options but --out out"
            )
        animate(chosen.folder, out)
    else:
        run = learned(chosen, console, partial(fits, chosen))
        picture = Image.fromarray(picture_of(run, chosen))
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out)
        console.print(f"{chosen.count} samples of seed {run.plan.rows[run.row].seed}, tick {run.tick}", soft_wrap=True)
    console.print(str(out), soft_wrap=True)
    return 0


def animate(folder: Path, out: Path) -> None:
    """The run's pictures of samples, in their order. Raises ValueError where there are none."""
    paths = sorted((folder / "pictures").glob("samples-*.png"))
    if not paths:
        raise ValueError(f"{folder} holds no pictures/samples-*.png; give the folder of a GAN that has been evaluated")
    save_gif(out, [Image.open(path).convert("RGB") for path in paths], 500)


def fits(chosen: Arguments, plan: Plan) -> None:
    """Raises ValueError for a run that has no samples, or not the classes that are asked for."""
    on_points = isinstance(plan.setup, points.Setup)
    if not on_points and type(plan.setup) is not images.Setup:  # a Setup made from that one is of more than a GAN
        raise ValueError(
            f"{chosen.folder} is a run of {plan.recipe.name!r}, which makes no samples; give that of a GAN"
        )
    if on_points and plan.setup.data == "line":
        raise ValueError(f"{chosen.folder} makes points on a line, which have no picture; give a run on ring or grid")
    if on_points and (chosen.between or chosen.of):
        raise ValueError(f"{chosen.folder} makes points: --between and --class are of images; leave them out")
    if chosen.of:
        known = FACTS[plan.setup.data].classes
        if not plan.setup.conditional:
            raise ValueError(
                f"class={chosen.of!r} cannot be asked for: this run was not told classes; leave it out, or train with "
                "--setup.conditional"
            )
        if chosen.of not in {*known, *map(str, range(len(known)))}:
            raise ValueError(f"class={chosen.of!r} is not one of {', '.join(known)}; or give 0 to {len(known) - 1}")


def picture_of(run: Learned, chosen: Arguments) -> np.ndarray:
    """A picture u8[H,W,3] of samples."""
    setup, key = run.plan.setup, jax.random.key(chosen.draw)
    data = jax.tree.map(jnp.asarray, run.inputs.data)
    if isinstance(setup, points.Setup):
        samples = jax.jit(partial(points.sampled, points.game_of(setup), count=chosen.count))(run.state, key, data=data)
        return scatter(np.asarray(samples), run.inputs.data)
    columns = math.ceil(math.sqrt(chosen.count))
    rows = math.ceil(chosen.count / columns)
    way = sampling.between if chosen.between else sampling.independent
    game, number = images.game_of(setup), number_of(setup, chosen.of)

    def make(state: adversarial.State, key: Array, data: images.Data) -> Array:
        filling_key, key = jax.random.split(key)
        variables = sampling.filled(game, state.average, filling_key, data)
        return images.drawn(setup, game, variables, way, key, rows, columns, number)

    pixels = jax.jit(make)(run.state, key, data)
    return tiled(np.asarray(pixels)[: chosen.count], rows, columns)


def number_of(setup: images.Setup, name: str) -> int | None:
    known = FACTS[setup.data].classes
    return None if not name else known.index(name) if name in known else int(name)


if __name__ == "__main__":
    command(main)
