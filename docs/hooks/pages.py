"""What mkdocs builds beside the pages that were written: the reference, the results, the graph of imports, and the files of
the repository's root that are pages too."""

import re
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
FROM_ROOT = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?://|#)([^)]+)\)")
GRAPH, TABLE = "design/imports.svg", "<!-- table of imports -->"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    into(config, "Results", refused(results.nav, RESULTS))
    into(config, "Reference", refused(reference.nav, ROOT))
    config.nav += [
        {page.removesuffix(".md").capitalize(): page} for name, page in FROM_ROOT.items() if (ROOT / name).exists()
    ]
    return config


def into(config: MkDocsConfig, title: str, entries: list[Any]) -> None:
    """Adds entries to a section of the navigation."""
    (section,) = [entry[title] for entry in config.nav or [] if title in entry]
    section += [entry for entry in entries if entry not in section]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    made = refused(reference.pages, ROOT) | refused(results.pages, RESULTS)
    made |= {page: at_home(ROOT / name) for name, page in FROM_ROOT.items() if (ROOT / name).exists()}
    made[GRAPH] = imports.svg(refused(imports.read, ROOT))
    for name, text in made.items():
        files.append(File.generated(config, name, content=text, inclusion=InclusionLevel.INCLUDED))
    return files


def at_home(path: Path) -> str:
    """A file of the root as a page: links to pages lead there, what else lies in the repository is named alone."""

    def link(found: re.Match[str]) -> str:
        text, target = found.groups()
        file, sharp, place = target.partition("#")
        page = FROM_ROOT.get(file, file.removeprefix("docs/"))
        known = file in FROM_ROOT or (page != file and page.endswith(".md") and (ROOT / file).exists())
        return f"[{text}]({page}{sharp}{place})" if known else text

    return LINK.sub(link, path.read_text())


def on_page_markdown(markdown: str, **others: Any) -> str:
    return markdown.replace(TABLE, imports.table(imports.read(ROOT))) if TABLE in markdown else markdown


def refused(make: Any, *arguments: Any) -> Any:
    """What `make` gives. What it refuses stops the build with its message."""
    try:
        return make(*arguments)
    except ValueError as error:
        raise PluginError(str(error)) from None
