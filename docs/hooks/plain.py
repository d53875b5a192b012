"""Docstrings as they are written: prose as prose, and what is laid out in columns in the columns that it has.

Ours are plain text: shapes such as f32[B,T], stars and underscores mean themselves, only backticks mean code. The fields of
a class become one table, for a heading each would hide what the class is.
"""

import html
import re
from typing import Any

import griffe

SIGNS = "*_[]<>&#!|\\~^=$+-.(){}:"  # what Markdown or the templates might read as something else


class Plain(griffe.Extension):
    """Turns every docstring of a loaded package into Markdown that shows it."""

    def on_package(self, *, pkg: griffe.Module, **others: Any) -> None:
        rewrite(pkg)


def rewrite(obj: griffe.Object) -> None:
    """An object and all that it holds."""
    if obj.docstring:
        obj.docstring.value = shown(obj.docstring.value)
    for member in list(obj.members.values()):
        if not member.is_alias:
            rewrite(member)
    if obj.is_class:
        fold_fields(obj)


def fold_fields(found: griffe.Class) -> None:
    """Moves a class's annotated fields from its members into its text."""
    fields = {name: member for name, member in found.members.items() if is_field(member)}
    if not fields:
        return
    rows = []
    for name, field in fields.items():
        default = f" = {field.value}" if field.value is not None else ""
        told = field.docstring.value if field.docstring else ""
        code = html.escape(f"{field.annotation}{default}")
        rows.append(f"<tr><td><code>{name}</code></td><td><code>{code}</code></td><td>{told}</td></tr>")
        del found.members[name]
    table = f"<table class='fields'>\n{chr(10).join(rows)}\n</table>"
    before = found.docstring.value + "\n\n" if found.docstring else ""
    found.docstring = griffe.Docstring(before + table, parent=found)


def is_field(member: Any) -> bool:
    """An annotated attribute, and no property."""
    return not member.is_alias and member.is_attribute and member.annotation and "property" not in member.labels


def shown(text: str) -> str:
    """A docstring -> Markdown."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()]
    return "\n\n".join(columns(block) if in_columns(block) else prose(block) for block in blocks)


def in_columns(block: str) -> bool:
    """Whether the spaces of a block mean something: lines that are indented, or words set apart by several spaces."""
    return any(line.startswith("  ") or re.search(r"\S {2,}\S", line) for line in block.splitlines())


def columns(block: str) -> str:
    return f'<pre class="columns">{html.escape(block)}</pre>'


def prose(block: str) -> str:
    """One paragraph; where it states shapes, such as `-> f32[B]`, its lines stay lines."""
    stated = re.search(r"->|\b(f|i|u|bool|key)\d*\[", block)
    parts = re.split(r"`([^`]*)`", block if stated else " ".join(block.split()))
    told = "".join(f"<code>{literal(part)}</code>" if odd % 2 else literal(part) for odd, part in enumerate(parts))
    return told.replace("\n", "<br>\n")


def literal(text: str) -> str:
    """Text in which nothing is Markdown."""
    return "".join(f"&#{ord(sign)};" if sign in SIGNS else sign for sign in text)
