"""The command line: `python -m sim COMMAND`.

Exit codes: 0 done, 1 the work failed or a check did not pass, 2 the request was wrong, 130 interrupted.
Errors go to standard error, one line first. A command's module is imported when it is called, so
that `--help` needs none of them.
"""

import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from fl.errors import FedpinError, RequestError
from sim.schema import suggest

QUIET: Mapping[str, str] = MappingProxyType(
    {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "GOMP_SPINCOUNT": "30000",  # threads that spin for long lose 10x when another process wants the core
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime 1.31 sends usage data, from Linux too
    }
)
"""No library reports home or warns of its future; what the user has set stays."""

INTERRUPTED = 130
BROKEN_PIPE = 141


class Command(NamedTuple):
    """A command: what it does, in a line, and its main function (arguments -> exit code)."""

    does: str
    main: Callable[[Sequence[str]], int]


def _run(argv: Sequence[str]) -> int:
    from sim.commands.run import main

    return main(argv)


def _data(argv: Sequence[str]) -> int:
    from sim.commands.data import main

    return main(argv)


def _models(argv: Sequence[str]) -> int:
    from sim.commands.models import main

    return main(argv)


def _predict(argv: Sequence[str]) -> int:
    from sim.commands.predict import main

    return main(argv)


def _export(argv: Sequence[str]) -> int:
    from sim.commands.export import main

    return main(argv)


def _audit(argv: Sequence[str]) -> int:
    from sim.commands.audit import main

    return main(argv)


def _report(argv: Sequence[str]) -> int:
    from sim.commands.report import main

    return main(argv)


def _reproduce(argv: Sequence[str]) -> int:
    from sim.commands.reproduce import main

    return main(argv)


def _metrics(argv: Sequence[str]) -> int:
    from sim.commands.metrics import main

    return main(argv)


def _deploy(argv: Sequence[str]) -> int:
    from sim.commands.deploy import main

    return main(argv)


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "run": Command("a federated run: distil, prune, quantise, measure (Hydra syntax)", _run),
        "data": Command("check a corpus, build its stores, show its clips", _data),
        "models": Command("every network: parameters, MACs, bytes, input shapes", _models),
        "predict": Command("a verdict per video: fake, real or undecided", _predict),
        "export": Command("a run's student for other runtimes: ONNX, ExecuTorch, TFLite", _export),
        "audit": Command("does a run's student hold what it should? exit code 1 if not", _audit),
        "report": Command("finished runs on one page of HTML, and their differences", _report),
        "reproduce": Command("a published table beside the same numbers measured here", _reproduce),
        "deploy": Command("real devices: a server and its nodes, over TLS (Flower's SuperLink)", _deploy),
        "metrics": Command(
            "all detection metrics of a table, or of a run by frame, clip and video", _metrics
        ),
    }
)


def help_text() -> str:
    """The answer to ``--help``."""
    lines = ["usage: python -m sim COMMAND [ARGUMENT ...]", "", "Commands"]
    lines += [f"  {name:<10}{command.does}" for name, command in COMMANDS.items()]
    lines += ["", "`python -m sim COMMAND --help` says more of one."]
    lines += ["Exit codes: 0 done, 1 failed, 2 the request was wrong, 130 interrupted."]
    return "\n".join(lines) + "\n"


def dispatch(argv: Sequence[str]) -> int:
    """Call the command that ``argv`` names.

    Raises:
        RequestError: it names none.
    """
    choices = f"choose from {', '.join(COMMANDS)}"
    if not argv:
        raise RequestError(f"a command must be named; {choices}")
    name, *rest = argv
    if name in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    if name not in COMMANDS:
        raise RequestError(f"there is no command {name!r}; {choices}{suggest(name, COMMANDS)}")
    return COMMANDS[name].main(rest)


def main(argv: Sequence[str]) -> int:
    """Do what ``argv`` asks for, and turn what goes wrong into one line and an exit code."""
    set_quiet()
    try:
        code = dispatch(argv)
        sys.stdout.flush()
    except FedpinError as error:
        sys.stderr.write(f"fedpin: {error}\n")
        if os.environ.get("FEDPIN_TRACEBACK") == "1":
            traceback.print_exc()
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("fedpin: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader, e.g. head, has gone: Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return code


def set_quiet() -> None:
    """Set the variables of `QUIET`, before flwr or ray is imported; what the user has set stays."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
