"""`python -m sim audit explanation RUN`: are the maps faithful, and is the student's like the teacher's?"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from fl.errors import RequestError
from sim.audits.explanation import audit_explanation
from sim.commands.arguments import run_parser
from sim.finished import open_run

DEFAULT_CLIPS = 40


def main(argv: Sequence[str]) -> int:
    """Measure, draw one plot into the run's figures, and print a table or JSON.

    Returns:
        0.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
        DataError: the clips have nothing to remove.
        RunError: the figure cannot be written.
    """
    parser = run_parser(
        "explanation",
        "Deletion and insertion curves of the teacher's and the student's maps beside a random order; EPS.",
    )
    parser.add_argument(
        "--num-clips",
        type=int,
        default=DEFAULT_CLIPS,
        help=f"at most so many test clips, half of each class ({DEFAULT_CLIPS})",
    )
    asked = parser.parse_args(argv)
    if asked.num_clips < 2:
        raise RequestError(f"--num-clips must be at least 2, got {asked.num_clips}; one real, one fake")
    from sim.report.explanation import draw_explanation, print_explanation

    audit = audit_explanation(open_run(asked.run, asked.cache_dir), asked.num_clips)
    (figure,) = draw_explanation(audit, asked.run / "figures")
    audit = replace(audit, figure=str(figure))
    if asked.json:
        sys.stdout.write(json.dumps(asdict(audit), indent=2, allow_nan=False) + "\n")
    else:
        print_explanation(audit)
    return 0
