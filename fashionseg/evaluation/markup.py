"""Small pieces of HTML: escaped text, sortable tables, bars.

Knows HTML. Knows nothing about metrics. Whatever comes from outside passes through `escape`.
"""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashionseg.evaluation.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        html: what is shown, escaped already.
        value: what rows are sorted by: a number or text; None sorts last.
        is_text: left-aligned.
    """

    html: str
    value: float | str | None
    is_text: bool = False


def escape(text: str) -> str:
    """Text that a browser shows as it is, in an element or in a quoted attribute."""
    return html.escape(printable(text), quote=True)


def text_cell(text: str, color: str | None = None) -> Cell:
    """A cell with text, behind a dot of a colour where one is given."""
    dot = f'<i class="dot" style="background:{escape(color)}"></i>' if color else ""
    return Cell(f"{dot}{escape(text)}", text.casefold(), is_text=True)


def number_cell(text: str, value: float | None, *, bar: bool = False) -> Cell:
    """A cell with a number; with `bar`, its value 0..1 is also drawn behind it."""
    shown = escape(text)
    if bar and value is not None:
        shown = f'<span class="bar" style="--share:{100 * min(max(value, 0.0), 1.0):.1f}%">{shown}</span>'
    return Cell(shown, value)


def table(headers: Sequence[tuple[str, str]], rows: Sequence[Sequence[Cell]], name: str) -> str:
    """A table whose columns can be sorted by a click.

    Args:
        headers: of each column its title and an explanation, which may be empty.
        rows: cells, as many as headers each.
        name: of the table, for screen readers.
    """
    text_columns = {i for row in rows for i, cell in enumerate(row) if cell.is_text}
    head = "".join(_header(title, about, i in text_columns) for i, (title, about) in enumerate(headers))
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    label = escape(name)
    return (
        f'<div class="scroll"><table aria-label="{label}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _header(title: str, about: str, is_text: bool) -> str:
    hint = f' title="{escape(about)}"' if about else ""
    kind = ' class="text"' if is_text else ""
    return f'<th scope="col"{kind}><button type="button"{hint}>{escape(title)}</button></th>'


def _cell(cell: Cell) -> str:
    value = "" if cell.value is None else escape(str(cell.value))
    kind = ' class="text"' if cell.is_text else ""
    return f'<td{kind} data-value="{value}">{cell.html}</td>'


def jpeg_image(data: bytes, size_hw: tuple[int, int], about: str) -> str:
    """A JPEG picture inside the page."""
    encoded = base64.b64encode(data).decode("ascii")
    return (
        f'<img alt="{escape(about)}" width="{size_hw[1]}" height="{size_hw[0]}" loading="lazy" '
        f'src="data:image/jpeg;base64,{encoded}">'
    )


def section(name: str, title: str, about: str, body: str) -> str:
    """A section of the page; `about` is escaped here, `body` is HTML."""
    lead = f"<p class=lead>{escape(about)}</p>" if about else ""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{lead}{body}</section>'
