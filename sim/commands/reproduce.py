"""`python -m sim reproduce PRESET`: a publication's tables, or a study of our own, measured here."""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from fl.cores import usable_cores
from fl.errors import RequestError
from sim.commands.arguments import Parser

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Written: TypeAlias = "tuple[str, str, Figure, int]"
"""A study's page, its JSON, its curves, and the exit code."""

PRESETS = ("pin_lite", "thesis_kd_pruning", "patch_audit", "mobilenet_study")
OURS = ("poisoning", "privacy_utility")
SCALE = "scale="

USAGE_NOTE = """\
scale=full replays the published size: give it the published data, too, and days. Further GROUP=OPTION and
KEY=VALUE go to every run.

  python -m sim reproduce pin_lite
  python -m sim reproduce thesis_kd_pruning scale=full data=faceforensics data.root=FOLDER
  python -m sim reproduce thesis_kd_pruning --counts-only
  python -m sim reproduce poisoning
  python -m sim reproduce privacy_utility
"""


def main(argv: Sequence[str]) -> int:
    """Do the study's runs, write results.md and results.json beside them, and print the page.

    Returns:
        0; 1 if a run failed.

    Raises:
        RequestError: a run that cannot be; nothing was started.
    """
    asked = _parser().parse_intermixed_args(list(argv))
    if asked.counts_only:
        from sim.commands.reproduce_counts import print_counts

        return print_counts(asked)
    if asked.jobs < 1:
        raise RequestError(f"--jobs must be at least 1, got {asked.jobs}")
    if asked.preset in OURS:
        return _ours(asked, argv)
    scales = [item.removeprefix(SCALE) for item in asked.overrides if item.startswith(SCALE)]
    scale = scales[-1] if scales else "small"
    folder = asked.out or Path("runs") / "reproduce" / (
        asked.preset + ("" if scale == "small" else f"-{scale}")
    )

    from sim.record import replace_text
    from sim.studies.replaying import Request, replay_study
    from sim.studies.studies import STUDIES
    from sim.studies.writing import as_json, markdown

    overrides = tuple(item for item in asked.overrides if not item.startswith(SCALE))
    request = Request(scale, overrides, folder, asked.jobs, argv)
    outcome = replay_study(STUDIES[asked.preset], request)
    text = json.dumps(as_json(outcome), indent=1, allow_nan=False) + "\n"
    replace_text(folder / "results.json", text)
    replace_text(folder / "results.md", markdown(outcome))
    sys.stdout.write(text if asked.json else f"{markdown(outcome)}\n{folder}\n")
    return 1 if outcome.failures else 0


def _ours(asked: Namespace, argv: Sequence[str]) -> int:
    """A study of our own: its page, and its curves beside it."""
    if any(item.startswith(SCALE) for item in asked.overrides):
        raise RequestError(f"reproduce {asked.preset} has one size, got {' '.join(asked.overrides)}")
    folder = asked.out or Path("runs") / "reproduce" / asked.preset

    from sim.record import replace_text
    from sim.report.saving import save_picture

    written = _poisoning if asked.preset == "poisoning" else _privacy_utility
    text, told, figure, code = written(asked, folder, argv)
    replace_text(folder / "results.json", told)
    replace_text(folder / "results.md", text)
    save_picture(figure, folder, asked.preset)
    sys.stdout.write(told if asked.json else f"{text}\n{folder}\n")
    return code


def _poisoning(asked: Namespace, folder: Path, argv: Sequence[str]) -> Written:
    """Attacks against rules."""
    from sim.studies.poisoning import as_json, page, study_poisoning
    from sim.studies.poisoning_figure import poisoning_figure

    outcome = study_poisoning(asked.overrides, folder, asked.jobs, argv)
    return page(outcome), as_json(outcome), poisoning_figure(outcome), 1 if outcome.failures else 0


def _privacy_utility(asked: Namespace, folder: Path, argv: Sequence[str]) -> Written:
    """Utility and attacks over epsilon; 1 also if canaries show more than was accounted."""
    from sim.studies.privacy_utility import as_json, page, study_privacy_utility
    from sim.studies.privacy_utility_figure import privacy_figure

    outcome = study_privacy_utility(asked.overrides, folder, asked.jobs, argv)
    code = 1 if outcome.failures or outcome.broken else 0
    return page(outcome), as_json(outcome), privacy_figure(outcome), code


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sim reproduce",
        description="A publication's tables beside the same numbers measured here. " + USAGE_NOTE,
    )
    parser.add_argument(
        "preset",
        choices=(*PRESETS, *OURS),
        help="the publication; poisoning: attacks against rules; privacy_utility: what privacy costs",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="OVERRIDE",
        help="scale=small (default) or full, and Hydra's, for every run",
    )
    parser.add_argument("--jobs", type=int, default=min(2, usable_cores()), help="runs at a time")
    parser.add_argument("--out", type=Path, help="folder of the runs and results (runs/reproduce/PRESET)")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the page")
    parser.add_argument(
        "--counts-only", action="store_true", help="thesis_kd_pruning: parameters after pruning; no training"
    )
    parser.add_argument("--weights", type=Path, help="--counts-only: a local file of timm's Lite0 weights")
    parser.add_argument("--seed", type=int, default=0, help="--counts-only: of weights and pictures (0)")
    return parser
