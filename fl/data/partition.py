"""Which clips each client holds: a partition by identity, even or skewed by manipulation."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from fl.data.clips import REAL, Clip
from fl.errors import DataError, RequestError
from fl.seeds import derive
from fl.settings import PartitionSettings

_SINKHORN_STEPS = 100
_SIZE_WEIGHT = 0.1  # against 1 for a manipulation: mixes come first, sizes stay within some clips


class PartitionSkew(TypedDict):
    """How uneven a partition is.

    ``sizes``: clips of each client; ``mean_divergence``: total variation between a client's
    shares of the categories and everybody's, [0, 1], averaged over clients by clips.
    """

    sizes: list[int]
    mean_divergence: float


def partition_clips(
    clips: Sequence[Clip], settings: PartitionSettings, seed: int
) -> tuple[NDArray[np.int64], ...]:
    """The rows of each client.

    Every row goes to exactly one client, and all clips of an identity go to the same one; every
    client has at least one identity. Clients are about equally large.

    ``iid`` deals shuffled identities to the smallest client. ``dirichlet`` draws each client's mix of
    the C manipulations from Dirichlet(alpha * C * everybody's mix), after Hsu, Qi and Brown, "Measuring
    the Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019; scales the
    mixes so that they add up to the clips there are; and gives each identity, in random order, to the
    client that still lacks most of its clips. Real clips follow their identity. As an identity may
    bring several manipulations at once, the mixes are met in part.

    Args:
        clips: the clients' split; row i is clip i.
        settings: scheme, number of clients, alpha.
        seed: the run's seed.

    Returns:
        for each client its rows, ascending, int64.

    Raises:
        DataError: no clips.
        RequestError: more clients than identities.
    """
    manipulated, rows_of = _count(clips)
    num_identities, num_clients = len(rows_of), settings.num_clients
    if num_clients > num_identities:
        raise RequestError(
            f"partition.num_clients must be at most {num_identities}, the identities of its split, "
            f"got {num_clients}: ask for fewer clients, a larger corpus or a smaller data.public_share"
        )
    rng = np.random.default_rng(derive(seed, "partition"))
    # The last column is the size: it decides for identities without manipulated clips.
    brings = np.concatenate([manipulated, np.array([[len(rows)] for rows in rows_of])], axis=1)
    if settings.scheme == "iid":
        brings = brings[:, -1:]
    lacking = np.tile(brings.sum(axis=0) / num_clients, (num_clients, 1))
    if settings.scheme == "dirichlet" and manipulated.any():
        lacking[:, :-1] = _targets(manipulated.sum(axis=0), settings, rng)
    weights = np.append(np.ones(brings.shape[1] - 1), _SIZE_WEIGHT)
    owners = _deal(brings * weights, brings, lacking, rng)
    return tuple(
        np.array(sorted(row for i in np.flatnonzero(owners == client) for row in rows_of[i]), dtype=np.int64)
        for client in range(num_clients)
    )


def partition_skew(clips: Sequence[Clip], rows: Sequence[NDArray[np.int64]]) -> PartitionSkew:
    """Measure how far the clients' mixes of categories are from everybody's."""
    categories = sorted({clip.category for clip in clips})
    index = np.array([categories.index(clip.category) for clip in clips])
    held = np.array([np.bincount(index[own], minlength=len(categories)) for own in rows], dtype=np.float64)
    sizes = held.sum(axis=1)
    everybody = held.sum(axis=0) / sizes.sum()
    divergence = 0.5 * np.abs(held / sizes[:, None] - everybody).sum(axis=1)
    return PartitionSkew(
        sizes=[int(size) for size in sizes], mean_divergence=float(np.average(divergence, weights=sizes))
    )


def _count(clips: Sequence[Clip]) -> tuple[NDArray[np.float64], list[list[int]]]:
    """Fakes by (identity, manipulation), and each identity's rows; all sorted by name."""
    if not clips:
        raise DataError("no clips to give to clients: check data.root and data.public_share")
    identities = {name: i for i, name in enumerate(sorted({clip.identity for clip in clips}))}
    categories = {name: i for i, name in enumerate(sorted({clip.category for clip in clips} - {REAL}))}
    manipulated = np.zeros((len(identities), len(categories)))
    rows_of: list[list[int]] = [[] for _ in identities]
    for row, clip in enumerate(clips):
        rows_of[identities[clip.identity]].append(row)
        if clip.category in categories:
            manipulated[identities[clip.identity], categories[clip.category]] += 1
    return manipulated, rows_of


def _targets(
    totals: NDArray[np.float64], settings: PartitionSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Fakes wanted by (client, manipulation): rows drawn, then both margins met (Sinkhorn scaling)."""
    concentration = settings.alpha * len(totals) * totals / totals.sum()
    wanted = rng.dirichlet(concentration, size=settings.num_clients) + 1e-6
    for _ in range(_SINKHORN_STEPS):
        wanted *= totals / wanted.sum(axis=0)
        wanted *= (totals.sum() / settings.num_clients) / wanted.sum(axis=1, keepdims=True)
    return wanted


def _deal(
    worth: NDArray[np.float64],
    brings: NDArray[np.float64],
    lacking: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The client of each identity: where ``worth`` (identity, column) meets most of what is lacking."""
    lacking = lacking.copy()
    owners = np.full(len(brings), -1, dtype=np.int64)
    empty = np.ones(len(lacking), dtype=bool)
    for dealt, identity in enumerate(rng.permutation(len(brings))):
        score = lacking @ worth[identity]
        if len(brings) - dealt <= empty.sum():  # just enough identities are left for those without one
            score = np.where(empty, score, -np.inf)
        client = int(np.argmax(score))
        owners[identity] = client
        lacking[client] -= brings[identity]
        empty[client] = False
    return owners
