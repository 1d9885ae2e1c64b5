from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from clip_tables import FAKES, clip, corpus, held_by, servable, tables
from hypothesis import assume, given
from hypothesis import strategies as st

from fl.data.clips import Clip
from fl.data.partition import divergences, partition_clips, partition_skew
from fl.data.partition_schemes import shares_of
from fl.settings import PartitionSettings
from fl.settings.data import PARTITIONS


def test_golden_partition() -> None:
    """The same rows on every machine: a change here changes published runs."""
    clips = corpus(6, 2)
    shards = partition_clips(clips, PartitionSettings("dirichlet", 3, 0.5), seed=7)
    assert [sorted(people) for people in held_by(clips, shards, "identity")] == [
        ["id001", "id003", "id005"],
        ["id000"],
        ["id002", "id004"],
    ]


def test_another_seed_gives_another_partition() -> None:
    clips = corpus(40, 2)
    for scheme in set(PARTITIONS) - {"quality"}:
        first, second = (partition_clips(clips, PartitionSettings(scheme, 5), seed).rows for seed in (0, 1))
        assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True)), scheme


def mean_divergence(clips: Sequence[Clip], scheme: str, alpha: float, key: str) -> float:
    request = PartitionSettings(scheme, 8, alpha)
    skews = [partition_skew(clips, partition_clips(clips, request, seed)) for seed in range(5)]
    return float(np.mean([skew[key] for skew in skews]))  # type: ignore[literal-required]


@pytest.mark.parametrize("fakes_per_identity", [1, 3])
def test_small_alpha_is_more_skewed(fakes_per_identity: int) -> None:
    clips = corpus(160, fakes_per_identity)
    even, mild, strong = (
        mean_divergence(clips, "dirichlet", alpha, "category_divergence") for alpha in (1000.0, 5.0, 0.3)
    )
    assert even < 0.04
    assert mild > 1.5 * even
    assert strong > 1.5 * mild


def test_small_alpha_skews_labels_where_people_differ_in_them() -> None:
    clips = [clip(f"id{i:03d}", FAKES[i % 5] if i % 3 else "real") for i in range(240)]
    even, strong = (
        mean_divergence(clips, "dirichlet_label", alpha, "label_divergence") for alpha in (1000.0, 0.3)
    )
    assert even < 0.05
    assert strong > 0.2


def test_skewed_clients_are_about_equally_large() -> None:
    clips = corpus(160, 3)
    for seed in range(3):
        partition = partition_clips(clips, PartitionSettings("dirichlet", 8, 0.1), seed)
        sizes = partition_skew(clips, partition)["sizes"]
        assert min(sizes) > 0.6 * 80
        assert max(sizes) < 1.4 * 80


@given(
    num_identities=st.integers(1, 60),
    clips_each=st.integers(1, 5),
    exponent=st.floats(0, 1.5),
    data=st.data(),
)
def test_zipf_sizes_are_as_asked_within_one_identity(
    num_identities: int, clips_each: int, exponent: float, data: st.DataObject
) -> None:
    clips = [clip(f"id{i % num_identities}", "real") for i in range(num_identities * clips_each)]
    num_clients = data.draw(st.integers(1, num_identities))
    wanted = 1.0 / np.arange(1, num_clients + 1) ** exponent
    wanted *= len(clips) / wanted.sum()
    request = PartitionSettings("zipf", num_clients, zipf_exponent=exponent)
    sizes = partition_skew(clips, partition_clips(clips, request, 0))["sizes"]
    assert max(sizes - wanted) <= clips_each + 1e-6
    if wanted.min() >= clips_each:  # else the smallest are given more than they should have
        assert np.abs(sizes - wanted).max() <= clips_each + 1e-6


def test_lognormal_sizes_have_the_deviation_asked_for() -> None:
    clips = [clip(f"id{i}", "real") for i in range(20_000)]
    for sigma in (0.0, 0.5, 1.0):
        request = PartitionSettings("lognormal", 200, lognormal_sigma=sigma)
        sizes = partition_skew(clips, partition_clips(clips, request, 3))["sizes"]
        assert np.std(np.log(sizes)) == pytest.approx(sigma, rel=0.15, abs=1e-9)


def test_shares_below_the_least_are_raised_and_the_others_keep_their_proportions() -> None:
    shares = shares_of(100.0, np.log([80.0, 16.0, 3.0, 1.0]), 5.0)
    assert shares == pytest.approx([75, 15, 5, 5])
    assert shares_of(3.0, np.array([0.0, -1e4, 700.0]), 1.0) == pytest.approx([1, 1, 1])


def test_the_natural_partition_deals_people_and_not_clips() -> None:
    clips = [clip(f"id{i}", "real") for i in range(10) for _ in range(1 + i)]
    people = held_by(clips, partition_clips(clips, PartitionSettings("identity", 4), 0), "identity")
    assert sorted(map(len, people)) == [2, 2, 3, 3]
    alone = partition_clips(clips, PartitionSettings("identity", 10), 0)
    assert sorted(map(len, alone.rows)) == list(range(1, 11))


@given(clips=tables, seed=st.integers(0, 1000), data=st.data())
def test_a_client_has_seen_one_forgery_and_real_clips_are_spread(
    clips: list[Clip], seed: int, data: st.DataObject
) -> None:
    fewest, most = servable(clips, "manipulation")
    assume(fewest > 1)
    request = PartitionSettings("manipulation", data.draw(st.integers(fewest, most)))
    partition = partition_clips(clips, request, seed)
    assert all(len(names - {"real"}) == 1 for names in held_by(clips, partition, "category"))
    num_real = [sum(clips[row].label == 0 for row in rows) for rows in partition.rows]
    of_each = [sum(c.identity == name and not c.label for c in clips) for name in {c.identity for c in clips}]
    assert max(num_real) - min(num_real) <= max(of_each)
    pairs = [{(clips[row].identity, clips[row].category) for row in rows} for rows in partition.rows]
    assert sum(map(len, pairs)) == len(set.union(*pairs))


def test_manipulations_get_clients_by_their_clips() -> None:
    fakes = ["audio"] * 60 + ["Deepfakes"] * 30 + ["FaceSwap"] * 10
    clips = [clip(f"id{i}", category) for i, category in enumerate(fakes)]
    partition = partition_clips(clips, PartitionSettings("manipulation", 10), 0)
    assert [len(rows) for rows in partition.rows] == [10] * 10
    assert [names.pop() for names in held_by(clips, partition, "category")] == (
        ["Deepfakes"] * 3 + ["FaceSwap"] + ["audio"] * 6
    )


def test_a_client_has_clips_of_one_quality() -> None:
    clips = [replace(c, quality=("c23", "c40")[i % 2]) for i, c in enumerate(corpus(40, 3))]
    partition = partition_clips(clips, PartitionSettings("quality", 6), 0)
    assert [sorted(names) for names in held_by(clips, partition, "quality")] == [["c23"]] * 3 + [["c40"]] * 3
    skew = partition_skew(clips, partition)
    assert skew["quality_divergence"] == 0.5
    assert divergences(skew).endswith("0.50 in qualities")


def test_only_real_clips_are_spread_by_size() -> None:
    clips = [clip(f"id{i}", "real") for i in range(12)]
    for scheme in ("dirichlet", "dirichlet_label"):
        partition = partition_clips(clips, PartitionSettings(scheme, 4, 0.1), 0)
        assert [len(rows) for rows in partition.rows] == [3] * 4
