"""The zoo: name -> builder, and the teacher and student of each system."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from models.pin import (
    PinDetector,
    VideoEncoder,
    mobilenetv3_small_features,
    resnet18_features,
)

Builder = Callable[..., PinDetector]

SYSTEMS: Mapping[str, tuple[str, str]] = MappingProxyType({"pin": ("pinpoint", "pin_lite")})
"""System -> (teacher, student)."""

REFERENCE_INPUT: Mapping[str, int] = MappingProxyType(
    {"num_frames": 30, "image_size": 128, "num_mfcc": 13, "audio_steps": 400}
)
"""The published PinPoint input: 30 frames of 128x128, and 8 s of audio at a 20 ms hop."""


def pinpoint(*, num_frames: int, num_mfcc: int, pretrained: bool | str = False) -> PinDetector:
    """PinPoint, the teacher: ResNet-18, d = 256, 8 heads, 3 blocks."""
    backbone, num_features = resnet18_features(pretrained)
    return PinDetector(
        VideoEncoder(backbone, num_features, 256),
        num_frames=num_frames,
        num_mfcc=num_mfcc,
        dim=256,
        num_heads=8,
        num_layers=3,
    )


def pin_lite(
    *, num_frames: int, num_mfcc: int, num_layers: int = 2, pretrained: bool | str = False
) -> PinDetector:
    """PIN-Lite, the student: MobileNetV3-Small, d = 128, 4 heads, 2 blocks by default."""
    backbone, num_features = mobilenetv3_small_features(pretrained)
    return PinDetector(
        VideoEncoder(backbone, num_features, 128),
        num_frames=num_frames,
        num_mfcc=num_mfcc,
        dim=128,
        num_heads=4,
        num_layers=num_layers,
    )


BUILDERS: Mapping[str, Builder] = MappingProxyType({"pinpoint": pinpoint, "pin_lite": pin_lite})


def create(name: str, **settings: int | bool | str) -> PinDetector:
    """Build a dense network of the zoo with fresh weights (drawn from torch's generator).

    Raises:
        KeyError: no such network; the message lists the choices.
    """
    if name not in BUILDERS:
        raise KeyError(f"no network named {name!r}; choose from {', '.join(sorted(BUILDERS))}")
    return BUILDERS[name](**settings)
