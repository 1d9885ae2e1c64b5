"""The tables of `python -m sim audit quantization`, at most 100 columns wide."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sim.progress import MAX_COLUMNS, clean
from sim.report.cells import number_table, percent, point_cells, three

if TYPE_CHECKING:
    from sim.audits.quantization import Audit, Variant

NUM_LAYERS = 5
"""Modules that are listed as those that lose most."""

RULE_NAMES: Mapping[str, str] = {"f1": "F1", "youden": "Youden", "fpr": "fixed FPR"}


def print_audit(audit: "Audit") -> None:
    """Print what each variant answers, costs and does to thresholds, the layers that lose most, verdict."""
    console = Console(width=MAX_COLUMNS, file=sys.stdout)

    def line(text: str) -> None:
        console.print(Text(clean(text)))

    line(f"Quantisation of {audit.run}: {audit.num_clips} test clips, threshold 0.5")
    console.print(_answers(audit))
    for text in _flips(audit):
        line(text)
    line("Size, and latency in ONNX Runtime on one thread, all networks timed in turn")
    console.print(_costs(audit))
    line(
        f"Thresholds tuned on {audit.num_validation_clips} validation clips, judged on the test clips. Kept: "
        "the float network's;"
    )
    line(f"re-tuned: the variant's own. Rules: largest F1, Youden's J, FPR at most {100 * audit.max_fpr:g} %")
    console.print(_thresholds(audit))
    _print_layers(audit, console)
    for name, why in audit.skipped.items():
        line(f"Left out, {name}: {why}")
    for path in audit.figures:
        console.print(Text(clean(path)), soft_wrap=True)
    shipped = audit.shipped.quality.change_max
    verdict = f"PASS: {shipped:.4f} <=" if audit.passed else f"FAIL: {shipped:.4f} >"
    line(f"Verdict on student.int8.onnx (shipped), largest change of p: {verdict} {audit.tolerance:g}")


def _answers(audit: "Audit") -> Table:
    table = number_table(
        "variant\n",
        "acc.\n%",
        "AUC\n",
        "calibration\nerror",
        "flips\n",
        "change of p\nmean",
        "\nmax",
        "EPS to\nteacher",
        "EPS to\nfloat",
        f"max <=\n{audit.tolerance:g}",
    )
    for variant in audit.variants:
        quality = variant.quality
        table.add_row(
            variant.name,
            percent(quality.accuracy),
            three(quality.auc),
            three(quality.calibration_error),
            str(quality.num_flips),
            f"{quality.change_mean:.4f}",
            f"{quality.change_max:.4f}",
            three(quality.eps_teacher),
            three(quality.eps_float),
            _verdict(variant),
        )
    return table


def _flips(audit: "Audit") -> list[str]:
    lines = []
    for variant in audit.variants:
        quality = variant.quality
        if quality.num_flips:
            by_class = " + ".join(f"{number} {name}" for name, number in quality.flips_by_class.items())
            by_category = ", ".join(f"{name} {number}" for name, number in quality.flips_by_category.items())
            lines.append(
                f"Flips, {variant.name}: {quality.num_flips} = {by_class}; by category: {by_category}"
            )
    return [*lines, ""] if lines else ["No verdict flips.", ""]


def _costs(audit: "Audit") -> Table:
    headings = ["variant\n", "size\nMB", "\nratio"]
    for timed in audit.variants[0].latency:
        clips = "1 clip, ms" if timed.batch_size == 1 else f"{timed.batch_size} clips, ms"
        headings += [f"{clips}\np50", "\np95", "\nratio"]
    table = number_table(*headings)
    for variant in audit.variants:
        cells = [
            f"{variant.size_bytes / 1e6:.2f}",
            f"{variant.size_bytes / audit.variants[0].size_bytes:.2f}",
        ]
        for timed in variant.latency:
            cells += [f"{timed.p50_ms:.2f}", f"{timed.p95_ms:.2f}", f"{timed.ratio:.2f}"]
        table.add_row(variant.name, *cells)
    return table


def _thresholds(audit: "Audit") -> Table:
    columns = ("\nacc. %", "\nF1", "\nFPR %", "\nTPR %")
    table = number_table("variant\n", "rule\n", "kept\nthr.", *columns, "re-tuned\nthr.", *columns, left=2)
    for variant in audit.variants:
        for index, found in enumerate(variant.thresholds):
            cells = []
            for point in (found.before, found.after):
                cells += point_cells(point)
                cells.insert(len(cells) - 2, "-" if point is None else three(point.f1))
            table.add_row("" if index else variant.name, RULE_NAMES[found.rule], *cells)
    return table


def _print_layers(audit: "Audit", console: Console) -> None:
    found = audit.sensitivity
    if found is None:
        return
    title = f"Layers that lose most: static INT8 of one module alone, on {found['num_clips']} public clips"
    console.print(Text(title))
    table = number_table("module\n", "nodes\n", "change of the logit\nmean", "\nmax", "in mixed\n")
    kept: Sequence[str] | None = found.get("float_modules")
    for entry in found["sweep"][:NUM_LAYERS]:
        told = "-" if kept is None else "float" if entry["module"] in kept else "INT8"
        changes = f"{entry['logit_change_mean']:.3f}", f"{entry['logit_change_max']:.3f}"
        table.add_row(entry["module"], str(entry["num_nodes"]), *changes, told)
    console.print(table)
    if kept is not None:
        number = len(kept) or "no"
        console.print(Text(f"mixed keeps {number} of {len(found['sweep'])} modules in float, and the head"))


def _verdict(variant: "Variant") -> str:
    if variant.name == "float":
        return "-"
    return "pass" if variant.passed else "FAIL"
