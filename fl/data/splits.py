"""Which clips are for training, validation and test, and which of the training clips the server holds."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fl.data.clips import Clip, Split
from fl.data.grouping import divide, name_groups, starved
from fl.errors import DataError, RequestError
from fl.seeds import derive
from fl.settings import SplitSettings

SPLITS: tuple[Split, ...] = ("public", "clients", "validation", "test")
_LOG = logging.getLogger("fedpin.data")


def assign_splits(
    clips: Sequence[Clip], settings: SplitSettings, public_share: float, public_seed: int
) -> list[Clip]:
    """Give every clip its final split and its group.

    ``official`` keeps the corpus's own validation and test parts, as they were published; a part that it
    lacks is cut from the rest, by identity. ``by_identity`` cuts both, whatever the corpus says. ``auto``
    is ``official`` where the corpus has such a part, else ``by_identity``. No identity, source or donor is
    in two parts that are cut here, and each category is shared out as asked, as nearly as whole groups
    allow (`fl.data.grouping.divide`). The rest, the training part, becomes "public" and "clients" by
    whole groups.

    ``random_crops_leaky`` is what studies of single frames do, here only to compare with them: each video
    becomes ``crops_per_video`` clips, which are split at random within their category. Crops of one video
    lie in several splits: **it leaks by design**, and its validation and test figures are too good.

    Args:
        clips: with the corpus's split: "train", "validation", "test", or "" for none.
        settings: scheme, shares, seed.
        public_share: share of the training part's groups for "public", in (0, 1).
        public_seed: of the choice of those groups.

    Returns:
        The clips in their order, "public", "clients", "validation" or "test". Fakes that cannot be kept
        because their donor is in another split are left out; one line in the log ``fedpin.data`` counts them.

    Raises:
        RequestError: ``official`` is asked of a corpus without official validation and test parts.
        DataError: a split would get no clip.
    """
    ordered = sorted(clips, key=lambda clip: clip.path.as_posix())
    if settings.scheme == "random_crops_leaky":
        ordered = cut_crops(ordered, settings.crops_per_video)
        drafts = _with_groups(split_at_random(ordered, settings))
    else:
        drafts = split_clips(ordered, settings)
    made = share_training(drafts, public_share, public_seed)
    _check_filled(made, settings)
    if settings.scheme != "random_crops_leaky":
        made = [clip for name in SPLITS for clip in _with_groups([c for c in made if c.split == name])]
    if len(made) < len(ordered):
        _LOG.warning(
            "left out %d of %d clips: fakes whose donor is in another split than their target",
            len(ordered) - len(made),
            len(ordered),
        )
    place = {clip.path: position for position, clip in enumerate(clips)}
    return sorted(made, key=lambda clip: (place[clip.path], clip.crop))


def split_clips(clips: Sequence[Clip], settings: SplitSettings) -> list[Clip]:
    """The corpus's validation and test parts, or parts cut from it by identity; the rest is "train".

    Raises:
        RequestError: ``official`` is asked of a corpus without such parts.
    """
    official = [clip for clip in clips if clip.split in ("validation", "test")]
    if settings.scheme == "by_identity":
        official = []
    if settings.scheme == "official" and not official:
        raise RequestError(
            "split.scheme must be auto or by_identity for a corpus that names no validation or test clips, "
            "got 'official'"
        )
    kept = {clip.split for clip in official}
    pool = [clip for clip in clips if clip.split not in kept] if official else list(clips)
    shares: dict[Split, float] = {"validation": settings.validation_share, "test": settings.test_share}
    shares = {part: share for part, share in shares.items() if part not in kept}
    shares["train"] = 1 - sum(shares.values())
    shares = {part: share for part, share in shares.items() if share > 0}
    parts = divide(pool, shares, derive(settings.seed, "splits"))
    _report_overlap(official, pool)
    return official + [
        replace(clip, split=part) for clip, part in zip(pool, parts, strict=True) if part is not None
    ]


def cut_crops(clips: Sequence[Clip], num_crops: int) -> list[Clip]:
    """Each video as ``num_crops`` clips of disjoint frames; a picture stays one clip."""
    return [
        replace(clip, crop=crop, num_crops=count)
        for clip in clips
        for count in [1 if clip.num_frames == 1 else num_crops]
        for crop in range(count)
    ]


def split_at_random(clips: Sequence[Clip], settings: SplitSettings) -> list[Clip]:
    """Split clips within their category, whoever is seen in them."""
    _LOG.warning(
        "split=random_crops_leaky: crops of one video lie in several splits, so that validation and test "
        "figures are too good; use split=by_identity for any other purpose than comparison"
    )
    rng = np.random.default_rng(derive(settings.seed, "random crops"))
    parts: list[Split] = ["train"] * len(clips)
    for category in sorted({clip.category for clip in clips}):
        rows = rng.permutation([row for row, clip in enumerate(clips) if clip.category == category])
        num_validation = round(len(rows) * settings.validation_share)
        num_test = round(len(rows) * settings.test_share)
        for row in rows[:num_validation]:
            parts[row] = "validation"
        for row in rows[num_validation : num_validation + num_test]:
            parts[row] = "test"
    return [replace(clip, split=part) for clip, part in zip(clips, parts, strict=True)]


def share_training(clips: Sequence[Clip], public_share: float, seed: int) -> list[Clip]:
    """Turn "train" into "public" and "clients", by whole groups drawn at random.

    Where that starves one of them, because one group holds too much, `fl.data.grouping.divide` does it.
    """
    training = [clip for clip in clips if clip.split == "train"]
    shares: dict[Split, float] = {"public": public_share, "clients": 1 - public_share}
    groups = name_groups(training)
    public = choose_public(sorted(set(groups)), public_share, seed)
    parts: list[Split | None] = ["public" if group in public else "clients" for group in groups]
    if starved(training, parts, shares):
        parts = divide(training, shares, derive(seed, "public identities"))
    return [clip for clip in clips if clip.split != "train"] + [
        replace(clip, split=part) for clip, part in zip(training, parts, strict=True) if part is not None
    ]


def choose_public(groups: Sequence[str], public_share: float, seed: int) -> set[str]:
    """A random share of the groups, at least one and, with two groups or more, not all."""
    if not groups:
        return set()
    count = min(max(round(len(groups) * public_share), 1), max(len(groups) - 1, 1))
    order = np.random.default_rng(derive(seed, "public groups")).permutation(len(groups))
    return {groups[index] for index in order[:count]}


def _with_groups(clips: Sequence[Clip]) -> list[Clip]:
    return [replace(clip, group=group) for clip, group in zip(clips, name_groups(clips), strict=True)]


def _report_overlap(official: Sequence[Clip], pool: Sequence[Clip]) -> None:
    """A line in the log if the corpus's own split shows people of its validation or test in training."""
    held_out = {clip.identity for clip in official}
    shared = {name for clip in pool for name in (clip.identity, clip.donor) if name in held_out}
    if shared:
        _LOG.warning(
            "the corpus's official split shows %d of the %d identities of its validation and test parts "
            "in its training part too; split=by_identity keeps them apart",
            len(shared),
            len(held_out),
        )


def _check_filled(clips: Sequence[Clip], settings: SplitSettings) -> None:
    sizes = Counter(clip.split for clip in clips)
    may_be_empty = {"validation": not settings.validation_share, "test": not settings.test_share}
    empty = [name for name in SPLITS if not sizes[name] and not may_be_empty.get(name, False)]
    if empty:
        num_identities = len({clip.identity for clip in clips})
        raise DataError(
            f"data.root must show unrelated people for every split, but of its {num_identities} identities "
            f"none is left for {' and '.join(empty)}: add videos of other people, or lower "
            "split.validation_share, split.test_share or data.public_share"
        )
