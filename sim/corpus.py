"""The corpus of a request: its table of clips, and a store for each split. Imports no torch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fl.cores import usable_cores
from fl.data.clips import Clip, without_sound
from fl.data.corpora import folders, synthetic
from fl.data.corpora.catalogue import read_corpus
from fl.data.shards import Shard, build_shard
from fl.errors import DataError
from fl.settings import Experiment
from models.names import hears
from sim.progress import Progress


def read_clips(experiment: Experiment, cache_dir: Path, progress: Progress) -> list[Clip]:
    """The corpus as one table of clips; rendered or forged first where it has to be.

    Where the networks are deaf, fakes of the sound alone count as real.
    """
    clips = _read_clips(experiment, cache_dir, progress)
    return clips if hears(experiment.system.student) else [without_sound(clip) for clip in clips]


def _read_clips(experiment: Experiment, cache_dir: Path, progress: Progress) -> list[Clip]:
    data, workers = experiment.data, usable_cores()
    if data.corpus == "synthetic":
        total = data.synthetic.num_identities * data.synthetic.clips_per_identity
        with progress.stage("Rendering the corpus", total=total) as advance:
            root = synthetic.build_corpus(data.synthetic, cache_dir, advance, workers)
    elif data.corpus == "folders":
        with progress.stage("Forging the corpus") as advance:
            root = folders.build_corpus(
                Path(data.root).expanduser(), data.folders, cache_dir, advance, workers, data.max_bad_share
            )
    else:
        return read_corpus(data, experiment.split, experiment.teacher.seed)
    # What is made has LAV-DF's layout.
    made = replace(data, corpus="lavdf", root=str(root))
    return read_corpus(made, experiment.split, experiment.teacher.seed)


def build_store(
    split: str, clips: Sequence[Clip], experiment: Experiment, cache_dir: Path, progress: Progress
) -> Shard:
    """One split's clips, decoded, cropped and memory-mapped; unreadable ones are counted in a line."""
    chosen = [clip for clip in clips if clip.split == split]
    if not chosen:
        raise DataError(
            f"the split {split!r} holds no clip: the corpus needs more identities "
            "(data.synthetic.num_identities, or more people under data.root)"
        )
    with progress.stage(f"Shards, {split}", total=len(chosen)) as advance:
        store = build_shard(
            chosen,
            experiment.data.clip,
            cache_dir,
            limits=experiment.data.media,
            num_workers=usable_cores(),
            max_bad_share=experiment.data.max_bad_share,
            advance=advance,
        )
    if store.skipped:
        first = store.skipped[0]
        progress.line(
            f"Skipped {len(store.skipped)} of {len(chosen)} {split} clips: {first.reason}, e.g. {first.file}"
        )
    return store
