"""Tables of clips without files, for tests of what only looks at the table."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from fl.data.clips import Clip
from fl.data.partition import SPLITS_IDENTITIES, Partition

FAKES = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "audio")


def clip(identity: str, category: str) -> Clip:
    return Clip(
        path=Path(f"{identity}_{category}.mp4"), label=int(category != "real"), category=category,
        identity=identity, source=identity, group=identity, split="clients",
    )  # fmt: skip


def corpus(num_identities: int, fakes_per_identity: int, seed: int = 0) -> list[Clip]:
    """One real clip of each identity and some manipulations of it."""
    rng = np.random.default_rng(seed)
    clips = []
    for i in range(num_identities):
        clips.append(clip(f"id{i:03d}", "real"))
        clips += [
            clip(f"id{i:03d}", FAKES[k]) for k in rng.choice(len(FAKES), fakes_per_identity, replace=False)
        ]
    return clips


def held_by(clips: Sequence[Clip], partition: Partition, name: str) -> list[set[str]]:
    """The different values of a field at each client."""
    return [{getattr(clips[row], name) for row in rows} for rows in partition.rows]


tables = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(("real", *FAKES)), st.sampled_from(("c23", "c40", ""))),
    min_size=1,
    max_size=80,
).map(lambda rows: [replace(clip(f"id{i}", category), quality=quality) for i, category, quality in rows])


def servable(clips: Sequence[Clip], scheme: str) -> tuple[int, int]:
    """The fewest and the most clients that the scheme can serve."""
    if scheme not in SPLITS_IDENTITIES:
        return 1, len({c.identity for c in clips})
    key = "category" if scheme == "manipulation" else "quality"
    chosen = [c for c in clips if scheme == "quality" or c.label]
    return len({getattr(c, key) for c in chosen}), len({(c.identity, getattr(c, key)) for c in chosen})
