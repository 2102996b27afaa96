"""The report as one page that carries its pictures with it and asks nothing of any network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 1180px; padding: 2.5rem 1.5rem 4rem; background: #f7f2e7;
  color: #3a332b; font: 16px/1.55 system-ui, sans-serif; }
h1, h2 { font-family: Georgia, "DejaVu Serif", serif; font-weight: 500; }
h1 { font-size: 2.1rem; margin: 0 0 .2rem; } h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; }
p.note { color: #7b7263; margin: 0 0 1.6rem; }
img { width: 100%; height: auto; border: 1px solid #d9cfbb; border-radius: 4px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem;
  margin: 1.4rem 0 1.8rem; }
.tile { background: #fcf9f2; border: 1px solid #e4dac6; border-radius: 4px; padding: .7rem .9rem; }
.tile b { display: block; font: 500 1.35rem Georgia, serif; } .tile span { color: #7b7263; font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .32rem .8rem .32rem 0; border-bottom: 1px solid #e4dac6; }
th { color: #7b7263; font-weight: 500; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
code { font-size: .9em; }
"""


def picture(path: Path, alt: str) -> str:
    """Return an img element with the PNG inside it."""
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table; numbers are set at the right."""
    numeric = [bool(rows) and isinstance(rows[0][n], (int, float)) for n in range(len(heads))]

    def cell(tag: str, n: int, value: object) -> str:
        text = f"{value:,}" if isinstance(value, int) else str(value)
        kind = ' class="n"' if numeric[n] else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell("th", n, name) for n, name in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(cell("td", n, value) for n, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def page(title: str, note: str, tiles: Mapping[str, str], parts: Sequence[tuple[str, str]]) -> str:
    """Return the page: a title, a row of figures, and parts of (heading, HTML)."""
    figures = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in tiles.items()
    )
    sections = "".join(f"<h2>{escape(head)}</h2>{html}" for head, html in parts)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="note">{escape(note)}</p>'
        f'<div class="tiles">{figures}</div>{sections}</body></html>\n'
    )


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and rename it there, so that no reader finds half of it."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
