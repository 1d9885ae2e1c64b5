"""What every detector of the zoo takes and returns."""

from typing import NamedTuple

from torch import Tensor

INPUTS = ("frames", "mfcc", "modalities")
"""Names of a detector's inputs, in the order of its forward: see `models.pin.PinDetector.forward`."""

Inputs = tuple[Tensor, Tensor, Tensor]
"""Tensors in the order of `INPUTS`."""


class DetectorOutput(NamedTuple):
    """The answer of a detector to a batch of clips.

    Attributes:
        logits: (batch,), unnormalised; positive means fake (1 = fake).
        explanation: where the detector looks. For the audio-visual networks (batch, audio_steps,
            video_frames): the last block's cross-attention, averaged over heads, so each row over
            ``video_frames`` is non-negative and sums to 1. For networks of pictures (batch, map_height,
            map_width): signed, averaged over the frames, large where it speaks for fake.
        offset_logits: (batch, num_offsets), the audio offset class (PinPoint's auxiliary head); None for
            networks of pictures.
        patch_logits: (batch, num_frames, height, width), one logit for each patch of each frame; None
            unless the network scores patches.
    """

    logits: Tensor
    explanation: Tensor
    offset_logits: Tensor | None = None
    patch_logits: Tensor | None = None
