"""Attacks and defences that cannot be are refused in one line."""

import pytest

from fl.errors import RequestError
from server.aggregators.limits import FEWEST, fewest_replies
from sim.config import build, compose, groups, validate


def refused(*overrides: str) -> str:
    with pytest.raises(RequestError) as caught:
        validate(build(compose(overrides)))
    return str(caught.value)


@pytest.mark.parametrize("rule", sorted(set(FEWEST) - {"mean"}))
def test_a_rule_is_allowed_from_the_number_of_clients_that_its_theory_asks(rule: str) -> None:
    needed = fewest_replies(rule, 2)
    asked = (f"strategy.aggregator={rule}", "strategy.num_byzantine=2")
    validate(build(compose([*asked, f"partition.num_clients={needed}"])))
    told = refused(*asked, f"partition.num_clients={needed - 1}")
    assert f"strategy.aggregator={rule} needs" in told
    assert f"= {needed} clients a round" in told
    assert f"but {needed - 1} are sampled; set strategy.num_byzantine=1 or less" in told


def test_only_the_sampled_clients_count() -> None:
    asked = ("strategy.aggregator=krum", "strategy.num_byzantine=2", "partition.num_clients=14")
    validate(build(compose(asked)))
    assert "but 6 are sampled; set strategy.num_byzantine=1 or less" in refused(
        *asked, "strategy.fraction=0.4"
    )
    assert "but 1 are sampled; use more clients" in refused(*asked, "strategy.fraction=0.05")


@pytest.mark.parametrize("kind", [option for option in groups()["adversary"] if option != "none"])
def test_every_attack_can_be_asked_for(kind: str) -> None:
    extra = ["compress.int8=static"] if kind == "poisoned_calibration" else []
    experiment = build(compose([f"adversary={kind}", *extra]))
    validate(experiment)
    assert experiment.adversary.kind == kind


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (("strategy.num_byzantine=1",), "strategy.num_byzantine must be 0 for strategy.aggregator=mean"),
        (("strategy.aggregator=median", "fleet=mixed"), "strategy.aggregator must be mean with fleet=mixed"),
        (
            ("adversary=scaling", "adversary.share=0.05"),
            "must be 0 or make at least one of",
        ),
        (
            ("adversary=backdoor", "adversary.trigger_size=0", "adversary.trigger_s=0"),
            "adversary.trigger_size and adversary.trigger_s must not both be 0",
        ),
        (("adversary=poisoned_votes", "compress=none"), "adversary=poisoned_votes needs votes"),
        (
            ("adversary=poisoned_votes", "compress.voters=server", "compress.importance=l1"),
            "compress.voters must be all or one_client, got [2, 3] and 'server'",
        ),
        (("adversary=poisoned_calibration",), "compress.int8 must be static, got 'auto'"),
        (("adversary=poisoned_calibration", "compress.client_int8=false"), "got compress.client_int8=false"),
    ],
)
def test_an_attack_on_nothing_is_refused(overrides: tuple[str, ...], told: str) -> None:
    assert told in refused(*overrides)
