from dataclasses import replace

import numpy as np
import pytest
from clip_tables import clip, corpus, held_by, servable, tables
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fl.data.clips import Clip
from fl.data.partition import SPLITS_IDENTITIES, Partition, partition_clips, partition_skew
from fl.data.partition_schemes import SCHEMES
from fl.errors import DataError, RequestError
from fl.settings import PartitionSettings
from fl.settings.data import PARTITIONS


@settings(max_examples=250)
@given(
    clips=tables,
    scheme=st.sampled_from(PARTITIONS),
    skew=st.floats(1e-6, 1e6),
    seed=st.integers(0, 1000),
    data=st.data(),
)
def test_every_partition_is_complete_disjoint_deterministic_and_leaves_nobody_empty(
    clips: list[Clip], scheme: str, skew: float, seed: int, data: st.DataObject
) -> None:
    fewest, most = servable(clips, scheme)
    assume(fewest > 1 or scheme not in SPLITS_IDENTITIES)
    num_clients = data.draw(st.integers(fewest, most))
    request = PartitionSettings(scheme, num_clients, skew, zipf_exponent=skew, lognormal_sigma=skew)
    partition = partition_clips(clips, request, seed)
    assert len(partition.rows) == len(partition.lacks) == num_clients
    assert all(len(rows) > 0 and rows.dtype == np.int64 for rows in partition.rows)
    assert sorted(np.concatenate(partition.rows).tolist()) == list(range(len(clips)))
    assert all(np.all(np.diff(rows) > 0) for rows in partition.rows)
    people = held_by(clips, partition, "identity")
    if scheme not in SPLITS_IDENTITIES:
        assert sum(map(len, people)) == len(set.union(*people))
    again = partition_clips(clips, request, seed)
    assert all(np.array_equal(a, b) for a, b in zip(partition.rows, again.rows, strict=True))
    measured = partition_skew(clips, partition)
    assert sum(measured["sizes"]) == np.sum(measured["counts"]) == np.sum(measured["quality_counts"])
    assert 0 <= measured["category_divergence"] <= 1
    assert 1 <= measured["effective_clients"] <= num_clients + 1e-9


def test_every_scheme_of_the_settings_is_built() -> None:
    assert set(SCHEMES) == set(PARTITIONS)


def test_even_partition_is_even() -> None:
    clips = corpus(40, 3)
    skew = partition_skew(clips, partition_clips(clips, PartitionSettings("iid", 8), 0))
    assert skew["sizes"] == [20] * 8
    assert skew["effective_clients"] == 8


def test_skew_has_a_closed_form() -> None:
    clips = [clip(f"id{i}", category) for i, category in enumerate(["real", "real", "audio", "audio"])]
    apart = partition_skew(clips, Partition((np.array([0, 1]), np.array([2, 3])), ("", "")))
    assert (apart["sizes"], apart["real_shares"]) == ([2, 2], [1.0, 0.0])
    assert apart["category_divergence"] == apart["label_divergence"] == 0.5
    assert (apart["categories"], apart["counts"]) == (["real", "audio"], [[2, 0], [0, 2]])
    mixed = partition_skew(clips, Partition((np.array([0, 2]), np.array([1, 3])), ("", "")))
    assert mixed["category_divergence"] == mixed["label_divergence"] == mixed["quality_divergence"] == 0.0
    uneven = partition_skew(clips, Partition((np.array([0, 1, 2]), np.array([3])), ("", "")))
    assert uneven["effective_clients"] == pytest.approx(16 / 10)


def test_a_fake_that_a_device_cannot_perceive_counts_as_real() -> None:
    clips = [
        clip("a", "real"),
        replace(clip("b", "voice"), modify_audio=True),
        replace(clip("c", "face"), modify_video=True),
        replace(clip("d", "both"), modify_audio=True, modify_video=True),
        clip("e", "unknown"),
    ]
    everything = np.arange(5)
    partition = Partition((everything, everything, everything), ("", "audio", "video"))
    assert partition_skew(clips, partition)["real_shares"] == [0.2, 0.4, 0.4]


@given(
    num_clients=st.integers(1, 40),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 99),
)
def test_as_many_clients_as_asked_lack_a_modality_and_rows_stay(
    num_clients: int, shares: tuple[float, float], seed: int
) -> None:
    clips = corpus(40, 1)
    request = PartitionSettings("iid", num_clients, missing_modality="audio")
    fewer, more = (
        partition_clips(clips, replace(request, missing_share=share), seed) for share in sorted(shares)
    )
    for partition, share in zip((fewer, more), sorted(shares), strict=True):
        assert abs(partition.lacks.count("audio") - share * num_clients) <= 0.5
        assert set(partition.lacks) <= {"", "audio"}
    assert all(b for a, b in zip(fewer.lacks, more.lacks, strict=True) if a)
    whole = partition_clips(clips, replace(request, missing_modality="none"), seed)
    assert whole.lacks == ("",) * num_clients
    assert all(np.array_equal(a, b) for a, b in zip(whole.rows, more.rows, strict=True))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (("iid", 6), r"partition\.num_clients must be at most 5, .*got 6: .*fewer clients"),
        (("zipf", 6), r"partition\.num_clients must be at most 5, the identities"),
        (
            ("manipulation", 4),
            r"at least 5, one for each manipulation \(Deepfakes, .*\), got 4: .*more clients",
        ),
        (("manipulation", 21), r"at most 20, the pairs of identity and manipulation .*, got 21: .*fewer"),
        (("quality", 2), r"two kinds of quality or more in the clients' split, got unknown: choose another"),
    ],
)
def test_what_cannot_be_served_is_refused(request_: tuple[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        partition_clips(corpus(5, 4), PartitionSettings(*request_), 0)


def test_no_clips_and_no_fakes() -> None:
    with pytest.raises(DataError, match="no clips"):
        partition_clips([], PartitionSettings("iid", 1), 0)
    with pytest.raises(RequestError, match=r"two kinds of manipulation or more in .*, got none: choose"):
        partition_clips([clip("a", "real")], PartitionSettings("manipulation", 1), 0)
