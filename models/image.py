"""Detectors of single pictures, called like the audio-visual ones: each frame is scored, logits are averaged.

A detector is a `models.pin.VideoEncoder` whose embedding is one number, the logit, and a function that
says how a picture's features become a logit and a map. What prunes a video encoder prunes it too.
"""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from models.output import DetectorOutput
from models.pin import VideoEncoder

Scores = tuple[Tensor, Tensor, Tensor | None]
"""Logits (images,), maps (images, map_height, map_width), and patch logits (images, height, width) if any."""

Scorer = Callable[[VideoEncoder, Tensor], Scores]
"""Turns pictures (images, 3, height, width) into their `Scores`."""


class ImageDetector(nn.Module):
    """A network of pictures as a detector of clips.

    Args:
        backbone: (images, 3, height, width) to (images, num_features, map_height, map_width).
        num_features: channels of its output.
        scorer: how features become a logit and a map.
    """

    def __init__(self, backbone: nn.Module, num_features: int, scorer: Scorer) -> None:
        super().__init__()
        self.video = VideoEncoder(backbone, num_features, 1)
        self.scorer = scorer

    def forward(
        self, frames: Tensor, mfcc: Tensor | None = None, modalities: Tensor | None = None
    ) -> DetectorOutput:
        """Classify clips by their frames.

        Args:
            frames: (batch, num_frames, 3, height, width), normalised RGB.
            mfcc: not looked at: these networks are deaf.
            modalities: (batch, 2), 1 where the clip has video and where it has audio, else 0. Without
                video the logit and the map are 0: undecided. None: all clips have video.

        Returns:
            Logits (batch,), positive for fake: the mean over the frames; the explanation
            (batch, map_height, map_width), the mean over the frames of signed maps whose large values
            speak for fake; and patch logits (batch, num_frames, height, width) where the network has them.
        """
        if self.training and modalities is not None and not bool((modalities[:, 0] > 0).all()):
            return self._score_seen(frames, modalities[:, 0] > 0)
        num_frames, channels, height, width = (int(size) for size in frames.shape[1:])
        logits, maps, patches = self.scorer(self.video, frames.reshape(-1, channels, height, width))
        logits, maps = _by_clip(logits, num_frames).mean(dim=1), _by_clip(maps, num_frames).mean(dim=1)
        if modalities is not None:
            seen = modalities[:, 0].to(logits.dtype)
            logits, maps = logits * seen, maps * seen[:, None, None]
        return DetectorOutput(
            logits, maps, patch_logits=None if patches is None else _by_clip(patches, num_frames)
        )

    def _score_seen(self, frames: Tensor, seen: Tensor) -> DetectorOutput:
        """Score only the clips that have pictures: blank ones would spoil BatchNorm's statistics."""
        if not bool(seen.any()):
            undecided = 0 * self.video.projection.weight.sum() * frames.new_ones(len(frames))
            return DetectorOutput(undecided, undecided[:, None, None])
        some = self(frames[seen])
        logits, maps = _spread(some.logits, seen), _spread(some.explanation, seen)
        patches = None if some.patch_logits is None else _spread(some.patch_logits, seen)
        return DetectorOutput(logits, maps, patch_logits=patches)


def class_activation(video: VideoEncoder, images: Tensor) -> Scores:
    """The logit of mean features, and each position's share in it: the class activation map.

    Its mean is the logit. It is Grad-CAM of the last stage without its ReLU, but for scale and offset
    (Zhou et al. 2016; Selvaraju et al. 2017, section 3): signed, so that all positions have a rank.
    """
    features: Tensor = video.backbone(images)
    logits: Tensor = video.projection(features.mean(dim=(2, 3)))
    return logits.squeeze(1), position_logits(video, features), None


def position_logits(video: VideoEncoder, features: Tensor) -> Tensor:
    """The projection at every position of the features: (images, map_height, map_width)."""
    weight = video.projection.weight[:, :, None, None]
    return F.conv2d(features, weight, video.projection.bias).squeeze(1)


def _spread(values: Tensor, seen: Tensor) -> Tensor:
    """(clips seen, ...) to (clips, ...), zero for the others."""
    return values.new_zeros(len(seen), *values.shape[1:]).index_put((seen,), values)


def _by_clip(values: Tensor, num_frames: int) -> Tensor:
    return values.reshape(-1, num_frames, *(int(size) for size in values.shape[1:]))
