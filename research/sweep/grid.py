"""From a question to cells: which settings of a recipe's fields are run beside each other.

A factor is a tuple of alternatives, an alternative the fields that it changes. The cells of a sweep are all
combinations of one alternative from each factor.
"""

import itertools
import math
import types
from collections.abc import Sequence
from dataclasses import fields as setup_fields
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np

from research.engine.fields import bare, described, nearest
from research.engine.keys import SEEDS
from research.engine.plan import Recipe

CELLS = 10_000  # of a sweep at most
Alternative = dict[str, Any]
Factor = tuple[Alternative, ...]


class Cell(NamedTuple):
    """One setting: what it changes, by full name ('hyper.clip'), and the whole Setup and Hyper that this makes."""

    changes: Alternative
    setup: Any
    hyper: Any


def grid(recipe: Recipe, texts: Sequence[str]) -> list[Factor]:
    """'clip=0.1,0.2' -> a factor with an alternative for each value; a factor for each text."""
    return [tuple({name: value} for value in values) for name, values in assignments(recipe, texts, "--grid")]


def listed(recipe: Recipe, texts: Sequence[str]) -> list[Factor]:
    """Several 'FIELD=a,b' of equal length -> one factor, whose first alternative has every field's first value."""
    named = assignments(recipe, texts, "--list")
    lengths = {name: len(values) for name, values in named}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {count}" for name, count in lengths.items())
        raise ValueError(f"--list pairs values by position, so all need equally many: {told}; use --grid to combine")
    if not named:
        return []
    return [tuple(dict(zip(lengths, values, strict=True)) for values in zip(*(v for _, v in named), strict=True))]


def drawn(recipe: Recipe, texts: Sequence[str], count: int, seed: int) -> list[Factor]:
    """'learning_rate=log:1e-5:1e-2' or 'clip=uniform:0.1:0.3' -> one factor of `count` random alternatives.

    Each field draws from a stream of its own, so that adding one leaves the others' values.
    """
    if not texts:
        return []
    if not 1 <= count <= CELLS:
        raise ValueError(f"draws={count} must be at least 1 and at most {CELLS}; usual: 20 to 200")
    check_seed(seed)
    columns = {
        name: draw(law, count, np.random.default_rng([seed, *name.encode()]))
        for name, law in ranges(recipe, texts).items()
    }
    # Integers may be drawn twice; a setting is run once.
    settings = dict.fromkeys(zip(*columns.values(), strict=True))
    return [tuple(dict(zip(columns, values, strict=True)) for values in settings)]


def check_seed(seed: int) -> None:
    """Raises ValueError for a seed of --draw that is none."""
    if not 0 <= seed < SEEDS:
        raise ValueError(f"draw_seed={seed} must be at least 0 and below {SEEDS}; usual: 0")


class Range(NamedTuple):
    """A declared distribution: uniform between its ends, or uniform in the logarithm; `kind` is int or float."""

    log: bool
    low: float
    high: float
    kind: type


def ranges(recipe: Recipe, texts: Sequence[str]) -> dict[str, Range]:
    """'learning_rate=log:1e-5:1e-2' texts -> full name and range. Raises ValueError for a field that is no number."""
    found: dict[str, Range] = {}
    for text in texts:
        field, right = split(text, "--draw", "FIELD=log:LOW:HIGH or FIELD=uniform:LOW:HIGH")
        name, kind = resolve(recipe, field)
        if name in found:
            raise ValueError(f"--draw {text!r} names {bare(name)} a second time; give it one range")
        law, *ends = right.split(":")
        try:
            low, high = map(float, ends)
        except ValueError:
            low = high = math.nan
        if law not in ("log", "uniform") or not low < high or not high - low < math.inf or (law == "log" and low <= 0):
            raise ValueError(
                f"--draw {text!r} must be FIELD=log:LOW:HIGH or FIELD=uniform:LOW:HIGH with LOW < HIGH, and 0 < LOW for "
                "log; for example learning_rate=log:1e-5:1e-2"
            )
        if kind not in (int, float):
            raise ValueError(f"--draw {text!r} needs a field of numbers; use --grid for {kind}")
        found[name] = Range(law == "log", low, high, kind)
    return found


def draw(law: Range, count: int, rng: np.random.Generator) -> list[Any]:
    """`count` numbers of a range; integers are rounded."""
    low, high = (np.log(law.low), np.log(law.high)) if law.log else (law.low, law.high)
    numbers = rng.uniform(low, high, count)
    return [round(x) if law.kind is int else float(f"{x:.6g}") for x in (np.exp(numbers) if law.log else numbers)]


def ablated(recipe: Recipe, texts: Sequence[str]) -> list[Factor]:
    """'clip_values' (a switch, turned over) or 'clip=1e9' -> one factor: the full thing, and each change by itself."""
    if not texts:
        return []
    alternatives: list[Alternative] = [{}]
    for text in texts:
        if "=" in text:
            alternatives += [
                {name: value} for name, values in assignments(recipe, [text], "--ablate") for value in values
            ]
            continue
        name, kind = resolve(recipe, text)
        if kind is not bool:
            raise ValueError(f"--ablate {text!r} is no switch; say what it becomes: --ablate {text}=VALUE")
        alternatives.append({name: not getattr(recipe.setup, bare(name))})
    return [tuple(alternatives)]


def combine(recipe: Recipe, factors: Sequence[Factor]) -> list[Cell]:
    """All combinations of one alternative from each factor, in the order of their writing."""
    for one, other in itertools.combinations(factors, 2):
        shared = {name for x in one for name in x} & {name for x in other for name in x}
        if shared:
            raise ValueError(f"{', '.join(sorted(shared))} is varied twice; name each field in one place")
    count = math.prod(map(len, factors))
    if count > CELLS:
        raise ValueError(
            f"{count} cells are more than the {CELLS} of a sweep; vary fewer fields at once, or --draw from them"
        )
    cells = []
    for chosen in itertools.product(*factors):
        changes = {name: value for alternative in chosen for name, value in alternative.items()}
        cells.append(make_cell(recipe, changes))
    seen = set()
    for cell in cells:
        if (cell.setup, cell.hyper) in seen:
            raise ValueError(f"two cells are the same setting: {describe(cell.changes)}; leave one out")
        seen.add((cell.setup, cell.hyper))
    return cells


def make_cell(recipe: Recipe, changes: Alternative) -> Cell:
    """The recipe's Setup and Hyper with fields changed, by full name."""
    parts: dict[str, dict[str, Any]] = {"setup": {}, "hyper": {}}
    for name, value in changes.items():
        part, field = name.split(".")
        parts[part][field] = value
    return Cell(changes, replace(recipe.setup, **parts["setup"]), recipe.hyper._replace(**parts["hyper"]))


def describe(changes: Alternative) -> str:
    """'clip=0.1, widths=64x64', or 'as it is' where nothing changes."""
    return described(changes) or "as it is"


def assignments(recipe: Recipe, texts: Sequence[str], option: str) -> list[tuple[str, list[Any]]]:
    """'FIELD=a,b,c' texts -> (full name, parsed values); a field may stand once."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        field, right = split(text, option, "FIELD=VALUE,VALUE,...")
        name, kind = resolve(recipe, field)
        if name in found:
            raise ValueError(f"{option} {text!r} names {field} a second time; give all its values at once")
        values = [parse(item, kind, f"{option} {text!r}") for item in right.split(",")]
        found[name] = values
    return list(found.items())


def split(text: str, option: str, form: str) -> tuple[str, str]:
    field, equals, right = text.partition("=")
    if not (field and equals and right):
        raise ValueError(f"{option} {text!r} must be {form}; for example learning_rate=1e-4,3e-4")
    return field, right


def resolve(recipe: Recipe, name: str) -> tuple[str, Any]:
    """'clip' or 'hyper.clip' -> ('hyper.clip', float): a field's full name and its type without annotations."""
    hints = {
        **{f"setup.{field.name}": (type(recipe.setup), field.name) for field in setup_fields(recipe.setup)},
        **{f"hyper.{field}": (type(recipe.hyper), field) for field in recipe.hyper._fields},
    }
    name = name.replace("-", "_")
    matches = [full for full in hints if name in (full, bare(full))]
    if not matches:
        hint = nearest(bare(name), map(bare, hints))
        raise ValueError(f"field={name!r} is in neither Setup nor Hyper of {recipe.name}; {hint}")
    if len(matches) > 1:
        raise ValueError(f"field={name!r} is in both Setup and Hyper of {recipe.name}; write {' or '.join(matches)}")
    owner, field = hints[matches[0]]
    hint = get_type_hints(owner, include_extras=True)[field]
    return matches[0], get_args(hint)[0] if get_origin(hint) is Annotated else hint


def parse(text: str, kind: Any, where: str) -> Any:
    """A value of a field's type; items of a tuple are joined by 'x': widths=64x64."""
    try:
        return convert(text.strip(), kind)
    except (ValueError, KeyError):
        raise ValueError(f"{where}: {text!r} must be {spelled(kind)}; a tuple is written 64x64") from None


def spelled(kind: Any) -> str:
    """A field's type in the words of a refusal."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join("none" if x is type(None) else spelled(x) for x in get_args(kind))
    if get_origin(kind) is Annotated:
        return spelled(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def convert(text: str, kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        if text.lower() == "none" and type(None) in get_args(kind):
            return None
        return convert(text, next(x for x in get_args(kind) if x is not type(None)))
    if get_origin(kind) is Annotated:
        return convert(text, get_args(kind)[0])
    if get_origin(kind) is Literal:
        return {str(x): x for x in get_args(kind)}[text]
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return tuple(convert(item, inner) for item in text.split("x")) if text else ()
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind in (int, float, str, Path):
        if not text:
            raise ValueError(text)
        return kind(text)
    raise ValueError(text)
