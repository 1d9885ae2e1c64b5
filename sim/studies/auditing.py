"""Tables that an audit of a study's run gives: the audit's own command, and its JSON."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sim.record import replace_text
from sim.studies.measuring import audit_file
from sim.studies.study import Audited
from sim.studies.writing import AuditTable

PERCENT = "%"


def audit_table(audited: Audited, folder: Path) -> AuditTable:
    """Run the audit; a verdict of "not passed" is a result like any other."""
    told = run_audit(audited.arguments, folder)
    command = " ".join(
        ["audit", *audited.arguments[:1], f"runs/reproduce/.../{audited.job}", *audited.arguments[1:]]
    )
    if isinstance(told, str):
        return AuditTable(audited.title, command, tuple(audited.columns), (), f"It failed: {told}")
    for key in audited.rows:
        told = told[key]
    rows = tuple(tuple(_cell(row, keys) for keys in audited.columns.values()) for row in told)
    return AuditTable(audited.title, command, tuple(audited.columns), rows)


def run_audit(arguments: Sequence[str], folder: Path) -> Any:
    """What an audit of a run says, by a process of its own: its JSON, also kept; or why it failed.

    Args:
        arguments: of `python -m sim audit`: which, and its options.
        folder: the run's.

    Returns:
        Values of JSON, or a line of text.
    """
    command = [sys.executable, "-m", "sim", "audit", arguments[0], str(folder), *arguments[1:], "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    kept = folder / audit_file(arguments[0])
    try:
        told = json.loads(done.stdout)
    except ValueError:
        kept.unlink(missing_ok=True)  # of an earlier time
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    replace_text(kept, done.stdout)
    return told


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
