"""The figures of a run, drawn from ``rounds.jsonl`` and ``summary.json`` alone.

Colours can be told apart by colour-blind readers; line styles and markers differ too.
"""

import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from sim.record import SUMMARY_FILE, read_rounds
from sim.report.scatter import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, draw_points, place_labels
from sim.report.table import WEAK, ModelRow, pruned_rounds, rows_of_run
from sim.round_record import RoundRecord

DPI = 150


def draw_figures(run_dir: Path) -> list[Path]:
    """Draw all figures of a run into ``figures/`` of its folder.

    Args:
        run_dir: with ``rounds.jsonl``, and ``summary.json`` unless the run was interrupted.

    Returns:
        The PNG files; none for a run without a finished round.
    """
    rounds = read_rounds(run_dir)
    if not rounds:
        return []
    path = run_dir / SUMMARY_FILE
    summary = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = rows_of_run(rounds, summary.get("teacher") or {})
    footer = footer_text(run_dir.name, summary, rounds)
    folder = run_dir / "figures"
    folder.mkdir(exist_ok=True)
    figures = {
        "rounds.png": rounds_figure(rounds, footer),
        "accuracy_latency.png": _accuracy_figure(rows, footer),
        "eps_latency.png": _eps_figure(rows, footer),
    }
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=DPI)
    return [folder / name for name in figures]


def footer_text(name: str, summary: dict[str, Any], rounds: Sequence[RoundRecord]) -> str:
    """Where the numbers come from, and what of them is simulated."""
    sha = summary.get("commit")
    parts = [f"run {name}", f"commit {sha[:10]}" if sha else "commit unknown"]
    if summary.get("uncommitted_changes"):
        parts[-1] += " with uncommitted changes"
    if cpu := (summary.get("hardware") or {}).get("cpu"):
        parts.append(str(cpu))
    if any(record["simulated"] or value_at(record, ("clients", "stragglers")) for record in rounds):
        parts.append("clients, stragglers and drop-outs are simulated")
    parts += summary.get("caveats", ())
    return "  |  ".join(parts).encode("latin-1", "replace").decode("latin-1")


def rounds_figure(rounds: Sequence[RoundRecord], footer: str) -> Figure:
    """Six panels over the rounds; a dotted line marks a round in which the student was pruned."""
    pruned = pruned_rounds(rounds)
    if pruned:
        footer += "  |  dotted line: the student was pruned in this round"
    figure = _figure((13.5, 7.6), footer)
    panels = (_detection, _eps, _losses, _parameters, _latency, _clients)
    for axes, panel in zip(figure.subplots(2, 3).flat, panels, strict=True):
        panel(axes, rounds)
        for index in pruned:
            axes.axvline(index, color=GREY, linestyle=":", linewidth=1.2, zorder=0)
        first, last = rounds[0]["round_index"], rounds[-1]["round_index"]
        axes.set_xlim(first - 0.5, last + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("round")
        axes.grid(alpha=0.25)
        _finish(axes)
    return figure


def _detection(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    axes.set_title("Detection on the test split")
    axes.set_ylabel("score, 0 to 1")
    for key, name, colour, marker in (
        ("accuracy", "accuracy", BLUE, "o"),
        ("auc", "AUC", ORANGE, "s"),
        ("f1", "F1", GREEN, "^"),
    ):
        _line(axes, rounds, ("global", key), f"{name}, float", colour, marker)
        _line(axes, rounds, ("onnx", "int8", key), f"{name}, INT8", colour, marker, "--")
    _line(axes, rounds, ("weak", "global", "auc"), "AUC, weak", PURPLE, "v")


def _eps(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    axes.set_title("EPS: does the student look where the teacher looks?")
    axes.set_ylabel("EPS, -0.5 to 1")
    numbers = [record["round_index"] for record in rounds]
    bounds = [value_at(record, ("eps", "ci95")) or (math.nan, math.nan) for record in rounds]
    low, high = [float(pair[0]) for pair in bounds], [float(pair[1]) for pair in bounds]
    if not all(map(math.isnan, low)):
        axes.fill_between(numbers, low, high, color=BLUE, alpha=0.2, linewidth=0, label="95 % interval")
        axes.vlines(numbers, low, high, color=BLUE, alpha=0.4, linewidth=1)
    _line(axes, rounds, ("eps", "mean"), "float", BLUE, "o")
    _line(axes, rounds, ("onnx", "int8", "eps"), "INT8", RED, "D", "--")
    _line(axes, rounds, ("weak", "eps", "mean"), "weak", PURPLE, "v")
    _line(axes, rounds, ("eps", "shuffled"), "shuffled baseline", GREY, "x", "-.")


def _losses(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    axes.set_title("Training losses, mean over clients")
    axes.set_ylabel("loss, log scale")
    names = (
        ("loss", "total", GREY, "o"),
        ("loss_hard", "hard", BLUE, "s"),
        ("loss_soft", "soft", ORANGE, "^"),
        ("loss_attention", "attention", GREEN, "D"),
        ("loss_proximal", "proximal", PURPLE, "v"),
    )
    for key, name, colour, marker in names:
        if any((value_at(record, ("train", key)) or 0) > 0 for record in rounds):  # zero: switched off
            _line(axes, rounds, ("train", key), name, colour, marker)
            axes.set_yscale("log", nonpositive="mask")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_locator(NullLocator())


def _parameters(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    axes.set_title("Size of the student")
    axes.set_ylabel("millions, or MB ($10^6$ bytes)")
    _line(axes, rounds, ("student", "num_parameters"), "parameters", BLUE, "o", scale=1e-6)
    _line(axes, rounds, ("onnx", "fp32", "size_bytes"), "float file", GREEN, "s", scale=1e-6)
    _line(axes, rounds, ("onnx", "int8", "size_bytes"), "INT8 file", RED, "D", "--", scale=1e-6)
    _from_zero(axes)


def _latency(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    axes.set_title("Latency in ONNX Runtime, 1 thread, batch 1")
    axes.set_ylabel("ms per clip")
    for key, name, colour, marker in (("fp32", "float", BLUE, "o"), ("int8", "INT8", RED, "D")):
        _line(axes, rounds, ("onnx", key, "latency_ms_p50"), f"{name}, p50", colour, marker)
        _line(axes, rounds, ("onnx", key, "latency_ms_p95"), f"{name}, p95", colour, marker, ":")
    _from_zero(axes)


def _clients(axes: Axes, rounds: Sequence[RoundRecord]) -> None:
    axes.set_title("Clients of the round")
    axes.set_ylabel("number of clients")
    numbers = [record["round_index"] for record in rounds]
    bottom = [0] * len(rounds)
    if any(record["clients"] for record in rounds):
        for key, colour, hatch in (("replied", BLUE, ""), ("missing", ORANGE, "//"), ("failed", RED, "xx")):
            counts = [len(value_at(record, ("clients", key)) or ()) for record in rounds]
            axes.bar(numbers, counts, 0.7, bottom, color=colour, hatch=hatch, edgecolor="white", label=key)
            bottom = [low + count for low, count in zip(bottom, counts, strict=True)]
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    _from_zero(axes)


def _from_zero(axes: Axes) -> None:
    """Let the y axis start at 0 and end above the highest value."""
    if axes.has_data():
        axes.set_ylim(0, 1.1 * axes.dataLim.y1 or 1)


def _accuracy_figure(rows: Sequence[ModelRow], footer: str) -> Figure:
    """Accuracy in % against latency."""
    figure = _figure((8.0, 5.4), footer)
    axes = figure.subplots()
    axes.set_title("Accuracy against latency, test split")
    axes.set_ylabel("accuracy, %")
    heights = [None if row.accuracy is None else 100 * row.accuracy for row in rows]
    marks = draw_points(axes, rows, heights, "{:.1f} %")
    _finish(axes)
    place_labels(figure, axes, marks)
    return figure


def _eps_figure(rows: Sequence[ModelRow], footer: str) -> Figure:
    """EPS against latency, with the shuffled baseline."""
    figure = _figure((8.0, 5.4), footer)
    axes = figure.subplots()
    axes.set_title("EPS against latency, test split (the teacher's is 1 by definition)")
    axes.set_ylabel("EPS, -0.5 to 1")
    marks = draw_points(axes, rows, [row.eps for row in rows], "EPS {:.2f}")
    baselines = [row.eps_shuffled for row in rows if row.eps_shuffled is not None and row.name != WEAK]
    if baselines:
        axes.axhline(baselines[-1], color=GREY, linestyle="-.", linewidth=1, label="shuffled baseline")
        marks.segments.append(((axes.get_xlim()[0], baselines[-1]), (axes.get_xlim()[1], baselines[-1])))
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, baselines[-1] - 0.05), high)
    _finish(axes)
    place_labels(figure, axes, marks)
    return figure


def _line(
    axes: Axes,
    rounds: Sequence[RoundRecord],
    keys: tuple[str, ...],
    label: str,
    colour: str,
    marker: str,
    style: str = "-",
    scale: float = 1.0,
) -> None:
    """One series over the rounds, with a gap where it is null; not drawn if it is null throughout."""
    values = [math.nan if (value := value_at(record, keys)) is None else value * scale for record in rounds]
    if not all(map(math.isnan, values)):
        numbers = [record["round_index"] for record in rounds]
        hollow = "white" if style != "-" else colour
        axes.plot(
            numbers,
            values,
            style,
            color=colour,
            marker=marker,
            markersize=5 if len(rounds) <= 15 else 2.5,
            label=label,
            mfc=hollow,
            lw=1.5,
        )


def value_at(record: Any, keys: tuple[str, ...]) -> Any:
    """What is at ``keys``; None where anything on the way is null."""
    for key in keys:
        record = record.get(key) if record else None
    return record


def _figure(size_inches: tuple[float, float], footer: str) -> Figure:
    lines = textwrap.wrap(footer, int(18 * size_inches[0]))
    room = (0.1 + 0.14 * len(lines)) / size_inches[1]
    layout = ConstrainedLayoutEngine(rect=(0, room, 1, 1 - room), h_pad=0.08, w_pad=0.12)
    figure = Figure(figsize=size_inches, dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    text = "\n".join(lines)
    figure.text(0.01, 0.05 / size_inches[1], text, fontsize=7.5, color=GREY, parse_math=False)
    return figure


def _finish(axes: Axes) -> None:
    """A legend below the axes, outside of them; or the word that there is nothing to show."""
    if axes.get_legend_handles_labels()[0]:
        columns = 2 if len(axes.get_legend_handles_labels()[0]) == 4 else 3
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns, fontsize=8, frameon=False)
    if not axes.has_data():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=GREY)
        axes.set(xticks=[], yticks=[])
