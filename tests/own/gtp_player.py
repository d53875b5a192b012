"""A program that speaks the Go Text Protocol and plays the first point that is free, or does what its arguments say: `resign`,
or `pass`, after which it knows kgs-genmove_cleanup and takes the first point then."""

import sys

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
for line in sys.stdin:
    sys.stdout.write(engine.answer(line))
    sys.stdout.flush()
    if not engine.open:
        break
