"""The sections of one run on a report's page: all from the run's records, but for the explanation maps."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fl.privacy.statement import privacy_statement
from sim.report.cells import percent, three
from sim.report.client_shares import draw_client_shares
from sim.report.detection_sections import detection_blocks
from sim.report.epsilon_figure import draw_epsilon
from sim.report.explanation_sections import explanation_blocks
from sim.report.fronts import draw_front
from sim.report.ledger import (
    draw_simulated,
    failures_table,
    ledger_table,
    participation_table,
    simulated_table,
)
from sim.report.malice import malice_table
from sim.report.page import Block, Cell, Note, PageFigure, PageTable, Section
from sim.report.privacy_sections import privacy_audit_sections
from sim.report.recorded_run import RecordedRun
from sim.report.round_curves import draw_rounds
from sim.report.run_rows import model_rows
from sim.report.table import HEADERS, ModelRow, cells, pruned_rounds, rows_of_run, three_digits
from sim.round_record import Measured, RoundRecord


def sections_of(run: RecordedRun, cache_dir: Path | None = None) -> list[Section]:
    """All sections of a run, the first with its name.

    Args:
        run: the run.
        cache_dir: where its clips and teacher lie; None: where the run had them.
    """
    rows = model_rows(run)
    return [
        Section(f"Run {run.name}", [*caveats_of(run), _closing(rows)], level=2),
        Section("Detection on the test split", list(detection_blocks(run))),
        Section("Where teacher and student look", list(explanation_blocks(run.folder, cache_dir))),
        Section("Trade-offs", list(_fronts(rows))),
        Section("By round", list(_by_round(run.rounds))),
        Section("Participation", list(_participation(run))),
        *privacy_audit_sections(run.folder),
        Section("Simulated time", list(_simulated(run.rounds))),
        *_malice(run.rounds),
        Section("Privacy", list(_privacy(run))),
        Section("Settings that differ from the default", [_settings(run)]),
        Section("Provenance", [_provenance(run)]),
    ]


def _malice(rounds: Sequence[RoundRecord]) -> Iterator[Section]:
    """A section only where there is an attack or a defence."""
    table = malice_table(rounds)
    if table is not None:
        yield Section("Malicious clients", [table])


def caveats_of(run: RecordedRun) -> Iterator[Note]:
    """What a reader must know first, and where records and predictions disagree."""
    for text in run.summary.get("caveats") or ():
        yield Note(str(text), warning=True)
    if run.summary.get("uncommitted_changes"):
        yield Note(
            "The program had uncommitted changes: the commit alone does not reproduce it.", warning=True
        )
    recorded = {row.name: row for row in rows_of_run(run.rounds, run.summary.get("teacher") or {})}
    for row in model_rows(run):
        for key in ("accuracy", "f1", "auc"):
            before, now = getattr(recorded[row.name], key), getattr(row, key)
            if before is not None and now is not None and abs(before - now) > 1e-6:
                yield Note(
                    f"{row.name}: {key} is {now:.4f} by predictions.csv, shown here, but {before:.4f} in the "
                    "rounds and the summary.",
                    warning=True,
                )


def _closing(rows: Sequence[ModelRow]) -> PageTable:
    headings = [header.replace("-\n", "-").replace("\n", " ") for header in HEADERS]
    caption = "All networks on the test split. Latency is measured on this host at batch 1 with one thread."
    return PageTable("closing", caption, headings, [cells(row) for row in rows])


def _fronts(rows: Sequence[ModelRow]) -> Iterator[Block]:
    for quality, name in (("accuracy", "Accuracy"), ("eps", "EPS")):
        figure = draw_front(rows, quality)
        if figure:
            yield PageFigure(
                f"{quality}_latency",
                figure,
                f"{name} and latency; networks that another one dominates are grey.",
            )
    yield Note("The teacher's EPS is 1 by definition.")


def _by_round(rounds: Sequence[RoundRecord]) -> Iterator[Block]:
    """A figure for each quantity, and the tables of the student and of a mixed fleet's narrower one."""
    dotted = "; dotted: the student was pruned in this round" if pruned_rounds(rounds) else ""
    for name, title, figure in draw_rounds([rounds]):
        interval = "; shaded: 95 % interval over clips" if name == "eps" else ""
        yield PageFigure(f"rounds_{name}", figure, f"{title}, by round{interval}{dotted}.")
    caption = "Float student by round, as rounds.jsonl has it; latencies: p50."
    yield _round_table("rounds", caption, rounds, rounds)
    weak = [(record, found) for record in rounds if (found := record.get("weak"))]
    if weak:
        caption = "The narrower student of the weak devices (fleet=mixed), likewise."
        yield _round_table("rounds_weak", caption, [record for record, _ in weak], [one for _, one in weak])


def _round_table(
    name: str, caption: str, rounds: Sequence[RoundRecord], students: Sequence[Measured]
) -> PageTable:
    """One student by round.

    Args:
        name: of the table.
        caption: of the table.
        rounds: what was trained, and when it was pruned.
        students: what was measured of the student in these rounds.
    """
    rows: list[list[Cell]] = []
    for record, measured in zip(rounds, students, strict=True):
        detection, eps, onnx = measured["global"], measured["eps"], measured["onnx"]
        train = record["train"]
        graphs = [onnx["fp32"] if onnx else None, onnx["int8"] if onnx else None]
        rows.append(
            [
                str(record["round_index"]) + (" (pruned)" if record.get("prune") else ""),
                percent(detection["accuracy"] if detection else None),
                three(detection["auc"] if detection else None),
                three(eps["mean"] if eps else None),
                three(eps["shuffled"] if eps else None),
                three(train["loss"] if train else None),
                *(three_digits(graph["latency_ms_p50"] if graph else None) for graph in graphs),
            ]
        )
    headings = ["round", "accuracy, %", "AUC", "EPS", "EPS shuffled", "loss", "latency ms", "INT8 latency ms"]
    return PageTable(name, caption, headings, rows)


def _participation(run: RecordedRun) -> Iterator[Block]:
    partition = run.summary.get("partition")
    if partition:
        caption = "Clips of each client by manipulation; shade: share of the client's clips."
        yield PageFigure("clients", draw_client_shares(partition), caption)
    yield participation_table(run.rounds)
    yield ledger_table(run.rounds, len(partition["sizes"]) if partition else 0)
    failures = failures_table(run.rounds)
    yield failures or Note("No reply was refused and no client failed.")


def _simulated(rounds: Sequence[RoundRecord]) -> Iterator[Block]:
    table, figure = simulated_table(rounds), draw_simulated(rounds)
    if table and figure:
        caption = "Simulated, not measured: time a round would take on the fleet's devices."
        yield PageFigure("simulated_time", figure, caption)
        yield table
    else:
        yield Note("No device times were simulated in this run.")


def _privacy(run: RecordedRun) -> Iterator[Block]:
    rows = privacy_statement(run.rounds, run.settings)
    caption = "What the run promises of those whose clips it learnt from, and on which terms."
    yield PageTable("privacy", caption, ["what", "statement"], rows, text=True)
    figure = draw_epsilon(run.rounds, run.settings)
    if figure:
        caption = "Epsilon spent after each round, by two accountants: both are upper bounds."
        yield PageFigure("epsilon", figure, caption)


def _settings(run: RecordedRun) -> Block:
    changed = run.changed_settings()
    if not changed:
        return Note("All settings have their defaults.")
    rows = [[key, json.dumps(value), json.dumps(default)] for key, (value, default) in changed.items()]
    caption = "Default null: this version has no such setting."
    return PageTable("settings", caption, ["setting", "value", "default"], rows, text=True)


def _provenance(run: RecordedRun) -> PageTable:
    summary = run.summary
    entries: dict[str, Any] = {
        "run": run.name,
        "commit": summary.get("commit") or "unknown",
        "configuration, SHA-256": summary.get("config_digest") or "unknown",
        "command line": " ".join(["python -m sim run", *map(str, summary.get("overrides") or ())]),
    }
    entries |= {f"version of {name}": value for name, value in (summary.get("versions") or {}).items()}
    entries |= {f"hardware: {name}": value for name, value in (summary.get("hardware") or {}).items()}
    entries |= {f"clips, {name}": value for name, value in (summary.get("clips") or {}).items()}
    skipped = summary.get("skipped") or {}
    entries |= {f"skipped clips, {name}": len(clips) for name, clips in skipped.items()}
    entries |= {f"SHA-256 of {name}": value for name, value in (summary.get("sha256") or {}).items()}
    rows = [[name, "not installed" if value is None else str(value)] for name, value in entries.items()]
    return PageTable("provenance", "Where the numbers come from.", ["what", "value"], rows, text=True)
