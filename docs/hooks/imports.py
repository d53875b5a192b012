"""The graph of imports between the packages of `research`, as the source has them now: an SVG and a table."""

import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import grimp

WIDTH, ROW, BOX, TALL = 900, 84, 104, 34
INK, SHADE, LINE, SKIP = "#1f2a44", "#eef1f8", "#5b6b95", "#c3cbe0"


class Graph(NamedTuple):
    """Layers from the top, each the packages in it, and how many imports there are from package to package."""

    layers: list[list[str]]
    edges: Counter[tuple[str, str]]


def read(root: Path) -> Graph:
    """The packages' layers as pyproject.toml declares them, and their imports as the source has them."""
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = [one for one in declared if one["type"] == "layers"]
    layers = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    layers[[layer for layer, names in enumerate(layers) if "data" in names][0]] += contract["exhaustive_ignores"]
    known = {name for layer in layers for name in layer}
    graph = grimp.build_graph("research", cache_dir=None)
    edges: Counter[tuple[str, str]] = Counter()
    for one in graph.modules:
        for other in graph.find_modules_directly_imported_by(one):
            pair = top(one), top(other)
            if pair[0] != pair[1] and "research" not in pair:
                if not set(pair) <= known:
                    raise ValueError(f"{one} imports {other}, and pyproject.toml has no layer for {set(pair) - known}")
                edges[pair] += 1
    return Graph(layers, edges)


def top(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def reduced(graph: Graph) -> set[tuple[str, str]]:
    """The edges that no longer way says already."""
    to: dict[str, set[str]] = {}
    for one, other in graph.edges:
        to.setdefault(one, set()).add(other)

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(to.get(start, ()))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += to.get(name, ())
        return found

    return {
        (one, other)
        for one, other in graph.edges
        if not any(other in reach(between) for between in to[one] if between != other)
    }


def svg(graph: Graph) -> str:
    """Boxes in layers, a line for an import. What follows from longer ways is drawn pale."""
    place = {}
    for level, names in enumerate(graph.layers):
        step = WIDTH / len(names)
        place |= {name: (step * (i + 0.5), 30 + level * ROW) for i, name in enumerate(names)}
    needed = reduced(graph)
    height = 30 + len(graph.layers) * ROW - ROW + 30
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="15">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<defs><marker id="to" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 10 5 0 10z" fill="{LINE}"/></marker></defs>',
    ]
    for pair in sorted(graph.edges, key=lambda pair: pair in needed):
        (x, y), (u, v) = place[pair[0]], place[pair[1]]
        down = 1 if v > y else -1 if v < y else 0
        ends = f"M{x:.0f} {y + down * TALL / 2:.0f} L{u:.0f} {v - down * TALL / 2 - 2 * down:.0f}"
        how = f'stroke="{LINE}" stroke-width="1.6" marker-end="url(#to)"' if pair in needed else f'stroke="{SKIP}"'
        found.append(f'<path d="{ends}" fill="none" {how}><title>{pair[0]} imports {pair[1]}</title></path>')
    for name, (x, y) in place.items():
        found.append(
            f'<rect x="{x - BOX / 2:.0f}" y="{y - TALL / 2:.0f}" width="{BOX}" height="{TALL}" rx="6" fill="{SHADE}" '
            f'stroke="{INK}"/><text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" fill="{INK}">{name}</text>'
        )
    return "\n".join([*found, "</svg>\n"])


def table(graph: Graph) -> str:
    """Who imports whom: a Markdown table of the number of import statements, from the top layer down."""
    names = [name for layer in graph.layers for name in layer]
    rows = [name for name in names if any(one == name for one, _ in graph.edges)]
    columns = [name for name in names if any(other == name for _, other in graph.edges)]
    lines = [f"| | {' | '.join(columns)} |", f"| --- |{' ---: |' * len(columns)}"]
    for one in rows:
        counts = [str(graph.edges[one, other]) if graph.edges[one, other] else "" for other in columns]
        lines.append(f"| **{one}** | {' | '.join(counts)} |")
    return "\n".join(lines)
