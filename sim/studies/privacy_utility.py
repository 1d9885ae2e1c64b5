"""What privacy costs and what it buys: utility and attacks over epsilon, means and ranges over seeds."""

import json
import shlex
import textwrap
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sim.progress import Progress
from sim.record import read_rounds
from sim.studies.auditing import run_audit
from sim.studies.privacy_utility_runs import CELLS, EPSILONS, JOBS, PARTS, SEEDS, Cell
from sim.studies.running import JobResult, do_jobs, plan_jobs, told_of_runs
from sim.studies.spreads import Spread, plain_spreads, spread_cell, spreads_of
from sim.studies.writing import table_lines

EXPERIMENT = "privacy_utility"

ATTACKS = {
    "attack": "loss",
    "loss": "loss lowered",
    "clip": "gradient match",
    "person": "match by person",
}
"""Measure -> attack of the audit."""


@dataclass(frozen=True)
class Row:
    """What the seeds of one epsilon say.

    Attributes:
        part: a key of `PARTS`.
        epsilon: the target; None: no noise.
        num_seeds: runs that finished and were audited.
        spreads: measure -> over seeds.
    """

    part: str
    epsilon: float | None
    num_seeds: int
    spreads: Mapping[str, Spread]


@dataclass(frozen=True)
class PrivacyUtility:
    """The study's outcome.

    Attributes:
        facts: where the numbers come from.
        rows: in the order of `PARTS` and `EPSILONS`.
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
        "attacks": " and ".join(f"`python -m sim audit {_typed(part.audit)}`" for part in PARTS.values()),
        "seeds": f"{', '.join(map(str, SEEDS))}: means, with the range over seeds",
    }
    rows = []
    for part, told in PARTS.items():
        for epsilon in EPSILONS:
            names = [name for seed in SEEDS if (name := Cell(part, epsilon, seed).name) in done]
            measured = [measure(folders[name], done[name]) for name in names]
            rows.append(Row(part, epsilon, len(measured), spreads_of(measured, told.measures)))
    broken = tuple(name for name, audit in done.items() if not audit["passed"])
    return PrivacyUtility(facts, tuple(rows), failures, broken)


def attack_runs(results: Sequence[JobResult], num_jobs: int) -> dict[str, Any]:
    """Job -> JSON of its run's audit, or why there is none."""
    audits = {cell.name: PARTS[cell.part].audit for cell in CELLS}
    finished = [result for result in results if not result.failure]
    progress = Progress()
    with progress.stage("Attacks", total=len(finished)) as advance, ThreadPoolExecutor(num_jobs) as pool:

        def attack(result: JobResult) -> tuple[str, Any]:
            told = run_audit(audits[result.job.name], result.folder)
            advance(1, result.job.name)
            return result.job.name, told

        return dict(pool.map(attack, finished))


def measure(folder: Path, audit: Mapping[str, Any]) -> dict[str, float]:
    """A finished run's last student, its account, and what the audit found."""
    last: Mapping[str, Any] = read_rounds(folder)[-1]
    private = last["privacy"]
    found = {
        "accuracy": 100 * last["global"]["accuracy"],
        "auc": last["global"]["auc"],
        "eps": last["eps"]["mean"],
        "shuffled": last["eps"]["shuffled"],
        "latency": last["onnx"]["int8"]["latency_ms_p50"],
        "epsilon": private["epsilon_pld"],
        "epsilon_rdp": private["epsilon_rdp"],
        "noise": private["noise_multiplier"],
    }
    for key, name in ATTACKS.items():
        rates = rates_of(audit, name)
        found[f"{key}_auc"] = rates.get("auc")
        found[f"{key}_tpr"] = _percent(rates)
    if audit["canaries"]:
        bound = audit["canaries"][0]["bound"]
        found["canary_auc"], found["empirical"] = bound["auc"], bound["epsilon"]
    return {key: value for key, value in found.items() if value is not None}


def rates_of(audit: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """How well an attack told clients' clips from others; {} if it was not made."""
    attacks = [one for one in audit["attacks"] if (one["name"], one["members"]) == (name, "clients")]
    return attacks[0]["rates"] if attacks else {}


def page(outcome: PrivacyUtility) -> str:
    """The study as Markdown."""
    lines = [
        "# What privacy costs, and what it buys",
        "",
        *(f"- {name}: {value}" for name, value in outcome.facts.items()),
        "",
        "Each client is one person, with all clips of that person, whether the server or the client adds",
        "the noise. All runs clip alike; each table's last row is of runs without noise, and so without",
        "guarantee. Attack AUC and TPR: members against people of the test split; an AUC of .5 is chance.",
        "",
        "![Curves](privacy_utility.png)",
        "",
    ]
    if outcome.failures:
        lines += ["**Failed:**", "", *(f"- {name}: {why}" for name, why in outcome.failures.items()), ""]
    if outcome.broken:
        lines += [f"**Canaries show more than was accounted:** {', '.join(outcome.broken)}", ""]
    for name, part in PARTS.items():
        lines += [f"## {part.title}", "", *textwrap.wrap(part.told, 100), ""]
        rows = [row for row in outcome.rows if row.part == name]
        lines += [*table_lines(("epsilon", "seeds", *part.measures.values()), map(_cells, rows)), ""]
    return "\n".join(lines)


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
    name, measures = "no noise" if row.epsilon is None else f"{row.epsilon:g}", PARTS[row.part].measures
    if not row.num_seeds:
        return name, "0", *("failed" for _ in measures)
    return name, str(row.num_seeds), *(spread_cell(key, row.spreads.get(key)) for key in measures)


def _typed(audit: Sequence[str]) -> str:
    return shlex.join([audit[0], "RUN", *audit[1:]])


def _percent(rates: Mapping[str, Any]) -> float | None:
    """Of the members found while at most 1 % of the others is accused."""
    found = [row["tpr"] for row in rates.get("at", ()) if row["fpr"] == 0.01]
    return 100 * found[0] if found and found[0] is not None else None
