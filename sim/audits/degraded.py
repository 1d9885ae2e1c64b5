"""Views of a store whose pictures went through JPEG, resizing, blur, noise or H.264."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fl.cores import usable_cores
from fl.data.degrade import H264, degrade_crops
from fl.data.reencoding import reencode_clips
from fl.data.shards import Shard, ShardView, take
from fl.errors import DataError
from fl.seeds import generator
from sim.finished import FinishedRun
from sim.progress import Advance


def degraded_view(
    run: FinishedRun, store: Shard, rows: NDArray[np.int64], kind: str, level: float, advance: Advance
) -> tuple[ShardView, list[str]]:
    """The clips of those rows with pictures made worse; their sound is left as it is.

    Args:
        run: how the clips were read, and the seed of the noise.
        store: clean.
        rows: of the store.
        kind: a key of `fl.data.degrade.LEVELS`.
        level: see `fl.data.degrade.UNITS`.
        advance: told of each clip.

    Returns:
        The view, and what must be said of clips that had to be left out of it.

    Raises:
        DataError: nothing is left.
    """
    notes: list[str] = []
    if kind == H264:
        data, clips = run.experiment.data, [store.clips[row] for row in rows]
        frames, reasons = reencode_clips(
            clips,
            store.boxes[rows],
            level,
            data.clip,
            data.media,
            num_workers=usable_cores(),
            advance=lambda number: advance(number, f"{level:g}"),
        )
        if reasons:
            first = min(reasons)
            told = f"{len(reasons)} of {len(rows)} clips cannot be encoded anew: {reasons[first]}"
            notes.append(f"{kind} {level:g}: left out, {told}, e.g. {clips[first].path.name}")
            kept = np.array([index for index in range(len(rows)) if index not in reasons], dtype=np.int64)
            if not len(kept):
                raise DataError(f"H.264 at {level:g}: {told}; leave h264 out of --kinds")
            frames, rows = frames[kept], rows[kept]
    else:
        worse = []
        for row in rows:
            # One stream of noise per clip: at every level it has the same shape.
            rng = generator(run.experiment.seed, 0, int(row), "robustness noise")
            worse.append(degrade_crops(np.array(store.frames[row]), kind, level, rng))
            advance(1, f"{level:g}")
        frames = np.stack(worse)
    names = ("mfcc", "labels", "valid_steps", "has_audio", "boxes", "times")
    chosen = replace(
        store,
        clips=tuple(store.clips[row] for row in rows),
        headers=tuple(store.headers[row] for row in rows),
        frames=frames,
        **{name: getattr(store, name)[rows] for name in names},
    )
    return take(chosen), notes
