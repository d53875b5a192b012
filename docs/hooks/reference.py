"""The reference: a page for every public module of the package, in the groups that its folders are."""

import ast
from pathlib import Path
from typing import Any

import plain

FIRST = "research"
OTHERS = "research, command, catalog"
GROUPS = ("engine", "numerics", "models", "data", "vision", "rl", "language", "gan", "games", "recipes", "sweep",
          "studies", "report")  # fmt: skip


def modules(root: Path) -> dict[str, Path]:
    """{dotted name: file} of every public module; of a package that is empty, none."""
    found = {}
    for path in sorted((root / FIRST).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = parts[:-1]
            if not path.read_text().strip():
                continue
        if not any(part.startswith("_") for part in parts):
            found[".".join(parts)] = path
    return found


def group_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 2 or (len(parts) == 2 and parts[1] in GROUPS) else OTHERS


def page_of(module: str) -> str:
    return f"reference/{module}.md"


def summary(path: Path) -> str:
    """The first line of a module's docstring."""
    told = ast.get_docstring(ast.parse(path.read_text())) or ""
    return told.strip().split("\n\n")[0].replace("\n", " ")


def grouped(root: Path) -> dict[str, list[str]]:
    """{group: its modules}. Raises ValueError for a folder that stands in no group."""
    found: dict[str, list[str]] = {OTHERS: [], **{group: [] for group in GROUPS}}
    for module in modules(root):
        group = group_of(module)
        if group not in found:
            raise ValueError(
                f"{module} is in no group of the reference; name {group!r} in {Path(__file__).name}: GROUPS"
            )
        found[group].append(module)
    return found


def nav(root: Path) -> list[Any]:
    return [
        {group: [{short(module): page_of(module)} for module in members]} for group, members in grouped(root).items()
    ]


def short(module: str) -> str:
    return module.removeprefix(f"{FIRST}.{group_of(module)}.").removeprefix(f"{FIRST}.")


def pages(root: Path) -> dict[str, str]:
    """{page: Markdown}: an index of all modules, and one page each."""
    files = modules(root)
    lines = [
        "# Reference",
        "",
        "Every public module, from its docstrings. Shapes are written `f32[B,T]`: a type and its dimensions, whose letters "
        "the module's own text declares.",
    ]
    for group, members in grouped(root).items():
        lines += ["", f"## {group}", "", "| module | |", "| --- | --- |"]
        lines += [f"| [`{short(name)}`]({name}.md) | {cell(summary(files[name]))} |" for name in members]
    found = {"reference/index.md": "\n".join(lines) + "\n"}
    for name in files:
        found[page_of(name)] = f"# `{name}`\n\n::: {name}\n"
    return found


def cell(text: str) -> str:

    return plain.prose(text.replace("|", "/"))
