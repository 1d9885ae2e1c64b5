"""The aims of the compression table, on made-up rows."""

from dataclasses import replace

import pytest

from sim.audits.compression_aims import Aim, Row, judge

DENSE = Row("dense", "float", 0.0, 100, 10, 1000, 2.0, 2.1, 8.0, 1.0, 0.950, 0.97, 0.8, 0.7, 0)
ROWS = [
    replace(DENSE, network="teacher", size_bytes=9000, latency_ms_p50=16.0, speedup_dense=0.125, eps=1.0),
    DENSE,
    replace(DENSE, variant="dynamic", size_bytes=500, accuracy=0.950),
    replace(DENSE, variant="static", size_bytes=300, accuracy=0.945),
    replace(DENSE, network="dense, tuned", accuracy=0.960),
    replace(DENSE, network="pruned 35 %", ratio=0.35, accuracy=0.945),
    replace(
        DENSE,
        network="pruned 35 %",
        variant="static",
        ratio=0.35,
        size_bytes=190,
        latency_ms_p50=1.5,
        eps=0.7,
    ),
    replace(
        DENSE,
        network="pruned 75 %",
        variant="dynamic",
        ratio=0.75,
        size_bytes=250,
        latency_ms_p50=0.8,
        speedup_dense=2.5,
        speedup_teacher=19.9,
    ),
    replace(
        DENSE,
        network="pruned 75 %",
        variant="static",
        ratio=0.75,
        size_bytes=100,
        latency_ms_p50=0.5,
        speedup_dense=4.0,
        speedup_teacher=32.0,
        eps=0.59,
    ),
]


def test_each_aim_names_its_row_and_what_it_reached() -> None:
    quantised, of_dense, of_control, twice, twenty, fifth = judge(ROWS)
    assert (quantised.told, quantised.met) == ("static: 3.3x, -0.5 points", True)
    assert (of_dense.told, of_dense.met) == ("-0.5 points", True)
    assert of_control.text.endswith("within 1 point of dense, tuned")
    assert (of_control.told, of_control.met) == ("-1.5 points", False)
    assert (twice.told, twice.met) == ("pruned 75 % dynamic: 2.5x at 95.0 % accuracy", True)
    assert (twenty.told, twenty.met) == ("pruned 75 % dynamic: 19.9x at 95.0 % accuracy", False)
    assert (fifth.told, fifth.met) == ("pruned 35 % static: 5.3x at 95.0 % accuracy", True)


def test_a_student_that_explains_itself_otherwise_does_not_count() -> None:
    blind = [replace(row, eps=0.59) if row.ratio else row for row in ROWS]
    assert [(aim.told, aim.met) for aim in judge(blind)[-3:]] == [("no such row", None)] * 3


def test_accuracy_does_not_make_up_for_size() -> None:
    rows = [row for row in ROWS if (row.network, row.variant) != ("dense", "static")]
    assert judge(rows)[0] == Aim(
        "INT8 of dense: 3x smaller and within 0.5 points of float", "dynamic: 2.0x, +0.0 points", False
    )


@pytest.mark.parametrize("accuracy", [0.9449, 0.9])
def test_more_than_half_a_point_is_too_much(accuracy: float) -> None:
    rows = [replace(row, accuracy=accuracy) if row.variant == "static" else row for row in ROWS]
    assert judge(rows)[0].met is False


def test_what_the_table_lacks_is_not_told() -> None:
    aims = judge(ROWS[:2])
    assert [aim.met for aim in aims] == [None] * len(aims)
    assert len(aims) == 5  # without a control there is one comparison less
