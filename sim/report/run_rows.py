"""The closing table's rows of a recorded run, with the metrics of its predictions."""

from collections.abc import Sequence
from dataclasses import replace

from fl.metrics.detection import detection_metrics
from sim.report.recorded_run import RecordedRun
from sim.report.table import PRUNED, TEACHER, WEAK, ModelRow, rows_of_run
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
