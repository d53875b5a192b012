"""What mkdocs builds beside the pages that were written: the reference, the results and the graph of imports."""

from pathlib import Path
from typing import Any

import imports
import reference
import results
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "docs" / "results"
GRAPH, TABLE = "design/imports.svg", "<!-- table of imports -->"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    into(config, "Results", refused(results.nav, RESULTS))
    into(config, "Reference", refused(reference.nav, ROOT))
    return config


def into(config: MkDocsConfig, title: str, entries: list[Any]) -> None:
    """Adds entries to a section of the navigation."""
    (section,) = [entry[title] for entry in config.nav or [] if title in entry]
    section += [entry for entry in entries if entry not in section]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    made = refused(reference.pages, ROOT) | refused(results.pages, RESULTS)
    made[GRAPH] = imports.svg(refused(imports.read, ROOT))
    for name, text in made.items():
        files.append(File.generated(config, name, content=text, inclusion=InclusionLevel.INCLUDED))
    return files


def on_page_markdown(markdown: str, **others: Any) -> str:
    return markdown.replace(TABLE, imports.table(imports.read(ROOT))) if TABLE in markdown else markdown


def refused(make: Any, *arguments: Any) -> Any:
    """What `make` gives. What it refuses stops the build with its message."""
    try:
        return make(*arguments)
    except ValueError as error:
        raise PluginError(str(error)) from None
