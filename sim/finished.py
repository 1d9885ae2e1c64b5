"""A finished run, opened again: its settings, last student, and the clips and teacher in the cache."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from yaml import YAMLError  # type: ignore[import-untyped]

from fl.data.clips import Clip
from fl.data.corpora import synthetic
from fl.data.corpora.building import METADATA_NAME
from fl.data.reading import READER_VERSION
from fl.data.shards import Shard
from fl.data.tables import table_digest
from fl.distill.batches import TeacherAnswers, TeacherOutputs
from fl.distill.teacher import live_teacher, open_outputs, outputs_folder
from fl.errors import RequestError
from fl.settings import Experiment
from models.architecture import Architecture
from server.checkpoint import checkpoint_folders, load_checkpoint
from sim.checks import cache_dir
from sim.config import build
from sim.corpus import build_store, read_clips
from sim.progress import Progress
from sim.record import SUMMARY_FILE


@dataclass(frozen=True)
class FinishedRun:
    """What a run left.

    Attributes:
        folder: the run's.
        experiment: its settings.
        cache_dir: where its stores and its teacher lie.
        architecture: of the student of the last checkpoint.
        network: that student, in evaluation mode.
        teacher_folder: of its teacher.
    """

    folder: Path
    experiment: Experiment
    cache_dir: Path
    architecture: Architecture
    network: nn.Module
    teacher_folder: Path

    def stores(self, splits: Sequence[str]) -> dict[str, Shard]:
        """Clips of the run, from the cache.

        Args:
            splits: which: "public", "clients", "validation", "test".

        Raises:
            RequestError: one is not in the cache (any more); nothing is built.
            DataError: the corpus cannot be read.
        """
        progress = Progress()
        self._check_corpus()
        clips = read_clips(self.experiment, self.cache_dir, progress)
        stores = {}
        for split in splits:
            folder = self.cache_dir / "shards" / self._store_digest(split, clips)
            if not folder.is_dir():
                raise self._missing(f"clips of the split {split!r}")
            stores[split] = build_store(split, clips, self.experiment, self.cache_dir, progress)
        return stores

    def teacher_outputs(self, store: Shard) -> TeacherOutputs:
        """What the teacher says of a store, from the cache.

        Raises:
            RequestError: it is not there.
        """
        folder = outputs_folder(self.teacher_folder, store)
        if not folder.is_dir():
            raise self._missing("teacher's answers to these clips")
        return open_outputs(folder)

    def teacher_answers(self, store: Shard) -> TeacherAnswers:
        """What a student learns from: the cached outputs, or a live teacher where the run had one.

        Raises:
            RequestError: as in `teacher_outputs`.
        """
        if self.experiment.augment.teacher_view == "live":
            return live_teacher(self.teacher_folder, self.experiment.teacher.precision)
        return self.teacher_outputs(store)

    def _store_digest(self, split: str, clips: Sequence[Clip]) -> str:
        data = self.experiment.data
        chosen = [clip for clip in clips if clip.split == split]
        return table_digest(chosen, data.clip, data.media, READER_VERSION)

    def _check_corpus(self) -> None:
        """A rendered corpus that was removed would be rendered again, which an audit must not do."""
        data = self.experiment.data
        if data.corpus == "synthetic":
            digest = synthetic.corpus_digest(data.synthetic)
            if not (self.cache_dir / "corpora" / digest / METADATA_NAME).is_file():
                raise self._missing("corpus")

    def _missing(self, what: str) -> RequestError:
        return missing(what, self.folder, self.cache_dir)


def missing(what: str, run_dir: Path, cache: Path) -> RequestError:
    """The error for something of a run that the cache has not, with the command that makes it."""
    overrides = run_dir / ".hydra" / "overrides.yaml"
    typed = OmegaConf.load(overrides) if overrides.is_file() else OmegaConf.create([])
    asked = [str(item) for item in typed if not str(item).startswith(("name=", "cache_dir="))]
    command = " ".join(["python -m sim run", *asked, f"cache_dir={cache}"])
    return RequestError(
        f"the {what} of {run_dir} must be in the cache {cache}, but is not there; name the cache by "
        f"--cache-dir, or fill it again: {command}"
    )


def open_run(run_dir: Path, cache: Path | None = None) -> FinishedRun:
    """Open a run folder.

    Args:
        run_dir: what `python -m sim run` printed last.
        cache: where its clips and teacher lie; None: where the run had them.

    Raises:
        RequestError: the folder is no run, or not a finished one, or its teacher is not in the cache.
    """
    summary, config = run_dir / SUMMARY_FILE, run_dir / ".hydra" / "config.yaml"
    checkpoints = checkpoint_folders(run_dir)
    if not (summary.is_file() and config.is_file() and checkpoints):
        raise RequestError(
            f"RUN must be the folder of a finished run, with {SUMMARY_FILE}, .hydra and checkpoints, "
            f"got {str(run_dir)!r}; `python -m sim run` prints its folder last"
        )
    try:
        loaded = OmegaConf.load(config)
        teacher = str(json.loads(summary.read_text())["teacher"]["digest"])
    except (OmegaConfBaseException, YAMLError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{run_dir} cannot be read ({error}); name a run made by this version") from error
    if not isinstance(loaded, DictConfig):
        raise RequestError(f"{config} must hold settings; name a run made by this version")
    experiment = build(loaded)
    place = cache or cache_dir(experiment)
    folder = place / "teachers" / teacher
    if not folder.is_dir():
        raise missing("teacher", run_dir, place)
    architecture, network, _ = load_checkpoint(checkpoints[-1])
    return FinishedRun(run_dir, experiment, place, architecture, network.eval(), folder)
