"""Networks of pictures: published counts, timm's own answers, Grad-CAM, and the call of a detector."""

import copy
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from fl.compress.importance import prunable_groups
from fl.compress.prune import apply_plan
from fl.metrics.cost import count_macs
from models import names
from models.architecture import Architecture
from models.efficientnet import make_lite
from models.ladeda import RECEPTIVE_FIELDS
from models.zoo import BUILDERS, IMAGE_NETWORKS, create

PARAMETERS = {
    "efficientnet_b0": 4_008_829,
    "efficientnet_b1": 6_514_465,
    "efficientnet_b2": 7_702_403,
    "efficientnet_b3": 10_697_769,
    "efficientnet_lite0": 3_372_289,
    "tf_efficientnet_lite2": 4_812_353,
    "efficientnet_b0_lite": 3_372_289,
    "mobilenetv3_small_100": 1_518_881,
    "mobilenetv3_large_100": 4_203_313,
    "resnet18": 11_177_025,
    "ladeda5": 13_510_721,
    "ladeda9": 13_641_793,
    "ladeda17": 14_166_081,
    "ladeda33": 16_263_233,
    "tiny_ladeda": 1_297,
}
ONE_OF_EACH = ("efficientnet_lite0", "mobilenetv3_small_100", "resnet18", "ladeda9", "tiny_ladeda")


def distinct(network: nn.Module) -> nn.Module:
    """Weights and statistics that differ everywhere, so that a wrong place shows in the outputs."""
    generator = torch.Generator().manual_seed(1)
    for key, tensor in network.state_dict().items():
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif key.endswith("projection.weight"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return network


def test_every_network_has_a_count() -> None:
    assert set(PARAMETERS) == set(IMAGE_NETWORKS)


@pytest.mark.parametrize(("name", "published"), PARAMETERS.items())
def test_parameters_are_the_published_ones(name: str, published: int) -> None:
    assert sum(parameter.numel() for parameter in create(name).parameters()) == published


@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "efficientnet_lite0", "mobilenetv3_small_100", "resnet18"]
)
def test_logits_are_timms_own_with_the_same_weights(name: str) -> None:
    ours = distinct(Architecture(name).build(2))
    theirs = timm.create_model(name, num_classes=1).eval()
    weights = ours.state_dict()
    assert len(weights) == len(theirs.state_dict())
    head = "fc" if name == "resnet18" else "classifier"
    theirs.load_state_dict({_timm_key(key, head): value for key, value in weights.items()})
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images[:, None]).logits, theirs(images)[:, 0])


def _timm_key(key: str, head: str) -> str:
    key = key.removeprefix("video.").replace("projection", head).replace("backbone.hidden", "conv_head")
    for index, part in enumerate(("conv_stem", "bn1", "blocks")):
        key = key.replace(f"backbone.stages.{index}.", f"{part}.")
    return key.removeprefix("backbone.")


def test_the_conversion_of_b0_has_the_shapes_of_timms_lite0() -> None:
    converted, lite0 = create("efficientnet_b0_lite"), create("efficientnet_lite0")
    shapes = [{key: value.shape for key, value in net.state_dict().items()} for net in (converted, lite0)]
    assert shapes[0] == shapes[1]
    converted.load_state_dict(lite0.state_dict())
    frames = torch.randn(1, 1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(converted.eval()(frames).logits, lite0.eval()(frames).logits)


def test_the_conversion_leaves_no_gate_and_no_silu_and_keeps_what_is_left() -> None:
    network = timm.create_model("efficientnet_b1", num_classes=1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    make_lite(network)
    assert not any(isinstance(module, nn.SiLU | nn.Sigmoid) for module in network.modules())
    after = network.state_dict()
    assert {key for key in before if key not in after} == {key for key in before if ".se." in key}
    assert all(torch.equal(value, before[key]) for key, value in after.items())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv3_small_100", "resnet18"])
def test_the_explanation_is_grad_cam_by_autograd_but_for_scale_and_offset(name: str) -> None:
    network = distinct(Architecture(name).build(3))
    backbone = network.video.backbone
    stage = getattr(backbone, "stages", backbone)
    frames, kept = torch.randn(2, 1, 3, 96, 96), []
    with stage.register_forward_hook(lambda *args: kept.append(args[2])):
        output = network(frames)
    gradient = torch.autograd.grad(output.logits.sum(), kept[0])[0]
    cam = (kept[0] * gradient.mean(dim=(2, 3), keepdim=True)).sum(dim=1)
    likeness = torch.corrcoef(torch.stack([cam[0].flatten(), output.explanation[0].flatten()]))[0, 1]
    assert cam.shape == output.explanation.shape == (2, 3, 3)
    assert cam.std() > 0
    assert likeness > 0.9999


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_the_class_activation_map_averages_to_the_logit(name: str) -> None:
    network = distinct(Architecture(name).build(4))
    with torch.no_grad():
        output = network(torch.randn(2, 3, 3, 64, 64))
    torch.testing.assert_close(output.explanation.mean(dim=(1, 2)), output.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_clips_answer_is_the_mean_over_its_frames(name: str) -> None:
    network = distinct(Architecture(name).build(5))
    frames = torch.randn(2, 3, 3, 64, 64)
    with torch.no_grad():
        clips = network(frames, torch.zeros(2, 4, 13))
        alone = [network(frames[:, index : index + 1]) for index in range(3)]
    expected = torch.stack([one.logits for one in alone]).mean(dim=0)
    torch.testing.assert_close(clips.logits, expected, rtol=1e-4, atol=1e-4)
    maps = torch.stack([one.explanation for one in alone]).mean(dim=0)
    torch.testing.assert_close(clips.explanation, maps, rtol=1e-4, atol=1e-4)
    assert clips.logits[0] != clips.logits[1]
    assert clips.offset_logits is None


def test_a_clip_without_video_is_undecided() -> None:
    network = Architecture("efficientnet_lite0").build(6)
    frames = torch.randn(2, 1, 3, 64, 64)
    with torch.no_grad():
        masked = network(frames, None, torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        plain = network(frames)
    assert masked.logits[0] == plain.logits[0]
    assert masked.logits[1] == 0
    assert not masked.explanation[1].any()


@pytest.mark.parametrize(
    ("name", "published"), [("efficientnet_b0", 384.5e6), ("efficientnet_lite0", 383.9e6)]
)
def test_macs_are_the_published_ones(name: str, published: float) -> None:
    macs = count_macs(Architecture(name).build(), torch.zeros(1, 1, 3, 224, 224))
    assert macs.total == pytest.approx(published, rel=0.001)


def test_macs_of_ladeda_are_the_published_ones_but_for_the_fixed_filter() -> None:
    frames = torch.zeros(1, 1, 3, 256, 256)
    teacher = count_macs(Architecture("ladeda9").build(), frames)
    student = count_macs(Architecture("tiny_ladeda").build(), frames)
    gradient_filter = 256 * 256 * 3 * 9
    assert teacher.without_attention == pytest.approx(21.23e9, rel=0.001)
    assert student.without_attention - gradient_filter == pytest.approx(0.0568e9, rel=0.001)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_pruned_network_is_rebuilt_from_json_and_state_dict(name: str) -> None:
    dense = Architecture(name)
    network = distinct(dense.build(7))
    groups = prunable_groups(network)
    apply_plan(network, {group.name: list(range(0, group.num_channels, 2)) for group in groups})
    pruned = Architecture.from_json(dense.with_widths_of(network).to_json())
    rebuilt = pruned.build(8)
    rebuilt.load_state_dict(network.state_dict())
    frames = torch.randn(1, 1, 3, 64, 64)
    with torch.no_grad():
        expected, output = network(frames), rebuilt(frames)
    assert sum(p.numel() for p in rebuilt.parameters()) < PARAMETERS[name] / 1.5
    assert torch.equal(output.logits, expected.logits)
    assert torch.equal(output.explanation, expected.explanation)


@pytest.mark.parametrize("name", ["efficientnet_b0_lite", "mobilenetv3_small_100"])
def test_weights_of_timms_come_from_a_local_file(name: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    weights = timm.create_model(name.removesuffix("_lite")).state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(weights, path)
    loaded = Architecture(name).build(0, pretrained=str(path)).state_dict()
    stem = next(key for key in loaded if key.startswith("video.backbone"))
    assert torch.equal(loaded[stem], weights["conv_stem.weight"])


def test_the_names_that_settings_use_are_the_zoo() -> None:
    assert tuple(BUILDERS) == names.AUDIO_VISUAL
    assert tuple(IMAGE_NETWORKS) == names.PICTURES
    assert tuple(RECEPTIVE_FIELDS) == names.PATCH_SIZES
    for pair in names.SYSTEMS.values():
        assert len({names.hears(name) for name in pair}) == 1


def test_training_scores_only_the_clips_that_have_pictures() -> None:
    network = Architecture("tiny_ladeda").build(1).train()
    alone = copy.deepcopy(network)
    frames = torch.rand(3, 2, 3, 32, 32)
    seen = torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    output, expected = network(frames, None, seen), alone(frames[[0, 2]])
    torch.testing.assert_close(output.logits[[0, 2]], expected.logits)
    torch.testing.assert_close(output.explanation[[0, 2]], expected.explanation)
    assert output.logits[1] == 0
    assert not output.explanation[1].any()
    for one, other in zip(network.buffers(), alone.buffers(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_without_any_picture_gives_no_gradient_and_no_error() -> None:
    network = Architecture("tiny_ladeda").build(1).train()
    before = [buffer.clone() for buffer in network.buffers()]
    network(torch.rand(2, 2, 3, 32, 32), None, torch.tensor([[0.0, 1.0]] * 2)).logits.sum().backward()
    assert not network.video.projection.weight.grad.any()
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(KeyError, match=r"no network named 'vgg'.*pin_lite.*resnet18"):
        create("vgg")
