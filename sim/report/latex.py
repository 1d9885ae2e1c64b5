"""A table in LaTeX, for ``booktabs`` and nothing else; names in other scripts than Latin need XeLaTeX."""

import re
from collections.abc import Sequence

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\ldots{}",
}
r"""Character -> what LaTeX sets for it. Brackets and stars would be arguments of a ``\\`` before them."""

_MINUS = re.compile(r"(?<![\w.,-])-(?=\d)")
_SIGN = "\ue000"  # of no script: stands for a minus while the rest is escaped


def escape(text: str) -> str:
    """Text as LaTeX sets it: special characters escaped, minus signs as such, no ligature of hyphens."""
    marked = _MINUS.sub(_SIGN, " ".join(text.split()))
    found = "".join("$-$" if letter == _SIGN else SPECIAL.get(letter, letter) for letter in marked)
    return re.sub("-(?=-)", "-{}", found)


def latex_table(
    name: str, caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, text: bool = False
) -> str:
    """A floating table with a label ``tab:NAME``.

    Args:
        name: of the label; underscores become hyphens.
        caption: plain text.
        headings: of the columns; the first names the row.
        rows: as many cells as headings each.
        text: columns of text wrap at equal widths; others hold numbers, to the right.
    """
    share = f"p{{{0.9 / len(headings):.2f}\\linewidth}}"
    columns = share * len(headings) if text else "l" + "r" * (len(headings) - 1)
    lines = [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{escape(caption)}}}",
        f"\\label{{tab:{name.replace('_', '-')}}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        _row(headings),
        "\\midrule",
        *map(_row, rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return " & ".join("--" if cell == "-" else escape(cell) for cell in cells) + r" \\"
