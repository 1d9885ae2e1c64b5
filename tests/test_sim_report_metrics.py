"""The numbers that a reader sees on the page are scikit-learn's, of the predictions on the disk."""

import csv
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from recorded_runs import write_run
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

from sim.commands.report import main

ROWS = {"score": ("student", "dense student"), "score_int8": ("INT8 student", "dense INT8")}
ROWS["score_teacher"] = ("teacher", "teacher")
"""Column of predictions.csv -> row of the table of metrics, and of the closing table."""


class Tables(HTMLParser):
    """Every table of a page, as rows of texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[list[str]]]]:
    folder = write_run(tmp_path_factory.mktemp("runs") / "run", seed=3)
    assert main([str(folder)]) == 0
    reader = Tables()
    reader.feed((folder / "report.html").read_text(encoding="utf-8"))
    return folder, reader.tables


def rows_of(tables: list[list[list[str]]], *headings: str) -> dict[str, dict[str, str]]:
    """Of the only table with these headings: name of a row -> heading -> text."""
    (table,) = (table for table in tables if set(headings) <= set(table[0]))
    return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}


@pytest.mark.parametrize("column", ROWS)
def test_metrics_on_the_page_are_those_of_scikit_learn(
    found: tuple[Path, list[list[list[str]]]], column: str
) -> None:
    folder, tables = found
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    truth, scores = [int(row["label"]) for row in rows], [float(row[column]) for row in rows]
    verdict = [int(score > 0.5) for score in scores]
    assert 0 < sum(a != b for a, b in zip(truth, verdict, strict=True)) < len(rows)
    name, closing_name = ROWS[column]
    detection = rows_of(tables, "network", "precision", "EER")[name]
    assert detection["clips"] == str(len(rows))
    assert detection["accuracy, %"].split()[0] == f"{100 * accuracy_score(truth, verdict):.1f}"
    assert detection["precision"] == f"{precision_score(truth, verdict):.3f}"
    assert detection["recall"] == f"{recall_score(truth, verdict):.3f}"
    assert detection["F1"] == f"{f1_score(truth, verdict):.3f}"
    assert detection["AUC"].split()[0] == f"{roc_auc_score(truth, scores):.3f}"
    closing = rows_of(tables, "network", "speed-up")[closing_name]
    assert closing["acc. %"] == f"{100 * accuracy_score(truth, verdict):.1f}"
    assert closing["F1"] == f"{f1_score(truth, verdict):.3f}"
    assert closing["AUC"] == f"{roc_auc_score(truth, scores):.3f}"
    by_category = rows_of(tables, "category", "clips")
    for category in {row["category"] for row in rows}:
        own = [index for index, row in enumerate(rows) if row["category"] == category]
        right = accuracy_score([truth[index] for index in own], [verdict[index] for index in own])
        assert by_category[category][f"{name}: accuracy, %"] == f"{100 * right:.1f}"
