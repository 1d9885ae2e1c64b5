"""The tables of `python -m sim audit quantization`, at most 100 columns wide."""

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from sim.commands.audit_quantization import Audit

WIDTH = 100
NUM_LAYERS = 6
"""Modules that are listed as those that lose most."""


def print_audit(audit: "Audit") -> None:
    """Print one row per variant, the flips, and the modules that lose most."""
    console = Console(width=WIDTH, file=sys.stdout)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("variant\n", no_wrap=True)
    headings = (
        "size\nMB",
        "latency\nratio",
        "acc.\n%",
        "AUC\n",
        "ECE\n",
        "flips\n",
        "change of p\nmean / max",
    )
    for heading in (*headings, "EPS\nteacher", "EPS\nfloat", f"max <=\n{audit.tolerance:g}"):
        table.add_column(heading, justify="right", no_wrap=True)
    for variant in audit.variants:
        quality = variant.quality
        table.add_row(
            variant.name,
            f"{variant.size_bytes / 1e6:.2f}",
            f"{variant.latency_ratio:.2f}",
            "-" if quality.accuracy is None else f"{100 * quality.accuracy:.1f}",
            _show(quality.auc),
            _show(quality.calibration_error),
            str(quality.num_flips),
            f"{quality.change_mean:.4f} / {quality.change_max:.4f}",
            _show(quality.eps_teacher),
            _show(quality.eps_float),
            _verdict(variant.name, variant.passed),
        )
    console.print(f"Quantisation of {audit.run}: {audit.num_clips} test clips", highlight=False)
    console.print(table)
    for line in (*_flips(audit), *_sensitivity(audit)):
        console.print(line, highlight=False, markup=False)
    verdict = "pass" if audit.passed else "FAIL"
    console.print(f"Verdict on the shipped student.int8.onnx: {verdict}", highlight=False)


def _flips(audit: "Audit") -> list[str]:
    lines = []
    for variant in audit.variants:
        quality = variant.quality
        if quality.num_flips:
            counts = {**quality.flips_by_class, **quality.flips_by_category}
            told = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
            lines.append(f"Flips, {variant.name}: {told}")
    return lines + [f"Left out, {name}: {why}" for name, why in audit.skipped.items()]


def _sensitivity(audit: "Audit") -> list[str]:
    found = audit.sensitivity
    if found is None:
        return []
    worst = ", ".join(
        f"{entry['module']} {entry['logit_change_mean']:.3f}" for entry in found["sweep"][:NUM_LAYERS]
    )
    kept = ", ".join(found["float_modules"]) or "nothing but the head"
    return [f"Mean change of the logit by module, the worst: {worst}", f"In float in mixed: {kept}"]


def _verdict(name: str, passed: bool) -> str:
    if name == "float":
        return "-"
    return "pass" if passed else "FAIL"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
