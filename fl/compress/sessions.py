"""Running an exported detector over a whole shard."""

import numpy as np
import onnxruntime

from fl.compress.export import OUTPUTS
from fl.data.shards import ShardView
from fl.distill.batches import Batch, load_batch, ordered_batches
from models.output import INPUTS


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
