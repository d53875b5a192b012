"""A program that speaks the Go Text Protocol and plays the first point that is free, or does what its arguments say: `resign`;
`pass`, after which it knows kgs-genmove_cleanup and takes the first point then; `mortal`, which ends where it is asked for a
sixth move, or `mortal FILE`, which does so once and leaves the file behind."""

import sys
from pathlib import Path

from research.games.gtp import COMMANDS, RESIGN, Engine

size = int(sys.argv[1])
wanted = {"resign": [RESIGN], "pass": [size**2]}.get(sys.argv[-1], range(size**2 + 1))
engine = Engine("first", "1", size, 7.5, lambda colour, moves: wanted)


def cleanup(engine: Engine, colour: str) -> str:
    engine.choose = lambda colour, moves: range(size**2 + 1)
    answer = engine.genmove(colour)
    engine.choose = lambda colour, moves: wanted
    return answer


if sys.argv[-1] == "pass":
    COMMANDS["kgs-genmove_cleanup"] = cleanup
mortal, left = "mortal" in sys.argv, Path(sys.argv[-1])
for line in sys.stdin:
    if mortal and line.startswith("genmove") and len(engine.moves) > 4 and not left.exists():
        if sys.argv[-1] != "mortal":
            left.touch()
        break
    sys.stdout.write(engine.answer(line))
    sys.stdout.flush()
    if not engine.open:
        break
