"""`python -m sim audit privacy RUN`: what an attacker gets, beside what the accountant promises."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace

from fl.errors import RequestError
from sim.audits.privacy import FOLDER, audit_privacy
from sim.commands.arguments import Parser, run_parser
from sim.finished import open_run
from sim.record import replace_text

LIMITS = {
    "--shadows": "an even number, as each clip is in half of them; 0 leaves LiRA out",
    "--shadow-clips": "at least 20",
    "--shadow-rounds": "at least 1",
    "--clients": "at least 0; 0 leaves updates out",
    "--canaries": "0, which leaves them out, or at least 32",
    "--inversion-steps": "at least 0; 0 leaves inversion out",
}


def main(argv: Sequence[str]) -> int:
    """Attack, write figures and ``audit.json`` into the run's ``audits/privacy``, print tables or JSON.

    Returns:
        0; 1 if canaries prove a larger epsilon than was accounted, which a line on standard error says.

    Raises:
        RequestError: the request is wrong, or something of the run is not in the cache.
        RunError: the run's folder cannot be written.
    """
    asked = _parser().parse_args(argv)
    for option, allowed in LIMITS.items():
        value = getattr(asked, option[2:].replace("-", "_"))
        wrong = {
            "--shadows": value < 0 or value % 2,
            "--shadow-clips": value < 20,
            "--shadow-rounds": value < 1,
            "--canaries": value < 0 or 0 < value < 32,
        }.get(option, value < 0)
        if wrong:
            raise RequestError(f"{option} must be {allowed}; got {value}")
    from sim.report.privacy import print_privacy
    from sim.report.privacy_figures import draw_privacy

    audit = audit_privacy(open_run(asked.run, asked.cache_dir), asked)
    folder = asked.run / FOLDER
    audit = replace(audit, figures=tuple(str(path) for path in draw_privacy(audit, folder)))
    text = json.dumps(audit.record(), indent=2, allow_nan=False) + "\n"
    replace_text(folder / "audit.json", text)
    if asked.json:
        sys.stdout.write(text)
    else:
        print_privacy(audit)
    for one in audit.canaries:
        if not one.passed:
            sys.stderr.write(
                f"fedpin: check not passed: {one.bound.num_canaries} canaries prove epsilon >= "
                f"{one.bound.epsilon:.3f} ({one.what}), more than the {one.accounted:.3f} accounted\n"
            )
    return 0 if audit.passed else 1


def _parser() -> Parser:
    parser = run_parser(
        "privacy",
        "Membership inference, canaries and gradient inversion against a finished run; 1 if canaries prove "
        "a larger epsilon than was accounted.",
    )

    def number(option: str, default: int, text: str) -> None:
        parser.add_argument(option, type=int, default=default, metavar="N", help=f"{text} ({default})")

    number("--shadows", 8, "students that LiRA's attacker trains, even; 0: no LiRA")
    number("--shadow-clips", 400, "clips of which each shadow is trained on half, at most")
    number("--shadow-rounds", 2, "rounds of a shadow's training")
    number("--clients", 3, "clients whose updates of one round are replayed and attacked; 0: none")
    number("--canaries", 128, "mislabelled clips, each put into a client's training by a coin; 0: none")
    number("--inversion-steps", 100, "steps of gradient inversion against the student; 0: none")
    return parser
