"""The part of a run's page that its predictions make: curves, calibration, verdicts by manipulation."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import binomtest

from fl.metrics.calibration import expected_calibration_error
from fl.metrics.detection import DetectionMetrics, auc_interval, detection_metrics
from fl.seeds import derive
from sim.report.calibration import MIN_CLIPS, calibration_table, draw_calibration
from sim.report.cells import percent, three
from sim.report.curves import draw_categories, draw_confusion, draw_curves
from sim.report.page import Block, Cell, Note, PageFigure, PageTable
from sim.report.recorded_run import RecordedRun, Scores


def detection_blocks(run: RecordedRun) -> Iterator[Block]:
    """Curves with bands, calibration, confusion and accuracy by manipulation, with their tables."""
    networks = run.scores()
    rng = np.random.default_rng(derive(int(run.settings["seed"]), "report"))
    found = {
        scored.name: detection_metrics(scored.labels, scored.scores, scored.categories) for scored in networks
    }
    both = len(np.unique(networks[0].labels)) == 2
    if both:
        roc, recall = draw_curves(networks, rng)
        note = "with 95 % bands: pointwise bootstrap over clips, real and fake apart"
        yield PageFigure("roc", roc, f"ROC curves {note}.")
        yield PageFigure("precision_recall", recall, f"Precision-recall curves {note}.")
    else:
        yield Note("Without both classes in the test split there are no curves and no AUC.", warning=True)
    caption = f"Calibration, with 95 % intervals (Wilson): bins of at least {MIN_CLIPS} clips, counted below."
    yield PageFigure("calibration", draw_calibration(networks), caption)
    yield PageFigure("categories", draw_categories(found), "Accuracy by manipulation at threshold 0.5.")
    caption = "Confusion matrices at threshold 0.5; shares are of the truth."
    yield PageFigure("confusion", draw_confusion(networks), caption)
    yield _metrics_table(networks, found, rng)
    yield _category_table(found)
    yield calibration_table(networks)


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
