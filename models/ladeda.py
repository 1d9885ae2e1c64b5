"""LaDeDa and Tiny-LaDeDa: detectors that give a logit to every small patch of a picture.

Source: the patch audit; Cavia et al. 2024, "Real-Time Deepfake Detection in the Real-World". LaDeDa is
a ResNet-50 with most of its 3x3 convolutions replaced by 1x1 ones, so that a position of its last map
sees a patch of 5 to 33 pixels (Brendel and Bethge 2019, BagNet), on the residual of pixels to their
neighbours (Tan et al. 2024, NPR). Tiny-LaDeDa does it with 1,297 parameters on a fixed gradient filter.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.image import ImageDetector, Scores, position_logits
from models.pin import VideoEncoder

RECEPTIVE_FIELDS: Mapping[int, int] = MappingProxyType({5: 1, 9: 2, 17: 3, 33: 4})
"""Side of LaDeDa's patch in pixels -> stages, counted from the first, that keep one 3x3 convolution."""

STAGES = ((3, 64, 2), (4, 128, 2), (6, 256, 2), (3, 512, 1))
"""Blocks, planes and stride of each stage."""

EXPANSION = 4
SOURCE_MOMENTUM = 0.001
"""BatchNorm's in the source: only for weights that are given, since statistics take thousands of steps."""

TOP_SHARE = 0.1
MIN_TOP = 5
GRADIENT_FILTER = ((-2.0, -1.0, 0.0), (-1.0, 0.0, 1.0), (0.0, 1.0, 2.0))


class Bottleneck(nn.Module):
    """1x1, a valid convolution with the stride, 1x1, around a shortcut that is cropped to match."""

    def __init__(self, num_inputs: int, planes: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        num_outputs = EXPANSION * planes
        self.conv1 = nn.Conv2d(num_inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, kernel_size, stride, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, num_outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(num_outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or num_inputs != num_outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(num_inputs, num_outputs, 1, stride, bias=False),
                nn.BatchNorm2d(num_outputs),
            )

    def forward(self, features: Tensor) -> Tensor:
        """One block: (images, num_inputs, height, width) to (images, 4 * planes, smaller, smaller)."""
        x = F.relu(self.bn1(self.conv1(features)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        shortcut: Tensor = self.shortcut(features)
        return F.relu(x + shortcut[:, :, : int(x.shape[2]), : int(x.shape[3])])


class PatchResNet(nn.Module):
    """LaDeDa's features: positions 8 pixels apart that each see one patch of the residual."""

    def __init__(self, receptive_field: int) -> None:
        super().__init__()
        num_wide = RECEPTIVE_FIELDS[receptive_field]
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 1, bias=False),
            nn.Conv2d(64, 64, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
        )
        blocks: list[nn.Module] = []
        num_inputs = 64
        for stage, (num_blocks, planes, stride) in enumerate(STAGES):
            for block in range(num_blocks):
                kernel_size = 3 if block == 0 and stage < num_wide else 1
                blocks.append(Bottleneck(num_inputs, planes, kernel_size, stride if block == 0 else 1))
                num_inputs = EXPANSION * planes
        self.blocks = nn.Sequential(*blocks)
        self.num_features = num_inputs

    def forward(self, images: Tensor) -> Tensor:
        """Features of (images, 3, height, width), both even: (images, 2048, map_height, map_width)."""
        features: Tensor = self.blocks(self.stem(neighbour_residual(images)))
        return features


class TinyPatchNet(nn.Module):
    """Tiny-LaDeDa's features: a fixed gradient filter and four convolutions of 8 channels."""

    gradient_filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("gradient_filter", torch.tensor(GRADIENT_FILTER).repeat(3, 1, 1, 1))
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 1, bias=False),
            nn.Conv2d(8, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features of (images, 3, height, width): (images, 8, map_height, map_width)."""
        gradients = F.conv2d(images, self.gradient_filter, padding=1, groups=3)
        features: Tensor = self.layers(gradients)
        return features


def ladeda(receptive_field: int, *, pretrained: bool | str = False) -> ImageDetector:
    """LaDeDa with patches of 5, 9, 17 or 33 pixels: 13.5 to 16.3 million parameters.

    Args:
        receptive_field: side of a patch, pixels.
        pretrained: False, or a safetensors file of such a detector of ours.

    Raises:
        ValueError: ``pretrained`` is True.
    """
    backbone = PatchResNet(receptive_field)
    return _with_weights(ImageDetector(backbone, backbone.num_features, patch_scores), pretrained)


def tiny_ladeda(*, pretrained: bool | str = False) -> ImageDetector:
    """Tiny-LaDeDa: 1,297 parameters, its map on the grid of LaDeDa9's; ``pretrained`` as in `ladeda`."""
    return _with_weights(ImageDetector(TinyPatchNet(), 8, aligned_patch_scores), pretrained)


def neighbour_residual(images: Tensor) -> Tensor:
    """NPR: what nearest-neighbour halving and doubling loses of pictures.

    Args:
        images: (images, 3, height, width), height and width even.

    Raises:
        ValueError: an odd height or width.
    """
    height, width = (int(size) for size in images.shape[2:])
    if height % 2 or width % 2:
        raise ValueError(f"frames must have an even height and width for NPR, got {height}x{width}")
    return images - F.interpolate(images[:, :, ::2, ::2], scale_factor=2.0, mode="nearest")


def patch_scores(video: VideoEncoder, images: Tensor) -> Scores:
    """A picture's logit is the mean of its highest patch logits; the map is the patch logits."""
    patches = position_logits(video, video.backbone(images))
    return top_mean(patches), patches, patches


def aligned_patch_scores(video: VideoEncoder, images: Tensor) -> Scores:
    """As `patch_scores`, with the map brought to the teacher's grid by `align_patches`."""
    patches = position_logits(video, video.backbone(images))
    return top_mean(patches), align_patches(patches), patches


def top_mean(patches: Tensor) -> Tensor:
    """Mean of the k highest patch logits of each picture, k = max(5, ceil(0.1 N)) of N patches.

    Args:
        patches: (images, map_height, map_width); all are taken where there are fewer than 5.

    Returns:
        (images,).
    """
    num_patches = int(patches.shape[1]) * int(patches.shape[2])
    num_top = min(num_patches, max(MIN_TOP, math.ceil(TOP_SHARE * num_patches)))
    return patches.flatten(1).topk(num_top, dim=1).values.mean(dim=1)


def align_patches(patches: Tensor) -> Tensor:
    """Tiny-LaDeDa's patch logits on LaDeDa9's grid: the same centres, 8 pixels apart.

    Three of its positions, 2 pixels apart, straddle each patch of the teacher; every fourth is the next one.

    Args:
        patches: (images, height, width), e.g. 110x110 for a picture of 224 pixels, 126x126 for 256.

    Returns:
        (images, map_height, map_width), e.g. 27x27 and 31x31.
    """
    return F.avg_pool2d(patches[:, None], kernel_size=3, stride=4).squeeze(1)


def _with_weights(network: ImageDetector, pretrained: bool | str) -> ImageDetector:
    if pretrained is True:
        raise ValueError("LaDeDa has no weights to download (they are for research only): name a local file")
    if pretrained:
        safetensors.torch.load_model(network, pretrained)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = SOURCE_MOMENTUM
    return network
