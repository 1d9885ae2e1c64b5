"""The sections of one run on a report's page, every one from the run's records alone."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import binomtest

from fl.metrics.calibration import expected_calibration_error
from fl.metrics.detection import DetectionMetrics, auc_interval, detection_metrics
from fl.seeds import derive
from sim.report.cells import percent, three
from sim.report.curves import draw_calibration, draw_categories, draw_confusion, draw_curves
from sim.report.figures import footer_text, rounds_figure
from sim.report.fronts import draw_front
from sim.report.ledger import (
    draw_simulated,
    failures_table,
    ledger_table,
    participation_table,
    simulated_table,
)
from sim.report.page import Block, Cell, Note, PageFigure, PageTable, Section
from sim.report.partition import partition_figure
from sim.report.recorded_run import RecordedRun, Scores
from sim.report.table import HEADERS, PRUNED, TEACHER, WEAK, ModelRow, cells, rows_of_run, three_digits
from sim.round_record import RoundRecord


def model_rows(run: RecordedRun) -> list[ModelRow]:
    """The rows of the closing table; accuracy, F1 and AUC as the predictions give them, if they do."""
    found = {scored.name: detection_metrics(scored.labels, scored.scores) for scored in run.scores()}
    return [
        replace(row, accuracy=metrics.accuracy, f1=metrics.f1, auc=metrics.auc)
        if (metrics := found.get(_network_of(row.name, run.rounds)))
        else row
        for row in rows_of_run(run.rounds, run.summary.get("teacher") or {})
    ]


def sections_of(run: RecordedRun) -> list[Section]:
    """All sections of a run, the first with its name."""
    networks = run.scores()
    rows = model_rows(run)
    return [
        Section(f"Run {run.name}", [*caveats_of(run), _closing(rows)], level=2),
        Section("Detection on the test split", list(_detection(run, networks))),
        Section("Trade-offs", list(_fronts(rows))),
        Section("By round", [PageFigure(_rounds(run), _ROUNDS_CAPTION), _round_table(run.rounds)]),
        Section("Participation", list(_participation(run))),
        Section("Simulated time", list(_simulated(run.rounds))),
        Section("Settings that differ from the default", [_settings(run)]),
        Section("Provenance", [_provenance(run)]),
    ]


_ROUNDS_CAPTION = "Accuracy, AUC, F1, EPS, losses, size, latency and clients by round."


def _network_of(row: str, rounds: Sequence[RoundRecord]) -> str:
    """The name in `NETWORKS` of a row of the closing table; "" if the predictions have it not."""
    if row == TEACHER:
        return "teacher"
    if row.startswith(WEAK.removesuffix(" student")):
        return ""
    if row.endswith("INT8"):
        return "INT8 student"
    pruned = any(record.get("prune") for record in rounds)
    return "student" if row == PRUNED or not pruned else ""


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


def _detection(run: RecordedRun, networks: Sequence[Scores]) -> Iterator[Block]:
    rng = np.random.default_rng(derive(int(run.settings["seed"]), "report"))
    found = {
        scored.name: detection_metrics(scored.labels, scored.scores, scored.categories) for scored in networks
    }
    both = len(np.unique(networks[0].labels)) == 2
    if both:
        roc, recall = draw_curves(networks, rng)
        note = "with 95 % bands: pointwise bootstrap over clips, real and fake apart"
        yield PageFigure(roc, f"ROC curves {note}.")
        yield PageFigure(recall, f"Precision-recall curves {note}.")
    else:
        yield Note("Without both classes in the test split there are no curves and no AUC.", warning=True)
    yield PageFigure(draw_calibration(networks), "Calibration in ten bins; larger marks hold more clips.")
    yield PageFigure(draw_categories(found), "Accuracy by manipulation at threshold 0.5.")
    yield PageFigure(
        draw_confusion(networks), "Confusion matrices at threshold 0.5; shares are of the truth."
    )
    yield _metrics_table(networks, found, rng)
    yield _category_table(found)


def _metrics_table(
    networks: Sequence[Scores], found: Mapping[str, DetectionMetrics], rng: np.random.Generator
) -> PageTable:
    rows: list[list[Cell]] = []
    for scored in networks:
        metrics = found[scored.name]
        right = int(((scored.scores > 0.5) == scored.labels).sum())
        wilson = binomtest(right, len(scored.labels)).proportion_ci(method="wilson")
        area = auc_interval(scored.labels, scored.scores, rng)
        rows.append(
            [
                scored.name,
                str(len(scored.labels)),
                f"{percent(metrics.accuracy)} [{percent(wilson.low)}, {percent(wilson.high)}]",
                three(metrics.precision),
                three(metrics.recall),
                three(metrics.f1),
                f"{three(metrics.auc)} [{three(area[0])}, {three(area[1])}]" if area else "-",
                three(metrics.eer),
                three(expected_calibration_error(scored.labels, scored.scores)),
            ]
        )
    caption = (
        "From predictions.csv at threshold 0.5. In brackets 95 % intervals over clips: Wilson for the "
        "accuracy, bootstrap for the AUC."
    )
    headings = ["network", "clips", "accuracy, %", "precision", "recall", "F1", "AUC", "EER", "ECE"]
    return PageTable("detection", caption, headings, rows)


def _category_table(found: Mapping[str, DetectionMetrics]) -> PageTable:
    names = list(next(iter(found.values())).by_category)
    headings = ["category", "clips"]
    headings += [f"{network}: {what}" for network in found for what in ("accuracy, %", "AUC")]
    rows: list[list[Cell]] = []
    for name in sorted(names, key=lambda name: (name != "real", name)):
        entries = [metrics.by_category[name] for metrics in found.values()]
        numbers = [cell for entry in entries for cell in (percent(entry.accuracy), three(entry.auc))]
        rows.append([name, str(entries[0].num_clips), *numbers])
    return PageTable("categories", "By manipulation; AUC: its fakes against all real clips.", headings, rows)


def _fronts(rows: Sequence[ModelRow]) -> Iterator[Block]:
    for quality, name in (("accuracy", "Accuracy"), ("eps", "EPS")):
        figure = draw_front(rows, quality)
        if figure:
            yield PageFigure(figure, f"{name} and latency; networks that another one dominates are grey.")
    yield Note("The teacher's EPS is 1 by definition.")


def _rounds(run: RecordedRun) -> Any:
    return rounds_figure(run.rounds, footer_text(run.name, dict(run.summary), run.rounds))


def _round_table(rounds: Sequence[RoundRecord]) -> PageTable:
    rows: list[list[Cell]] = []
    for record in rounds:
        detection, eps, train = record["global"], record["eps"], record["train"]
        onnx = record["onnx"]
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
    return PageTable(
        "rounds", "Float student by round, as rounds.jsonl has it; latencies: p50.", headings, rows
    )


def _participation(run: RecordedRun) -> Iterator[Block]:
    partition = run.summary.get("partition")
    if partition:
        figure = partition_figure(partition, f"run {run.name}")
        yield PageFigure(figure, "Clips of each client by manipulation.")
    yield participation_table(run.rounds)
    yield ledger_table(run.rounds, len(partition["sizes"]) if partition else 0)
    failures = failures_table(run.rounds)
    yield failures or Note("No reply was refused and no client failed.")


def _simulated(rounds: Sequence[RoundRecord]) -> Iterator[Block]:
    table, figure = simulated_table(rounds), draw_simulated(rounds)
    if table and figure:
        yield PageFigure(figure, "Simulated, not measured: time a round would take on the fleet's devices.")
        yield table
    else:
        yield Note("No device times were simulated in this run.")


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
