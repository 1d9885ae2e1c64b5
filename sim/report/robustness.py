"""The tables of `python -m sim audit robustness`, at most 100 columns wide."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fl.data.degrade import UNITS
from sim.progress import MAX_COLUMNS, clean
from sim.report.cells import number_table, percent, point_cells, three
from sim.report.quantization import RULE_NAMES

if TYPE_CHECKING:
    from sim.audits.robustness import Measurement, Robustness


def print_robustness(audit: "Robustness") -> None:
    """One table in which the networks stand side by side, then one for each of them."""
    console = Console(width=MAX_COLUMNS, file=sys.stdout)

    def line(text: str) -> None:
        console.print(Text(clean(text)))

    line(f"Robustness of {audit.run}: {audit.num_clips} test clips, {audit.num_fake} fake")
    console.print(_overview(audit))
    rule = RULE_NAMES[audit.rule] + (f" {100 * audit.max_fpr:g} %" if audit.rule == "fpr" else "")
    line(
        f"acc.: at the threshold that was tuned ({rule}) on {audit.num_validation_clips} clean validation "
        "clips, which is also the one called kept below; re-tuned: on validation clips degraded alike. "
        "p: probability of fake, its mean over the test clips and the mean's drift from the clean ones."
    )
    for kind in dict.fromkeys(m.kind for m in audit.measurements if m.level is not None):
        line(f"{kind}: {UNITS[kind]}")
    for name in network_names(audit):
        kept = next(m.threshold.before for m in audit.measurements if m.network == name)
        line(f"{name}; threshold kept: {'-' if kept is None else format(kept.threshold, '.3f')}")
        console.print(_network_table(audit, name))
    for note in audit.notes:
        line(note)
    for path in audit.figures:
        console.print(Text(clean(path)), soft_wrap=True)


def network_names(audit: "Robustness") -> list[str]:
    """The networks in their order."""
    return list(dict.fromkeys(measured.network for measured in audit.measurements))


def quality_name(measured: "Measurement") -> str:
    """ "jpeg 95", or "clean"."""
    return measured.kind if measured.level is None else f"{measured.kind} {measured.level:g}"


def _overview(audit: "Robustness") -> Table:
    names = network_names(audit)
    headings = [heading for name in names for heading in (f"{name}\nAUC", "\nacc. %")]
    table = number_table("quality\n", *headings)
    rows: dict[str, list[str]] = {}
    for measured in audit.measurements:
        point = measured.threshold.before
        accuracy = "-" if point is None else percent(point.accuracy)
        rows.setdefault(quality_name(measured), []).extend([three(measured.auc), accuracy])
    for quality, cells in rows.items():
        table.add_row(quality, *cells)
    return table


def _network_table(audit: "Robustness", name: str) -> Table:
    columns = ("FPR\n%", "TPR\n%")
    kept, tuned = ("kept\nacc. %", *columns), ("re-tuned\nthreshold", "acc.\n%", *columns)
    table = number_table("quality\n", "AUC\n", "p\nmean", "\ndrift", "at 0.5\nacc. %", *kept, *tuned)
    for measured in audit.measurements:
        if measured.network == name:
            drift = "-" if measured.level is None else f"{measured.mean_score_change:+.3f}"
            told = [quality_name(measured), three(measured.auc), three(measured.mean_score), drift]
            before, after = (point_cells(p) for p in (measured.threshold.before, measured.threshold.after))
            table.add_row(*told, percent(measured.accuracy), *before[1:], *after)
    return table
