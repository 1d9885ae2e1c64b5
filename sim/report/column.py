"""Figures one column wide: 3.5 inches, text of 6 to 7 points, so that one drawing serves page and print."""

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH = 3.5
"""Inches, the width of a column of a journal."""
TEXT, SMALL = 7.0, 6.0
"""Points: of labels and ticks, and the smallest text there is."""
PRINT_DPI = 300


def column_figure(height: float) -> Figure:
    """An empty figure, ``height`` inches high, whose layout leaves room for what is drawn."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def column_axes(height: float) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = column_figure(height)
    with rc_context({"font.size": TEXT}):
        axes = figure.subplots()
    return figure, dress(axes)


def dress(axes: Axes, size: float = TEXT) -> Axes:
    """Small ticks and thin lines; ``size``: of the axes' labels, points."""
    axes.tick_params(labelsize=SMALL, length=2, width=0.6, pad=2)
    axes.spines[:].set_linewidth(0.6)
    axes.xaxis.label.set_fontsize(size)
    axes.yaxis.label.set_fontsize(size)
    return axes


def legend_above(figure: Figure, axes: Axes, num_columns: int = 2) -> None:
    """What the lines mean, above the axes and outside of them; nothing without a named line."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, labels, loc="outside upper center", ncols=num_columns, fontsize=SMALL, frameon=False
        )
