"""Tables in LaTeX: what it reserves is escaped, and what its row ends would swallow is protected."""

import re

import pytest

from sim.report.latex import SPECIAL, escape, latex_table
from sim.report.page import PageTable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("94.4 %", r"94.4 \%"),
        ("student_int8 & #1 {a} $x$", r"student\_int8 \& \#1 \{a\} \$x\$"),
        ("C:\\runs", r"C:\textbackslash{}runs"),
        ("~a^b", r"\textasciitilde{}a\textasciicircum{}b"),
        ("<nan> | >", r"\textless{}nan\textgreater{} \textbar{} \textgreater{}"),
        ("94.4 → 95.0 ± 1", r"94.4 $\rightarrow$ 95.0 $\pm$ 1"),
        ("-0.5 [-1.2, +3]", r"$-$0.5 {[}$-$1.2, +3{]}"),
        ("2026-11-21_16-47", r"2026-11-21\_16-47"),
        ("--cache-dir", r"-{}-cache-dir"),
        ("two\nlines", "two lines"),
        ("[1] *", r"{[}1{]} {*}"),
    ],
)
def test_text_is_set_as_it_is(text: str, expected: str) -> None:
    assert escape(text) == expected


def test_no_reserved_character_is_left_bare() -> None:
    everything = "".join(SPECIAL) * 2
    bare = re.sub(r"\\(?:[a-z]+\d*(?:\{\})?|[&%$#_{}])|\$(?:-|\\[a-z]+)\$", "", escape(everything))
    assert not set(bare) & set("\\&%$#_~^")
    assert bare.count("{") == bare.count("}")


def test_a_table_is_ruled_by_booktabs_and_has_as_many_cells_as_columns() -> None:
    rows = [["[a] & b", ("-0.5", "good"), "-"], ["c", "1 %", "2"]]
    text = PageTable("by_round", "In 100 % of rounds.", ["network", "a_1", "b"], rows).latex()
    lines = text.splitlines()
    assert "\\caption{In 100 \\% of rounds.}" in lines
    assert "\\label{tab:by-round}" in lines
    assert lines[lines.index("\\begin{tabular}{lrr}") :] == [
        "\\begin{tabular}{lrr}",
        "\\toprule",
        r"network & a\_1 & b \\",
        "\\midrule",
        r"{[}a{]} \& b & $-$0.5 & -- \\",
        r"c & 1 \% & 2 \\",
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"),
        ("begin", "tabular"),
        ("end", "tabular"),
        ("end", "table"),
    ]


def test_columns_of_text_share_the_line() -> None:
    text = latex_table("t", "c", ["a", "b", "c"], [], text=True)
    widths = [float(width) for width in re.findall(r"p\{([\d.]+)\\linewidth\}", text)]
    assert len(widths) == 3
    assert sum(widths) < 1
