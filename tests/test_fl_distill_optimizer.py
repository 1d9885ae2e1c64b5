"""Optimisers against torch's own, schedules against closed forms, class weights against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from fl.distill.losses import hard_loss
from fl.distill.optimizer import OPTIMIZERS, class_weights, make_optimizer, rate_share
from fl.settings import WarmupSettings

BUILTIN = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.3),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.3),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.3, momentum=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_name_is_the_optimiser_it_says(name: str) -> None:
    ours, theirs = (torch.nn.Parameter(torch.tensor([1.0, -2.0])) for _ in range(2))
    settings = WarmupSettings(optimizer=name, weight_decay=0.3, momentum=0.5)
    pairs = [(ours, make_optimizer([ours], settings, 0.1)), (theirs, BUILTIN[name]([theirs]))]
    for parameter, optimizer in pairs:
        for _ in range(3):
            optimizer.zero_grad()
            (parameter**2).sum().backward()
            optimizer.step()
    assert torch.allclose(ours, theirs, rtol=1e-6)
    assert not torch.equal(ours, torch.tensor([1.0, -2.0]))


def test_the_learning_rate_rises_and_falls() -> None:
    rates = [rate_share(p, "cosine", 0.1) for p in np.linspace(0, 1, 21)]
    assert max(rates) == pytest.approx(1)
    assert rates[0] < rates[1] < rates[2]
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rate_share(1.0, "cosine", 0.0, 0.25) == pytest.approx(0.25)
    assert rate_share(0.5, "cosine", 0.0, 0.2) == pytest.approx(0.6)


def test_a_constant_rate_rises_first() -> None:
    assert rate_share(0.0, "constant", 0.2) == pytest.approx(0.05)
    assert [rate_share(p, "constant", 0.2) for p in (0.2, 0.7, 1.0)] == [1, 1, 1]


def test_class_weights_equal_those_of_scikit_learn() -> None:
    labels = np.array([0] * 3 + [1] * 9)
    weights = class_weights(labels, "balanced")
    assert weights is not None
    assert weights.tolist() == pytest.approx(
        compute_class_weight("balanced", classes=np.array([0, 1]), y=labels).tolist()
    )
    logits = torch.zeros(12, requires_grad=True)
    hard_loss(logits, torch.tensor(labels, dtype=torch.float32), weights).backward()
    assert logits.grad is not None
    assert float(logits.grad.sum()) == pytest.approx(0, abs=1e-7)  # both classes pull alike


def test_a_client_with_one_class_weighs_its_clips_as_ever() -> None:
    weights = class_weights(np.ones(4), "balanced")
    assert weights is not None
    assert weights.tolist() == [1, 1]
    assert class_weights(np.array([0, 1]), "none") is None
