from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl.data.clips import Clip
from fl.data.partition import partition_clips, partition_skew
from fl.errors import DataError, RequestError
from fl.settings import PartitionSettings

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


tables = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from(("real", *FAKES))), min_size=1, max_size=80
).map(lambda pairs: [clip(f"id{identity}", category) for identity, category in pairs])


@settings(max_examples=150, deadline=None)
@given(
    clips=tables,
    scheme=st.sampled_from(("iid", "dirichlet")),
    alpha=st.floats(1e-6, 1e6),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_partition_is_disjoint_complete_and_keeps_identities_whole(
    clips: list[Clip], scheme: str, alpha: float, seed: int, data: st.DataObject
) -> None:
    num_clients = data.draw(st.integers(1, len({c.identity for c in clips})))
    request = PartitionSettings(scheme=scheme, num_clients=num_clients, alpha=alpha)
    shards = partition_clips(clips, request, seed)
    assert len(shards) == num_clients
    assert all(len(rows) > 0 for rows in shards)
    assert sorted(np.concatenate(shards).tolist()) == list(range(len(clips)))
    assert all(np.all(np.diff(rows) > 0) for rows in shards)
    owners = [{clips[row].identity for row in rows} for rows in shards]
    assert sum(len(owned) for owned in owners) == len(set.union(*owners))
    again = partition_clips(clips, request, seed)
    assert all(np.array_equal(a, b) for a, b in zip(shards, again, strict=True))


def test_golden_partition() -> None:
    """The same rows on every machine: a change here changes published runs."""
    clips = corpus(6, 2)
    shards = partition_clips(clips, PartitionSettings("dirichlet", 3, 0.5), seed=7)
    assert [sorted({clips[row].identity for row in rows}) for rows in shards] == [
        ["id001", "id003", "id005"],
        ["id000"],
        ["id002", "id004"],
    ]


def test_another_seed_gives_another_partition() -> None:
    clips = corpus(40, 2)
    first, second = (partition_clips(clips, PartitionSettings("iid", 4), seed) for seed in (0, 1))
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_even_partition_is_even() -> None:
    sizes = partition_skew(corpus(40, 3), partition_clips(corpus(40, 3), PartitionSettings("iid", 8), 0))[
        "sizes"
    ]
    assert sizes == [20] * 8


@pytest.mark.parametrize("fakes_per_identity", [1, 3])
def test_small_alpha_is_more_skewed(fakes_per_identity: int) -> None:
    clips = corpus(160, fakes_per_identity)

    def skew(alpha: float) -> float:
        request = PartitionSettings("dirichlet", 8, alpha)
        return float(np.mean([partition_skew(clips, partition_clips(clips, request, s))["mean_divergence"]
                              for s in range(5)]))  # fmt: skip

    even, mild, strong = skew(1000.0), skew(5.0), skew(0.3)
    assert even < 0.04
    assert mild > 1.5 * even
    assert strong > 1.5 * mild


def test_skewed_clients_are_about_equally_large() -> None:
    clips = corpus(160, 3)
    for seed in range(3):
        sizes = partition_skew(clips, partition_clips(clips, PartitionSettings("dirichlet", 8, 0.1), seed))[
            "sizes"
        ]
        assert min(sizes) > 0.6 * 80
        assert max(sizes) < 1.4 * 80


def test_skew_has_a_closed_form() -> None:
    clips = [clip(f"id{i}", category) for i, category in enumerate(["real", "real", "audio", "audio"])]
    apart = partition_skew(clips, [np.array([0, 1]), np.array([2, 3])])
    assert apart == {"sizes": [2, 2], "mean_divergence": 0.5}
    mixed = partition_skew(clips, [np.array([0, 2]), np.array([1, 3])])
    assert mixed == {"sizes": [2, 2], "mean_divergence": 0.0}


def test_only_real_clips_are_spread_by_size() -> None:
    clips = [clip(f"id{i}", "real") for i in range(12)]
    shards = partition_clips(clips, PartitionSettings("dirichlet", 4, 0.1), 0)
    assert [len(rows) for rows in shards] == [3] * 4


def test_more_clients_than_identities() -> None:
    with pytest.raises(
        RequestError, match=r"partition\.num_clients must be at most 5, .*got 6: .*fewer clients"
    ):
        partition_clips(corpus(5, 2), PartitionSettings("iid", 6), 0)
    with pytest.raises(DataError, match="no clips"):
        partition_clips([], PartitionSettings("iid", 1), 0)
