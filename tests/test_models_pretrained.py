"""The real loading code of backbone weights, on a file that the test writes."""

from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch

from models.architecture import Architecture

SETTINGS = {"num_frames": 2, "num_mfcc": 13}


@pytest.mark.parametrize(
    ("name", "backbone"), [("pin_lite", "mobilenetv3_small_100"), ("pinpoint", "resnet18")]
)
def test_a_backbone_starts_from_a_local_file(name: str, backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(5)
    weights = timm.create_model(backbone).state_dict()
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(weights, path)
    network = Architecture(name, SETTINGS).build(0, pretrained=str(path))
    loaded = network.state_dict()
    key, ours = {
        "pin_lite": ("conv_stem.weight", "video.backbone.0.weight"),
        "pinpoint": ("conv1.weight", "video.backbone.conv1.weight"),
    }[name]
    assert torch.equal(loaded[ours], weights[key])
    fresh = Architecture(name, SETTINGS).build(0).state_dict()
    assert not torch.equal(fresh[ours], weights[key])


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Architecture("pin_lite", SETTINGS).build(0, pretrained=str(tmp_path / "none.safetensors"))
