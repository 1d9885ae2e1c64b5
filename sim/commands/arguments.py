"""The parser of a command's own arguments."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from fl.errors import RequestError
from sim.schema import suggest

Action = TypeVar("Action")


class Parser(argparse.ArgumentParser):
    """argparse, except that a wrong request is a `RequestError`: one line and exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Refuse the request, with the command's usage as the remedy."""
        usage = " ".join(self.format_usage().split())
        raise RequestError(f"{message}; {usage}")


def choose_action(
    command: str, usage: str, actions: Mapping[str, Action], argv: Sequence[str]
) -> tuple[str, Action] | None:
    """The action that a command's first argument names; None after ``--help``, which is answered.

    Raises:
        RequestError: it names none.
    """
    if argv and argv[0] in ("-h", "--help"):
        sys.stdout.write(usage)
        return None
    choices = f"choose from {', '.join(actions)}"
    if not argv:
        raise RequestError(f"{command} needs an action; {choices}")
    if argv[0] not in actions:
        raise RequestError(f"{command} has no action {argv[0]!r}; {choices}{suggest(argv[0], actions)}")
    return argv[0], actions[argv[0]]


def run_parser(action: str, description: str) -> Parser:
    """The parser of an audit of a finished run, with what all audits are told."""
    parser = Parser(prog=f"python -m sim audit {action}", description=description)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    parser.add_argument("--cache-dir", type=Path, help="the run's cache, if it was moved")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def add_fpr(parser: Parser) -> None:
    """Let the parser take ``--fpr``; whoever does so asks `check_fpr` as well."""
    from fl.metrics.threshold import DEFAULT_FPR  # scikit-learn, for none but audits

    parser.add_argument(
        "--fpr",
        type=float,
        default=DEFAULT_FPR,
        help=f"false positive rate that thresholds tuned to a fixed one keep to ({DEFAULT_FPR:g})",
    )


def check_fpr(value: float) -> None:
    """Refuse what is no rate.

    Raises:
        RequestError: it is not in (0, 1).
    """
    if not 0 < value < 1:
        raise RequestError(f"--fpr must be in (0, 1), got {value:g}; 0.05 is one real clip of 20")
