"""Compares runs: `python scripts/report.py runs/... --by clip --out report/`.

Reads run folders, or folders that hold them, or one search's folder, and writes report.html (one page that needs nothing
else), table.md, table.tex, table.csv, and each figure as PNG and PDF.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from research.command import command, terminal
from research.engine.fields import bare


@dataclass(frozen=True)
class Arguments:
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders of them."""
    by: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A field whose values are compared (--by clip --by environments); by default all fields that differ."""
    figure: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A figure to show, most important first; by default those that the recipe watches."""
    out: Path = Path("report")
    """Folder to write into."""
    title: str = ""
    """The page's title; by default the recipe and the fields."""


def main(arguments: list[str]) -> int:
    from research.report import collect, figures, paper, searched, tables
    from research.report.run_folder import SEARCH, varied

    chosen = tyro.cli(Arguments, args=arguments, description=__doc__)
    if not chosen.folders:
        raise ValueError("no folder given; name run folders, or a folder of them: report.py runs/")
    console = terminal()
    if any((folder / SEARCH).exists() for folder in chosen.folders):
        (search, *others) = chosen.folders
        if others or chosen.by or chosen.figure:
            raise ValueError("a search is reported by itself, all its fields at once: give its folder alone")
        for text in searched.write(search, chosen.out, chosen.title):
            console.print(text, highlight=False)
        console.print(str(chosen.out / "report.html"), soft_wrap=True)
        return 0
    rows = collect.entries(chosen.folders)
    fields = list(dict.fromkeys(collect.field_name(rows, name) for name in chosen.by)) or varied(
        [row.settings for row in rows]
    )
    groups = collect.group(rows, fields)
    names = collect.chosen_figures(rows, chosen.figure)
    title = chosen.title or f"{rows[0].recipe} by {', '.join(map(bare, fields)) or 'seed'}"
    paper.write(chosen.out, title, groups, names, figures.draw(groups, names))
    console.print(tables.comparison(groups, names))
    for text in paper.warnings(rows):
        console.print(text, style="yellow")
    console.print(str(chosen.out / "report.html"), soft_wrap=True)
    return 0


if __name__ == "__main__":
    command(main)
