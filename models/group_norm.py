"""BatchNorm to GroupNorm: a network whose answer to a clip does not depend on the clips beside it.

Wu and He 2018, "Group Normalization". A BatchNorm in training takes its statistics over the batch, so that
the gradient of one example depends on the others: no bound on one example's influence is left, and
example-level DP-SGD proves nothing. GroupNorm takes them within one picture. It has no buffers either:
running statistics would leave a client beside its weights.
"""

from timm.layers.norm_act import BatchNormAct2d, GroupNormAct
from torch import nn

from models.names import CHANNELS_IN_GROUP


def batch_to_group_norm(network: nn.Module) -> None:
    """Put a GroupNorm in the place of every BatchNorm of pictures, in place.

    Scale and shift are kept under their names, running statistics are dropped. timm's BatchNorm with an
    activation keeps its activation and its drop layer.

    Raises:
        ValueError: channels that are no multiple of `CHANNELS_IN_GROUP`, or a BatchNorm of another kind.
    """
    for name, child in list(network.named_children()):
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(network, name, _group_norm(name, child))
        else:
            batch_to_group_norm(child)


def num_groups(num_channels: int) -> int:
    """Groups of a layer.

    Raises:
        ValueError: channels that are no multiple of `CHANNELS_IN_GROUP`.
    """
    if num_channels % CHANNELS_IN_GROUP:
        raise ValueError(
            f"channels of a GroupNorm must be a multiple of {CHANNELS_IN_GROUP}, got {num_channels}"
        )
    return num_channels // CHANNELS_IN_GROUP


def _group_norm(name: str, norm: nn.modules.batchnorm._BatchNorm) -> nn.GroupNorm:
    if not isinstance(norm, nn.BatchNorm2d) or not norm.affine:
        raise ValueError(f"{name} must be a BatchNorm2d with scale and shift, got {norm}")
    groups = num_groups(norm.num_features)
    made: nn.GroupNorm
    if isinstance(norm, BatchNormAct2d):
        made = GroupNormAct(norm.num_features, groups, eps=norm.eps, apply_act=False)
        made.drop, made.act = norm.drop, norm.act
    else:
        made = nn.GroupNorm(groups, norm.num_features, eps=norm.eps)
    made.weight, made.bias = norm.weight, norm.bias
    return made.train(norm.training)
