"""Are the maps faithful? Deletion and insertion curves (Petsiuk et al. 2018, RISE, section 4.2).

Positions of the input are removed, the map's most important first, and the probability of the class that the
network predicts is traced; and put back in the same order into an input that has lost all of them. If the
map names what the network decides by, deletion falls early (small area) and insertion rises early (large
area). Both stand beside two baselines: a random order, for which the two areas are equal on average, and the
map's own order moved to other places. The second is ours: a random order scatters what it removes (clicks in
the sound, a chequered picture), which spoils the input more than a hole does and flatters or shames any
smooth map; the moved map removes holes of the same shape where the map does not ask for them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fl.data.shards import ShardView
from fl.distill.batches import Batch, ordered_batches
from models.output import Inputs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Eraser = Callable[[Batch, Tensor], Inputs]
"""The inputs of a batch without the positions where the tensor (batch, positions) of bools is true."""


@dataclass(frozen=True)
class Curves:
    """The predicted class's probability of each clip, each (clips, steps + 1) in [0, 1].

    Attributes:
        shares: (steps + 1,), share of the positions removed or put back: 0 to 1.
        deletion: most important positions removed first.
        insertion: most important positions put back first.
        random: removed in a random order.
        moved_deletion: as ``deletion``, by the map moved round to other places (`move`).
        moved_insertion: as ``insertion``, by the moved map.
    """

    shares: Floats
    deletion: Floats
    insertion: Floats
    random: Floats
    moved_deletion: Floats
    moved_insertion: Floats

    def areas(self, curve: Floats) -> Floats:
        """Area under each clip's curve, (clips,) in [0, 1], by trapezoids."""
        return np.asarray(np.trapezoid(curve, self.shares, axis=1), dtype=np.float64)


def trace(
    network: nn.Module,
    view: ShardView,
    maps: NDArray[np.floating],
    positions: str,
    rng: np.random.Generator,
    *,
    max_steps: int = 10,
    batch_size: int = 32,
    advance: Callable[[int], None] = lambda num_clips: None,
) -> Curves:
    """Deletion and insertion curves of every clip of a view.

    Args:
        network: in evaluation mode.
        view: at least one clip; each has the modality whose positions are removed.
        maps: (clips, rows, columns), the network's own of these clips.
        positions: a key of `ERASERS`.
        rng: of the random order, of the moves, and of the order among equals.
        max_steps: of a curve; fewer where there are fewer positions.
        batch_size: clips of one forward pass.
        advance: told of the clips done.
    """
    removed = ERASERS[positions]
    logits = _logits(network, view, batch_size, None, None)
    sign = np.where(logits > 0, 1.0, -1.0)
    scores = importance(maps, positions, sign)
    counts = np.full(len(view), scores.shape[1])
    if positions == "sound":
        counts = np.asarray(view.valid_steps, dtype=np.int64)
    num_steps = int(min(max_steps, counts.min()))
    by_map = ranks(scores, counts, rng)
    by_chance = ranks(np.zeros_like(scores), counts, rng)
    by_moved = ranks(move(scores, counts, positions, rng), counts, rng)

    def probability(gone: NDArray[np.bool_]) -> Floats:
        told = sign * _logits(network, view, batch_size, removed, gone)
        return np.asarray(1 / (1 + np.exp(-np.clip(told, -500, 500))), dtype=np.float64)

    shares = np.linspace(0, 1, num_steps + 1)
    whole, empty = (probability(by_map < limit[:, None]) for limit in (np.zeros_like(counts), counts))
    curves = np.empty((5, len(view), num_steps + 1))
    curves[:, :, 0] = np.stack([whole, empty, whole, whole, empty])
    curves[:, :, -1] = np.stack([empty, whole, empty, empty, whole])
    for step, share in enumerate(shares[1:-1], start=1):
        first = np.rint(share * counts)[:, None]
        gone = (by_map < first, by_map >= first, by_chance < first, by_moved < first, by_moved >= first)
        curves[:, :, step] = [probability(mask) for mask in gone]
        advance(len(view))
    return Curves(shares, *curves)


def move(scores: Floats, counts: Ints, positions: str, rng: np.random.Generator) -> Floats:
    """Each clip's scores moved round its positions by a random way that is not zero, (clips, positions).

    Args:
        scores: (clips, positions).
        counts: (clips,), the first so many positions count; the others stay.
        positions: "picture": moved down and across the square grid; else along time.
        rng: of the ways.
    """
    moved = scores.copy()
    for clip, count in enumerate(counts):
        way = int(rng.integers(1, count)) if count > 1 else 0
        if positions == "picture":
            side = _side(scores.shape[1])
            grid = np.roll(scores[clip].reshape(side, side), divmod(way, side), axis=(0, 1))
            moved[clip] = grid.ravel()
        else:
            moved[clip, :count] = np.roll(scores[clip, :count], way)
    return moved


def importance(maps: NDArray[np.floating], positions: str, sign: Floats) -> Floats:
    """How much each position matters by the maps, (clips, positions).

    Of a picture, the map itself, which speaks for fake: turned round where the network says real. Of
    frames, the attention they get, summed over the sound. A step of sound gives attention that always sums
    to 1, so that its sum says nothing: the sum of squares says how sharply it looks (this choice is ours).

    Args:
        maps: (clips, rows, columns).
        positions: a key of `ERASERS`.
        sign: (clips,), 1 where the network says fake, else -1.
    """
    wide = np.asarray(maps, dtype=np.float64)
    if positions == "picture":
        return (sign[:, None, None] * wide).reshape(len(wide), -1)
    scores: Floats = wide.sum(axis=1) if positions == "frames" else np.square(wide).sum(axis=2)
    return scores


def ranks(scores: Floats, counts: Ints, rng: np.random.Generator) -> Ints:
    """Each position's place in its clip's falling order, (clips, positions); equals in random order.

    Args:
        scores: (clips, positions).
        counts: (clips,), the first so many positions count; the others come last.
        rng: orders what is equal.
    """
    valid = np.arange(scores.shape[1]) < counts[:, None]
    order = np.lexsort((rng.random(scores.shape), np.where(valid, -scores, np.inf)), axis=1)
    return np.argsort(order, axis=1)


@torch.no_grad()
def _logits(
    network: nn.Module, view: ShardView, batch_size: int, erase: Eraser | None, gone: NDArray[np.bool_] | None
) -> Floats:
    found = []
    for batch in ordered_batches(view, None, batch_size):
        inputs = batch.inputs
        if erase is not None and gone is not None:
            inputs = erase(batch, torch.from_numpy(gone[batch.indices.numpy()]))
        found.append(network(*inputs).logits.double().numpy())
    return np.concatenate(found)


def _side(num_cells: int) -> int:
    side = math.isqrt(num_cells)
    if side * side != num_cells:
        raise ValueError(f"maps over pictures must be square, got {num_cells} cells")
    return side


def _erase_cells(batch: Batch, gone: Tensor) -> Inputs:
    """Cells of a square grid over the pictures take the mean colour of their picture."""
    frames = batch.frames
    side = _side(gone.shape[1])
    height, width = (torch.arange(size) * side // size for size in frames.shape[3:])
    mask = gone.reshape(-1, side, side)[:, height][:, :, width][:, None, None]
    return torch.where(mask, frames.mean(dim=(3, 4), keepdim=True), frames), batch.mfcc, batch.modalities


def _erase_frames(batch: Batch, gone: Tensor) -> Inputs:
    """Frames become the mean frame of their clip."""
    frames = batch.frames
    mean = frames.mean(dim=1, keepdim=True)
    return torch.where(gone[:, :, None, None, None], mean, frames), batch.mfcc, batch.modalities


def _erase_sound(batch: Batch, gone: Tensor) -> Inputs:
    """Steps of sound become zero, as padding is."""
    return batch.frames, batch.mfcc.masked_fill(gone[:, :, None], 0), batch.modalities


ERASERS: Mapping[str, Eraser] = MappingProxyType(
    {"picture": _erase_cells, "frames": _erase_frames, "sound": _erase_sound}
)
"""What is removed: cells of the picture (networks of pictures), or frames and steps of sound."""
