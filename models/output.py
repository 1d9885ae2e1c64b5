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
        explanation: (batch, audio_steps, video_frames), where the detector looks. For the
            audio-visual networks this is the last block's cross-attention, averaged over heads,
            so each row over ``video_frames`` is non-negative and sums to 1.
        offset_logits: (batch, num_offsets), the audio offset class (PinPoint's auxiliary head).
    """

    logits: Tensor
    explanation: Tensor
    offset_logits: Tensor
