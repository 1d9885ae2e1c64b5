"""A run's student judged by single frames, by clips, and by whole videos."""

import csv
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fl.data.shards import ShardView, take
from fl.distill.batches import ordered_batches
from fl.errors import RequestError, RunError
from fl.metrics.levels import Rows
from fl.metrics.scores import probabilities
from models.image import ImageDetector
from sim.clip_ids import clip_ids
from sim.finished import open_run
from sim.prediction_file import read_table
from sim.progress import Progress
from sim.record import PREDICTIONS_FILE

FRAMES_FILE = "frames.csv"
COLUMNS = ("clip", "frame", "label", "category", "score", "video", "split")


@dataclass(frozen=True)
class Levels:
    """The same test clips at each level there is.

    Attributes:
        tables: level, of `fl.metrics.levels.LEVELS` -> its rows.
        notes: what must be said beside them.
        frames_file: what was written; empty for networks that judge clips as a whole.
    """

    tables: dict[str, Rows]
    notes: tuple[str, ...]
    frames_file: str = ""


def read_levels(run_dir: Path, cache: Path | None = None) -> Levels:
    """A run's test split by clip and by video; by frame too if its student is a network of pictures.

    The scores of clips are those of ``predictions.csv``. Frames are scored anew, with the clip's label, and
    written to ``frames.csv`` in the run folder.

    Args:
        run_dir: a finished run.
        cache: where its clips lie; None: where the run had them.

    Raises:
        RequestError: it is no finished run, its predictions cannot be read or have no column ``video``,
            or its clips are not in the cache.
        RunError: ``frames.csv`` cannot be written.
    """
    run = open_run(run_dir, cache)
    predictions = run_dir / PREDICTIONS_FILE
    tables, notes, written = {}, [], ""
    if isinstance(run.network, ImageDetector):
        view = take(run.stores(("test",))["test"])
        with Progress().stage("Scoring single frames", total=len(view)) as advance:
            logits = frame_logits(run.network, view, advance)
        written = str(write_frames(run_dir / FRAMES_FILE, view, probabilities(logits)))
        tables["frame"] = read_table(Path(written))
        notes.append("frame: each picture alone, with its clip's label; clip: the mean of its frames' logits")
    else:
        notes.append(
            f"no frames: {run.architecture.name} judges all frames of a clip at once, with its sound"
        )
    tables["clip"] = read_table(predictions)
    tables["video"] = read_table(predictions, "video")
    alone = len(tables["video"].labels) == len(tables["clip"].labels)
    one = " (here one clip each)" if alone else ""
    notes.append(f"video: the mean of its clips' probabilities{one}")
    return Levels(tables, tuple(notes), written)


@torch.no_grad()
def frame_logits(
    network: nn.Module, view: ShardView, advance: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Every frame judged as if it were a clip of its own.

    Args:
        network: of pictures, in evaluation mode; its clip logits are the means of these.
        view: the clips.
        advance: told how many clips are done.

    Returns:
        (clips, num_frames), unnormalised; above 0 is fake.

    Raises:
        RequestError: the network is not one of pictures.
    """
    if not isinstance(network, ImageDetector):
        raise RequestError(f"networks of pictures score single frames, {type(network).__name__} does not")
    network.eval()
    found = []
    for batch in ordered_batches(view, None, 16):
        frames = batch.frames
        logits = network(frames.flatten(0, 1)[:, None]).logits
        found.append(logits.reshape(frames.shape[:2]).numpy())
        if advance is not None:
            advance(len(frames))
    return np.concatenate(found)


def write_frames(path: Path, view: ShardView, scores: NDArray[np.float64]) -> Path:
    """Write one row per frame, whole or not at all.

    Args:
        path: the CSV file.
        view: the clips.
        scores: (clips, num_frames), probability of fake.

    Raises:
        RunError: it cannot be written.
    """
    aside = path.with_suffix(".tmp")
    try:
        with aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            clips = zip(view.clips, clip_ids(view.clips), view.labels, scores, strict=True)
            for clip, (name, video), label, row in clips:
                for frame, score in enumerate(row):
                    cells = (name, frame, int(label), clip.category, float(score), video, "test")
                    writer.writerow(cells)
        os.replace(aside, path)
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; free some space") from error
    return path
