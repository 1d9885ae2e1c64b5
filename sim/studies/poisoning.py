"""Attacks against rules: what the runs say, as rows of means and ranges over seeds, and as a page."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sim.record import read_rounds
from sim.studies.poisoning_runs import ATTACKS, BAD, JOBS, NUM_CLIENTS, SEEDS, WITHSTANDS, cell_of
from sim.studies.running import JobResult, do_jobs, plan_jobs, told_of_runs
from sim.studies.spreads import Spread, plain_spreads, spread_cell, spreads_of
from sim.studies.writing import table_lines

EXPERIMENT = "poisoning"

MEASURES: Mapping[str, str] = {
    "accuracy": "acc. %",
    "auc": "AUC",
    "eps": "EPS",
    "success": "attack success %",
    "kept_out": "bad kept out %",
    "wronged": "honest left out %",
}
"""Column -> heading."""


@dataclass(frozen=True)
class Row:
    """What the seeds of one attack, rule and number of bad clients say.

    Attributes:
        attack: of `ATTACKS`.
        rule: of `WITHSTANDS`.
        num_bad: of `BAD`.
        num_seeds: runs that finished.
        spreads: measure -> over seeds; one that no run has is not there.
    """

    attack: str
    rule: str
    num_bad: int
    num_seeds: int
    spreads: Mapping[str, Spread]


@dataclass(frozen=True)
class Poisoning:
    """The study's outcome.

    Attributes:
        facts: where the numbers come from.
        rows: in the order of attacks, rules, numbers of bad clients.
        failures: runs that failed, with the reason.
    """

    facts: Mapping[str, Any]
    rows: tuple[Row, ...]
    failures: Mapping[str, str]


def study_poisoning(
    overrides: Sequence[str], folder: Path, num_jobs: int, command: Sequence[str]
) -> Poisoning:
    """Do the runs that are not done yet, and measure them.

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
    facts = {
        **told_of_runs(command, results, time.monotonic() - started, num_jobs),
        "seeds": f"{', '.join(map(str, SEEDS))}: means, with the range over seeds",
    }
    failures = {result.job.name: result.failure for result in results if result.failure}
    return Poisoning(facts, rows_of(results), failures)


def rows_of(results: Sequence[JobResult]) -> tuple[Row, ...]:
    """The runs that finished, seeds put together."""
    folders = {result.job.name: result.folder for result in results if not result.failure}
    rows = []
    for attack in ATTACKS:
        for rule in WITHSTANDS:
            for num_bad in BAD:
                names = [cell_of(attack, rule, num_bad, seed).name for seed in SEEDS]
                measured = [measure(folders[name], attack) for name in names if name in folders]
                rows.append(Row(attack, rule, num_bad, len(measured), spreads_of(measured, MEASURES)))
    return tuple(rows)


def measure(folder: Path, attack: str) -> dict[str, float]:
    """A finished run's last student, and whom its rounds kept out, in percent but for AUC and EPS."""
    rounds = read_rounds(folder)
    last = rounds[-1]
    found = {"accuracy": _percent(last["global"], "accuracy"), "auc": _value(last["global"], "auc")}
    found["eps"] = _value(last["eps"], "mean")
    told: list[Mapping[str, Any]] = [part for record in rounds if (part := record.get("adversary"))]
    if attack == "backdoor":
        found["success"] = _percent(told[-1], "attack_success")
    bad = sum(len(part["malicious"]) for part in told)
    honest = NUM_CLIENTS * len(told) - bad
    if bad:
        found["kept_out"] = 100 * _counted(told, "malicious_refused", "malicious_left_out") / bad
    found["wronged"] = 100 * _counted(told, "honest_refused", "honest_left_out") / honest
    return {key: value for key, value in found.items() if value is not None}


def page(outcome: Poisoning) -> str:
    """The study as Markdown."""
    lines = [
        "# Malicious clients against rules that should withstand them",
        "",
        *(f"- {name}: {value}" for name, value in outcome.facts.items()),
        "",
        *_explained(),
        "",
        "![Curves](poisoning.png)",
    ]
    if outcome.failures:
        lines += ["", "**Runs that failed:**", ""]
        lines += [f"- {name}: {reason}" for name, reason in outcome.failures.items()]
    for attack, overrides in ATTACKS.items():
        rows = [row for row in outcome.rows if row.attack == attack]
        lines += ["", f"## {attack.replace('_', ' ').capitalize()}", "", f"`{' '.join(overrides)}`", ""]
        lines += table_lines(("rule", "bad clients", *MEASURES.values()), map(_cells, rows))
    return "\n".join(lines) + "\n"


def _explained() -> list[str]:
    """What the tables and curves show, in words."""
    shares = ", ".join(f"{bad} ({100 * bad / NUM_CLIENTS:.0f} %)" for bad in BAD)
    told = ", ".join(f"{rule} {number}" for rule, number in WITHSTANDS.items() if rule != "mean")
    beyond = f"Bulyan's theory allows no more than {WITHSTANDS['bulyan']} of {NUM_CLIENTS}"
    return [
        f"{NUM_CLIENTS} clients, of which {shares} are malicious. Every rule is told one number of bad",
        f"clients to withstand, whatever their true number: {told}. {beyond}:",
        f"{max(BAD)} are beyond what it promises.",
        "",
        "Attack success: of the backdoor, share of the fake test clips that are called real when they carry",
        "the trigger. Bad kept out: share of the malicious replies that the gate refused, or that count for",
        "less than half of an equal share; honest left out: the same of honest replies. Krum takes one reply",
        "a round, so it leaves out nearly all.",
    ]


def as_json(outcome: Poisoning) -> str:
    """The same for machines, unrounded."""
    told = {
        **outcome.facts,
        "failures": dict(outcome.failures),
        "rows": [{**asdict(row), "spreads": plain_spreads(row.spreads)} for row in outcome.rows],
    }
    return json.dumps(told, indent=1, allow_nan=False) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    if not row.num_seeds:
        return row.rule, str(row.num_bad), *("failed" for _ in MEASURES)
    return row.rule, str(row.num_bad), *(spread_cell(key, row.spreads.get(key)) for key in MEASURES)


def _counted(parts: Sequence[Mapping[str, Any]], *keys: str) -> int:
    return sum(len(part[key]) for part in parts for key in keys)


def _value(part: Any, key: str) -> Any:
    return None if part is None else part[key]


def _percent(part: Any, key: str) -> Any:
    value = _value(part, key)
    return None if value is None else 100 * value
