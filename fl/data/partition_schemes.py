"""The schemes of `fl.data.partition`: each says which client owns each clip.

A scheme takes the clips, the settings and a generator, and gives the owner of each clip: (clips,) int64 in
[0, ``num_clients``), with at least one clip for every client.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fl.data.clips import REAL, Clip
from fl.errors import RequestError
from fl.settings import PartitionSettings

Owners = NDArray[np.int64]
Scheme = Callable[[Sequence[Clip], PartitionSettings, np.random.Generator], Owners]

_SINKHORN_STEPS = 100
_SIZE_WEIGHT = 0.1  # against 1 for a manipulation: mixes come first, sizes stay within some clips


def iid(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """Shuffled identities, each to the client that is smallest by then."""
    return _mixed(clips, [""] * len(clips), settings, rng)


def dirichlet(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """Mixes of the manipulations drawn from a Dirichlet distribution; real clips follow their identity.

    A client's mix of the C manipulations is drawn from Dirichlet(alpha * C * everybody's mix), after Hsu, Qi
    and Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
    Classification", 2019. The mixes are scaled so that they add up to the clips there are, and each
    identity, in random order, goes to the client that still lacks most of its clips. As an identity may
    bring several manipulations at once, the mixes are met in part. Clients are about equally large.
    """
    kinds = ["" if clip.category == REAL else clip.category for clip in clips]
    return _mixed(clips, kinds, settings, rng)


def dirichlet_label(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """As `dirichlet`, with real and fake in place of the manipulations.

    Where every identity brings as many fakes for a real clip as any other, labels cannot be skewed while
    identities stay whole; the measured divergence of labels tells.
    """
    return _mixed(clips, ["fake" if clip.label else "real" for clip in clips], settings, rng)


def identity(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """The natural partition: about as many people at each client, with as many clips as they happen to have.

    With as many clients as identities each client is one person.
    """
    person, names = _index([clip.identity for clip in clips])
    client = np.empty(len(names), dtype=np.int64)
    client[rng.permutation(len(names))] = np.arange(len(names)) * settings.num_clients // len(names)
    return client[person]


def zipf(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """Sizes that fall as 1 / (client + 1)^``zipf_exponent``; see `shares_of`."""
    return _sized(clips, -settings.zipf_exponent * np.log(np.arange(1, settings.num_clients + 1)), rng)


def lognormal(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """Sizes whose logarithms are normal with deviation ``lognormal_sigma``; see `shares_of`."""
    return _sized(clips, settings.lognormal_sigma * rng.standard_normal(settings.num_clients), rng)


def manipulation(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """Each client has seen one forgery; real clips are spread evenly.

    A manipulation with many clips is given more clients. The clips of one identity and manipulation stay
    together, and so do the real clips of one identity; but an identity with several forgeries may be
    with several clients, since a client holds one forgery alone. Its real clips go to a client that has a
    fake of it where that leaves them as even.

    Raises:
        RequestError: fewer than two manipulations, fewer clients than manipulations, or more clients than
            pairs of identity and manipulation.
    """
    is_fake = np.array([clip.category != REAL for clip in clips])
    person, names = _index([clip.identity for clip in clips])
    fakes = [clip for clip in clips if clip.category != REAL]
    owners = np.empty(len(clips), dtype=np.int64)
    owners[is_fake] = _one_kind_each(fakes, [clip.category for clip in fakes], settings, rng)
    has_fake_of = np.zeros((settings.num_clients, len(names)), dtype=bool)
    has_fake_of[owners[is_fake], person[is_fake]] = True
    num_real = np.bincount(person[~is_fake], minlength=len(names))
    held = np.zeros(settings.num_clients)
    client_of = np.zeros(len(names), dtype=np.int64)
    for i in rng.permutation(np.flatnonzero(num_real)):
        client = int(np.argmin(held - 0.5 * has_fake_of[:, i]))  # half a clip: breaks ties, and only ties
        held[client] += num_real[i]
        client_of[i] = client
    owners[~is_fake] = client_of[person[~is_fake]]
    return owners


def quality(clips: Sequence[Clip], settings: PartitionSettings, rng: np.random.Generator) -> Owners:
    """Each client has clips of one compression or codec (`Clip.quality`).

    A quality with many clips is given more clients. An identity with clips of several qualities is with
    several clients.

    Raises:
        RequestError: fewer than two qualities, fewer clients than qualities, or more clients than pairs of
            identity and quality.
    """
    return _one_kind_each(clips, [quality_of(clip) for clip in clips], settings, rng)


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        scheme.__name__: scheme
        for scheme in (iid, dirichlet, dirichlet_label, identity, manipulation, quality, zipf, lognormal)
    }
)


def quality_of(clip: Clip) -> str:
    """Its compression or codec; "unknown" where neither the corpus nor the file told."""
    return clip.quality or "unknown"


def shares_of(total: float, log_weights: NDArray[np.float64], least: float) -> NDArray[np.float64]:
    """Cut ``total`` in proportion to weights, with nobody below ``least``.

    Args:
        total: what there is; at least ``least`` for each.
        log_weights: (clients,), natural logarithms of the weights.
        least: what those with a smaller share get all the same; the others keep their proportions.

    Returns:
        (clients,), adding up to ``total``.
    """
    weights = np.exp(log_weights - log_weights.max())
    small = np.zeros(len(weights), dtype=bool)
    while True:
        rest = total - least * small.sum()
        shares = np.where(small, least, rest * weights / weights[~small].sum())
        below = shares < least * (1 - 1e-9)
        if not below.any():
            return shares
        small |= below


def _mixed(
    clips: Sequence[Clip], kinds: Sequence[str], settings: PartitionSettings, rng: np.random.Generator
) -> Owners:
    """Whole identities to clients of equal size, with mixes of the kinds ("": none) drawn by Dirichlet."""
    person, names = _index([clip.identity for clip in clips])
    kind, kind_names = _index(kinds)
    counts = np.zeros((len(names), len(kind_names)))
    np.add.at(counts, (person, kind), 1)
    counts = counts[:, [bool(name) for name in kind_names]]
    # The last column is the size: it decides for identities without clips of any kind.
    brings = np.column_stack([counts, np.bincount(person)])
    lacking = np.tile(brings.sum(axis=0) / settings.num_clients, (settings.num_clients, 1))
    if counts.any():
        lacking[:, :-1] = _targets(counts.sum(axis=0), settings, rng)
    weights = np.append(np.ones(counts.shape[1]), _SIZE_WEIGHT)
    return _deal(brings * weights, brings, lacking, rng)[person]


def _targets(
    totals: NDArray[np.float64], settings: PartitionSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Clips wanted by (client, kind): rows drawn, then both margins met (Sinkhorn scaling)."""
    concentration = settings.alpha * len(totals) * totals / totals.sum()
    wanted = rng.dirichlet(concentration, size=settings.num_clients) + 1e-6
    for _ in range(_SINKHORN_STEPS):
        wanted *= totals / wanted.sum(axis=0)
        wanted *= (totals.sum() / settings.num_clients) / wanted.sum(axis=1, keepdims=True)
    return wanted


def _sized(clips: Sequence[Clip], log_weights: NDArray[np.float64], rng: np.random.Generator) -> Owners:
    """Whole identities to clients whose sizes follow weights; no share is below a mean identity."""
    person, _ = _index([clip.identity for clip in clips])
    sizes = np.bincount(person)[:, None].astype(np.float64)
    wanted = shares_of(sizes.sum(), log_weights, sizes.mean())
    return _deal(sizes, sizes, wanted[:, None], rng)[person]


def _one_kind_each(
    clips: Sequence[Clip], kinds: Sequence[str], settings: PartitionSettings, rng: np.random.Generator
) -> Owners:
    """Clients of one kind each, kinds in the order of their names; identities stay whole within a kind."""
    kind, names = _index(kinds)
    person, _ = _index([clip.identity for clip in clips])
    people = [np.unique(person[kind == k], return_inverse=True)[1] for k in range(len(names))]
    num_people = np.array([own.max() + 1 for own in people], dtype=np.int64)
    _check_kinds(names, int(num_people.sum()), settings)
    num_clips = np.bincount(kind)
    num_clients = np.ones(len(names), dtype=np.int64)
    while num_clients.sum() < settings.num_clients:
        num_clients[np.argmax(np.where(num_clients < num_people, num_clips / num_clients, 0))] += 1
    owners = np.empty(len(clips), dtype=np.int64)
    for k, own in enumerate(people):
        sizes = np.bincount(own)[:, None].astype(np.float64)
        lacking = np.full((num_clients[k], 1), len(own) / num_clients[k])
        owners[kind == k] = num_clients[:k].sum() + _deal(sizes, sizes, lacking, rng)[own]
    return owners


def _check_kinds(names: Sequence[str], num_units: int, settings: PartitionSettings) -> None:
    """Refuse what cannot give every client clips of one kind, and every kind a client."""
    scheme, listed = settings.scheme, ", ".join(names) or "none"
    if len(names) < 2:
        raise RequestError(
            f"partition.scheme={scheme} must have two kinds of {scheme} or more in the clients' split, "
            f"got {listed}: choose another partition or corpus"
        )
    if settings.num_clients < len(names):
        raise RequestError(
            f"partition.num_clients must be at least {len(names)}, one for each {scheme} ({listed}), "
            f"got {settings.num_clients}: ask for more clients or another partition"
        )
    if settings.num_clients > num_units:
        raise RequestError(
            f"partition.num_clients must be at most {num_units}, the pairs of identity and {scheme} "
            f"in the clients' split, got {settings.num_clients}: ask for fewer clients or a larger corpus"
        )


def _index(names: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Each name's place among the different names, which are sorted."""
    found = sorted(set(names))
    place = {name: i for i, name in enumerate(found)}
    return np.array([place[name] for name in names], dtype=np.int64), found


def _deal(
    worth: NDArray[np.float64],
    brings: NDArray[np.float64],
    lacking: NDArray[np.float64],
    rng: np.random.Generator,
) -> Owners:
    """The client of each identity: where ``worth`` (identity, column) meets most of what is lacking."""
    lacking = lacking.copy()
    owners = np.full(len(brings), -1, dtype=np.int64)
    empty = np.ones(len(lacking), dtype=bool)
    for dealt, i in enumerate(rng.permutation(len(brings))):
        score = lacking @ worth[i]
        if len(brings) - dealt <= empty.sum():  # just enough identities are left for those without one
            score = np.where(empty, score, -np.inf)
        client = int(np.argmax(score))
        owners[i] = client
        lacking[client] -= brings[i]
        empty[client] = False
    return owners
