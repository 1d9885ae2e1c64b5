"""Which clips hang together by identity, source and donor, and dividing clips without cutting through.

Used by `fl.data.splits`.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fl.data.clips import Clip

Part = TypeVar("Part", bound=str)


@dataclass(frozen=True, eq=False)
class Units:
    """What must stay together.

    Attributes:
        own: (N,) the unit of each clip.
        donor: (N,) the unit of each clip's donor; without a donor the clip's own.
    """

    own: NDArray[np.int64]
    donor: NDArray[np.int64]


def find_units(clips: Sequence[Clip], *, joined_by_donors: bool = True) -> Units:
    """Connected components over identity, source and the group that the corpus names.

    Args:
        clips: N clips.
        joined_by_donors: a fake joins its identity to its donor's.
    """
    nodes: dict[tuple[str, str], int] = {}
    starts, ends, donors = [], [], []
    for clip in clips:
        own = nodes.setdefault(("identity", clip.identity), len(nodes))
        donor = nodes.setdefault(("identity", clip.donor), len(nodes)) if clip.donor else own
        source = nodes.setdefault(("source", clip.source), len(nodes))
        group = nodes.setdefault(("group", clip.group), len(nodes)) if clip.group else own
        starts += [own, own, own]
        ends += [source, group, donor if joined_by_donors else own]
        donors.append(donor)
    edges = coo_array((np.ones(len(starts), dtype=np.int8), (starts, ends)), shape=(len(nodes), len(nodes)))
    units = connected_components(edges, directed=False)[1].astype(np.int64)
    return Units(units[np.array(starts[::3], dtype=np.int64)], units[np.array(donors, dtype=np.int64)])


def name_groups(clips: Sequence[Clip]) -> list[str]:
    """For each clip its unit's name: the first of the corpus's names of groups, else of its identities."""
    units = find_units(clips).own.tolist()
    names: dict[int, tuple[bool, str]] = {}
    for clip, unit in zip(clips, units, strict=True):
        name = (not clip.group, clip.group or clip.identity)
        names[unit] = min(names.get(unit, name), name)
    return [names[unit][1] for unit in units]


def divide(clips: Sequence[Clip], shares: Mapping[Part, float], seed: int) -> list[Part | None]:
    """Divide clips so that no identity, source or donor is in two parts, and each category is shared out.

    Whole units are dealt, large ones first, to the part that they fill least. If that starves a part because
    one unit holds too much (in Celeb-DF everybody is swapped with everybody), the unit's identities are
    dealt apart, and fakes whose donor comes to another part than their target are left out. A fake
    then stays with the square of a part's share, so identities are dealt by the square root of the shares.

    Args:
        clips: N clips, in an order that does not depend on that of the files.
        shares: part -> share of each category, above 0, sum 1.
        seed: of the order of units of equal size.

    Returns:
        for each clip its part; None: left out. With fewer units than parts a part stays empty.
    """
    joined, loose = find_units(clips), find_units(clips, joined_by_donors=False)
    broken: list[int] = []
    while True:
        parts = _deal_units(clips, shares, seed, joined, loose, np.isin(joined.own, broken))
        hungry = starved(clips, parts, shares)
        unit = _largest_breakable(clips, hungry, min(shares.values()), joined, loose, broken)
        if unit is None:
            return parts
        broken.append(unit)


def starved(clips: Sequence[Clip], parts: Sequence[Part | None], shares: Mapping[Part, float]) -> set[int]:
    """The labels of which some part has less than half of its share of what was dealt; if no clip, both."""
    held = Counter((part, clip.label) for clip, part in zip(clips, parts, strict=True) if part is not None)
    totals = {label: sum(held[part, label] for part in shares) for label in (0, 1)}
    return {
        label
        for part, share in shares.items()
        for label, total in totals.items()
        if held[part, label] < int(share * total / 2) or not (held[part, 0] or held[part, 1])
    }


def _deal_units(
    clips: Sequence[Clip],
    shares: Mapping[Part, float],
    seed: int,
    joined: Units,
    loose: Units,
    is_broken: NDArray[np.bool_],
) -> list[Part | None]:
    """Deal the identities of the broken units, then the other units to what is still lacking."""
    rng = np.random.default_rng(seed)
    chosen: list[Part | None] = [None] * len(clips)
    held: dict[Part, Counter[str]] = {part: Counter() for part in shares}
    broken, whole = np.flatnonzero(is_broken).tolist(), np.flatnonzero(~is_broken).tolist()
    if broken:
        roots = {part: share**0.5 for part, share in shares.items()}
        wanted = {part: root / sum(roots.values()) for part, root in roots.items()}
        # A fake counts once for its target and once for its donor, so a real clip counts twice for its own.
        contents = _count(clips, [*broken, *broken], [*loose.own[broken], *loose.donor[broken]])
        part_of = _deal(contents, wanted, {part: Counter() for part in shares}, rng)
        for row in broken:
            part = part_of[loose.own[row]]
            if part == part_of[loose.donor[row]]:
                chosen[row] = part
                held[part][clips[row].category] += 1
    part_of = _deal(_count(clips, whole, joined.own[whole]), shares, held, rng)
    for row in whole:
        chosen[row] = part_of[joined.own[row]]
    return chosen


def _count(clips: Sequence[Clip], rows: Iterable[int], units: Iterable[int]) -> dict[int, Counter[str]]:
    """For each unit, in the order of the rows, how many clips of each category it has."""
    contents: dict[int, Counter[str]] = {}
    for row, unit in zip(rows, units, strict=True):
        contents.setdefault(unit, Counter())[clips[row].category] += 1
    return contents


def _deal(
    contents: Mapping[int, Counter[str]],
    shares: Mapping[Part, float],
    held: Mapping[Part, Counter[str]],
    rng: np.random.Generator,
) -> dict[int, Part]:
    """Give each unit to the part whose categories it would leave least full, the largest units first.

    Args:
        contents: unit -> its clips of each category.
        shares: part -> its share of each category.
        held: part -> what it has already.
        rng: shuffles units of equal size.
    """
    filled = {part: Counter(had) for part, had in held.items()}
    totals: Counter[str] = Counter()
    for counts in (*contents.values(), *filled.values()):
        totals.update(counts)
    units = list(contents)
    order = [units[index] for index in rng.permutation(len(units))]
    order.sort(key=lambda unit: -contents[unit].total())
    part_of: dict[int, Part] = {}
    for num_dealt, unit in enumerate(order):
        brings = contents[unit]
        empty = [part for part in shares if not filled[part].total()]
        # When just enough units are left for the parts without one, those come first.
        choices = empty if empty and len(order) - num_dealt <= len(empty) else list(shares)
        fullness = {part: _fullness(brings, filled[part], totals, shares[part]) for part in choices}
        part_of[unit] = min(choices, key=fullness.__getitem__)
        filled[part_of[unit]].update(brings)
    return part_of


def _fullness(brings: Counter[str], had: Counter[str], totals: Counter[str], share: float) -> float:
    """How full a part's categories would be, weighed by how much of each category the unit brings."""
    return sum(
        count / totals[name] * (had[name] + count) / (share * totals[name]) for name, count in brings.items()
    )


def _largest_breakable(
    clips: Sequence[Clip],
    labels: Collection[int],
    smallest_share: float,
    joined: Units,
    loose: Units,
    broken: Collection[int],
) -> int | None:
    """Of the units that donors join and that overfill the smallest part, the one with most such clips."""
    counts = Counter(
        unit for clip, unit in zip(clips, joined.own.tolist(), strict=True) if clip.label in labels
    )
    limit = smallest_share * counts.total()
    inside: dict[int, set[int]] = {}
    for joint, own, donor in zip(joined.own.tolist(), loose.own.tolist(), loose.donor.tolist(), strict=True):
        inside.setdefault(joint, set()).update((own, donor))
    breakable = [
        (count, -unit)
        for unit, count in counts.items()
        if count > limit and unit not in broken and len(inside[unit]) > 1
    ]
    return -max(breakable)[1] if breakable else None
