"""MobileNetV3, small and large, as detectors of pictures.

Source: the MobileNetV3 compression study; Howard et al. 2019. Networks are timm's, with one logit.
"""

import timm
from torch import Tensor, nn

from models.image import ImageDetector, Scores
from models.pin import VideoEncoder, weights_from


class PooledFeatures(nn.Module):
    """MobileNetV3 up to its classifier: stages, the mean over positions, a 1x1 convolution, hard-swish."""

    def __init__(self, stages: nn.Module, hidden: nn.Conv2d) -> None:
        super().__init__()
        self.stages = stages
        self.hidden = hidden

    def forward(self, images: Tensor) -> Tensor:
        """Features of (images, 3, height, width): (images, num_features, 1, 1)."""
        return nn.functional.hardswish(self.pool(self.stages(images)))

    def pool(self, features: Tensor) -> Tensor:
        """What hard-swish gets of the last stage's features: (images, num_features, 1, 1)."""
        pooled: Tensor = self.hidden(features.mean(dim=(2, 3), keepdim=True))
        return pooled


def mobilenetv3(variant: str, *, pretrained: bool | str = False) -> ImageDetector:
    """A MobileNetV3 of timm's with one logit.

    Args:
        variant: timm's name, e.g. ``mobilenetv3_small_100``.
        pretrained: see `models.pin.weights_from`.
    """
    network = timm.create_model(variant, num_classes=0, **weights_from(pretrained))
    stages = nn.Sequential(network.conv_stem, network.bn1, network.blocks)
    backbone = PooledFeatures(stages, network.conv_head)
    return ImageDetector(backbone, network.conv_head.out_channels, gradient_cam)


def gradient_cam(video: VideoEncoder, images: Tensor) -> Scores:
    """The logit and Grad-CAM of the last stage, without its ReLU (Selvaraju et al. 2017, section 3).

    The features are averaged before the last two layers, so their gradient is the same at all positions
    and has a closed form: no backward pass is needed, and an exported graph holds the map as well.
    """
    backbone = video.backbone
    if not isinstance(backbone, PooledFeatures):
        raise TypeError(f"gradient_cam needs the features of MobileNetV3, got {type(backbone).__name__}")
    features: Tensor = backbone.stages(images)
    pooled = backbone.pool(features).flatten(1)
    logits: Tensor = video.projection(nn.functional.hardswish(pooled))
    inside = ((pooled > -3) & (pooled < 3)).to(pooled.dtype)
    slope = inside * (2 * pooled + 3) / 6 + (pooled >= 3).to(pooled.dtype)
    gradient = (slope * video.projection.weight) @ backbone.hidden.weight.flatten(1)
    return logits.squeeze(1), (features * gradient[:, :, None, None]).sum(dim=1), None
