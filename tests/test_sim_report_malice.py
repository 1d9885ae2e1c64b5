"""The table of malicious clients: from records alone, and only where there are any."""

from recorded_runs import a_round

from sim.report.malice import malice_table
from sim.round_record import complete_round

ATTACK = {
    "kind": "backdoor",
    "malicious": [0, 2],
    "malicious_refused": [2],
    "malicious_left_out": [0],
    "malicious_counted": [],
    "honest_refused": [],
    "honest_left_out": [1],
    "attack_success": 0.5,
    "without_trigger": 0.125,
}
RULE = {
    "aggregator": "krum",
    "num_byzantine": 2,
    "fewest_replies": 7,
    "weights": [0.0, 0.0, 1.0],
    "left_out": [0, 1],
}


def test_honest_runs_that_average_have_no_table() -> None:
    assert malice_table([complete_round(a_round(1))]) is None


def test_a_row_tells_attack_rule_and_outcome() -> None:
    changes = ({"adversary": ATTACK, "aggregation": RULE}, {"adversary": ATTACK}, {"aggregation": RULE})
    records = [complete_round(a_round(1) | change) for change in changes]
    table = malice_table(records)
    assert table is not None
    both, attack, rule = table.rows
    assert list(both) == ["1", "backdoor", "0, 2", "2", "krum, f = 2", "0, 1", "50.0", "12.5"]
    assert list(attack) == ["1", "backdoor", "0, 2", "2", "mean", "-", "50.0", "12.5"]
    assert list(rule) == ["1", "-", "-", "-", "krum, f = 2", "0, 1", "-", "-"]
