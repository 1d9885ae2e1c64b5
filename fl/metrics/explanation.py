"""EPS, the Explainability Preservation Score: does the student look where the teacher looks?

EPS = 0.5 * Spearman(A_T, A_S) + 0.5 * IoU(top 20 % of A_T, top 20 % of A_S)

per sample, on valid positions only. Its range is [-0.5, 1]. Two unrelated maps score 0.055 on average,
but a prior that all clips share can lift unrelated clips to 0.9. So every mean stands beside its shuffled
baseline: the teacher's map of one sample against the student's map of another.
Source: PIN-Lite (the score); the shuffled baseline, the crop and the count of constant maps are ours.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from fl.errors import DataError

CONSTANT_SPREAD = 1e-6
"""A map is constant if max - min is at most this times its largest magnitude (float32 rounding)."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class EpsSamples:
    """EPS of each sample, arrays of (num_samples,).

    Attributes:
        eps: in [-0.5, 1].
        rho: Spearman's rank correlation in [-1, 1]; 0 where a map is constant.
        iou: overlap of the two top fifths in [0, 1].
        constant: the teacher's or the student's map is constant.
    """

    eps: Floats
    rho: Floats
    iou: Floats
    constant: Bools


@dataclass(frozen=True)
class EpsSummary:
    """EPS of a set of samples; all but ``num_constant`` are None for an empty set.

    Attributes:
        mean: mean EPS in [-0.5, 1].
        rho: mean rank correlation in [-1, 1].
        iou: mean overlap of the top fifths in [0, 1].
        p10: tenth percentile of EPS over the samples.
        ci95: 95 % bootstrap interval of the mean.
        shuffled: mean EPS of mismatched pairs; None for fewer than two samples.
        num_constant: samples of which one map is constant (their rho counts as 0).
        above_shuffled: ``mean`` - ``shuffled``.
    """

    mean: float | None
    rho: float | None
    iou: float | None
    p10: float | None
    ci95: tuple[float, float] | None
    shuffled: float | None
    num_constant: int
    above_shuffled: float | None

    def as_record(self) -> dict[str, Any]:
        """The plain dictionary that goes into ``rounds.jsonl``."""
        return asdict(self)


def eps(
    teacher_maps: ArrayLike,
    student_maps: ArrayLike,
    valid_steps: ArrayLike,
    rng: np.random.Generator,
    num_bootstrap: int = 1000,
) -> EpsSummary:
    """EPS of a set of samples with its interval and its shuffled baseline.

    Args:
        teacher_maps: (num_samples, steps, frames), any scale; finite where valid.
        student_maps: the same, or with other numbers of steps and frames (see `align`).
        valid_steps: (num_samples,), the first steps of the teacher's map that are not padding.
        rng: draws the mismatched pairs and the resamples.
        num_bootstrap: resamples of the interval.

    Raises:
        DataError: shapes do not match, valid_steps is out of range, a valid value is not finite.
    """
    teacher, student, valid = align(teacher_maps, student_maps, valid_steps)
    num_samples = len(teacher)
    if num_samples == 0:
        return EpsSummary(None, None, None, None, None, None, 0, None)
    samples = _score(teacher, student, valid)
    shuffled = None
    if num_samples > 1:
        other = mismatch(num_samples, rng)
        shuffled = float(_score(teacher, student[other], np.minimum(valid, valid[other])).eps.mean())
    mean = float(samples.eps.mean())
    return EpsSummary(
        mean=mean,
        rho=float(samples.rho.mean()),
        iou=float(samples.iou.mean()),
        p10=float(np.quantile(samples.eps, 0.1)),
        ci95=mean_interval(samples.eps, rng, num_bootstrap),
        shuffled=shuffled,
        num_constant=int(samples.constant.sum()),
        above_shuffled=None if shuffled is None else mean - shuffled,
    )


def eps_per_sample(teacher_maps: ArrayLike, student_maps: ArrayLike, valid_steps: ArrayLike) -> EpsSamples:
    """EPS of each sample; arguments and errors as in `eps`."""
    return _score(*align(teacher_maps, student_maps, valid_steps))


def mismatch(num_samples: int, rng: np.random.Generator) -> Ints:
    """(num_samples,), for each sample another one: a random cycle through all of them, so never itself."""
    order = rng.permutation(num_samples)
    other = np.empty(num_samples, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return other


def mean_interval(
    values: Floats, rng: np.random.Generator, num_bootstrap: int = 1000, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean of ``values`` (num_samples,); None for no values."""
    if values.size == 0:
        return None
    chosen = rng.integers(0, values.size, size=(num_bootstrap, values.size))
    low, high = np.quantile(values[chosen].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def align(
    teacher_maps: ArrayLike, student_maps: ArrayLike, valid_steps: ArrayLike
) -> tuple[Floats, Floats, Ints]:
    """Both maps cropped to their valid steps and on one grid.

    Where the maps differ in size, each axis of the larger is resized to the smaller by area
    averaging, after the padding is cropped: nothing is flattened, cut off or blended with padding.
    The student's valid steps are then the same share of its steps as the teacher's, rounded up.

    Returns:
        teacher and student (num_samples, steps, frames) with zeros for padding, and the
        valid steps (num_samples,).

    Raises:
        DataError: as in `eps`.
    """
    teacher = np.asarray(teacher_maps, dtype=np.float64)
    student = np.asarray(student_maps, dtype=np.float64)
    valid = _check(teacher, student, valid_steps)
    if teacher.shape == student.shape:
        keep = (np.arange(teacher.shape[1]) < valid[:, None])[:, :, None]
        teacher, student = np.where(keep, teacher, 0.0), np.where(keep, student, 0.0)
    else:
        teacher, student, valid = _resize(teacher, student, valid)
    for name, maps in (("teacher", teacher), ("student", student)):
        if not np.isfinite(maps).all():
            index = int(np.flatnonzero(~np.isfinite(maps).all(axis=(1, 2)))[0])
            raise DataError(f"{name} map of sample {index} must be finite; the network diverged")
    return teacher, student, valid


def _check(teacher: Floats, student: Floats, valid_steps: ArrayLike) -> Ints:
    for name, maps in (("teacher", teacher), ("student", student)):
        if maps.ndim != 3 or (len(maps) and 0 in maps.shape):
            raise DataError(f"{name} maps must be (num_samples, steps, frames), got {maps.shape}")
    if len(teacher) != len(student):
        raise DataError(f"one student map per teacher map ({len(teacher)}), got {len(student)}")
    valid = np.asarray(valid_steps, dtype=np.int64)
    if valid.shape != (len(teacher),):
        raise DataError(f"valid_steps must be ({len(teacher)},), got {valid.shape}")
    wrong = valid[(valid < 1) | (valid > teacher.shape[1])]
    if wrong.size:
        raise DataError(f"valid_steps must be in [1, {teacher.shape[1]}], got {wrong[0]}")
    return valid


def _resize(teacher: Floats, student: Floats, valid: Ints) -> tuple[Floats, Floats, Ints]:
    student_valid = -(-valid * student.shape[1] // teacher.shape[1])
    common = np.minimum(valid, student_valid)
    num_frames = min(teacher.shape[2], student.shape[2])
    shape = (len(teacher), min(teacher.shape[1], student.shape[1]), num_frames)
    results = (np.zeros(shape), np.zeros(shape))
    for num_steps in np.unique(valid):
        rows = valid == num_steps
        target = int(common[rows][0])
        for maps, steps, result in zip((teacher, student), (valid, student_valid), results, strict=True):
            cropped = maps[rows, : int(steps[rows][0])]
            over_time = area_matrix(cropped.shape[1], target)
            over_frames = area_matrix(cropped.shape[2], num_frames)
            averaged = over_time @ cropped @ over_frames.T
            result[rows, :target] = averaged.astype(np.float32)  # equal cells stay equal after summation
    return *results, common


def area_matrix(num_from: int, num_to: int) -> Floats:
    """(num_to, num_from), averages ``num_from`` cells into ``num_to`` by overlap; rows sum to 1."""
    edges_from = np.arange(num_from + 1) / num_from
    edges_to = np.arange(num_to + 1) / num_to
    low = np.maximum(edges_to[:-1, None], edges_from[None, :-1])
    high = np.minimum(edges_to[1:, None], edges_from[None, 1:])
    overlap = np.maximum(high - low, 0.0)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True), dtype=np.float64)


def _score(teacher: Floats, student: Floats, valid_steps: Ints) -> EpsSamples:
    """EPS on aligned maps (num_samples, steps, frames)."""
    num_samples, _, num_frames = teacher.shape
    counts = valid_steps * num_frames
    teacher_flat = teacher.reshape(num_samples, -1)
    student_flat = student.reshape(num_samples, -1)
    valid = np.arange(teacher_flat.shape[1]) < counts[:, None]  # steps lead, so padding is at the end
    teacher_flat, teacher_constant = _flatten_constant(teacher_flat, valid)
    student_flat, student_constant = _flatten_constant(student_flat, valid)
    constant = teacher_constant | student_constant
    rho = np.where(constant, 0.0, _spearman(teacher_flat, student_flat, valid, counts))
    iou = _top_overlap(teacher_flat, student_flat, counts)
    return EpsSamples(eps=0.5 * rho + 0.5 * iou, rho=rho, iou=iou, constant=constant)


def _flatten_constant(maps: Floats, valid: Bools) -> tuple[Floats, Bools]:
    """Maps with -inf for padding and zeros for maps that are constant but for rounding."""
    high = np.max(maps, axis=1, where=valid, initial=-np.inf)
    low = np.min(maps, axis=1, where=valid, initial=np.inf)
    constant = high - low <= CONSTANT_SPREAD * np.maximum(np.abs(high), np.abs(low))
    return np.where(valid, np.where(constant[:, None], 0.0, maps), -np.inf), constant


def _spearman(teacher: Floats, student: Floats, valid: Bools, counts: Ints) -> Floats:
    """Spearman's rho per row, ties averaged; padding ranks below all else, which shifts ranks alike."""
    ranks = [np.asarray(rankdata(maps, axis=1)) for maps in (teacher, student)]
    centred = []
    for rank in ranks:
        mean = np.sum(rank, axis=1, where=valid) / counts
        centred.append(np.where(valid, rank - mean[:, None], 0.0))
    product = (centred[0] * centred[1]).sum(axis=1)
    norm = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    rho = np.divide(product, norm, out=np.zeros_like(product), where=norm > 0)
    return np.asarray(np.clip(rho, -1.0, 1.0), dtype=np.float64)


def _top_overlap(teacher: Floats, student: Floats, counts: Ints) -> Floats:
    """IoU per row of the ceil(n / 5) largest positions; of equal values the lower index wins."""
    num_top = -(-counts // 5)
    first = np.arange(teacher.shape[1]) < num_top[:, None]
    tops = []
    for maps in (teacher, student):
        top = np.zeros(maps.shape, dtype=np.bool_)
        np.put_along_axis(top, np.argsort(-maps, axis=1, kind="stable"), first, axis=1)
        tops.append(top)
    shared = (tops[0] & tops[1]).sum(axis=1)
    return np.asarray(shared / (2 * num_top - shared), dtype=np.float64)
