"""LaDeDa and Tiny-LaDeDa: grids, what a patch sees, alignment, top-k pooling, NPR."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from models.architecture import Architecture
from models.ladeda import GRADIENT_FILTER, align_patches, neighbour_residual, patch_scores, top_mean


@pytest.mark.parametrize(("image_size", "grid", "tiny_grid"), [(224, 27, 110), (256, 31, 126)])
def test_teacher_and_student_share_a_grid(image_size: int, grid: int, tiny_grid: int) -> None:
    frames = torch.randn(1, 1, 3, image_size, image_size)
    with torch.no_grad():
        teacher = Architecture("ladeda9").build()(frames)
        student = Architecture("tiny_ladeda").build()(frames)
    assert teacher.patch_logits.shape == (1, 1, grid, grid)
    assert student.patch_logits.shape == (1, 1, tiny_grid, tiny_grid)
    assert teacher.explanation.shape == student.explanation.shape == (1, grid, grid)


def pixels_seen(network: nn.Module, row: int, image_size: int = 96) -> tuple[int, int]:
    """First and last row of pixels on which one place of the map depends."""
    frames = torch.randn(1, 1, 3, image_size, image_size, requires_grad=True)
    network(frames).explanation[0, row, row].backward()
    assert frames.grad is not None
    rows = frames.grad.abs().sum(dim=(0, 1, 2, 4)).nonzero().flatten()
    return int(rows[0]), int(rows[-1])


@pytest.mark.parametrize("field", [5, 9, 17, 33])
def test_a_patch_is_as_large_as_its_name_says(field: int) -> None:
    network = Architecture(f"ladeda{field}").build(1)
    first, last = pixels_seen(network, 2)
    # NPR takes a pixel's partner from its own 2x2 block, which an odd side cuts.
    assert first == 2 * 8
    assert last == 2 * 8 + field - 1


def test_aligned_patches_have_the_teachers_centres() -> None:
    teacher, student = Architecture("ladeda9").build(2), Architecture("tiny_ladeda").build(2)
    for row in (1, 4):
        assert sum(pixels_seen(teacher, row)) == sum(pixels_seen(student, row)) == 2 * (8 * row + 4)


def test_alignment_averages_three_by_three_at_every_fourth_place() -> None:
    patches = torch.randn(2, 11, 11)
    aligned = align_patches(patches)
    assert aligned.shape == (2, 3, 3)
    torch.testing.assert_close(aligned[1, 2, 1], patches[1, 8:11, 4:7].mean())


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99))
def test_top_mean_is_that_of_the_sorted_patches(height: int, width: int, seed: int) -> None:
    patches = torch.randn(2, height, width, generator=torch.Generator().manual_seed(seed))
    num_patches = height * width
    num_top = min(num_patches, max(5, -(-num_patches // 10)))
    expected = patches.flatten(1).sort(descending=True).values[:, :num_top].mean(dim=1)
    torch.testing.assert_close(top_mean(patches), expected)


def test_729_patches_give_the_mean_of_73() -> None:
    patches = torch.zeros(1, 27, 27)
    patches.view(-1)[:73] = 1
    assert top_mean(patches) == 1
    patches.view(-1)[72] = 0
    assert top_mean(patches) == pytest.approx(72 / 73)


def test_mean_features_give_the_mean_patch_logit() -> None:
    video = Architecture("ladeda9").build(3).video
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        patches = patch_scores(video, images)[2]
        assert patches is not None
        torch.testing.assert_close(video(images)[:, 0], patches.mean(dim=(1, 2)), rtol=1e-4, atol=1e-5)


def test_npr_is_what_halving_and_doubling_loses() -> None:
    images = torch.randn(2, 3, 8, 6)
    half = nn.functional.interpolate(images, scale_factor=0.5, mode="nearest")
    again = nn.functional.interpolate(half, scale_factor=2.0, mode="nearest")
    residual = neighbour_residual(images)
    assert torch.equal(residual, images - again)
    assert not residual[:, :, ::2, ::2].any()
    flat = torch.full((1, 3, 4, 4), 0.7)
    assert not neighbour_residual(flat).any()


def test_npr_refuses_odd_sides() -> None:
    with pytest.raises(ValueError, match="even height and width for NPR, got 64x33"):
        neighbour_residual(torch.zeros(1, 3, 64, 33))


def test_the_gradient_filter_is_fixed_and_finds_no_edge_in_a_flat_picture() -> None:
    network = Architecture("tiny_ladeda").build()
    backbone = network.video.backbone
    assert all(parameter is not backbone.gradient_filter for parameter in network.parameters())
    assert torch.equal(backbone.gradient_filter, torch.tensor(GRADIENT_FILTER).expand(3, 1, 3, 3))
    shifts: list[Tensor] = []
    with backbone.layers.register_forward_pre_hook(lambda _, args: shifts.append(args[0])):
        network(torch.full((1, 1, 3, 16, 16), 2.0))
    assert not shifts[0][:, :, 1:-1, 1:-1].any()


def test_weights_come_from_a_file_of_ours_and_from_nowhere_else(tmp_path: Path) -> None:
    trained = Architecture("tiny_ladeda").build(1)
    safetensors.torch.save_model(trained, str(tmp_path / "tiny.safetensors"))
    loaded = Architecture("tiny_ladeda").build(2, pretrained=str(tmp_path / "tiny.safetensors"))
    assert torch.equal(loaded.video.projection.weight, trained.video.projection.weight)
    with pytest.raises(ValueError, match="name a local file"):
        Architecture("ladeda9").build(0, pretrained=True)
