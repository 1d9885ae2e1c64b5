"""The default corpus: drawn talking heads, real and forged, as MP4 files in LAV-DF's layout.

Identities come in small groups; donors of forgeries come from the same group, and whole groups go to one
split. Every fake is forged from a real clip of its identity; real and fake clips are encoded alike.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from fl.data.clips import REAL
from fl.data.corpora.building import Record, building_place, make_record, run_tasks, write_metadata
from fl.data.corpora.forge import deal_categories, forge_at_random
from fl.data.corpora.performance import cast_person, perform
from fl.data.corpora.writer import draw_encoding, write_mp4
from fl.errors import RequestError
from fl.seeds import derive
from fl.settings import SyntheticSettings

RENDERER_VERSION = 6
GROUP_SIZE = 4


@dataclass(frozen=True)
class ClipPlan:
    """One clip to make.

    Attributes:
        file: path within the corpus.
        category: a manipulation, or "real".
        take: which of the identity's performances it shows.
    """

    file: str
    category: str
    take: int


@dataclass(frozen=True)
class GroupPlan:
    """Identities that lend each other faces and voices.

    Attributes:
        name: the group's name.
        split: "train", "dev" or "test".
        identities: their names.
        clips: for each identity, its clips.
        settings: the corpus' settings.
    """

    name: str
    split: str
    identities: tuple[str, ...]
    clips: tuple[tuple[ClipPlan, ...], ...]
    settings: SyntheticSettings


def corpus_digest(settings: SyntheticSettings) -> str:
    """Name of the corpus' folder: 16 hexadecimal digits of all that decides its content."""
    text = json.dumps({"renderer": RENDERER_VERSION, **asdict(settings)}, sort_keys=True)
    return "synthetic-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def build_corpus(
    settings: SyntheticSettings, cache_dir: Path, advance: Callable[[int], None], num_workers: int
) -> Path:
    """Render the corpus once; later calls return the same folder.

    Args:
        settings: what to render.
        cache_dir: the corpus goes to ``<cache_dir>/corpora/<digest>/``.
        advance: called with the number of clips finished since the last call.
        num_workers: processes to use; 1 renders in this one.

    Returns:
        The folder with ``train/``, ``dev/``, ``test/`` and ``metadata.min.json``.

    Raises:
        RequestError: too few identities for three splits, an odd frame size, a cache that cannot be written.
    """
    groups = plan_corpus(settings)
    with building_place(cache_dir, corpus_digest(settings)) as (final, rising):
        if rising is not None:
            write_metadata(rising, run_tasks(render_group, groups, rising, advance, num_workers))
    return final


def plan_corpus(settings: SyntheticSettings) -> list[GroupPlan]:
    """Decide splits, groups, categories and file names; no pixel is drawn yet."""
    if settings.frame_size % 2:
        raise RequestError(f"data.synthetic.frame_size must be even, got {settings.frame_size}: add 1")
    rng = np.random.default_rng(derive(settings.seed, "synthetic", "plan"))
    sizes = split_sizes(settings)
    order = [f"id{index:05d}" for index in rng.permutation(settings.num_identities)]
    plans: list[GroupPlan] = []
    for split, size in sizes.items():
        members, order = order[:size], order[size:]
        plans += plan_split(split, members, settings, rng)
    return plans


def split_sizes(settings: SyntheticSettings) -> dict[str, int]:
    """Identities per split, at least 2 in each (a donor must be another person)."""
    num_dev = max(round(settings.num_identities * settings.dev_share), 2)
    num_test = max(round(settings.num_identities * settings.test_share), 2)
    num_train = settings.num_identities - num_dev - num_test
    if num_train < 4:
        raise RequestError(
            f"data.synthetic.num_identities must leave at least 4 identities for training, got "
            f"{settings.num_identities} with dev_share {settings.dev_share} and test_share "
            f"{settings.test_share}: raise num_identities or lower the shares"
        )
    return {"train": num_train, "dev": num_dev, "test": num_test}


def plan_split(
    split: str, members: list[str], settings: SyntheticSettings, rng: np.random.Generator
) -> list[GroupPlan]:
    """Cut a split into groups and give each identity its clips."""
    first, second = (rng.permutation(deal_categories(len(members), rng)).tolist() for _ in range(2))
    single = rng.random(len(members)) < 0.5
    clips, number = [], 0
    for position in range(len(members)):
        names = (first[position], first[position] if single[position] else second[position])
        clips.append(plan_identity(split, number, position, names, settings.clips_per_identity))
        number += settings.clips_per_identity
    parts = np.array_split(np.arange(len(members)), max(len(members) // GROUP_SIZE, 1))
    return [
        GroupPlan(
            name=f"{split}-{index:04d}",
            split=split,
            identities=tuple(members[position] for position in part),
            clips=tuple(clips[position] for position in part),
            settings=settings,
        )
        for index, part in enumerate(parts)
    ]


def plan_identity(
    split: str, number: int, position: int, names: tuple[str, str], num_clips: int
) -> tuple[ClipPlan, ...]:
    """An identity's clips: half real, half fake (an odd one goes in turn), the fakes of at most two kinds."""
    num_fakes = num_clips // 2 + (num_clips % 2) * (position % 2)
    num_reals = num_clips - num_fakes
    clips = []
    for index in range(num_clips):
        fake = index - num_reals
        clips.append(
            ClipPlan(
                file=f"{split}/{number + index + 1:06d}.mp4",
                category=REAL if fake < 0 else names[fake % 2],
                take=index if fake < 0 else fake % num_reals,
            )
        )
    return tuple(clips)


def render_group(plan: GroupPlan, folder: Path) -> list[Record]:
    """Draw, forge and encode all clips of a group into ``folder``; returns their entries."""
    settings = plan.settings
    takes = []
    for identity, clips in zip(plan.identities, plan.clips, strict=True):
        person = cast_person(
            np.random.default_rng(derive(settings.seed, identity, "look")), settings.frame_size
        )
        num_takes = sum(clip.category == REAL for clip in clips)
        takes.append(
            [
                perform(
                    person,
                    settings.duration_s,
                    np.random.default_rng(derive(settings.seed, identity, "take", take)),
                )
                for take in range(num_takes)
            ]
        )
    records = []
    for who, (identity, clips) in enumerate(zip(plan.identities, plan.clips, strict=True)):
        for clip in clips:
            rng = np.random.default_rng(derive(settings.seed, identity, clip.file))
            others = takes[(who + 1 + int(rng.integers(len(takes) - 1))) % len(takes)]
            donor = others[int(rng.integers(len(others)))]
            made = forge_at_random(clip.category, takes[who][clip.take], donor, rng)
            write_mp4(folder / clip.file, made.recording, draw_encoding(rng))
            original = clips[clip.take].file
            records.append(
                make_record(
                    made,
                    file=clip.file,
                    split=plan.split,
                    category=clip.category,
                    identity=identity,
                    source=original,
                    group=plan.name,
                    original=None if clip.category == REAL else original,
                )
            )
    return records
