"""Does what a publication's table says hold here? The same two rows, on the same test clips."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fl.metrics.comparison import compare_detectors
from sim.studies.measuring import eps_interval, folder_of, measured_row, scores_of_test
from sim.studies.published import PUBLISHED
from sim.studies.study import Claim, Replay, Subject

SAME, OTHER, OPEN = "the same way", "the other way", "not decided"


@dataclass(frozen=True)
class Verdict:
    """One claim, here.

    Attributes:
        text: the claim.
        key: the column.
        regime: "central" or "federated".
        published: the better row less the worse, as printed.
        measured: the same difference here.
        low: lower end of its 95 % interval over the test clips; None where there is none.
        high: upper end.
        verdict: `SAME`, `OTHER`, or `OPEN` where the interval holds 0.
    """

    text: str
    key: str
    regime: str
    published: float
    measured: float
    low: float | None
    high: float | None
    verdict: str


def judge_claims(replay: Replay, folders: Mapping[str, Path]) -> list[Verdict]:
    """The verdicts on a table's claims in each regime that has both rows; failed runs are left out."""
    table = PUBLISHED[replay.table]
    subjects = {match.label: match.subjects for match in replay.matches}
    verdicts = []
    for claim in replay.claims:
        better, worse = table.row(claim.better).values, table.row(claim.worse).values
        published = better[claim.key] - worse[claim.key]
        for regime, ahead in subjects.get(claim.better, {}).items():
            behind = subjects.get(claim.worse, {}).get(regime)
            if behind is None or not (folder_of(ahead, folders) and folder_of(behind, folders)):
                continue
            verdicts.append(_judge(claim, regime, published, ahead, behind, folders))
    return verdicts


def _judge(
    claim: Claim,
    regime: str,
    published: float,
    ahead: Subject,
    behind: Subject,
    folders: Mapping[str, Path],
) -> Verdict:
    if claim.key in ("accuracy", "auc"):
        measured, low, high = _paired(claim.key, ahead, behind, folders)
    elif claim.key == "eps":
        measured, low, high = _eps(folders[ahead.job], folders[behind.job])
    else:
        rows = [measured_row(folders[subject.job], subject.network) for subject in (ahead, behind)]
        measured, low, high = rows[0][claim.key] - rows[1][claim.key], None, None
    return Verdict(
        claim.text,
        claim.key,
        regime,
        published,
        measured,
        low,
        high,
        _verdict(published, measured, low, high),
    )


def _paired(
    key: str, ahead: Subject, behind: Subject, folders: Mapping[str, Path]
) -> tuple[float, float | None, float | None]:
    """The difference on the clips that both judged, with its bootstrap interval; accuracy in percent."""
    first, second = (scores_of_test(folders[subject.job], subject.network) for subject in (behind, ahead))
    if first.clips != second.clips:
        raise ValueError(f"{behind.job} and {ahead.job} were not tested on the same clips")
    found = compare_detectors(first.labels, first.scores, second.scores, np.random.default_rng(0))
    difference = found.accuracy if key == "accuracy" else found.auc
    scale = 100 if key == "accuracy" else 1
    if difference is None:
        return float("nan"), None, None
    return scale * difference.gain, scale * difference.low, scale * difference.high


def _eps(ahead: Path, behind: Path) -> tuple[float, float, float]:
    """The difference of two students' mean EPS; its interval takes their clips for independent: too wide."""
    (first, width), (second, other) = eps_interval(ahead), eps_interval(behind)
    half = math.hypot(width, other)
    return first - second, first - second - half, first - second + half


def _verdict(published: float, measured: float, low: float | None, high: float | None) -> str:
    if low is not None and high is not None and low <= 0 <= high:
        return OPEN
    return SAME if measured * published > 0 else OTHER
