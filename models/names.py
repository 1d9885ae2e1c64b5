"""Names of the networks and of the pairs that teach each other; imports nothing, so settings may use it."""

from collections.abc import Mapping
from types import MappingProxyType

AUDIO_VISUAL = ("pinpoint", "pin_lite")
"""Networks of clips with sound."""

EFFICIENTNET_SIZES: Mapping[str, int] = MappingProxyType(
    {
        "efficientnet_b0": 224,
        "efficientnet_b1": 240,
        "efficientnet_b2": 260,
        "efficientnet_b3": 300,
        "efficientnet_lite0": 224,
        "tf_efficientnet_lite2": 260,
    }
)
"""timm's name -> side of the published input, pixels."""

MOBILENETS = ("mobilenetv3_small_100", "mobilenetv3_large_100")
PATCH_SIZES = (5, 9, 17, 33)
"""Sides of LaDeDa's patches, pixels."""

PICTURES = (
    *EFFICIENTNET_SIZES,
    "efficientnet_b0_lite",
    *MOBILENETS,
    "resnet18",
    *(f"ladeda{size}" for size in PATCH_SIZES),
    "tiny_ladeda",
)
"""Networks of pictures: they score each frame and are deaf."""

SYSTEMS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "pin": ("pinpoint", "pin_lite"),
        "efficientnet": ("efficientnet_b0", "efficientnet_lite0"),
        "mobilenet": ("mobilenetv3_large_100", "mobilenetv3_small_100"),
        "ladeda": ("ladeda9", "tiny_ladeda"),
    }
)
"""System -> (teacher, student), as the four sources pair them; a run may pair others of the same input."""


CHANNELS_IN_GROUP = 8
"""Of a GroupNorm: all widths of the zoo are multiples of it, and all pruned ones (``compress.round_to``)."""


def hears(name: str) -> bool:
    """Whether a network of the zoo takes sound."""
    return name in AUDIO_VISUAL
