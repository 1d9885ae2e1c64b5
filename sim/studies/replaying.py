"""A study from its runs to its page."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.progress import Progress
from sim.studies.auditing import audit_table
from sim.studies.claiming import judge_claims
from sim.studies.measuring import OVER_FLOAT, row_of
from sim.studies.published import PUBLISHED
from sim.studies.rows import ACCURACY_BY_CATEGORY
from sim.studies.running import JobResult, do_jobs, plan_jobs, told_of_runs
from sim.studies.study import Replay, Study, Subject, experiment_of
from sim.studies.timing import Times, time_subjects
from sim.studies.writing import AuditTable, Outcome, SideBySide

OURS = ("auc", "eps", "eps_shuffled", "speedup")
"""Columns shown beside every published table that has an accuracy."""


@dataclass(frozen=True)
class Request:
    """What is asked of a study.

    Attributes:
        scale: a key of `sim.studies.study.SCALES`.
        overrides: the user's, for every run.
        folder: the runs go below it.
        num_jobs: runs at a time.
        command: as typed, for the page.
    """

    scale: str
    overrides: tuple[str, ...]
    folder: Path
    num_jobs: int
    command: Sequence[str]


def replay_study(study: Study, request: Request) -> Outcome:
    """Do the runs that are not done yet, and set them beside the published tables.

    Raises:
        RequestError: a run that cannot be; none is started.
    """
    progress, started = Progress(), time.monotonic()
    plans = plan_jobs(study.jobs, experiment_of(study, request.scale), request.overrides, request.folder)
    results = do_jobs(study.preset, plans, request.num_jobs)
    folders = {result.job.name: result.folder for result in results if not result.failure}
    subjects = {
        subject
        for replay in study.replays
        for match in replay.matches
        for regime in match.subjects.values()
        for subject in parts_of(regime)
    }
    with progress.stage("Timing all networks in turn"):
        times = time_subjects(subjects, folders)
    audits: tuple[AuditTable, ...] = ()
    if study.audited:
        with progress.stage("Audits", total=len(study.audited)) as advance:
            for audited in study.audited:
                if audited.job in folders:
                    audits = (*audits, audit_table(audited, folders[audited.job]))
                advance(1, audited.title)
    differences = study.full_differences if request.scale == "full" else study.differences
    return Outcome(
        title=study.title,
        facts=_facts(request, results, time.monotonic() - started),
        tables=tuple(side_by_side(replay, folders, times) for replay in study.replays),
        audits=audits,
        differences=differences,
        failures={result.job.name: result.failure for result in results if result.failure},
    )


def parts_of(subject: Subject) -> tuple[Subject, ...]:
    """What has to be timed for a subject."""
    if subject.network != OVER_FLOAT:
        return (subject,)
    return Subject(subject.job, "student"), Subject(subject.job, "int8")


def side_by_side(replay: Replay, folders: Mapping[str, Path], times: Times) -> SideBySide:
    """A published table and what the runs say of its rows.

    Args:
        replay: which rows are of which runs.
        folders: job -> its finished run; those that failed are not there.
        times: of all networks, from one session.
    """
    table = PUBLISHED[replay.table]
    rows: dict[str, Mapping[str, Mapping[str, float] | None]] = {
        match.label: {regime: row_of(subject, folders, times) for regime, subject in match.subjects.items()}
        for match in replay.matches
    }
    columns = replay.columns or table.columns
    measured = {key for row in rows.values() for values in row.values() for key in values or ()}
    columns = tuple(key for key in columns if _is_shown(key, measured))
    if "accuracy" in columns:
        columns = tuple(dict.fromkeys((*columns, *(key for key in OURS if key in measured))))
    return SideBySide(table, columns, rows, tuple(judge_claims(replay, folders)))


def _is_shown(key: str, measured: set[str]) -> bool:
    """Categories that our corpus has not are left out: their column would say nothing."""
    return not key.startswith(ACCURACY_BY_CATEGORY) or key in measured


def _facts(request: Request, results: Sequence[JobResult], wall_s: float) -> Mapping[str, Any]:
    return {
        **told_of_runs(request.command, results, wall_s, request.num_jobs),
        "seeds": "one; intervals are over test clips, not over seeds",
        "times as fast": "as the run's teacher, unless a row says otherwise; all networks timed in "
        "turn in one process, ONNX Runtime, one thread",
    }
