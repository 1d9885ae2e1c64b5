"""Which clips each client holds, what its device cannot record, and how uneven that is."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from fl.data.clips import REAL, Clip, label_without
from fl.data.partition_schemes import SCHEMES, quality_of
from fl.errors import DataError, RequestError
from fl.seeds import derive
from fl.settings import PartitionSettings

SPLITS_IDENTITIES = ("manipulation", "quality")
"""Schemes that may put one identity with several clients; all others keep it whole."""


@dataclass(frozen=True)
class Partition:
    """What each client has; place i is client i.

    Attributes:
        rows: its rows, ascending, int64; every row is with exactly one client, and no client is empty.
        lacks: the modality that its device cannot record, "audio" or "video"; "" if none.
    """

    rows: tuple[NDArray[np.int64], ...]
    lacks: tuple[str, ...]


class PartitionSkew(TypedDict):
    """How uneven a partition is, as recorded in ``summary.json``.

    A divergence is the total variation between a client's shares of the categories (labels, qualities) and
    everybody's, in [0, 1], averaged over clients by clips; 0 = IID. Labels are those that the client
    trains with: a fake of which only the missing modality was altered counts as real.

    Attributes:
        sizes: clips of each client.
        effective_clients: (sum of sizes)^2 / sum of squared sizes, in [1, clients]: as many clients of
            equal size would be as even.
        real_shares: share of real clips of each client, in [0, 1].
        category_divergence: over categories.
        label_divergence: over labels.
        quality_divergence: over qualities.
        categories: their names, "real" first.
        counts: clips by client and category.
        qualities: their names, as `quality_of`.
        quality_counts: clips by client and quality.
        lacks: as in `Partition`.
    """

    sizes: list[int]
    effective_clients: float
    real_shares: list[float]
    category_divergence: float
    label_divergence: float
    quality_divergence: float
    categories: list[str]
    counts: list[list[int]]
    qualities: list[str]
    quality_counts: list[list[int]]
    lacks: list[str]


def partition_clips(clips: Sequence[Clip], settings: PartitionSettings, seed: int) -> Partition:
    """Give every clip to one client, by the scheme asked for; see `fl.data.partition_schemes`.

    All clips of an identity are with the same client, except under `SPLITS_IDENTITIES`. Which clients lack a
    modality is drawn apart: it changes no rows, and those of a smaller share lack it under a larger one too.

    Args:
        clips: the clients' split; row i is clip i.
        settings: scheme, number of clients, and the scheme's own.
        seed: the run's seed.

    Raises:
        DataError: no clips.
        RequestError: more clients than can be served, or what the scheme itself refuses.
    """
    if not clips:
        raise DataError("no clips to give to clients: check data.root and data.public_share")
    num_clients, num_identities = settings.num_clients, len({clip.identity for clip in clips})
    if num_clients > num_identities and settings.scheme not in SPLITS_IDENTITIES:
        raise RequestError(
            f"partition.num_clients must be at most {num_identities}, the identities of its split, "
            f"got {num_clients}: ask for fewer clients, a larger corpus or a smaller data.public_share"
        )
    owners = SCHEMES[settings.scheme](clips, settings, np.random.default_rng(derive(seed, "partition")))
    rows = tuple(np.flatnonzero(owners == client).astype(np.int64) for client in range(num_clients))
    return Partition(rows, _draw_lacks(settings, seed))


def partition_skew(clips: Sequence[Clip], partition: Partition) -> PartitionSkew:
    """Measure how far the clients are from an even share of everything."""
    categories, counts = _count(clips, partition, lambda clip: clip.category)
    qualities, quality_counts = _count(clips, partition, quality_of)
    sizes = counts.sum(axis=1)
    num_fake = [
        sum(label_without(clips[row], lacks) for row in rows)
        for rows, lacks in zip(partition.rows, partition.lacks, strict=True)
    ]
    labels = np.column_stack([sizes - num_fake, num_fake])
    return PartitionSkew(
        sizes=sizes.tolist(),
        effective_clients=float(sizes.sum() ** 2 / (sizes**2).sum()),
        real_shares=(labels[:, 0] / sizes).tolist(),
        category_divergence=_divergence(counts),
        label_divergence=_divergence(labels),
        quality_divergence=_divergence(quality_counts),
        categories=categories,
        counts=counts.tolist(),
        qualities=qualities,
        quality_counts=quality_counts.tolist(),
        lacks=list(partition.lacks),
    )


def divergences(skew: Mapping[str, Any]) -> str:
    """The divergences of a `PartitionSkew` in words; that of the qualities only where there are several."""
    text = f"{skew['category_divergence']:.2f} in categories, {skew['label_divergence']:.2f} in labels"
    return text + (f", {skew['quality_divergence']:.2f} in qualities" if len(skew["qualities"]) > 1 else "")


def _count(
    clips: Sequence[Clip], partition: Partition, name_of: Callable[[Clip], str]
) -> tuple[list[str], NDArray[np.int64]]:
    """The different names of the clips, "real" first, and clips by (client, name)."""
    names = sorted({name_of(clip) for clip in clips}, key=lambda name: (name != REAL, name))
    place = {name: i for i, name in enumerate(names)}
    counts = [
        np.bincount([place[name_of(clips[row])] for row in rows], minlength=len(names))
        for rows in partition.rows
    ]
    return names, np.array(counts, dtype=np.int64)


def _divergence(held: NDArray[np.int64]) -> float:
    """Mean total variation between the rows' shares and everybody's, weighted by the rows' sums."""
    sizes = held.sum(axis=1)
    apart = np.abs(held / sizes[:, None] - held.sum(axis=0) / sizes.sum())
    return float(np.average(0.5 * apart.sum(axis=1), weights=sizes))


def _draw_lacks(settings: PartitionSettings, seed: int) -> tuple[str, ...]:
    """``missing_share`` of the clients, rounded half up, lack ``missing_modality``."""
    lacks = [""] * settings.num_clients
    if settings.missing_modality != "none":
        order = np.random.default_rng(derive(seed, "lacks")).permutation(settings.num_clients)
        for client in order[: math.floor(settings.missing_share * settings.num_clients + 0.5)]:
            lacks[client] = settings.missing_modality
    return tuple(lacks)
