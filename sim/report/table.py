"""The closing table of a run: teacher, students and INT8 forms side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from sim.round_record import Measured, RoundRecord

WIDTH = 100
TEACHER = "teacher"
DENSE = "dense student"
PRUNED = "pruned student"
WEAK = "weak student"
HEADERS = (
    "network",
    "size\nMB",
    "param.\nM",
    "MACs\nM",
    "latency ms\np50 / p95",
    "speed-\nup",
    "acc.\n%",
    "F1",
    "AUC",
    "EPS\n(shuffled)",
)


@dataclass(frozen=True)
class ModelRow:
    """One network on the test split; None where not measured.

    Attributes:
        name: "teacher", "dense student", "pruned student", "weak student", "dense INT8", ...
        size_bytes: of the ONNX file.
        num_parameters: weights, of the float network.
        macs: multiply-accumulates of one clip.
        latency_ms_p50: median in ONNX Runtime, one thread, batch 1.
        latency_ms_p95: 95th percentile.
        speedup: the teacher's median over this one's, both timed in one session.
        accuracy: in [0, 1], as are ``f1`` and ``auc``.
        f1: of the class "fake".
        auc: area under the ROC curve.
        eps: mean EPS; 1 for the teacher by definition.
        eps_shuffled: its shuffled baseline.
    """

    name: str
    size_bytes: int | None = None
    num_parameters: int | None = None
    macs: int | None = None
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None
    speedup: float | None = None
    accuracy: float | None = None
    f1: float | None = None
    auc: float | None = None
    eps: float | None = None
    eps_shuffled: float | None = None


def rows_of_run(rounds: Sequence[RoundRecord], teacher: Mapping[str, Any]) -> list[ModelRow]:
    """The rows of the closing table.

    The dense student is that of the last round before any pruning; the others are of the last round.
    Without pruning the last round's student is the dense one. The narrower student of a mixed fleet
    comes last. Networks that were never measured are left out.

    Args:
        rounds: of the run, oldest first.
        teacher: the row of ``summary.json``.
    """
    rows = [_teacher_row(rounds, teacher)]
    if not rounds:
        return rows
    pruned = pruned_rounds(rounds)
    if pruned:
        dense = [record for record in rounds if record["round_index"] < pruned[0]]
        rows += [_float_row(DENSE, record) for record in dense[-1:]]
    name = PRUNED if pruned else DENSE
    rows += _both_rows(name, rounds[-1])
    weak = rounds[-1].get("weak")
    if weak:
        rows += _both_rows(WEAK, weak)
    return rows


def pruned_rounds(rounds: Sequence[RoundRecord]) -> list[int]:
    """The indices of the rounds after whose aggregation the student shrank."""
    return [record["round_index"] for record in rounds if record.get("prune")]


def closing_table(rows: Sequence[ModelRow]) -> Table:
    """The rows as a table of at most 100 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for index, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row))
    return table


def print_table(rows: Sequence[ModelRow], console: Console | None = None) -> None:
    """Print the rows to standard output, 100 columns wide, or to ``console``."""
    (console or Console(width=WIDTH)).print(closing_table(rows))


def to_markdown(rows: Sequence[ModelRow]) -> str:
    """The rows as a table in Markdown."""
    headers = [header.replace("-\n", "-").replace("\n", " ") for header in HEADERS]
    rules = ["---"] + ["---:"] * (len(headers) - 1)
    lines = [headers, rules, *(cells(row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cells(row: ModelRow) -> list[str]:
    """The texts of one row in the order of `HEADERS`; "-" where there is no number."""
    latency = f"{three_digits(row.latency_ms_p50)} / {three_digits(row.latency_ms_p95)}"
    eps = _text(row.eps, ".2f")
    return [
        row.name,
        _text(row.size_bytes, ".2f", 1e-6),
        _text(row.num_parameters, ".2f", 1e-6),
        three_digits(None if row.macs is None else row.macs / 1e6),
        "-" if latency == "- / -" else latency,
        "-" if row.speedup is None else f"{row.speedup:.1f}x",
        _text(row.accuracy, ".1f", 100),
        _text(row.f1, ".3f"),
        _text(row.auc, ".3f"),
        eps if row.eps_shuffled is None else f"{eps} ({row.eps_shuffled:.2f})",
    ]


def _text(value: float | None, form: str, scale: float = 1.0) -> str:
    return "-" if value is None else format(value * scale, form)


def three_digits(value: float | None) -> str:
    """At least three digits: 4.10, 41.0, 410, 4,100."""
    if value is None:
        return "-"
    return f"{value:,.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _teacher_row(rounds: Sequence[RoundRecord], teacher: Mapping[str, Any]) -> ModelRow:
    p50 = teacher.get("latency_ms_p50")
    p95 = teacher.get("latency_ms_p95")
    onnx = rounds[-1]["onnx"] if rounds else None
    if p50 is None and onnx:
        p50, p95 = onnx["teacher_latency_ms_p50"], onnx.get("teacher_latency_ms_p95")
    return ModelRow(
        name=TEACHER,
        size_bytes=teacher.get("size_bytes"),
        num_parameters=teacher.get("num_parameters"),
        macs=teacher.get("macs"),
        latency_ms_p50=p50,
        latency_ms_p95=p95,
        speedup=None if p50 is None else 1.0,
        accuracy=teacher.get("accuracy"),
        f1=teacher.get("f1"),
        auc=teacher.get("auc"),
        eps=1.0,
    )


def _both_rows(name: str, record: Measured) -> list[ModelRow]:
    """A student of one round, and its INT8 form if it has one."""
    rows = [_float_row(name, record)]
    if record["onnx"] and record["onnx"]["int8"]:
        rows.append(_int8_row(f"{name.removesuffix(' student')} INT8", record))
    return rows


def _float_row(name: str, record: Measured) -> ModelRow:
    """The float student of one round."""
    student, metrics, eps = record["student"], record["global"], record["eps"]
    onnx = record["onnx"]
    graph = onnx["fp32"] if onnx else None
    return ModelRow(
        name=name,
        size_bytes=graph["size_bytes"] if graph else student["size_bytes"] if student else None,
        num_parameters=student["num_parameters"] if student else None,
        macs=student["macs"] if student else None,
        latency_ms_p50=graph["latency_ms_p50"] if graph else None,
        latency_ms_p95=graph["latency_ms_p95"] if graph else None,
        speedup=_speedup(record, graph),
        accuracy=metrics["accuracy"] if metrics else None,
        f1=metrics["f1"] if metrics else None,
        auc=metrics["auc"] if metrics else None,
        eps=eps["mean"] if eps else None,
        eps_shuffled=eps["shuffled"] if eps else None,
    )


def _int8_row(name: str, record: Measured) -> ModelRow:
    """The INT8 student of one round, which must have one."""
    student, onnx = record["student"], record["onnx"]
    graph: Mapping[str, Any] = (onnx["int8"] if onnx else None) or {}
    return ModelRow(
        name=name,
        size_bytes=graph.get("size_bytes"),
        num_parameters=student["num_parameters"] if student else None,
        macs=student["macs"] if student else None,
        latency_ms_p50=graph.get("latency_ms_p50"),
        latency_ms_p95=graph.get("latency_ms_p95"),
        speedup=_speedup(record, graph),
        accuracy=graph.get("accuracy"),
        f1=graph.get("f1"),
        auc=graph.get("auc"),
        eps=graph.get("eps"),
        eps_shuffled=graph.get("eps_shuffled"),
    )


def _speedup(record: Measured, graph: Mapping[str, Any] | None) -> float | None:
    """The teacher's median over that of ``graph``, of the same round."""
    teacher = record["onnx"]["teacher_latency_ms_p50"] if record["onnx"] else None
    own = graph.get("latency_ms_p50") if graph else None
    return teacher / own if teacher and own else None
