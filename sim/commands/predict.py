"""`python -m sim predict FILE... --model student.onnx`: a verdict per file.

How a video becomes the network's input is read from the model's own metadata: no configuration is needed.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fl.cores import usable_cores
from fl.errors import RequestError
from fl.settings import DataSettings, Experiment, MediaSettings
from sim.commands.arguments import Parser
from sim.schema import check_limits

if TYPE_CHECKING:
    from sim.judgement import Verdict
    from sim.progress import Progress

EPILOG = """\
Every window of a file is judged; the file's probability is the mean over the most suspicious quarter of
them. A file in which no face is found, or that cannot be read, is "undecided", and never "real" by default.
Files are opened by a process of their own: one that hangs or crashes a decoder costs itself only.
Exit code: 0, or 1 if not one file could be decided, 2 if the request was wrong.
"""


def main(argv: Sequence[str]) -> int:
    """Judge files.

    Returns:
        0; 1 if not one could be decided.

    Raises:
        RequestError: the model or the request is wrong; no file was read.
        RunError: the annotated video cannot be written.
    """
    asked = _parse(argv)
    from fl.compress.model_card import load_model
    from fl.data import window_reader
    from fl.data.processes import Worker
    from fl.metrics.latency import open_session
    from sim.progress import Progress
    from sim.verdicts import judge_file

    model, card = load_model(asked.model)
    check_limits(replace(Experiment(), data=replace(DataSettings(), clip=card.clip)))
    try:
        session = open_session(model.SerializeToString(), num_threads=usable_cores())
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        raise RequestError(f"--model {str(asked.model)!r} cannot be run: {error}") from error
    threshold = card.threshold if asked.threshold is None else asked.threshold
    progress, verdicts = Progress(), []
    with (
        progress.stage("Judging files", total=len(asked.files)) as advance,
        Worker(window_reader.MODULE, asked.timeout) as worker,
    ):
        for path in asked.files:
            verdicts.append(judge_file(path, session, card, threshold, worker))
            advance(1, path.name)
    if asked.annotate is not None:
        _annotate(asked, verdicts[0], threshold, progress)
    if asked.json:
        told = [{**asdict(verdict), "threshold": threshold} for verdict in verdicts]
        sys.stdout.write(json.dumps(told, indent=2, allow_nan=False) + "\n")
    else:
        _print_table(verdicts, threshold)
    return 0 if any(verdict.verdict != "undecided" for verdict in verdicts) else 1


def _parse(argv: Sequence[str]) -> Namespace:
    parser = Parser(
        prog="python -m sim predict", description="Is it real or fake? A verdict per file.", epilog=EPILOG
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="videos or pictures")
    parser.add_argument(
        "--model", type=Path, required=True, help="student.onnx or student.int8.onnx of a run"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object a file")
    parser.add_argument(
        "--annotate",
        type=Path,
        metavar="OUT.mp4",
        help="write the video (one FILE) with a box and a label on the face, and its sound",
    )
    parser.add_argument(
        "--threshold", type=float, help="a higher probability is called fake, 0 to 1 (the model's own)"
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=MediaSettings.timeout_s,
        metavar="SECONDS",
        help=f"give a file up that yields nothing for so long ({MediaSettings.timeout_s:g})",
    )
    asked = parser.parse_args(argv)
    if not 0 < asked.timeout < float("inf"):
        raise RequestError(f"--timeout must be above 0 s, got {asked.timeout:g}; 60 suits most files")
    if asked.threshold is not None and not 0 <= asked.threshold <= 1:
        raise RequestError(f"--threshold must be in [0, 1], got {asked.threshold:g}; it is a probability")
    if asked.annotate is not None:
        _check_annotate(asked.annotate, asked.files)
    return asked


def _check_annotate(out: Path, files: Sequence[Path]) -> None:
    if len(files) != 1:
        raise RequestError(f"--annotate takes one FILE, got {len(files)}; annotate them one by one")
    if out.suffix.lower() != ".mp4":
        raise RequestError(f"--annotate must name an .mp4 file, got {str(out)!r}; change the ending")
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise RequestError(
            f"--annotate must be a file in an existing folder, got {str(out)!r}; make the folder"
        )
    if out.exists() and files[0].exists() and out.samefile(files[0]):
        raise RequestError(f"--annotate must not be FILE itself, got {str(out)!r}; choose another name")


def _annotate(asked: Namespace, verdict: "Verdict", threshold: float, progress: "Progress") -> None:
    from sim.report.annotate import annotate_video

    if not verdict.segments:
        progress.line(f"not annotated: {verdict.reason}")
        return
    annotate_video(asked.files[0], asked.annotate, verdict, threshold, progress, asked.timeout)
    progress.line(f"annotated: {asked.annotate}")


def _print_table(verdicts: "Sequence[Verdict]", threshold: float) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from sim.progress import MAX_COLUMNS, clean

    table = Table(title=f"Verdicts: fake above {threshold:g}")
    table.add_column("file", overflow="fold", ratio=3)
    table.add_column("verdict", no_wrap=True)
    for heading in ("probability", "faces", "sound"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("most suspicious, or why undecided", overflow="fold", ratio=4)
    for verdict in verdicts:
        table.add_row(
            Text(clean(verdict.file)),
            verdict.verdict,
            "-" if verdict.probability is None else f"{verdict.probability:.3f}",
            "-" if verdict.faces_found is None else f"{100 * verdict.faces_found:.0f} %",
            {None: "-", True: "yes", False: "no"}[verdict.has_sound],
            Text(clean(verdict.reason or _most_suspicious(verdict))),
        )
    console = Console(width=min(MAX_COLUMNS, Console().width) if sys.stdout.isatty() else MAX_COLUMNS)
    console.print(table)


def _most_suspicious(verdict: "Verdict") -> str:
    """The window with the highest probability, of how many."""
    told = [(s.probability, s) for s in verdict.segments if s.probability is not None]
    probability, segment = max(told, key=lambda entry: entry[0])
    judged = f"{len(told)} of {len(verdict.segments)} windows"
    return f"{segment.start_s:.1f} to {segment.end_s:.1f} s: {probability:.3f} ({judged})"
