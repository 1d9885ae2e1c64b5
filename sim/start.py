"""What the rounds of this process start from: first weights, or the newest checkpoint of the run's folder."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fl.distill.batches import TeacherAnswers
from fl.distill.first_weights import obtain_first_weights
from fl.distill.teacher import live_teacher
from fl.errors import RequestError, RunError
from fl.seeds import derive
from fl.settings import Experiment
from server.checkpoint import Checkpoint, newest_checkpoint
from server.fleet import restored_width
from server.parts import GlobalStudent
from sim.branch import read_origin
from sim.prepare import Prepared, ServerPart
from sim.progress import Progress
from sim.record import append_round, keep_rounds, read_rounds


@dataclass(frozen=True)
class Scores:
    """Probabilities of fake of the last student on the test split, (clips,) each."""

    student: np.ndarray
    int8: np.ndarray


@dataclass(frozen=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        student: of the newest checkpoint that is not damaged.
        scores: its scores.
        privacy: where the account of a private run stands; None: the student was trained without.
        num_releases: how many lines of ``releases.jsonl`` that account knows.
    """

    student: GlobalStudent
    scores: Scores
    privacy: dict[str, Any] | None = None
    num_releases: int = 0


def resume(
    run_dir: Path, experiment: Experiment, prepared: Prepared, tell: Callable[[str], None]
) -> Resumed | None:
    """Bring the run's folder to its newest checkpoint and read that; None where the run has none yet.

    Records after the checkpoint are dropped, as their rounds are done again; one that was not yet
    written when the process was killed is taken from the checkpoint.

    Args:
        run_dir: the run's folder, which no other process writes to.
        experiment: its settings.
        prepared: what it learns from, which must be what it learnt from before.
        tell: prints a line.

    Raises:
        RequestError: the corpus or the teacher is another now.
        RunError: there is no checkpoint that can be used.
    """
    found, origin = newest_checkpoint(run_dir, tell), read_origin(run_dir)
    if found is None:
        if origin is not None:
            raise RunError(f"{run_dir} has lost the checkpoint that it started from; branch again")
        if read_rounds(run_dir):
            keep_rounds(run_dir, 0)
        return None
    if origin is None or found.round_index > origin.round_index:
        check_inputs(run_dir, found.state["inputs"], inputs_of(prepared))
    kept = keep_rounds(run_dir, found.round_index)
    if not kept or kept[-1]["round_index"] < found.round_index:
        append_round(run_dir, found.state["record"])
    tell(f"Resumed after round {found.round_index} of {experiment.strategy.num_rounds}")
    privacy = found.state.get("privacy")
    if experiment.privacy.mechanism != "none" and privacy is None:
        raise RequestError(
            f"privacy.mechanism must stay none after rounds without, as those of {found.folder}: what they "
            "told of clients cannot be taken back; start a private run anew"
        )
    student, scores = student_of(found, experiment, len(prepared.rows)), Scores(**found.scores)
    return Resumed(student, scores, privacy, int(found.state.get("releases", 0)))


def inputs_of(prepared: ServerPart) -> dict[str, str]:
    """Digests of what a run learns from: "teacher", and each split of the corpus."""
    stores = {f"clips, {split}": store.digest for split, store in prepared.stores.items()}
    return {"teacher": prepared.teacher.digest, **stores}


def check_inputs(run_dir: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """Refuse to go on with another corpus or another teacher.

    Raises:
        RequestError: what differs.
    """
    changed = [f"{name}: {before[name][:8]} -> {now[name][:8]}" for name in now if before[name] != now[name]]
    if changed:
        raise RequestError(
            f"resume must find what {run_dir} learnt from, but digests differ ({'; '.join(changed)}); "
            "restore the files, or go on with these in a new folder: "
            f"python -m sim run branch={run_dir} name=NEW"
        )


def student_of(found: Checkpoint, experiment: Experiment, num_clients: int) -> GlobalStudent:
    """The student that the server held when it wrote a checkpoint."""
    plan, weak = found.state["weak_plan"], None
    if plan is not None:
        told = found.state["record"]["weak"]
        weak = restored_width(experiment, found.architecture, found.network, num_clients, plan, told)
    failed = int(found.state.get("failed_in_a_row", 0))  # runs of before it was kept had none
    return GlobalStudent(found.architecture, found.network, weak, found.round_index, failed)


def make_student(
    prepared: ServerPart, experiment: Experiment, cache_dir: Path, progress: Progress
) -> GlobalStudent:
    """The dense student with its first weights: drawn from the run's seed, then distilled on public clips."""
    pretrained = experiment.system.student_backbone or experiment.system.pretrained
    network = prepared.student.build(derive(experiment.seed, "student"), pretrained)
    warmup = experiment.warmup
    if warmup.max_epochs:
        with progress.stage("Student on public clips", total=warmup.max_epochs) as advance:
            obtain_first_weights(
                network,
                prepared.stores["public"],
                prepared.stores["validation"],
                prepared.teacher,
                public_teacher(prepared, experiment),
                warmup,
                experiment.augment,
                experiment.distill,
                experiment.seed,
                cache_dir,
                advance,
            )
    return GlobalStudent(prepared.student, network)


def public_teacher(prepared: ServerPart, experiment: Experiment) -> TeacherAnswers:
    """The teacher's answers to the public clips, cached or live as the settings ask."""
    if experiment.augment.teacher_view == "live":
        return live_teacher(prepared.teacher.folder, experiment.teacher.precision)
    return prepared.outputs["public"]
