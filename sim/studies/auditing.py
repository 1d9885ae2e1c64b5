"""Tables that an audit of a study's run gives: the audit's own command, and its JSON."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sim.record import replace_text
from sim.studies.measuring import audit_file
from sim.studies.study import Audited
from sim.studies.writing import AuditTable

PERCENT = "%"


def audit_table(audited: Audited, folder: Path) -> AuditTable:
    """Run the audit in a process of its own; a verdict of "not passed" is a result like any other."""
    arguments = [*audited.arguments[:1], str(folder), *audited.arguments[1:], "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "sim", "audit", *arguments], capture_output=True, text=True, check=False
    )
    command = " ".join(
        ["audit", *audited.arguments[:1], f"runs/reproduce/.../{audited.job}", *audited.arguments[1:]]
    )
    try:
        told = json.loads(done.stdout)
    except ValueError:
        (folder / audit_file(audited.arguments[0])).unlink(missing_ok=True)  # of an earlier time
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return AuditTable(audited.title, command, tuple(audited.columns), (), f"It failed: {lines[-1]}")
    replace_text(folder / audit_file(audited.arguments[0]), done.stdout)
    for key in audited.rows:
        told = told[key]
    rows = tuple(tuple(_cell(row, keys) for keys in audited.columns.values()) for row in told)
    return AuditTable(audited.title, command, tuple(audited.columns), rows)


def _cell(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    value: Any = row
    for key in keys:
        if key == PERCENT:
            return "" if value is None else f"{100 * value:.1f}"
        value = value[int(key) if key.isdigit() else key] if value is not None else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
