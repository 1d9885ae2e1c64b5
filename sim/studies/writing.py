"""A study's outcome as Markdown: published and measured side by side, and what was not the same."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sim.studies.claiming import Verdict
from sim.studies.measuring import CONFUSION
from sim.studies.rows import ACCURACY_BY_CATEGORY, PublishedTable
from sim.studies.study import CENTRAL, FEDERATED

HEADINGS: Mapping[str, str] = {
    "accuracy": "acc. %",
    "training_accuracy": "training acc. %",
    "f1": "F1 %",
    "auc": "AUC",
    "eps": "EPS",
    "eps_shuffled": "EPS shuffled",
    "num_parameters": "parameters",
    "macs_g": "MACs G",
    "size_mb": "MB",
    "size_mib": "MiB",
    "latency_ms": "ms, 1 clip",
    "seconds_per_batch_32": "s, 32 pictures",
    "speedup": "times as fast",
    "soft_weight": "soft weight",
    "true_negatives": "TN",
    "false_positives": "FP",
    "false_negatives": "FN",
    "true_positives": "TP",
}

DECIMALS: Mapping[str, int] = {
    "auc": 3,
    "eps": 2,
    "eps_shuffled": 2,
    "macs_g": 3,
    "size_mb": 2,
    "size_mib": 2,
    "latency_ms": 2,
    "seconds_per_batch_32": 4,
    "accuracy": 2,
    "training_accuracy": 2,
}

CHOSEN = ("ratio", "alpha", "beta", "soft_weight")
"""Columns that were asked for, not measured: they stand in the published line only."""

WHOSE = {CENTRAL: "here, central", FEDERATED: "here, federated"}


@dataclass(frozen=True)
class SideBySide:
    """One table of the outcome.

    Attributes:
        table: the published one.
        columns: keys, published ones first.
        rows: label -> regime -> what was measured; None where the run failed.
        verdicts: on the table's claims.
    """

    table: PublishedTable
    columns: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Mapping[str, float] | None]]
    verdicts: tuple[Verdict, ...]

    def published(self, label: str) -> Mapping[str, float]:
        """A row's printed values; none where the publication has no such row."""
        return next((row.values for row in self.table.rows if row.label == label), {})


@dataclass(frozen=True)
class AuditTable:
    """A table that an audit gave.

    Attributes:
        title: of it.
        command: that prints it.
        headings: of the columns.
        rows: cells, formatted.
        failure: why there is none, or "".
    """

    title: str
    command: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    failure: str = ""


@dataclass(frozen=True)
class Outcome:
    """All that a study found.

    Attributes:
        title: of the document.
        facts: where the numbers come from: command, date, commit, hardware, time.
        tables: in the document's order.
        audits: tables of audits.
        differences: what was not the same.
        failures: runs that failed, with the reason.
    """

    title: str
    facts: Mapping[str, Any]
    tables: tuple[SideBySide, ...]
    audits: tuple[AuditTable, ...]
    differences: tuple[str, ...]
    failures: Mapping[str, str]


def markdown(outcome: Outcome) -> str:
    """The whole page."""
    lines = [f"# {outcome.title}, replayed", ""]
    lines += [f"- {name}: {value}" for name, value in outcome.facts.items()]
    lines += ["", "**Not the same as in the source:**", ""]
    lines += [f"- {text}" for text in outcome.differences]
    if outcome.failures:
        lines += ["", "**Runs that failed:**", ""]
        lines += [f"- {name}: {reason}" for name, reason in outcome.failures.items()]
    for table in outcome.tables:
        lines += ["", *_section(table)]
    for audit in outcome.audits:
        lines += [
            "",
            f"## {audit.title}",
            "",
            f"`{audit.command}`",
            "",
        ]
        lines += [audit.failure] if audit.failure else table_lines(audit.headings, audit.rows)
    return "\n".join(lines) + "\n"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The same for machines; published and measured values unrounded."""
    return {
        **outcome.facts,
        "differences": list(outcome.differences),
        "failures": dict(outcome.failures),
        "tables": [
            {
                "table": side.table.key,
                "source": side.table.source,
                "rows": [
                    {
                        "label": label,
                        "published": dict(side.published(label)),
                        **{regime: None if row is None else dict(row) for regime, row in measured.items()},
                    }
                    for label, measured in side.rows.items()
                ],
                "claims": [asdict(verdict) for verdict in side.verdicts],
            }
            for side in outcome.tables
        ],
        "audits": [asdict(audit) for audit in outcome.audits],
    }


def _section(side: SideBySide) -> list[str]:
    table = side.table
    lines = [f"## {table.title}", "", f"Published: {table.source}. In brackets: measured less published.", ""]
    rows = []
    for label, measured in side.rows.items():
        published = side.published(label)
        if published:
            rows.append((label, "published", *(_cell(key, published.get(key)) for key in side.columns)))
        for index, (regime, row) in enumerate(measured.items()):
            name = "" if published or index else f"{label} (not in the source)"
            cells = ("failed",) * len(side.columns)
            if row is not None:
                cells = tuple(_measured(key, row, published) for key in side.columns)
            rows.append((name, WHOSE.get(regime, regime), *cells))
    lines += table_lines(("", "whose", *map(heading, side.columns)), rows)
    if side.verdicts:
        lines += [
            "",
            *table_lines(
                ("the source says", "", "there", "here (95 % interval)", "here it goes"),
                map(_told, side.verdicts),
            ),
        ]
    if table.notes:
        lines += ["", "Of the published table: " + "; ".join(table.notes) + "."]
    return lines


def _told(verdict: Verdict) -> tuple[str, ...]:
    measured = f"{verdict.measured:+.{_digits(verdict.key)}f}"
    if verdict.low is not None and verdict.high is not None:
        digits = _digits(verdict.key)
        measured += f" ({verdict.low:+.{digits}f} to {verdict.high:+.{digits}f})"
    published = f"{verdict.published:+.{_digits(verdict.key)}f} {heading(verdict.key)}"
    return verdict.text, verdict.regime, published, measured, verdict.verdict


def heading(key: str) -> str:
    """A column's name on the page."""
    if key.startswith(ACCURACY_BY_CATEGORY):
        return key.removeprefix(ACCURACY_BY_CATEGORY)
    return HEADINGS.get(key, key.replace("_", " "))


def _digits(key: str) -> int:
    return 1 if key.startswith(ACCURACY_BY_CATEGORY) else DECIMALS.get(key, 2)


def _measured(key: str, row: Mapping[str, float], published: Mapping[str, float]) -> str:
    if key in CHOSEN or key not in row:
        return ""
    told = _cell(key, row[key])
    if key not in published or key in CONFUSION:
        return told
    difference = row[key] - published[key]
    sign = f"{difference:+,.0f}" if key == "num_parameters" else f"{difference:+.{_digits(key)}f}"
    return f"{told} ({sign})"


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return ""
    if key == "num_parameters" or key in CONFUSION:
        return f"{value:,.0f}"
    if key in CHOSEN:
        return f"{value:g}"
    return f"{value:.{_digits(key)}f}"


def table_lines(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines of Markdown."""
    lines = ["| " + " | ".join(headings) + " |", "| --- " * len(headings) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows)]
