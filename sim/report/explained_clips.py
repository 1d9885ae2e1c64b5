"""One real and one fake test clip with the maps of teacher and student, chosen by a rule and not by looks.

The rule: of the clips of a class that both networks judge rightly and with confidence (probability of the
true class at least `CONFIDENT`), the one whose EPS is nearest to the median EPS of the whole class. Where no
clip is judged so, all of the class stand for choice.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fl.data.features import HOP_S
from fl.data.shards import take
from fl.distill.predict import predict, valid_rows
from fl.metrics.explanation import eps_per_sample
from fl.metrics.scores import probabilities
from fl.seeds import generator
from models.names import hears
from server.evaluate import two_class_rows
from sim.finished import FinishedRun

CONFIDENT = 0.8
MAX_CLIPS = 400
"""Test clips that are asked, half of each class; more would take minutes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ExplainedClip:
    """A clip and where both networks look.

    Attributes:
        name: of its file.
        label: 1 = fake.
        category: the manipulation, or "real".
        eps: of the student's map, in [-0.5, 1].
        median_eps: of its class.
        num_clips: of its class.
        confident: whether the rule found a clip that both judge rightly and with confidence.
        teacher_score: the teacher's probability of fake.
        student_score: the student's.
        frames: (n, H, W, 3) uint8 RGB, the crops that the networks see.
        times_s: (n,), when each is shown, s.
        start_s: where the sound of the clip's window starts, s.
        step_s: time between two rows of the maps of a network that hears; 0 for maps over a picture.
        teacher_map: (steps, n) for networks that hear, its rows without padding, or (height, width) of the
            picture, signed, large where it speaks for fake.
        student_map: likewise.
    """

    name: str
    label: int
    category: str
    eps: float
    median_eps: float
    num_clips: int
    confident: bool
    teacher_score: float
    student_score: float
    frames: NDArray[np.uint8]
    times_s: Floats
    start_s: float
    step_s: float
    teacher_map: Floats
    student_map: Floats


def explain_clips(run: FinishedRun) -> list[ExplainedClip]:
    """One clip of each class that the test split has, the real one first.

    Raises:
        RequestError: the clips, or the teacher's answers to them, are not in the cache.
        DataError: the corpus cannot be read, or a map is not finite.
    """
    store = run.stores(("test",))["test"]
    rows = np.arange(len(store))
    if len(store) > MAX_CLIPS:
        rows = two_class_rows(store.labels, MAX_CLIPS, generator(run.experiment.seed, 0, -1, "report clips"))
    outputs = run.teacher_outputs(store)
    view = take(store, rows)
    logits, maps = predict(run.network, view)
    teacher_maps = np.asarray(outputs.maps[rows])
    scores = np.stack([probabilities(np.asarray(outputs.logits[rows])), probabilities(logits)])
    in_time = hears(run.experiment.system.student)
    valid = valid_rows(view, teacher_maps)
    samples = eps_per_sample(teacher_maps, maps, valid).eps
    found = []
    for label in (0, 1):
        own = samples[view.labels == label]
        if not len(own):
            continue
        index, confident = choose(view.labels, scores, samples, label)
        clip, row = view.clips[index], rows[index]
        steps = int(valid[index])
        found.append(
            ExplainedClip(
                name=clip.path.name,
                label=label,
                category=clip.category,
                eps=float(samples[index]),
                median_eps=float(np.median(own)),
                num_clips=len(own),
                confident=confident,
                teacher_score=float(scores[0, index]),
                student_score=float(scores[1, index]),
                frames=np.array(store.frames[row]),
                times_s=np.array(store.times[row], dtype=np.float64),
                start_s=max(0.0, (clip.duration_s - steps * HOP_S) / 2) if in_time else 0.0,
                step_s=HOP_S if in_time else 0.0,
                teacher_map=np.array(teacher_maps[index, :steps], dtype=np.float64),
                student_map=np.array(maps[index, :steps], dtype=np.float64),
            )
        )
    return found


def choose(labels: NDArray[np.uint8], scores: Floats, eps: Floats, label: int) -> tuple[int, bool]:
    """The clip of a class that the rule names, and whether any was judged with confidence.

    Args:
        labels: (clips,), 1 = fake.
        scores: (networks, clips), probability of fake.
        eps: (clips,).
        label: the class, of which there must be a clip; of equally near ones the first is taken.
    """
    own = labels == label
    of_truth = np.where(label == 1, scores, 1 - scores).min(axis=0)
    sure = own & (of_truth >= CONFIDENT)
    candidates = np.flatnonzero(sure if sure.any() else own)
    gaps = np.abs(eps[candidates] - np.median(eps[own]))
    return int(candidates[np.argmin(gaps)]), bool(sure.any())
