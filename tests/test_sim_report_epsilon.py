"""The curve of what a private run has spent: the records' numbers, the target, a run without any."""

from typing import Any

import pytest
from recorded_runs import a_round

from sim.report.epsilon_figure import draw_epsilon
from sim.round_record import complete_round


def private(index: int, pld: float | None, rdp: float | None, *clients: float) -> Any:
    told: dict[str, Any] = {"epsilon": pld, "delta": 1e-5, "epsilon_pld": pld, "epsilon_rdp": rdp}
    if clients:
        told["clients"] = [{"client_id": i, "epsilon_pld": one} for i, one in enumerate(clients)]
    return complete_round(a_round(index, privacy=told))


def test_the_curves_are_the_records_and_the_target_is_a_line() -> None:
    rounds = [private(1, 1.0, 1.2), private(2, 1.5, 1.9)]
    figure = draw_epsilon(rounds, {"privacy.target_epsilon": 2.5, "privacy.budget_epsilon": 0.0})
    assert figure is not None
    (axes,) = figure.axes
    drawn = {str(line.get_label()): list(line.get_ydata()) for line in axes.lines}
    assert drawn["privacy loss distributions"] == [1.0, 1.5]
    assert drawn["Rényi divergence"] == [1.2, 1.9]
    assert [2.5, 2.5] in drawn.values()
    assert [text.get_text() for text in axes.texts] == ["target 2.5"]
    assert axes.get_ylim()[1] > 2.5
    bounded = draw_epsilon(rounds, {"privacy.target_epsilon": 2.5, "privacy.budget_epsilon": 2.0})
    assert bounded is not None
    assert [text.get_text() for text in bounded.axes[0].texts] == ["budget 2"]
    assert not axes.collections


@pytest.mark.parametrize(("least", "shaded"), [(0.5, 1), (0.999, 0)])
def test_clients_that_spent_less_are_shaded_where_that_can_be_seen(least: float, shaded: int) -> None:
    figure = draw_epsilon([private(1, 1.0, 1.2, least, 1.0)], {})
    assert figure is not None
    assert len(figure.axes[0].collections) == shaded


def test_without_noise_or_privacy_there_is_no_curve() -> None:
    assert draw_epsilon([private(1, None, None)], {}) is None
    assert draw_epsilon([complete_round(a_round(1))], {"privacy.target_epsilon": 0}) is None
