"""Malicious clients and the rule against them, by round, on a report's page."""

from collections.abc import Sequence

from sim.report.cells import percent
from sim.report.page import Cell, PageTable
from sim.round_record import RoundRecord


def malice_table(rounds: Sequence[RoundRecord]) -> PageTable | None:
    """Who was kept out, and the attack's success; None where all are honest and replies are averaged."""
    parts = [(record, record.get("adversary"), record.get("aggregation")) for record in rounds]
    if not any(adversary or aggregation for _, adversary, aggregation in parts):
        return None
    rows: list[list[Cell]] = []
    for record, adversary, aggregation in parts:
        rule = f"{aggregation['aggregator']}, f = {aggregation['num_byzantine']}" if aggregation else "mean"
        index, out = str(record["round_index"]), _ids(aggregation["left_out"]) if aggregation else "-"
        if adversary is None:
            rows.append([index, "-", "-", "-", rule, out, "-", "-"])
            continue
        malicious, refused = _ids(adversary["malicious"]), _ids(adversary["malicious_refused"])
        success, plain = (percent(adversary[key]) for key in ("attack_success", "without_trigger"))
        rows.append([index, adversary["kind"], malicious, refused, rule, out, success, plain])
    headings = [
        "round",
        "attack",
        "malicious",
        "of them refused",
        "rule",
        "left out by the rule",
        "attack success %",
        "without trigger %",
    ]
    caption = (
        "Malicious clients, simulated, and what became of their replies; the defences do not know them. "
        "Attack success: share of the fake test clips called real; of a backdoor, of the clips with its "
        "trigger called its target. Left out: counts for less than half of an equal share."
    )
    return PageTable("malicious_clients", caption, headings, rows, text=True)


def _ids(clients: Sequence[int]) -> str:
    return ", ".join(map(str, clients)) or "-"
