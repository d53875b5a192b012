"""A comparison on paper: the same table as Markdown, LaTeX and CSV, and one HTML page that needs nothing else."""

import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from os.path import relpath
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from matplotlib.figure import Figure

from research.engine.files import write_text
from research.report.collect import Entry, Group, headings, members, runs
from research.report.figures import save
from research.report.numerals import MISSING, alike, interval
from research.report.stats import LEVEL

NOTE = (
    f"Mean over seeds and {100 * LEVEL:g} % t interval of that mean; n seeds. {MISSING}: a seed has no value, or n = 1."
)


class Section(NamedTuple):
    """A further table of a comparison, of texts."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


def write(
    folder: Path,
    title: str,
    groups: Sequence[Group],
    figures: Sequence[str],
    pictures: Mapping[str, Figure],
    further: Sequence[Section] = (),
) -> None:
    """Writes a comparison into a folder: report.html, table.md, table.tex, table.csv and each picture as PNG and PDF."""
    sections = [f"\n## {x.title}\n\n{pipes(x.heads, x.rows)}\n" for x in further]
    texts = {
        "table.md": "".join([markdown(groups, figures), *sections]),
        "table.tex": latex(groups, figures),
        "table.csv": comma_separated(full(groups, figures)),
        "report.html": page(title, groups, figures, pictures, folder.resolve(), further),
    }
    write_files(folder, texts, pictures)


def write_files(folder: Path, texts: Mapping[str, str], pictures: Mapping[str, Figure]) -> None:
    """Writes texts by file name, and each picture as PNG and PDF, into a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        for ending in ("png", "pdf"):
            save(picture, folder / f"{name}.{ending}")
    for name, text in texts.items():
        write_text(folder / name, text)


def printed(groups: Sequence[Group], figures: Sequence[str], n: str) -> tuple[list[str], list[list[str]]]:
    """The printed table as texts -> heads, of which the last is called `n`, and rows."""
    heads = [*headings(groups), *(x for name in figures for x in (name, "interval")), n]
    rows = []
    for group in groups:
        numbers = [group.numbers(name) for name in figures]
        texts = [text for x in numbers for text in interval(x["mean"], x["low"], x["high"])]
        rows.append([*group.settings, *texts, str(len(group.entries))])
    return heads, rows


def markdown(groups: Sequence[Group], figures: Sequence[str]) -> str:
    rows = members(groups)
    return "\n\n".join([pipes(*printed(groups, figures, "n")), NOTE, *warnings(rows), provenance(rows)]) + "\n"


def pipes(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts as Markdown."""
    whole = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in whole)


def latex(groups: Sequence[Group], figures: Sequence[str]) -> str:
    """A booktabs table: \\usepackage{booktabs}."""
    heads, body = printed(groups, figures, "$n$")
    kinds = "l" * len(headings(groups)) + "rr" * len(figures) + "r"
    return booktabs(heads, body, kinds, [NOTE, *warnings(members(groups))])


def booktabs(heads: Sequence[str], rows: Sequence[Sequence[str]], kinds: str, notes: Sequence[str]) -> str:
    """A table of texts as LaTeX, notes in comments above it."""
    escaped = [" & ".join(escape(cell) for cell in row) + r" \\" for row in [heads, *rows]]
    told = [f"% {text}" for text in notes]
    return "\n".join(
        [*told, rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", escaped[0], r"\midrule"]
        + [*escaped[1:], r"\bottomrule", r"\end{tabular}", ""]
    )


def escape(text: str) -> str:
    if text == "$n$":
        return text
    text = text.replace(MISSING, "--")
    own = {"_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}
    own |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(own.get(letter, letter) for letter in text)


def full(groups: Sequence[Group], figures: Sequence[str]) -> list[list[Any]]:
    """Heads, and every number at full precision, a row for each group."""
    parts = ("mean", "low", "high", "min", "max", "n")
    rows = [[*headings(groups), *(f"{name}.{part}" for name in figures for part in parts), "folders"]]
    for group in groups:
        numbers = [x for name in figures for x in group.numbers(name).values()]
        rows.append([*group.settings, *numbers, " ".join(folder.name for folder in runs(group.entries))])
    return rows


def comma_separated(rows: Iterable[Sequence[Any]]) -> str:
    """Rows, heads first, as CSV; what is missing (None) is empty."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0.2rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p.small, figcaption { color: #555; font-size: 0.85rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; }
th, td { padding: 0.3rem 0.7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #333; } th.setting, td.setting { text-align: left; }
th button { all: unset; cursor: pointer; font-weight: 600; } th button:focus-visible { outline: 2px solid #0072B2; }
th[aria-sort=ascending] button::after { content: " \\2191"; } th[aria-sort=descending] button::after { content: " \\2193"; }
table.plain td { white-space: normal; }
td a { color: inherit; text-decoration-color: #bbb; } .wide { overflow-x: auto; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(28rem, 1fr)); gap: 0 1.5rem; }
.warn { border-left: 4px solid #D55E00; padding-left: 0.8rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } .figures { grid-template-columns: 1fr 1fr; }
 figure, tr { break-inside: avoid; } }
"""

SORT = """
for (const button of document.querySelectorAll('th button')) button.onclick = () => {
  const head = button.parentElement, table = head.closest('table'), body = table.tBodies[0];
  const column = [...head.parentElement.children].indexOf(head);
  const up = head.getAttribute('aria-sort') !== 'ascending';
  for (const other of head.parentElement.children) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const key = row => { const cell = row.children[column], n = parseFloat(cell.dataset.value);
    return isNaN(n) ? cell.textContent : n; };
  const rows = [...body.rows].sort((a, b) => { const x = key(a), y = key(b);
    return (typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y))) * (up ? 1 : -1); });
  for (const row of rows) body.append(row);
};
"""


def page(
    title: str,
    groups: Sequence[Group],
    figures: Sequence[str],
    pictures: Mapping[str, Figure],
    home: Path,
    further: Sequence[Section] = (),
) -> str:
    """One self-contained HTML page; links to run folders are relative to `home`, where it will lie."""
    rows = members(groups)
    sections = [f'<p class="small">{html.escape(provenance(rows))}</p>']
    sections += [f'<p class="warn">{html.escape(text)}</p>' for text in warnings(rows)]
    sections += ["<h2>Table</h2>", f'<div class="wide">{sortable(groups, figures, home)}</div>']
    sections += [f'<p class="small">{html.escape(NOTE)} Click a heading to sort; a number leads to its runs.</p>']
    sections += map(plain, further)
    sections += ["<h2>Figures</h2>", '<div class="figures">']
    sections += [f"<figure>{drawing(figure)}</figure>" for figure in pictures.values()]
    return document(title, [*sections, "</div>"])


def document(title: str, sections: Sequence[str]) -> str:
    """A page of HTML sections that needs no other file."""
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *sections])
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n'
        f"{body}\n<script>{SORT}</script>\n</html>\n"
    )


def sortable(groups: Sequence[Group], figures: Sequence[str], home: Path) -> str:
    heads = "".join(f'<th class="setting"><button>{html.escape(name)}</button></th>' for name in headings(groups))
    for name in figures:
        heads += f"<th><button>{html.escape(name)}</button></th><th>interval</th><th><button>min</button></th>"
    rows = []
    for group in groups:
        links = [quote(relpath(folder, home)) for folder in runs(group.entries)]
        cells = "".join(
            f'<td class="setting" data-value="{html.escape(text)}">{html.escape(text)}</td>' for text in group.settings
        )
        for name in figures:
            x = group.numbers(name)
            mean, between = interval(x["mean"], x["low"], x["high"])
            (low,) = alike([x["min"]])
            cells += (
                f'<td data-value="{x["mean"]}"><a href="{links[0]}/">{mean}</a></td><td>{between}</td>'
                f'<td data-value="{x["min"]}">{low}</td>'
            )
        numbered = " ".join(f'<a href="{link}/">{i + 1}</a>' for i, link in enumerate(links))
        rows.append(
            f'<tr>{cells}<td data-value="{len(group.entries)}">{len(group.entries)}</td><td>{numbered}</td></tr>'
        )
    return (
        f"<table><thead><tr>{heads}<th><button>n</button></th><th>runs</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def plain(section: Section) -> str:
    head = "".join(f'<th class="setting">{html.escape(x)}</th>' for x in section.heads)
    rows = ("".join(f'<td class="setting">{html.escape(x)}</td>' for x in row) for row in section.rows)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table class=plain><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<h2>{html.escape(section.title)}</h2><div class="wide">{table}</div>'


def provenance(rows: Sequence[Entry]) -> str:
    """What was run, how much of it, on what, by which code."""
    found = runs(rows).values()
    manifests = [run.manifest for run in found]
    machines, versions, code = ([*sorted(set(told))] for told in zip(*map(origin, manifests), strict=True))
    steps = sorted({f"{m['budget']['steps']:,} {m.get('unit', 'steps')}" for m in manifests})
    seconds = sum(line["seconds"] for run in found for line in run.timings)
    notes = sorted({m["note"] for m in manifests if m.get("note")})
    return " · ".join(
        [
            f"{' and '.join(sorted({row.recipe for row in rows}))}: {len(rows)} runs of {' or '.join(steps)}",
            f"{seconds:,.0f} s in training chunks",
        ]
        + [", ".join(machines), ", ".join(versions), f"code {', '.join(code)}", *notes]
    )


def origin(manifest: Mapping[str, Any]) -> tuple[str, str, str]:
    """On what, with which JAX and by which code the run or search of a manifest was made."""
    machine = manifest["machine"]
    return (
        f"{machine.get('device_count', '?')} x {machine.get('processor') or machine.get('device_kind', 'no device named')}",
        f"jax {machine.get('versions', {}).get('jax', 'of no version named')}",
        f"{manifest.get('revision', 'no revision')[:10]}{' (changed)' if manifest.get('dirty') else ''}",
    )


def warnings(rows: Sequence[Entry]) -> list[str]:
    """What a reader must not overlook."""
    found = []
    if waiting := [entry for entry in rows if not entry.complete]:
        found.append(f"{len(waiting)} of {len(rows)} runs are not complete: their figures are the newest there are.")
    if lost := [entry for entry in rows if not entry.finite]:
        found.append(f"{len(lost)} of {len(rows)} runs diverged; they have no figures, and their settings no mean.")
    return found


def drawing(figure: Figure) -> str:
    """A figure as SVG text, without dates or random ids, so that equal runs give equal pages."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.hashsalt": "research", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
