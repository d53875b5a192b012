"""A program that speaks the Go Text Protocol and plays the first point that is free, or resigns where its arguments say so."""

import sys

from research.games.gtp import RESIGN, Engine

size = int(sys.argv[1])
wanted = [RESIGN] if sys.argv[2:] == ["resign"] else range(size**2 + 1)
engine = Engine("first", "1", size, 7.5, lambda colour, moves: wanted)
for line in sys.stdin:
    sys.stdout.write(engine.answer(line))
    sys.stdout.flush()
    if not engine.open:
        break
