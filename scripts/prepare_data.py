"""Downloads data sets into the data root: `python scripts/prepare_data.py mnist cifar10`.

The root is --root, else $RESEARCH_DATA_DIR, else a folder in the user's cache folder. What is there already is checked
and kept. With TensorFlow installed (`pip install -c constraints.txt -e '.[prepare]'`), image sets are prepared by
tensorflow-datasets; without, the publishers' own files are downloaded. Training reads either, and gets the same arrays.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from research.command import command, terminal
from research.data.fetch import fetch, known
from research.data.image_files import FACTS, prepare
from research.data.images import load_images


@dataclass(frozen=True)
class Options:
    names: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Data sets: mnist, cifar10, tinyshakespeare, multi30k, sst2."""
    root: Path | None = None
    """Where they go; by default $RESEARCH_DATA_DIR or the user's cache folder."""


def main(arguments: list[str]) -> int:
    options = tyro.cli(Options, args=arguments, prog="prepare_data.py", description=__doc__)
    known(*options.names)
    console = terminal(soft_wrap=True)
    for name in options.names:
        if name in FACTS:
            folder = prepare(name, options.root)
            images = load_images(name, 0, options.root)  # proves it whole and fills the cache
            console.print(f"{name}: {len(images.train.labels)} train, {len(images.test.labels)} test, in {folder}")
        else:
            console.print(f"{name}: {fetch(name, options.root)}")
    return 0


if __name__ == "__main__":
    command(main)
