"""Running an exported detector over a whole shard."""

import numpy as np
import onnxruntime

from fl.compress.export import OUTPUTS
from fl.data.shards import ShardView
from fl.distill.batches import Batch, load_batch, ordered_batches
from fl.metrics.cost import example_inputs
from models.output import INPUTS, Inputs


def inputs_like(view: ShardView) -> Inputs:
    """One clip's worth of random numbers in the shapes that a view's clips have."""
    _, num_frames, image_size = view.shard.frames.shape[:3]
    _, audio_steps, num_mfcc = view.shard.mfcc.shape
    settings = {"num_frames": num_frames, "num_mfcc": num_mfcc}
    return example_inputs(settings, image_size=image_size, audio_steps=audio_steps)


def session_feeds(view: ShardView, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The named inputs of some clips of a view."""
    return batch_feeds(load_batch(view, indices))


def batch_feeds(batch: Batch) -> dict[str, np.ndarray]:
    """The named inputs of a batch."""
    return {name: tensor.numpy() for name, tensor in zip(INPUTS, batch.inputs, strict=True)}


def run_session(session: onnxruntime.InferenceSession, view: ShardView) -> tuple[np.ndarray, np.ndarray]:
    """Logits (clips,) and maps (clips, audio_steps, video_frames) of every clip, in the view's order."""
    logits, maps = [], []
    for batch in ordered_batches(view, None, batch_size=32):
        batch_logits, batch_maps = session.run(list(OUTPUTS), batch_feeds(batch))
        logits.append(batch_logits)
        maps.append(batch_maps)
    return np.concatenate(logits), np.concatenate(maps)
