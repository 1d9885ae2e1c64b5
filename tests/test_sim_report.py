import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text
from rich.console import Console

from sim.record import append_round, read_rounds, summarise, write_summary
from sim.report import figures
from sim.report.figures import draw_figures, footer_text
from sim.report.scatter import Marks, draw_points, pareto, place_labels
from sim.report.table import ModelRow, closing_table, print_table, rows_of_run, to_markdown
from sim.round_record import complete_round

TEACHER = {
    "num_parameters": 14_998_732,
    "macs": 1_870_900_000,
    "size_bytes": 57_320_000,
    "latency_ms_p50": 41.0,
    "latency_ms_p95": 47.0,
    "accuracy": 0.962,
    "f1": 0.96,
    "auc": 0.985,
}


def made_up(
    index: int, *, num_parameters: int = 1_694_508, int8: bool = True, **changes: Any
) -> dict[str, Any]:
    """A round with plausible numbers; latency follows the parameters."""
    gain = 0.03 * index
    p50 = num_parameters / 4e5
    float_graph = {"size_bytes": 4 * num_parameters, "latency_ms_p50": p50, "latency_ms_p95": 1.2 * p50}
    int8_graph = {"size_bytes": num_parameters, "latency_ms_p50": p50 / 2, "latency_ms_p95": 0.7 * p50}
    return {
        "round_index": index,
        "seconds": {"train": 4.1, "evaluate": 1.9, "wall": 6.3},
        "clients": {"sampled": [0, 1, 2], "replied": [0, 1], "failed": [], "missing": [2], "stragglers": [1]},
        "train": {"loss": 1 - gain, "loss_hard": 0.6 - gain, "loss_soft": 0.4, "loss_proximal": 0.0},
        "student": {
            "num_parameters": num_parameters,
            "macs": 20 * num_parameters,
            "size_bytes": 4 * num_parameters,
        },
        "global": {"accuracy": 0.6 + gain, "f1": 0.62 + gain, "auc": 0.65 + gain},
        "eps": {"mean": 0.3 + gain, "ci95": [0.27 + gain, 0.33 + gain], "shuffled": 0.21},
        "onnx": {
            "fp32": {**float_graph, "accuracy": 0.6 + gain, "auc": 0.65 + gain},
            "int8": {**int8_graph, "accuracy": 0.59 + gain, "f1": 0.6, "auc": 0.64 + gain, "eps": 0.28 + gain}
            if int8
            else None,
            "teacher_latency_ms_p50": 40.0 + index,
        },
        "simulated": {"round_s": 30.0},
        **changes,
    }


def pruned_run(run_dir: Path) -> None:
    """Four rounds; the student shrinks in round 3."""
    run_dir.mkdir(parents=True, exist_ok=True)
    for index in (1, 2, 3, 4):
        small = index >= 3
        append_round(
            run_dir,
            made_up(
                index,
                num_parameters=800_000 if small else 1_600_000,
                prune={"ratio": 0.5, "removed_channels": 100} if index == 3 else None,
            ),
        )


def test_the_rows_are_the_teacher_the_last_dense_round_and_the_last_round(tmp_path: Path) -> None:
    pruned_run(tmp_path)
    teacher, dense, pruned, int8 = rows_of_run(read_rounds(tmp_path), TEACHER)
    assert [row.name for row in (teacher, dense, pruned, int8)] == [
        "teacher",
        "dense student",
        "pruned student",
        "pruned INT8",
    ]
    assert (teacher.speedup, teacher.eps, teacher.latency_ms_p50) == (1.0, 1.0, 41.0)
    # Each speed-up is over the teacher of the same round: 42 ms in round 2, 44 ms in round 4.
    assert dense.speedup == pytest.approx(42 / 4)
    assert pruned.speedup == pytest.approx(44 / 2)
    assert int8.speedup == pytest.approx(44 / 1)
    assert (dense.num_parameters, pruned.num_parameters, int8.num_parameters) == (1_600_000, 800_000, 800_000)
    assert (dense.size_bytes, pruned.size_bytes, int8.size_bytes) == (6_400_000, 3_200_000, 800_000)
    assert dense.auc == pytest.approx(0.71)
    assert (pruned.eps, pruned.eps_shuffled) == (pytest.approx(0.42), 0.21)
    assert (int8.eps, int8.eps_shuffled, int8.f1) == (pytest.approx(0.40), None, 0.6)


def test_the_narrow_student_of_a_mixed_fleet_comes_last_and_is_drawn(tmp_path: Path) -> None:
    narrow = made_up(2, num_parameters=400_000)
    weak = {key: narrow[key] for key in ("student", "global", "eps", "onnx")}
    weak |= {"replied": [0], "ratio": 0.5, "since_round": 1, "ranked_by": "clients"}
    append_round(tmp_path, made_up(1))
    append_round(tmp_path, made_up(2, prune={"ratio": 0.5, "removed_channels": 100}, weak=weak))
    rows = rows_of_run(read_rounds(tmp_path), TEACHER)
    assert [row.name for row in rows][-4:] == ["pruned student", "pruned INT8", "weak student", "weak INT8"]
    assert (rows[-2].num_parameters, rows[-2].latency_ms_p50) == (400_000, 1.0)
    assert rows[-2].eps_shuffled == 0.21
    assert len(draw_figures(tmp_path)) == 3  # six networks in one figure
    console = Console(file=io.StringIO(), width=100)
    print_table(rows, console)
    assert max(len(line) for line in console.file.getvalue().splitlines()) <= 100


def test_without_pruning_the_last_student_is_the_dense_one() -> None:
    rounds = [complete_round(made_up(1)), complete_round(made_up(2))]
    rows = rows_of_run(rounds, {})
    assert [row.name for row in rows] == ["teacher", "dense student", "dense INT8"]
    assert rows[0].latency_ms_p50 == 42.0  # of the last round, as the teacher's row has none
    assert [row.name for row in rows_of_run([complete_round(made_up(1, int8=False))], {})] == [
        "teacher",
        "dense student",
    ]


def test_a_student_pruned_in_the_first_round_has_no_dense_row() -> None:
    rounds = [complete_round(made_up(1, prune={"ratio": 0.1, "removed_channels": 8}))]
    assert [row.name for row in rows_of_run(rounds, {})] == ["teacher", "pruned student", "pruned INT8"]


def test_rounds_that_measured_nothing_give_dashes() -> None:
    rows = rows_of_run([complete_round({"round_index": 1})], {})
    assert rows[1] == ModelRow("dense student")
    assert rows_of_run([], {}) == [ModelRow("teacher", eps=1.0)]
    assert to_markdown(rows[1:]).splitlines()[-1] == "| dense student | - | - | - | - | - | - | - | - | - |"


WIDEST = ModelRow(
    "pruned student",
    157_320_000,
    114_998_732,
    18_709_000_000,
    1234.5,
    2345.6,
    123.4,
    1.0,
    0.999,
    0.999,
    -0.25,
    -0.1,
)


def test_the_table_fits_100_columns_and_cuts_nothing() -> None:
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(closing_table([WIDEST]))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for cell in ("157.32", "115.00", "18,709", "1,234 / 2,346", "123.4x", "100.0", "0.999", "-0.25 (-0.10)"):
        assert cell in text


def test_results_go_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([WIDEST])
    captured = capsys.readouterr()
    assert "pruned student" in captured.out
    assert "…" not in captured.out
    assert captured.err == ""


def test_markdown_has_one_cell_per_column() -> None:
    header, rule, row = to_markdown([WIDEST]).splitlines()
    assert header.count("|") == rule.count("|") == row.count("|") == 11
    assert header.startswith("| network | size MB | param. M | MACs M | latency ms p50 / p95 | speed-up |")


def test_all_figures_are_drawn_from_the_two_files_alone(tmp_path: Path) -> None:
    run_dir = tmp_path / "run $1_2"  # no formula
    pruned_run(run_dir)
    write_summary(run_dir, summarise(run_dir, TEACHER, {}))
    paths = draw_figures(run_dir)
    assert [path.name for path in paths] == ["rounds.png", "accuracy_latency.png", "eps_latency.png"]
    shapes = [imread(path).shape[:2] for path in paths]
    assert shapes == [(1140, 2025), (810, 1200), (810, 1200)]
    first = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert first == [hashlib.sha256(path.read_bytes()).hexdigest() for path in draw_figures(run_dir)]


@pytest.mark.parametrize(
    "record",
    [
        {"round_index": 1},
        made_up(1, int8=False),
        made_up(1, **{"global": {"auc": None, "accuracy": None}}, eps={"mean": None, "ci95": None}),
        made_up(1, clients=None, simulated=None, train=None),
    ],
    ids=["empty", "no INT8", "no AUC", "no clients"],
)
def test_poor_runs_are_drawn_too(tmp_path: Path, record: dict[str, Any]) -> None:
    append_round(tmp_path, record)
    assert all(path.stat().st_size > 10_000 for path in draw_figures(tmp_path))


def test_no_round_no_figure(tmp_path: Path) -> None:
    assert draw_figures(tmp_path) == []


def test_the_panels_show_the_records(tmp_path: Path) -> None:
    pruned_run(tmp_path)
    figure = figures.rounds_figure(read_rounds(tmp_path), "")
    detection, eps, losses, size, latency, clients = figure.axes
    auc = next(line for line in detection.lines if line.get_label() == "AUC, float")
    np.testing.assert_allclose(auc.get_xydata(), [[1, 0.68], [2, 0.71], [3, 0.74], [4, 0.77]])
    assert [line.get_label() for line in eps.lines[:3]] == ["float", "INT8", "shuffled baseline"]
    labels = [line.get_label() for line in losses.lines]
    assert "hard" in labels
    assert "proximal" not in labels  # zero throughout
    assert "attention" not in labels  # null throughout
    assert len(latency.lines) == 5
    assert [bar.get_height() for bar in clients.patches] == [2] * 4 + [1] * 4 + [0] * 4
    for axes in figure.axes:
        assert axes.get_title()
        assert axes.get_ylabel()
        marked = [line for line in axes.lines if list(line.get_xdata()) == [3, 3]]
        assert len(marked) == 1, "the round of the pruning is marked"
    assert size.get_ylim()[0] == 0


def test_the_footer_says_where_from_and_what_is_simulated() -> None:
    summary = {"commit": "0123456789abcdef", "uncommitted_changes": True, "hardware": {"cpu": "Some CPU"}}
    text = footer_text("näme-名", summary, [complete_round(made_up(1))])
    assert text == (
        "run näme-?  |  commit 0123456789 with uncommitted changes  |  Some CPU  |  "
        "clients, stragglers and drop-outs are simulated"
    )
    assert footer_text("a", {}, [complete_round({"round_index": 1})]) == "run a  |  commit unknown"


def test_the_frontier_holds_what_nothing_beats() -> None:
    points = [(4.0, 0.9), (1.0, 0.8), (2.0, 0.7), (40.0, 0.95), (4.0, 0.85), (50.0, 0.95)]
    assert pareto(points) == [(1.0, 0.8), (4.0, 0.9), (40.0, 0.95)]
    assert pareto([]) == []


@pytest.mark.parametrize("spread", [0.0, 0.001, 0.3])
def test_labels_cover_neither_points_nor_each_other(spread: float) -> None:
    figure = Figure(figsize=(8, 5.4), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = ("teacher", "dense student", "pruned student", "pruned INT8")
    rows = [
        ModelRow(name, latency_ms_p50=3 - spread * i, latency_ms_p95=3.3 - spread * i)
        for i, name in enumerate(names)
    ]
    marks = draw_points(axes, rows, [95 - spread * i for i in range(4)], "{:.1f} %")
    assert isinstance(marks, Marks)
    notes = place_labels(figure, axes, marks)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(note) for note in notes]  # without the line to the point
    frame = axes.get_window_extent()
    for index, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
        for _, x, y in marks.labels:
            assert not box.contains(*axes.transData.transform((x, y)))


def test_a_summary_of_another_program_may_lack_the_teacher(tmp_path: Path) -> None:
    append_round(tmp_path, made_up(1))
    (tmp_path / "summary.json").write_text(json.dumps({"teacher": None}))
    assert len(draw_figures(tmp_path)) == 3
