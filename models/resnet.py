"""ResNet-18 as a detector of pictures: He et al. 2016, timm's, with one output logit."""

from models.image import ImageDetector, class_activation
from models.pin import resnet18_features


def resnet18(*, pretrained: bool | str = False) -> ImageDetector:
    """ResNet-18 with one logit: 11,177,025 parameters."""
    backbone, num_features = resnet18_features(pretrained)
    return ImageDetector(backbone, num_features, class_activation)
