"""A page of HTML that needs nothing else: style inline, figures as data URIs, no script, no network."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from urllib.parse import quote

from matplotlib.figure import Figure

from sim.report.column import PRINT_DPI
from sim.report.latex import latex_table
from sim.report.saving import picture_bytes

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #f3f5f7; --line: #d5dae0;
  --dim: #59636e; --good: #d9f0e4; --bad: #fbdcd0; --warn: #fdf0cf; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --paper: #14181d; --soft: #1e242b;
  --line: #38414b; --dim: #9aa5b1; --good: #16432f; --bad: #5a2416; --warn: #4d3d0e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.6rem; margin: .5rem 0; } h2 { margin-top: 2.5rem; border-bottom: 2px solid var(--line); }
h3 { margin: 1.8rem 0 .4rem; } a { color: inherit; }
nav ul { padding: 0; margin: .3rem 0; list-style: none; } nav ul ul { display: flex; flex-wrap: wrap;
  gap: .1rem 1rem; font-size: .9rem; } nav > ul > li > a { font-weight: 600; }
.scroll { overflow-x: auto; margin: .8rem 0; } .scroll:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--dim); padding-bottom: .3rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(70rem, calc(100vw - 4rem)); }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child, .text th, .text td { text-align: left; }
.text td, .text th { white-space: normal; } .text td { overflow-wrap: anywhere; min-width: 4.5rem; }
thead th { vertical-align: bottom; background: var(--soft); white-space: normal; }
figure { margin: 1rem 0; } figcaption { color: var(--dim); font-size: .88rem; }
figure img { display: block; width: 100%; max-width: 30rem; height: auto;
  background: #fff; border: 1px solid var(--line); border-radius: 4px; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 0 1rem; }
.note { background: var(--warn); padding: .5rem .9rem; border-radius: 4px; }
.dim { color: var(--dim); } td.good { background: var(--good); } td.bad { background: var(--bad); }
td.warn { background: var(--warn); }
@media print { :root { color-scheme: light; --ink: #000; --paper: #fff; --soft: #eee;
  --line: #bbb; --dim: #444; --good: #d9f0e4; --bad: #fbdcd0; --warn: #fdf0cf; }
  body { max-width: none; font-size: 10pt; padding: 0; } nav { display: none; } .scroll { overflow: visible; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } }
"""

_IN_DATA_URI = " !$'()*+,-./:;=?@[]^_`{|}~"

Cell = str | tuple[str, str]
"""Text, or text and a class of `STYLE`: "good", "bad", "warn", "dim"."""


@dataclass(frozen=True)
class PageTable:
    """A table of a page, that can be read as CSV, Markdown and LaTeX too.

    Attributes:
        name: of its files, without ending.
        caption: one sentence.
        headings: of the columns; the first column names the row.
        rows: as many cells as headings each.
        text: whether all columns hold text, not numbers.
    """

    name: str
    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text: bool = False

    def html(self) -> str:
        """A table that scrolls by itself where the screen is narrow."""
        head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in self.headings)
        body = "\n".join(
            f'<tr><th scope="row">{escape(_text(row[0]))}</th>{"".join(map(_cell, row[1:]))}</tr>'
            for row in self.rows
        )
        kind = ' class="text"' if self.text else ""
        return (
            f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(self.caption)}">'
            f"<table{kind}><caption><span>{escape(self.caption)}</span></caption>\n"
            f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
        )

    def csv(self) -> str:
        """With a header."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.headings)
        writer.writerows([_text(cell) for cell in row] for row in self.rows)
        return file.getvalue()

    def markdown(self) -> str:
        """As GitHub shows it."""
        rules = ["---"] + ["---" if self.text else "---:"] * (len(self.headings) - 1)
        lines = [list(self.headings), rules, *([_text(cell) for cell in row] for row in self.rows)]
        return "".join(
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines
        )

    def latex(self) -> str:
        """For ``booktabs``, with caption and label."""
        rows = [[_text(cell) for cell in row] for row in self.rows]
        return latex_table(self.name, self.caption, self.headings, rows, text=self.text)


@dataclass(frozen=True)
class PageFigure:
    """A figure of a page, with what it shows in words.

    Attributes:
        name: of its files in print, without ending.
        figure: of `sim.report.column`: it is shown as it is printed.
        caption: what it shows.
    """

    name: str
    figure: Figure
    caption: str

    def html(self) -> str:
        """The figure as SVG in a data URI: ids of several figures cannot meet."""
        # Not in base64, which is a third longer; URLs lose their line feeds.
        text = picture_bytes(self.figure, "svg", PRINT_DPI).decode().replace("\n", " ")
        picture = escape(quote(text, safe=_IN_DATA_URI))
        return (
            f'<figure><img alt="{escape(self.caption)}" src="data:image/svg+xml;charset=utf-8,{picture}">'
            f"<figcaption>{escape(self.caption)}</figcaption></figure>\n"
        )


@dataclass(frozen=True)
class Note:
    """A sentence; ``warning`` sets it off from the others."""

    text: str
    warning: bool = False

    def html(self) -> str:
        """One paragraph."""
        return f'<p class="{"note" if self.warning else "dim"}">{escape(self.text)}</p>\n'


Block = PageTable | PageFigure | Note


@dataclass(frozen=True)
class Section:
    """A heading and what comes below it; ``level`` 2 opens a part of the page, 3 a section of it."""

    title: str
    blocks: Sequence[Block] = ()
    level: int = 3


def page(title: str, sections: Sequence[Section]) -> str:
    """The whole document.

    Args:
        title: plain text.
        sections: in order.
    """
    parts = []
    for index, section in enumerate(sections):
        heading = f'<h{section.level} id="s{index}">{escape(section.title)}</h{section.level}>\n'
        parts.append(heading + _blocks(section.blocks))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1></header>\n"
        f'<nav aria-label="Contents">{_contents(sections)}</nav>\n'
        f"<main>\n{''.join(parts)}</main>\n</body>\n</html>\n"
    )


def _contents(sections: Sequence[Section]) -> str:
    """Links to the parts of the page, each with links to its sections."""
    items: list[str] = []
    inner: list[list[str]] = []
    for index, section in enumerate(sections):
        link = f'<a href="#s{index}">{escape(section.title)}</a>'
        if section.level == 2 or not items:
            items.append(link)
            inner.append([])
        else:
            inner[-1].append(f"<li>{link}</li>")
    lists = [f"<ul>{''.join(links)}</ul>" if links else "" for links in inner]
    return "<ul>" + "".join(f"<li>{a}{b}</li>" for a, b in zip(items, lists, strict=True)) + "</ul>"


def _blocks(blocks: Sequence[Block]) -> str:
    """The blocks in order; figures that follow each other stand side by side where there is room."""
    found = []
    for drawn, group in groupby(blocks, lambda block: isinstance(block, PageFigure)):
        texts = [block.html() for block in group]
        together = "".join(texts)
        found.append(f'<div class="grid">{together}</div>\n' if drawn and len(texts) > 1 else together)
    return "".join(found)


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell[0]


def _cell(cell: Cell) -> str:
    kind = "" if isinstance(cell, str) else f' class="{escape(cell[1])}"'
    return f"<td{kind}>{escape(_text(cell))}</td>"
