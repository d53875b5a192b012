"""The results' pages, made of what lies in docs/results: nothing here is typed by hand."""

import re
from pathlib import Path
from typing import Any

import plain
from stored import ABOUT, BENCHES, LINKED, SPEED, TESTED, Results, Summary, read

from research.catalog import RECIPES
from research.catalog import find as recipe_of
from research.studies import STUDIES
from research.studies import find as study_of


def pages(home: Path) -> dict[str, str]:
    """{page: Markdown} of everything."""
    found = read(home)
    pages = {
        "results/index.md": overview(found),
        "results/recipes.md": recipes(found),
        "results/speed.md": speed(found),
        f"results/{TESTED}.md": tested(home),
    }
    for name, folder in found.studies.items():
        pages[f"results/{name}.md"] = study_page(name, folder)
    for name, folder in found.folders.items():
        pages[f"results/{name}.md"] = folder_page(name, folder, found)
    return pages


def nav(home: Path) -> list[Any]:
    found = read(home)
    return [
        {"Studies": [{name: f"results/{name}.md"} for name in found.studies]},
        {"Recipes": ["results/recipes.md", *[{name: f"results/{name}.md"} for name in found.folders]]},
        {"Speed": "results/speed.md"},
        {"Mutants": f"results/{TESTED}.md"},
    ]


def overview(found: Results) -> str:
    """Every study and every recipe of the catalog, with what is known of it."""
    lines = [
        "# Results",
        "",
        "Made when this site is built, of the files in `docs/results`; no number here is typed by hand. A mean is over seeds, "
        "with its 95 % t interval; n is the number of seeds. Where all seeds are alike there is no spread to make an "
        "interval of.",
        "",
        "## Studies",
        "",
        "`python scripts/reproduce.py NAME` runs a study again and writes its table.",
        "",
        "| study | question | runs, cost, machine |",
        "| --- | --- | --- |",
    ]
    for name in STUDIES:
        question = cell(study_of(name).question)
        if name in found.studies:
            lines.append(
                f"| [{name}]({name}.md) | {question} | {cell(cost_of((found.studies[name] / 'table.md').read_text()))} |"
            )
        else:
            lines.append(f"| {name} | {question} | no result yet |")
    lines += [
        "",
        "## Recipes",
        "",
        "`python scripts/train.py NAME` trains a recipe. The figure is the first that the recipe watches, of each summary "
        "that is kept; [all their figures](recipes.md) and what each recipe is are on a page of their own.",
        "",
        "| recipe | setting | figure | mean | 95 % interval | n | steps a seed |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name in RECIPES:
        mine = [one for one in found.summaries if one.found["recipe"] == name]
        link = f"[{name}](recipes.md#{name})"
        if not mine:
            arms = [study for study in found.studies if name in trained_in(study)]
            told = (
                f"no summary of its own; see {', '.join(f'[{x}]({x}.md)' for x in arms)}" if arms else "no result yet"
            )
            lines.append(f"| {link} | {told} | | | | | |")
        for one in mine:
            figure, place = first_figure(one.found), one.path.relative_to(found.home).with_suffix("")
            steps = f"{one.found['steps_per_seed']:,} {one.found['unit']}"
            lines.append(
                f"| {link} | {cell(str(place))} | {cell(figure)} | {number(one.found[figure])} "
                f"| {interval(one.found, figure)} | {one.found['count'][figure]} | {steps} |"
            )
    lines += [
        "",
        "## Speed",
        "",
        "[Ratios beside other libraries](speed.md), from alternating rounds on the same cores.",
        "",
    ]
    return "\n".join(lines)


def trained_in(study: str) -> set[str]:
    """Recipes of a study's runs."""
    one = study_of(study)
    presets = [x.preset for x in (*one.blocks, *one.arms) if x.preset] + ([one.before.preset] if one.before else [])
    return {preset.recipe.name for preset in presets}


def cost_of(table: str) -> str:
    """The line of a study's table that says what was run, for how long and on what."""
    (line,) = re.findall(r"^.*s in training chunks.*$", table, re.MULTILINE)
    return " · ".join(line.split(" · ")[:3])


def first_figure(found: dict[str, Any]) -> str:
    return next(iter(found["interval"]))


def recipes(found: Results) -> str:
    """Every recipe: what it says of itself, and what is kept of its runs."""
    lines = [
        "# Recipes",
        "",
        "What each recipe says of itself (`train.py NAME --help` prints it too), and the runs that are kept.",
    ]
    for name in RECIPES:
        first, _, rest = recipe_of(name).about.strip().partition("\n")
        lines += ["", f"## {name}", "", about(f"{first}\n{rest}"), ""]
        mine = [one for one in found.summaries if one.found["recipe"] == name]
        for one in mine:
            if one.path.parent == found.home:
                lines += of_summary(one, found.home, 3)
        if folders := sorted({one.path.parent.name for one in mine} & set(found.folders)):
            lines.append(f"Figures: {', '.join(f'[{x}]({x}.md)' for x in folders)}.")
        if not mine:
            arms = [study for study in found.studies if name in trained_in(study)]
            lines.append(f"Figures: {', '.join(f'[{x}]({x}.md)' for x in arms)}." if arms else "No result yet.")
    return "\n".join(lines) + "\n"


def about(text: str) -> str:
    """A recipe's own text: paragraphs, and command lines as code."""
    lines = [line.strip() for line in text.strip().splitlines()]
    blocks = [block.splitlines() for block in "\n".join(lines).split("\n\n") if block.strip()]
    return "\n\n".join(
        "```\n" + re.sub(r"( \\)?\n--", r" \\\n    --", "\n".join(block)) + "\n```"
        if block[0].startswith("python ")
        else plain.prose(" ".join(block))
        for block in blocks
    )


def of_summary(one: Summary, home: Path, level: int) -> list[str]:
    """A run's figures over its seeds, its machine, its pictures, and where the file is."""
    found, place = one.found, one.path.relative_to(home)
    lines = [f"{'#' * level} {place.with_suffix('')}", ""]
    if one.about:
        lines += [one.about.strip(), ""]
    lines += ["| figure | mean | 95 % interval | min | max | n |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for figure in found["interval"]:
        values = [
            number(found[figure]),
            interval(found, figure),
            number(found["min"][figure]),
            number(found["max"][figure]),
        ]
        lines.append(f"| {cell(figure)} | {' | '.join(values)} | {found['count'][figure]} |")
    machine = found["machine"]
    many, steps = len(found["rows"]), f"{found['steps_per_seed']:,} {found['unit']}"
    told = (
        f"{many} runs of {steps} · {found['seconds']:,.0f} s in training chunks, all together"
        if many > 1
        else f"one run of {steps} · {found['seconds']:,.0f} s in training chunks"
    )
    told += (
        f" · {machine['device_count']} x {machine['processor']} · jax {machine['versions']['jax']} · `{found['name']}`"
    )
    lines += ["", told + (f" · {cell(found['note'])}" if found["note"] else ""), ""]
    usual = recipe_of(found["recipe"])
    changed = options(found, usual)
    lines += ["```", " ".join(["python scripts/train.py", found["recipe"], *changed]), "```", ""]
    lines += [f"![{picture.stem}]({picture.relative_to(home)})\n" for picture in one.pictures]
    lines += [f"[{place}]({place}): every seed's figures, the whole setting and the machine.", ""]
    return lines


def options(found: dict[str, Any], usual: Any) -> list[str]:
    """What a command line says to make this run: seeds, and what differs from the recipe now. A field that the recipe did not
    have then is left as it is."""
    first, count = min(found["seeds"]), len(set(found["seeds"]))
    told = [f"--first-seed {first}"] if first else []
    told += [f"--seeds {count}"] if count > 1 else []
    told += [f"--steps {found['steps_per_seed']}"] if found["steps_per_seed"] != usual.budget.steps else []
    for kind, values in (("setup", found["setup"]), ("hyper", found["hyper"])):
        for name, value in values.items():
            now = getattr(getattr(usual, kind), name, value)
            now = list(now) if isinstance(now, tuple) else now
            if now != value:
                told.append(option(f"{kind}.{name.replace('_', '-')}", value))
    return told


def option(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return f"--{name}" if value else "--" + name.replace(".", ".no-", 1)
    if isinstance(value, list):
        return f"--{name} {' '.join(map(str, value))}".rstrip()
    return f"--{name} {value}"


def study_page(name: str, folder: Path) -> str:
    """A study: its question, what is to be said of it, its tables and pictures."""
    study = study_of(name)
    told = folder / ABOUT
    lines = [f"# {name}", "", plain.prose(study.question), "", "```", f"python scripts/reproduce.py {name}", "```", ""]
    lines += [told.read_text().strip(), ""] if told.exists() else []
    lines += ["## Table", "", escaped((folder / "table.md").read_text().strip()), ""]
    pictures = sorted(folder.glob("*.png"))
    lines += ["## Pictures", ""] if pictures else []
    for picture in pictures:
        lines += [f"![{picture.stem}]({name}/{picture.name})", ""]
    return "\n".join(lines + others(folder))


def escaped(table: str) -> str:
    """A table whose figures have names with underscores."""
    return "\n".join(line if line.startswith("| ---") else line.replace("_", "\\_") for line in table.splitlines())


def folder_page(name: str, folder: Path, found: Results) -> str:
    """Runs that belong together: what is to be said of them, each one's figures, what was printed, and pictures."""
    told = folder / ABOUT
    lines = [f"# {name}", "", told.read_text().strip() if told.exists() else "", ""]
    for one in found.summaries:
        if one.path.parent == folder:
            lines += of_summary(one, found.home, 2)
    for path in sorted(folder.glob("*.txt")):
        lines += [f"## {path.stem}", "", "```text", path.read_text().rstrip(), "```", ""]
    for picture in sorted(folder.glob("*.png")):
        lines += [f"![{picture.stem}]({name}/{picture.name})", ""]
    return "\n".join(lines + others(folder))


def others(folder: Path) -> list[str]:
    """Links to the files that are not shown."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in LINKED]
    return [f"Files: {', '.join(f'[{path.name}]({folder.name}/{path.name})' for path in files)}.", ""] if files else []


def speed(found: Results) -> str:
    """What is to be said of the comparisons, and the tables that scripts/bench.py has made of what it stored."""
    told, tables, growth = ((found.home / name).read_text() for name in SPEED)
    stored = [path.name for path in sorted(found.home.iterdir()) if path.name.startswith(BENCHES)]
    files = f"Files: {', '.join(f'[{name}]({name})' for name in stored if name.endswith('.json'))}."
    parts = ["# Speed", told.strip(), demoted(tables), demoted(growth), files]
    return "\n\n".join(parts) + "\n"


def tested(home: Path) -> str:
    """What the tests notice of mistakes, as tests/mutants.py has written it."""
    head = (
        "# Mutants\n\nSmall mistakes drawn at random, each alone, and whether tests notice: `python tests/mutants.py`."
    )
    draws = [f"[{path.name}]({TESTED}/{path.name})" for path in sorted((home / TESTED).glob("*.json"))]
    return f"{head}\n\n{escaped((home / TESTED / 'table.md').read_text())}\n\nFiles: {', '.join(draws)}.\n"


def demoted(text: str) -> str:
    """A page as a part of another."""
    return re.sub(r"^#", "##", text.strip(), flags=re.MULTILINE)


def interval(found: dict[str, Any], figure: str) -> str:
    ends = found["interval"][figure]
    if ends is None:
        return "–"
    return "all alike" if found["min"][figure] == found["max"][figure] else f"[{number(ends[0])}, {number(ends[1])}]"


def number(value: float | None) -> str:
    """At most five digits, and no exponent where it can be done without."""
    if value is None:
        return "–"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    return f"{value:#.4g}".rstrip(".") if abs(value) < 1000 else f"{value:,.1f}"


def cell(text: str) -> str:
    return plain.literal(" ".join(text.split()))
