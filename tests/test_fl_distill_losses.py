"""The loss terms against closed forms and an independent implementation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, kl_divergence

from fl.distill.losses import (
    ATTENTION_LOSSES,
    attention_loss,
    distillation_loss,
    hard_loss,
    on_one_grid,
    soft_loss,
)

logit = st.floats(-10, 10)


@given(logit, logit, st.floats(1, 8))
def test_soft_loss_is_the_bernoulli_kl_of_torch(student: float, teacher: float, temperature: float) -> None:
    ours = soft_loss(torch.tensor([student]), torch.tensor([teacher]), temperature)
    p = Bernoulli(logits=torch.tensor([teacher / temperature], dtype=torch.float64))
    q = Bernoulli(logits=torch.tensor([student / temperature], dtype=torch.float64))
    assert float(ours) == pytest.approx(
        temperature**2 * float(kl_divergence(p, q)), rel=1e-3, abs=1e-4 * temperature**2
    )


def test_soft_loss_has_a_gradient_where_the_logits_differ_and_none_where_they_agree() -> None:
    # the published code's softmax over one logit gives zero in both cases
    student = torch.tensor([1.0, -2.0], requires_grad=True)
    soft_loss(student, torch.tensor([1.0, 2.0]), 2.0).backward()
    assert student.grad is not None
    assert float(student.grad[0]) == pytest.approx(0, abs=1e-7)
    # d/ds T^2 KL / 2 clips = T * (sigmoid(s / T) - sigmoid(t / T)) / 2
    expected = 2.0 * (torch.sigmoid(torch.tensor(-1.0)) - torch.sigmoid(torch.tensor(1.0))) / 2
    assert float(student.grad[1]) == pytest.approx(float(expected), rel=1e-5)


def test_soft_loss_is_finite_for_huge_logits() -> None:
    loss = soft_loss(torch.tensor([1e4, -1e4]), torch.tensor([-1e4, 1e4]), 1.0)
    assert torch.isfinite(loss)


def test_attention_loss_ignores_scale_and_offset_and_is_two_for_the_opposite() -> None:
    maps = torch.rand(3, 5, 4, generator=torch.Generator().manual_seed(0))
    assert float(attention_loss(3 * maps + 7, maps, torch.ones(3))) == pytest.approx(0, abs=1e-5)
    assert float(attention_loss(-maps, maps, torch.ones(3))) == pytest.approx(2, abs=1e-5)


def test_maps_of_different_size_meet_on_the_smaller_grid() -> None:
    small = torch.rand(3, 2, 2)
    large = small.repeat_interleave(4, dim=1).repeat_interleave(3, dim=2)
    assert float(attention_loss(small, large, torch.ones(3))) == pytest.approx(0, abs=1e-5)
    assert float(attention_loss(large, small, torch.ones(3))) == pytest.approx(0, abs=1e-5)
    wide, tall = torch.rand(1, 2, 6), torch.rand(1, 5, 3)
    assert [maps.shape for maps in on_one_grid(wide, tall)] == [(1, 2, 3)] * 2


def test_attention_loss_of_a_constant_map_is_one_and_its_gradient_finite() -> None:
    student = torch.full((2, 5, 4), 0.25, requires_grad=True)
    teacher = torch.rand(2, 5, 4, generator=torch.Generator().manual_seed(0))
    loss = attention_loss(student, teacher, torch.ones(2))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(1)
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()


def test_the_total_is_the_weighted_sum_of_the_terms() -> None:
    rng = torch.Generator().manual_seed(1)
    logits, teacher = torch.randn(6, generator=rng), torch.randn(6, generator=rng)
    maps, teacher_maps = torch.rand(6, 4, 3, generator=rng), torch.rand(6, 4, 3, generator=rng)
    labels = torch.tensor([0.0, 1, 0, 1, 1, 0])
    terms = distillation_loss(
        logits,
        maps,
        labels,
        teacher,
        teacher_maps,
        torch.ones(6),
        soft_weight=0.3,
        temperature=2.0,
        attention_weight=1.5,
    )
    assert float(terms.hard) == pytest.approx(float(hard_loss(logits, labels)))
    expected = 0.7 * terms.hard + 0.3 * terms.soft + 1.5 * terms.attention
    assert float(terms.total) == pytest.approx(float(expected))
    assert min(float(terms.soft), float(terms.attention)) > 0


def test_clips_without_pictures_are_left_out_of_the_attention_loss() -> None:
    rng = torch.Generator().manual_seed(0)
    student, teacher = torch.rand(3, 5, 4, generator=rng), torch.rand(3, 5, 4, generator=rng)
    one = attention_loss(student[1:2], teacher[1:2], torch.ones(1))
    assert float(attention_loss(student, teacher, torch.tensor([0.0, 1, 0]))) == pytest.approx(float(one))
    assert float(attention_loss(student, teacher, torch.zeros(3))) == 0


def random_maps(seed: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", list(ATTENTION_LOSSES))
def test_equal_maps_have_no_attention_loss_and_no_gradient_and_others_have_both(kind: str) -> None:
    teacher, student = random_maps(0), random_maps(0).requires_grad_()
    loss = attention_loss(student, teacher, torch.ones(3), kind)
    (gradient,) = torch.autograd.grad(loss, student)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-6, rtol=0)
    other = random_maps(1).requires_grad_()
    loss = attention_loss(other, teacher, torch.ones(3), kind)
    (gradient,) = torch.autograd.grad(loss, other)
    assert float(loss.detach()) > 0.01
    assert float(gradient.abs().max()) > 1e-4


@pytest.mark.parametrize(("kind", "free"), [("correlation", True), ("kl", True), ("sigmoid_mse", False)])
def test_scale_and_offset_matter_only_where_verdicts_are_taught(kind: str, free: bool) -> None:
    student, teacher, seen = random_maps(0), random_maps(1), torch.ones(3)
    plain = float(attention_loss(student, teacher, seen, kind))
    for moved in (5 * student - 3, 0.01 * student + 8):
        assert (float(attention_loss(moved, teacher, seen, kind)) == pytest.approx(plain, rel=1e-3)) == free
        assert (float(attention_loss(student, 7 * teacher + 1, seen, kind)) == pytest.approx(plain)) == free


@pytest.mark.parametrize("kind", list(ATTENTION_LOSSES))
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_constant_and_huge_maps_have_a_finite_loss_and_gradient(kind: str, scale: float) -> None:
    constant = torch.full((3, 5, 4), -1190.0)
    for student, teacher in ((constant, random_maps(0, scale)), (random_maps(0, scale), constant)):
        student = student.clone().requires_grad_()
        loss = attention_loss(student, teacher, torch.ones(3), kind)
        loss.backward()
        assert torch.isfinite(loss)
        assert student.grad is not None
        assert torch.isfinite(student.grad).all()


def test_twice_the_correlation_loss_is_the_squared_error_of_standardised_maps() -> None:
    # what sim_configs/distill/patch.yaml builds on
    student, teacher = random_maps(0).requires_grad_(), random_maps(1, 300.0) - 500
    apart = [
        (maps - maps.mean((1, 2), keepdim=True)) / maps.std((1, 2), keepdim=True, correction=0)
        for maps in (student, teacher)
    ]
    squared = (apart[0] - apart[1]).square().mean()
    twice = 2 * attention_loss(student, teacher, torch.ones(3))
    torch.testing.assert_close(twice, squared)
    torch.testing.assert_close(*(torch.autograd.grad(loss, student)[0] for loss in (twice, squared)))


def test_the_kl_of_places_and_the_error_of_verdicts_in_closed_form() -> None:
    # standardised (0, 1) is (-1, 1): its softmax is the Bernoulli of logit 2
    teacher, flat = torch.tensor([[[0.0, 1.0]]]), torch.zeros(1, 1, 2)
    p, uniform = Bernoulli(logits=torch.tensor(2.0)), Bernoulli(0.5)
    expected = float(kl_divergence(p, uniform))
    assert float(attention_loss(flat, teacher, torch.ones(1), "kl")) == pytest.approx(expected, rel=1e-5)
    certain = torch.tensor([[[-1e4, 1e4]]])
    assert float(attention_loss(flat, certain, torch.ones(1), "sigmoid_mse")) == pytest.approx(0.25)
