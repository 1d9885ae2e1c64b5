"""`python -m sim audit baselines RUN`: are the networks better than classical models on the same clips?"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from sim.audits.baselines import audit_baselines
from sim.audits.prediction_table import SCORES_FILE, write_scores
from sim.commands.arguments import run_parser
from sim.finished import open_run


def main(argv: Sequence[str]) -> int:
    """Train, measure, write the table of predictions and one plot, and print tables or JSON.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
        DataError: the training clips are of one class.
        RunError: the run's folder cannot be written.
    """
    parser = run_parser(
        "baselines",
        "An SVM, a decision tree and a random forest on the clips that trained the run's student, beside it.",
    )
    asked = parser.parse_args(argv)
    from sim.report.baselines import draw_baselines, print_baselines

    audit, rows = audit_baselines(open_run(asked.run, asked.cache_dir))
    table = write_scores(rows, asked.run / SCORES_FILE)
    (figure,) = draw_baselines(audit, rows, asked.run / "figures")
    audit = replace(audit, table=str(table), figure=str(figure))
    if asked.json:
        sys.stdout.write(json.dumps(asdict(audit), indent=2, allow_nan=False) + "\n")
    else:
        print_baselines(audit)
    return 0
