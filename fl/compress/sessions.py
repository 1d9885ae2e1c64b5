"""Running an exported detector over a whole shard."""

import numpy as np
import onnxruntime

from fl.data.shards import ShardView
from fl.distill.batches import load_batch, ordered_batches


def session_feeds(view: ShardView, indices: np.ndarray) -> dict[str, np.ndarray]:
    """The named inputs of some clips of a view."""
    batch = load_batch(view, indices)
    return {"frames": batch.frames.numpy(), "mfcc": batch.mfcc.numpy()}


def run_session(session: onnxruntime.InferenceSession, view: ShardView) -> tuple[np.ndarray, np.ndarray]:
    """Logits (clips,) and maps (clips, audio_steps, video_frames) of every clip, in the view's order."""
    logits, maps = [], []
    for batch in ordered_batches(view, None, batch_size=32):
        feeds = {"frames": batch.frames.numpy(), "mfcc": batch.mfcc.numpy()}
        batch_logits, batch_maps = session.run(["logits", "explanation"], feeds)
        logits.append(batch_logits)
        maps.append(batch_maps)
    return np.concatenate(logits), np.concatenate(maps)
