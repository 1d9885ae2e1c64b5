"""When a round closes and whose replies count: the clock decides nothing unless somebody is late."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.closing import Closing


def closing(grace_s: float = 5.0) -> Closing:
    """Clients 4, 1, 7 are planned; 3 and 0 are spares."""
    return Closing([4, 1, 7, 3, 0], frozenset({3, 0}), 3, grace_s)


def hear(rule: Closing, *answers: tuple[int, bool, float]) -> bool:
    """Answers as (client, valid, time); whether the round is over at the last of them."""
    for client, valid, now in answers:
        rule.hear(client, valid, now)
    return rule.is_over(answers[-1][2])


def test_it_closes_with_the_planned_replies_and_no_spare_is_waited_for() -> None:
    rule = closing()
    assert not hear(rule, (4, True, 1.0), (7, True, 2.0))
    assert hear(rule, (1, True, 3.0))
    assert rule.unused == {3, 0}


def test_a_planned_client_that_is_late_is_waited_for_no_longer_than_the_grace() -> None:
    rule = closing()
    assert not hear(rule, (4, True, 1.0), (7, True, 2.0), (3, True, 3.0))  # enough, but 1 counts before 3
    assert not rule.is_over(7.9)
    assert rule.is_over(8.0)
    assert rule.unused == {0}


def test_a_planned_client_within_the_grace_counts_before_the_spare() -> None:
    rule = closing()
    assert hear(rule, (4, True, 1.0), (7, True, 2.0), (3, True, 3.0), (1, True, 7.0))
    assert rule.unused == {3, 0}


def test_a_client_that_failed_is_replaced_by_the_first_spare_at_once() -> None:
    rule = closing()
    assert hear(rule, (4, True, 1.0), (1, False, 2.0), (7, True, 3.0), (3, True, 4.0))
    assert rule.unused == {0}


def test_with_too_few_valid_replies_it_ends_when_all_have_answered_and_none_is_unused() -> None:
    rule = closing()
    answers = [(4, False, 1.0), (1, False, 1.0), (7, True, 1.0), (3, True, 1.0)]
    assert not hear(rule, *answers)
    assert hear(rule, (0, False, 2.0))
    assert rule.unused == set()


@pytest.mark.parametrize("num_wanted", [1, 2, 4])
@given(st.data())
def test_who_is_taken_does_not_hang_on_the_order_of_arrival_where_nobody_is_late(
    num_wanted: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(4)))
    valid = [data.draw(st.booleans()) for _ in order]
    spares = frozenset(order[num_wanted:])
    seen = set()
    for arrival in itertools.permutations(order):
        rule = Closing(order, spares, num_wanted, grace_s=1.0)
        for client in arrival:
            rule.hear(client, valid[client], 0.0)
            if rule.is_over(0.5):
                break
        seen.add(tuple(rule.taken))
    assert len(seen) == 1
