"""The rows of the compression table, and whether they reach what the project set out for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

FLOAT = "float"
TEACHER = "teacher"
DENSE = "dense"
TUNED = "dense, tuned"

MIN_EPS = 0.60
"""Lowest EPS of a student that counts as explained like its teacher."""


@dataclass(frozen=True)
class Row:
    """One network in one number format, measured on the test split.

    Attributes:
        network: "teacher", "dense", "dense, tuned" (the control) or "pruned 35 %".
        variant: "float", "dynamic", "static", "mixed", "weight_only" or "qat".
        ratio: share that was pruned; 0 for the others.
        num_parameters: of the network.
        macs: of one clip.
        size_bytes: of the ONNX file.
        latency_ms_p50: median of one clip, one thread.
        latency_ms_p95: 95th percentile.
        speedup_teacher: the teacher's median over this one, both timed in turn.
        speedup_dense: the dense float student's median over this one.
        accuracy: share of correct verdicts.
        auc: None unless both classes are present.
        eps: mean, against the teacher's maps.
        eps_shuffled: the same with the maps of other clips.
        num_flips: clips with another verdict than the same network's float form.
    """

    network: str
    variant: str
    ratio: float
    num_parameters: int
    macs: int
    size_bytes: int
    latency_ms_p50: float
    latency_ms_p95: float
    speedup_teacher: float
    speedup_dense: float
    accuracy: float | None
    auc: float | None
    eps: float | None
    eps_shuffled: float | None
    num_flips: int


@dataclass(frozen=True)
class Aim:
    """One aim.

    Attributes:
        text: what is asked.
        told: what was measured, and of which row.
        met: None where no row of the table can tell.
    """

    text: str
    told: str
    met: bool | None


@dataclass(frozen=True)
class Compression:
    """The whole audit.

    Attributes:
        run: the run's folder.
        dense_round: the round that left the dense student.
        num_clips: of the test split.
        targets: what was pruned.
        ratio_of: what the ratios are shares of.
        round_to: widths are multiples of this.
        num_epochs: of fine-tuning.
        rows: the teacher first.
        aims: see `judge`.
        figure: the plot that was written.
    """

    run: str
    dense_round: int
    num_clips: int
    targets: str
    ratio_of: str
    round_to: int
    num_epochs: int
    rows: tuple[Row, ...]
    aims: tuple[Aim, ...]
    figure: str = ""


def name_of(row: Row) -> str:
    """Network and variant, as one reads them."""
    return row.network if row.network == TEACHER else f"{row.network} {row.variant}"


def judge(rows: Sequence[Row]) -> tuple[Aim, ...]:
    """Hold a table against the aims.

    Args:
        rows: with the teacher and the dense float student.
    """
    dense = next(row for row in rows if (row.network, row.variant) == (DENSE, FLOAT))
    control = next((row for row in rows if row.network == TUNED), dense)
    of_dense = [row for row in rows if row.network == DENSE and row.variant != FLOAT]
    pruned = [row for row in rows if row.ratio > 0 and row.variant != FLOAT and (row.eps or 0) >= MIN_EPS]
    fastest = min(pruned, key=lambda row: row.latency_ms_p50, default=None)
    smallest = min(pruned, key=lambda row: row.size_bytes, default=None)
    return (
        _quantised(of_dense, dense),
        *_distilled(rows, (dense, control)),
        _pick("fastest", fastest, "2x faster than dense float", 2, lambda row: row.speedup_dense),
        _pick("fastest", fastest, "20x faster than the teacher", 20, lambda row: row.speedup_teacher),
        _pick("smallest", smallest, "5x smaller than dense float", 5, lambda row: _smaller(row, dense)),
    )


def _quantised(rows: Sequence[Row], dense: Row) -> Aim:
    """Of the INT8 forms that are small enough the one that keeps most accuracy; else the smallest."""
    text = "INT8 of dense: 3x smaller and within 0.5 points of float"
    if not rows or dense.accuracy is None:
        return Aim(text, "not measured", None)
    small = [row for row in rows if _smaller(row, dense) >= 3]
    if small:
        best = max(small, key=lambda row: row.accuracy or 0)
    else:
        best = min(rows, key=lambda row: row.size_bytes)
    told = f"{best.variant}: {_smaller(best, dense):.1f}x, {_points(best, dense):+.1f} points"
    return Aim(text, told, bool(small) and _points(best, dense) >= -0.5)


def _distilled(rows: Sequence[Row], references: Sequence[Row]) -> list[Aim]:
    """The 35 % row against the dense student as the run left it, and against the control."""
    found = next((row for row in rows if abs(row.ratio - 0.35) < 1e-9 and row.variant == FLOAT), None)
    aims = []
    for reference in dict.fromkeys(references):
        text = f"pruned 35 % and distilled: within 1 point of {reference.network}"
        if found is None or found.accuracy is None or reference.accuracy is None:
            aims.append(Aim(text, "not measured", None))
        else:
            points = _points(found, reference)
            aims.append(Aim(text, f"{points:+.1f} points", points >= -1))
    return aims


def _pick(which: str, row: Row | None, what: str, least: float, factor: Callable[[Row], float]) -> Aim:
    text = f"{which} pruned INT8 with EPS >= {MIN_EPS:.2f}: {what}"
    if row is None:
        return Aim(text, "no such row", None)
    kept = "" if row.accuracy is None else f" at {100 * row.accuracy:.1f} % accuracy"
    return Aim(text, f"{name_of(row)}: {factor(row):.1f}x{kept}", factor(row) >= least)


def _smaller(row: Row, dense: Row) -> float:
    return dense.size_bytes / row.size_bytes


def _points(row: Row, reference: Row) -> float:
    """Points of accuracy above the reference, both known; rounded so that 0.5 is 0.5."""
    return round(100 * ((row.accuracy or 0) - (reference.accuracy or 0)), 6)
