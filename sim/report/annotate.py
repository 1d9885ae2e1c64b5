"""The annotated video: a box and a label that follow the face, and the original sound.

It is written by another process (`sim.report.annotator`): a file that hangs or ends a decoder leaves nothing.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl.data.headers import open_file
from fl.data.images import is_image
from fl.data.processes import Message, Worker
from fl.errors import ClipError, RequestError, RunError
from sim.progress import Advance, Progress

if TYPE_CHECKING:
    from sim.judgement import Verdict

MODULE = "sim.report.annotator"
"""What the process runs."""


def annotate_video(
    source: Path, out: Path, verdict: "Verdict", threshold: float, progress: Progress, timeout_s: float
) -> None:
    """Write the video as H.264 and AAC in MP4; it appears whole or not at all.

    Args:
        source: the video that was judged.
        out: the file to write.
        verdict: of the whole video, with its windows.
        threshold: a window with a higher probability is labelled fake.
        progress: shows both passes: looking for faces, and writing.
        timeout_s: given up if nothing is done for so long.

    Raises:
        RequestError: the source is a picture.
        RunError: the source cannot be decoded to its end, or ``out`` cannot be written.
    """
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    request = {
        "source": str(source),
        "out": str(partial),
        "verdict": asdict(verdict),
        "threshold": threshold,
    }
    try:
        with open_file(source) as file:
            if is_image(file.read(64)):
                raise RequestError(
                    f"--annotate needs a video, but {str(source)!r} is a picture; leave it out"
                )
        with Worker(MODULE, timeout_s) as worker:
            _follow(worker.ask(request), out, progress)
        os.replace(partial, out)
    except ClipError as error:
        raise RunError(f"{str(source)!r} cannot be annotated: {error}") from error
    except OSError as error:
        raise _unwritable(out, error.strerror or str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def _follow(messages: Iterator[Message], out: Path, progress: Progress) -> None:
    """Show each stage while it lasts."""
    with ExitStack() as stages:
        advance: Advance | None = None
        for record, _ in messages:
            told: dict[str, Any] = record
            if "unwritable" in told:
                raise _unwritable(out, told["unwritable"])
            if "stage" in told:
                stages.close()
                advance = stages.enter_context(progress.stage(told["stage"], total=told["total"]))
            elif advance is not None:
                advance(told["step"])


def _unwritable(out: Path, why: str) -> RunError:
    return RunError(f"{str(out)!r} cannot be written: {why}; choose another")
