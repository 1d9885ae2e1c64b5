"""`python -m sim audit robustness RUN`: what compression, blur and noise cost a run's networks."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from fl.data.degrade import LEVELS
from fl.errors import RequestError
from fl.metrics.threshold import RULES
from sim.audits.robustness import audit_robustness
from sim.commands.arguments import Parser, add_fpr, check_fpr, run_parser
from sim.finished import open_run

DEFAULT_CLIPS = 400


def main(argv: Sequence[str]) -> int:
    """Measure, draw one plot per kind and per network into the run's figures, and print tables or JSON.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
        DataError: not one file of the corpus can be read any more.
        RunError: the figures cannot be written.
    """
    asked = _parser().parse_args(argv)
    if asked.num_clips < 2:
        raise RequestError(f"--num-clips must be at least 2, got {asked.num_clips}; one real, one fake")
    check_fpr(asked.fpr)
    from sim.report.robustness import print_robustness
    from sim.report.robustness_figures import draw_robustness

    audit = audit_robustness(open_run(asked.run, asked.cache_dir), asked)
    figures = draw_robustness(audit, asked.run / "figures")
    audit = replace(audit, figures=tuple(str(path) for path in figures))
    if asked.json:
        sys.stdout.write(json.dumps(asdict(audit), indent=2, allow_nan=False) + "\n")
    else:
        print_robustness(audit)
    return 0


def _parser() -> Parser:
    parser = run_parser(
        "robustness", "A run's networks on its test clips, degraded: JPEG, resizing, blur, noise, H.264."
    )
    parser.add_argument(
        "--kinds", nargs="+", choices=tuple(LEVELS), default=tuple(LEVELS), help="which degradations (all)"
    )
    parser.add_argument(
        "--num-clips",
        type=int,
        default=DEFAULT_CLIPS,
        help=f"at most so many clips of the test and of the validation split, half of each class "
        f"({DEFAULT_CLIPS})",
    )
    parser.add_argument(
        "--rule",
        choices=RULES,
        default="youden",
        help="how thresholds are tuned on validation clips (youden)",
    )
    add_fpr(parser)
    return parser
