"""EfficientNet and EfficientNet-Lite as detectors of pictures, and the conversion of one to the other.

Source: the compression thesis (EfficientNet B0 to Lite0, knowledge distillation and pruning), chapters
5.3 and 5.6; Tan and Le 2019. Networks are timm's, with one output logit.
"""

import timm
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from models.image import ImageDetector, class_activation
from models.pin import weights_from


def efficientnet(variant: str, *, lite: bool = False, pretrained: bool | str = False) -> ImageDetector:
    """An EfficientNet of timm's with one logit.

    Args:
        variant: timm's name, e.g. ``efficientnet_b0``.
        lite: convert it, see `make_lite`, after the weights are read.
        pretrained: see `models.pin.weights_from`.
    """
    network = timm.create_model(variant, num_classes=0, global_pool="", **weights_from(pretrained))
    num_features = int(network.num_features)
    if lite:
        make_lite(network)
    return ImageDetector(network, num_features, class_activation)


def make_lite(network: nn.Module) -> None:
    """Turn an EfficientNet into its Lite form, in place: thesis, section 5.6.

    Every squeeze-excite becomes the identity and every SiLU a ReLU6. What is left keeps its weights.
    """
    for name, child in network.named_children():
        if isinstance(child, SqueezeExcite):
            setattr(network, name, nn.Identity())
        elif isinstance(child, nn.SiLU):
            setattr(network, name, nn.ReLU6(inplace=True))
        else:
            make_lite(child)
