"""`python -m sim report RUN [RUN ...]`: one page of HTML on finished runs, and their differences."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fl.errors import RequestError, RunError
from sim.commands.arguments import Parser

if TYPE_CHECKING:
    from sim.report.page import Section

REPORT_FILE = "report.html"


def main(argv: Sequence[str]) -> int:
    """Write the page, and if asked its tables and figures; print the files.

    Returns:
        0.

    Raises:
        RequestError: a run is not there or not finished, or runs to be compared have other clips.
        RunError: the page cannot be written.
    """
    asked = _parser().parse_args(argv)
    folders: list[Path] = asked.runs
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise RequestError(f"each RUN must be named once, got {' '.join(map(str, folders))}")
    out: Path = asked.out or folders[0] / REPORT_FILE
    if out.is_dir():
        raise RequestError(f"--out must be a file, got the folder {str(out)!r}")
    if asked.cache_dir and not asked.cache_dir.is_dir():
        raise RequestError(
            f"--cache-dir must be a folder, got {str(asked.cache_dir)!r}; leave it out without one"
        )
    from sim.report.comparison import compared
    from sim.report.page import page
    from sim.report.recorded_run import read_run
    from sim.report.run_sections import sections_of

    runs = [read_run(folder) for folder in folders]
    sections = [compared(runs)] if len(runs) > 1 else []
    parts = [sections_of(run, asked.cache_dir) for run in runs]
    title = "fedpin: " + " and ".join(run.name for run in runs)
    written = [write_whole(out, page(title, [*sections, *(section for part in parts for section in part)]))]
    prefixes = [f"run{index}_" if len(parts) > 1 else "" for index in range(1, len(parts) + 1)]
    for prefix, part in [("", sections), *zip(prefixes, parts, strict=True)]:
        if asked.tables:
            written += _write_tables(out.with_suffix(""), prefix, part)
        if asked.figures:
            written += _write_figures(out.parent / "figures" / "print", prefix, part)
    sys.stdout.write("".join(f"{path}\n" for path in written))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sim report",
        description="One page of HTML on finished runs: tables and figures, no network, no script.",
    )
    parser.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="folder of a finished run; others are compared with the first",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=f"the page ({REPORT_FILE} in the first run's folder)"
    )
    parser.add_argument(
        "--tables",
        action="store_true",
        help="write the tables as CSV, Markdown and LaTeX too, in a folder beside the page",
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="write the figures for print too, PNG (300 dpi) and SVG, in figures/print beside the page",
    )
    parser.add_argument(
        "--cache-dir",
        type=Path,
        metavar="FOLDER",
        help="the runs' cache, if it was moved: clips and teacher, for the explanation maps",
    )
    return parser


def _write_tables(folder: Path, prefix: str, sections: Sequence["Section"]) -> list[Path]:
    """Each table of the sections as CSV, Markdown and LaTeX."""
    from sim.report.page import PageTable

    written = []
    for table in (block for section in sections for block in section.blocks if isinstance(block, PageTable)):
        written.append(write_whole(folder / f"{prefix}{table.name}.csv", table.csv()))
        written.append(write_whole(folder / f"{prefix}{table.name}.md", table.markdown()))
        written.append(write_whole(folder / f"{prefix}{table.name}.tex", table.latex()))
    return written


def _write_figures(folder: Path, prefix: str, sections: Sequence["Section"]) -> list[Path]:
    """Each figure of the sections as it is printed."""
    from sim.report.column import PRINT_DPI
    from sim.report.page import PageFigure
    from sim.report.saving import save_picture

    written = []
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, PageFigure):
            written += save_picture(block.figure, folder, f"{prefix}{block.name}", ("png", "svg"), PRINT_DPI)
    return written


def write_whole(path: Path, text: str) -> Path:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        if partial.is_file():
            partial.unlink()
        raise RunError(
            f"{str(path)!r} cannot be written: {error.strerror or error}; name another place by --out"
        ) from error
    return path
