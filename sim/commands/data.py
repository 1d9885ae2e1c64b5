"""`python -m sim data check|build|show [overrides]`: look at a corpus before it is trained on.

The request has the syntax of `python -m sim run` and is checked as there before anything heavy is imported.
"""

import json
import logging
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fl.cores import usable_cores
from fl.data.splits import SPLITS
from fl.errors import RequestError
from fl.settings import Experiment
from sim.checks import cache_dir
from sim.commands.arguments import Parser, choose_action
from sim.config import build, compose, validate

USAGE = """\
usage: python -m sim data ACTION data=CORPUS data.root=FOLDER [SECTION.KEY=VALUE ...] [--json]

Actions
  check   counts, lengths, codecs, unusable files, leaks between splits; exit code 1 if something
          would spoil a result
  build   decode, crop and store every split, as `run` would; resumes where it was stopped
  show    a picture of some clips: frames with the face's box, crops, MFCC, labels

  python -m sim data check data=celebdf data.root=FOLDER
  python -m sim data check data=table data.root=FOLDER split=by_identity --json
  python -m sim data show data=lavdf data.root=FOLDER --split test --num 8 --out sheet.png

`python -m sim data ACTION --help` says more of one; `python -m sim run --help` lists all settings.
"""


class Action(NamedTuple):
    """One of the things to do: what it does, its own flags, and what does it."""

    does: str
    add_flags: Callable[[Parser], None]
    main: Callable[[Experiment, Namespace], int]


def main(argv: Sequence[str]) -> int:
    """Check, build or show a corpus.

    Returns:
        0; 1 from ``check`` if something would spoil a result.

    Raises:
        RequestError: the request is wrong; nothing was read.
        FedpinError: the corpus cannot be read, or the cache not written.
    """
    chosen = choose_action("data", USAGE, ACTIONS, argv)
    if chosen is None:
        return 0
    name, action = chosen
    asked = _parser(name, action).parse_intermixed_args(argv[1:])
    experiment = build(compose(asked.overrides))
    validate(experiment)
    return action.main(experiment, asked)


def _parser(name: str, action: Action) -> Parser:
    parser = Parser(prog=f"python -m sim data {name}", description=action.does)
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="as for run: data=CORPUS data.root=FOLDER split=..., and any other setting",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    action.add_flags(parser)
    return parser


def _check_flags(parser: Parser) -> None:
    parser.add_argument(
        "--headers-only",
        action="store_true",
        help="decode nothing: faster, but near-duplicates are not found",
    )


def _check(experiment: Experiment, asked: Namespace) -> int:
    from sim.commands.data_check import check_corpus, to_json
    from sim.commands.data_tables import print_check
    from sim.corpus import read_clips
    from sim.progress import Progress

    progress = Progress()
    with _warnings() as warnings:
        clips = read_clips(experiment, cache_dir(experiment), progress)
    check = check_corpus(
        clips,
        experiment,
        progress,
        look=not asked.headers_only,
        num_workers=usable_cores(),
        notes=warnings,
    )
    if asked.json:
        sys.stdout.write(_as_json(to_json(check)))
    else:
        print_check(check)
    return 0 if check.ok else 1


def _build(experiment: Experiment, asked: Namespace) -> int:
    from sim.corpus import build_store, read_clips
    from sim.progress import Progress, clean

    cache, progress = cache_dir(experiment), Progress()
    clips = read_clips(experiment, cache, progress)
    before = set((cache / "shards").glob("*"))
    stores = {split: build_store(split, clips, experiment, cache, progress) for split in SPLITS}
    if asked.json:
        answer = {
            split: {
                "path": str(store.path),
                "num_clips": len(store),
                "was_there": store.path in before,
                "skipped": [{"file": skip.file, "reason": skip.reason} for skip in store.skipped],
            }
            for split, store in stores.items()
        }
        sys.stdout.write(_as_json({"stores": answer}))
        return 0
    for split, store in stores.items():
        state = "already there" if store.path in before else "built"
        sys.stdout.write(f"{split}: {len(store)} clips, {state}: {store.path}\n")
        for skip in store.skipped:
            sys.stdout.write(clean(f"  skipped {skip.file}: {skip.reason}") + "\n")
    return 0


def _show_flags(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, default=Path("contact_sheet.png"), help="PNG file to write")
    parser.add_argument("--split", choices=SPLITS, default="test", help="whose clips (test)")
    parser.add_argument("--num", type=int, default=12, help="number of clips, 1 to 60 (12)")


def _show(experiment: Experiment, asked: Namespace) -> int:
    if not 1 <= asked.num <= 60:
        raise RequestError(f"--num must be in [1, 60], got {asked.num}; one picture holds no more clips")
    from sim.corpus import read_clips
    from sim.progress import Progress
    from sim.report.contact_sheet import draw_contact_sheet
    from sim.report.examples import choose_clips, read_example

    progress = Progress()
    clips = read_clips(experiment, cache_dir(experiment), progress)
    chosen = choose_clips([clip for clip in clips if clip.split == asked.split], asked.num)
    with progress.stage("Reading clips", total=len(chosen)) as advance:
        examples = []
        for clip in chosen:
            examples.append(read_example(clip, experiment.data))
            advance(1)
    draw_contact_sheet(examples, asked.out, f"{experiment.data.corpus}, split {asked.split}")
    if asked.json:
        unusable = [
            {"file": str(example.clip.path), "reason": example.reason}
            for example in examples
            if example.reason
        ]
        sys.stdout.write(_as_json({"file": str(asked.out), "num_clips": len(examples), "unusable": unusable}))
    else:
        sys.stdout.write(f"{asked.out}\n")
    return 0


def _as_json(answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, indent=2, allow_nan=False) + "\n"


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects what the readers of corpora warn of, in place of a line on standard error."""
    collected: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record.getMessage())

    logger, handler = logging.getLogger("fedpin.data"), Collector(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield collected
    finally:
        logger.removeHandler(handler)


ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        "check": Action("What a corpus holds, and what in it would spoil a result.", _check_flags, _check),
        "build": Action("Decode, crop and store every split of a corpus.", lambda parser: None, _build),
        "show": Action("A picture of some clips, as the network sees them.", _show_flags, _show),
    }
)
