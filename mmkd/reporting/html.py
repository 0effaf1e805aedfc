"""Small pieces of HTML, with everything escaped that comes from runs."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Html(str):
    """Text that is HTML already."""

    def __add__(self, other: str) -> 'Html':
        return Html(str(self) + safe(other))


def safe(value: Any) -> Html:
    """HTML as it is; anything else as text."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def tag(name: str, *children: Any, **attributes: Any) -> Html:
    """An element; ``class_`` is its class, and of other names underscores are hyphens."""
    said = ''.join(f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items())
    return Html(f'<{name}{said}>{"".join(map(safe, children))}</{name}>')


def breakable(name: Any) -> Html:
    """A name that a narrow screen breaks behind its signs, not within a word."""
    return name if isinstance(name, Html) else Html(re.sub(r'([._/-])(?=[^\W\d])', r'\1<wbr>', safe(name)))


def table(head: Sequence[Any], rows: Iterable[Sequence[Any]], id_: str = '', class_: str = '') -> Html:
    """A table whose first column names the rows; numbers stand to the right."""
    rows = list(rows)
    columns = list(zip(*rows))
    kinds = ['text', *('number' if all(map(_is_number, column)) else 'text' for column in columns[1:])]
    top = tag('tr', *(tag('th', breakable(name), scope='col', class_=kind) for name, kind in zip(head, kinds)))
    body = [
        tag(
            'tr',
            tag('th', breakable(first), scope='row'),
            *(tag('td', cell, class_=kind) for cell, kind in zip(rest, kinds[1:])),
        )
        for first, *rest in rows
    ]
    names = {key: value for key, value in (('id', id_), ('class_', class_)) if value}
    return tag('div', tag('table', tag('thead', top), tag('tbody', *body), **names), class_='scroll')


def section(id_: str, title: str, *parts: Any) -> Html:
    """A part of the page with a heading; empty where there is nothing in it."""
    kept = [part for part in parts if part]
    return tag('section', tag('h2', title), *kept, id=id_) if kept else Html()


def note(text: Any) -> Html:
    """A sentence in small type."""
    return tag('p', text, class_='note')


def number(value: float | None) -> str:
    """Four digits, as a figure of a result is told."""
    return '' if value is None else f'{value:.4g}'


def _is_number(cell: Any) -> bool:
    shown = str(cell).lstrip('+-')
    return not shown or (shown[0].isdigit() and len(shown) < 30)
