"""The zoo: name -> builder; `models.names` says which belong together."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from models.efficientnet import efficientnet
from models.image import ImageDetector
from models.ladeda import RECEPTIVE_FIELDS, ladeda, tiny_ladeda
from models.mobilenet import mobilenetv3
from models.names import EFFICIENTNET_SIZES, MOBILENETS
from models.pin import (
    PinDetector,
    VideoEncoder,
    mobilenetv3_small_features,
    resnet18_features,
)
from models.resnet import resnet18

Builder = Callable[..., PinDetector]
Detector = PinDetector | ImageDetector


class ImageNetwork(NamedTuple):
    """A detector of pictures.

    Attributes:
        build: takes ``pretrained``, see `models.pin.weights_from`.
        image_size: side of the published input, pixels.
    """

    build: Callable[..., ImageDetector]
    image_size: int


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
"""Audio-visual networks: what a system can be made of."""

IMAGE_NETWORKS: Mapping[str, ImageNetwork] = MappingProxyType(
    {
        **{
            name: ImageNetwork(partial(efficientnet, name), size) for name, size in EFFICIENTNET_SIZES.items()
        },
        "efficientnet_b0_lite": ImageNetwork(partial(efficientnet, "efficientnet_b0", lite=True), 224),
        **{name: ImageNetwork(partial(mobilenetv3, name), 160) for name in MOBILENETS},
        "resnet18": ImageNetwork(resnet18, 224),
        **{f"ladeda{field}": ImageNetwork(partial(ladeda, field), 256) for field in RECEPTIVE_FIELDS},
        "tiny_ladeda": ImageNetwork(tiny_ladeda, 256),
    }
)
"""Networks of pictures, under timm's names where timm has them: the thesis, the MobileNetV3 study, the
patch audit."""


def create(name: str, **settings: int | bool | str) -> Detector:
    """Build a dense network of the zoo with fresh weights (drawn from torch's generator).

    Raises:
        KeyError: no such network; the message lists the choices.
    """
    if name in IMAGE_NETWORKS:
        return IMAGE_NETWORKS[name].build(**settings)
    if name not in BUILDERS:
        choices = ", ".join(sorted([*BUILDERS, *IMAGE_NETWORKS]))
        raise KeyError(f"no network named {name!r}; choose from {choices}")
    return BUILDERS[name](**settings)
