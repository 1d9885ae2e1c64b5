"""A study replays a publication: runs of `sim run`, and which published row each of them answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fl.errors import RequestError
from sim.studies.published import PUBLISHED

CENTRAL = "central"
FEDERATED = "federated"

SCALES = {"small": "", "full": "_full"}
"""Size of a study -> ending of its experiment's name: what fits 2 cores, and what was published."""


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        name: of its folder.
        overrides: beside the study's experiment.
    """

    name: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What a measured row is of.

    Attributes:
        job: the run's name.
        network: "student" or "int8" of the last round, "teacher", "int8 over float", which has a speed-up
            alone, or "classical:" and a model of `audit baselines`.
    """

    job: str
    network: str = "student"


@dataclass(frozen=True)
class Match:
    """A published row and what answers it here.

    Attributes:
        label: of the published row.
        subjects: regime, e.g. "central" -> what was measured.
        published: False: the publication has no such row, and only ours is shown.
    """

    label: str
    subjects: Mapping[str, Subject]
    published: bool = True


@dataclass(frozen=True)
class Claim:
    """What a publication's table says of two of its rows.

    Attributes:
        text: in words, true of the published numbers.
        better: label of the row that is ahead there.
        worse: label of the other.
        key: the column, of `sim.studies.rows.UNITS`.
    """

    text: str
    better: str
    worse: str
    key: str = "accuracy"


@dataclass(frozen=True)
class Replay:
    """One published table and its answers.

    Attributes:
        table: key of `PUBLISHED`.
        matches: rows of it, in its order.
        claims: what it says.
        columns: keys to show; empty: those of the published table.
    """

    table: str
    matches: tuple[Match, ...]
    claims: tuple[Claim, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Audited:
    """A table that an audit of one run gives, where the publication prints none of its own numbers.

    Attributes:
        title: of the table.
        job: the run's name.
        arguments: of `python -m sim audit`, before the run.
        rows: where in the audit's JSON the rows lie, keys from the top.
        columns: heading -> keys from a row's top; a last key "%" shows a share in percent.
    """

    title: str
    job: str
    arguments: tuple[str, ...]
    rows: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Study:
    """A publication, replayed.

    Attributes:
        preset: its name, and that of its experiment.
        title: of its document.
        jobs: the runs; the first is done alone, since it trains the teacher.
        replays: the tables.
        differences: what is not the same at the small size.
        full_differences: what is not the same at the published size.
        audited: tables of audits.
    """

    preset: str
    title: str
    jobs: tuple[Job, ...]
    replays: tuple[Replay, ...]
    differences: tuple[str, ...]
    full_differences: tuple[str, ...] = ()
    audited: tuple[Audited, ...] = field(default=())


def check_study(study: Study) -> None:
    """Hold a study against the published tables.

    Raises:
        KeyError: a table, row or run that is not there.
        ValueError: two runs of one name.
    """
    names = [job.name for job in study.jobs]
    if len(set(names)) != len(names):
        raise ValueError(f"{study.preset} has two runs of one name: {', '.join(sorted(names))}")
    wanted = {audited.job for audited in study.audited}
    for replay in study.replays:
        table = PUBLISHED[replay.table]
        for match in replay.matches:
            if match.published:
                table.row(match.label)
            wanted |= {subject.job for subject in match.subjects.values()}
        for claim in replay.claims:
            table.row(claim.better), table.row(claim.worse)
    if wanted - set(names):
        raise KeyError(f"{study.preset} has no run {', '.join(sorted(wanted - set(names)))}")


def experiment_of(study: Study, scale: str) -> str:
    """Name of the study's experiment at a size.

    Raises:
        RequestError: no such size.
    """
    if scale not in SCALES:
        raise RequestError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    return study.preset + SCALES[scale]


def both(job: str, network: str = "student") -> Mapping[str, Subject]:
    """The subjects of a row that was run centrally, as ``job``-central, and federated, as ``job``."""
    return {CENTRAL: Subject(f"{job}-central", network), FEDERATED: Subject(job, network)}


def in_both_ways(name: str, *overrides: str) -> tuple[Job, Job]:
    """Two jobs: as `both` expects them."""
    return (
        Job(f"{name}-central", (*overrides, "partition=central")),
        Job(name, overrides),
    )
