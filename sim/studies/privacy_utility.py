"""What privacy costs and what it buys: utility and attacks over epsilon, means and ranges over seeds."""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sim.progress import Progress
from sim.record import read_rounds
from sim.studies.auditing import run_audit
from sim.studies.running import JobResult, do_jobs, plan_jobs, told_of_runs
from sim.studies.spreads import Spread, plain_spreads, spread_cell, spreads_of
from sim.studies.study import Job
from sim.studies.writing import table_lines

EXPERIMENT = "privacy_utility"

EPSILONS = (1.0, 2.0, 4.0, 8.0, None)
"""Targets; None: clipped alike, without noise, and so without any guarantee."""

SEEDS = (0, 1, 2)

AUDIT = ("privacy", "--shadows", "0", "--clients", "0", "--inversion-steps", "0")
"""Membership by the loss of the last student, and canary clients; the rest takes minutes a run."""

MEASURES: Mapping[str, str] = {
    "accuracy": "acc. %",
    "auc": "AUC",
    "eps": "EPS",
    "shuffled": "EPS shuffled",
    "latency": "latency ms",
    "attack_auc": "attack AUC",
    "attack_tpr": "attack TPR % at FPR 1 %",
    "epsilon": "epsilon accounted (PLD)",
    "epsilon_rdp": "(RDP)",
    "empirical": "epsilon shown by canaries",
    "noise": "noise multiplier",
}
"""Column -> heading."""


def run_name(epsilon: float | None, seed: int) -> str:
    """Of a cell's run."""
    return f"{'no-noise' if epsilon is None else f'epsilon-{epsilon:g}'}-seed{seed}"


def _overrides(epsilon: float | None, seed: int) -> tuple[str, ...]:
    if epsilon is None:
        return "privacy.target_epsilon=0", "privacy.noise_multiplier=0", f"seed={seed}"
    return f"privacy.target_epsilon={epsilon:g}", f"seed={seed}"


JOBS = tuple(
    Job(run_name(epsilon, seed), _overrides(epsilon, seed)) for seed in SEEDS for epsilon in EPSILONS
)


@dataclass(frozen=True)
class Row:
    """What the seeds of one epsilon say.

    Attributes:
        epsilon: the target; None: no noise.
        num_seeds: runs that finished and were audited.
        spreads: measure -> over seeds.
    """

    epsilon: float | None
    num_seeds: int
    spreads: Mapping[str, Spread]


@dataclass(frozen=True)
class PrivacyUtility:
    """The study's outcome.

    Attributes:
        facts: where the numbers come from.
        rows: in the order of `EPSILONS`.
        failures: runs or audits that failed, with the reason.
        broken: runs whose canaries show more than was accounted.
    """

    facts: Mapping[str, Any]
    rows: tuple[Row, ...]
    failures: Mapping[str, str]
    broken: tuple[str, ...]


def study_privacy_utility(
    overrides: Sequence[str], folder: Path, num_jobs: int, command: Sequence[str]
) -> PrivacyUtility:
    """Do and attack the runs that are not done yet.

    Args:
        overrides: the user's, for every run.
        folder: the runs go below it.
        num_jobs: at a time.
        command: as typed, for the page.

    Raises:
        RequestError: a run that cannot be; none is started.
    """
    started = time.monotonic()
    results = do_jobs(EXPERIMENT, plan_jobs(JOBS, EXPERIMENT, overrides, folder), num_jobs)
    failures = {result.job.name: result.failure for result in results if result.failure}
    audits = attack_runs(results, num_jobs)
    failures.update({name: told for name, told in audits.items() if isinstance(told, str)})
    done = {name: told for name, told in audits.items() if not isinstance(told, str)}
    folders = {result.job.name: result.folder for result in results}
    facts = {
        **told_of_runs(command, results, time.monotonic() - started, num_jobs),
        "attacks": f"`python -m sim audit {shlex.join([AUDIT[0], 'RUN', *AUDIT[1:]])}`",
        "seeds": f"{', '.join(map(str, SEEDS))}: means, with the range over seeds",
    }
    rows = []
    for epsilon in EPSILONS:
        names = [name for seed in SEEDS if (name := run_name(epsilon, seed)) in done]
        measured = [measure(folders[name], done[name]) for name in names]
        rows.append(Row(epsilon, len(measured), spreads_of(measured, MEASURES)))
    broken = tuple(name for name, told in done.items() if not told["passed"])
    return PrivacyUtility(facts, tuple(rows), failures, broken)


def attack_runs(results: Sequence[JobResult], num_jobs: int) -> dict[str, Any]:
    """Job -> JSON of its run's audit, or why there is none."""
    finished = [result for result in results if not result.failure]
    progress = Progress()
    with progress.stage("Attacks", total=len(finished)) as advance, ThreadPoolExecutor(num_jobs) as pool:

        def attack(result: JobResult) -> tuple[str, Any]:
            told = run_audit(AUDIT, result.folder)
            advance(1, result.job.name)
            return result.job.name, told

        return dict(pool.map(attack, finished))


def measure(folder: Path, audit: Mapping[str, Any]) -> dict[str, float]:
    """A finished run's last student, its account, and what the audit found."""
    last: Mapping[str, Any] = read_rounds(folder)[-1]
    private, attack = last["privacy"], membership_of(audit)
    canaries = audit["canaries"][0]["bound"] if audit["canaries"] else {}
    at_one_percent: Mapping[str, Any] = next((row for row in attack["at"] if row["fpr"] == 0.01), {})
    found = {
        "accuracy": 100 * last["global"]["accuracy"],
        "auc": last["global"]["auc"],
        "eps": last["eps"]["mean"],
        "shuffled": last["eps"]["shuffled"],
        "latency": last["onnx"]["int8"]["latency_ms_p50"],
        "attack_auc": attack["auc"],
        "attack_tpr": _percent(at_one_percent.get("tpr")),
        "epsilon": private["epsilon_pld"],
        "epsilon_rdp": private["epsilon_rdp"],
        "empirical": canaries.get("epsilon"),
        "noise": private["noise_multiplier"],
    }
    return {key: value for key, value in found.items() if value is not None}


def membership_of(audit: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rates of the loss attack on the last student."""
    return next(
        attack["rates"]
        for attack in audit["attacks"]
        if (attack["name"], attack["members"]) == ("loss", "clients")
    )


def page(outcome: PrivacyUtility) -> str:
    """The study as Markdown."""
    lines = [
        "# What privacy costs, and what it buys",
        "",
        *(f"- {name}: {value}" for name, value in outcome.facts.items()),
        "",
        "Each client is one person, with all clips of that person; the server is trusted to clip and to add",
        "the noise; whoever sees the released students is not. All runs clip alike; the last row's have no",
        "noise, and so no guarantee. Attack AUC: members' clips against test clips by the student's loss, .5",
        "is chance. Canaries: made-up clients that prove a lower bound on epsilon; it must not be above the",
        "accounted upper bound, and is no higher than 1,000 canaries can show.",
        "",
        "![Curves](privacy_utility.png)",
        "",
    ]
    if outcome.failures:
        lines += ["**Failed:**", "", *(f"- {name}: {why}" for name, why in outcome.failures.items()), ""]
    if outcome.broken:
        lines += [f"**Canaries show more than was accounted:** {', '.join(outcome.broken)}", ""]
    lines += table_lines(("epsilon", "seeds", *MEASURES.values()), map(_cells, outcome.rows))
    return "\n".join(lines) + "\n"


def as_json(outcome: PrivacyUtility) -> str:
    """The same for machines, unrounded."""
    told = {
        **outcome.facts,
        "failures": dict(outcome.failures),
        "broken": outcome.broken,
        "rows": [{**asdict(row), "spreads": plain_spreads(row.spreads)} for row in outcome.rows],
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    name = "no noise" if row.epsilon is None else f"{row.epsilon:g}"
    if not row.num_seeds:
        return name, "0", *("failed" for _ in MEASURES)
    return name, str(row.num_seeds), *(spread_cell(key, row.spreads.get(key)) for key in MEASURES)


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
