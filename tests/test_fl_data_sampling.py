from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl.data.headers import Header
from fl.data.sampling import Sampling, file_seed, sample_times
from fl.errors import ClipError

FPS = 25.0
KINDS = ("spread", "every_k", "random")


def header_of(num_frames: int) -> Header:
    return Header(num_frames / FPS, FPS, 64, 64, False, "h264", num_frames)


def sampled(num_frames: int, wanted: int, sampling: Sampling, window_s: float = 1.6) -> list[int]:
    """Indices of the frames whose middle, or whose time on screen, each sampled time is."""
    header = header_of(num_frames)
    valid_s = min(window_s, header.duration_s)
    start_s = (header.duration_s - valid_s) / 2
    times_s = sample_times(header, wanted, (start_s, start_s + valid_s), sampling)
    return [int(np.ceil(time_s * FPS - 1e-6)) - 1 for time_s in times_s]


def test_every_kth_frame_is_spread_over_the_whole_file() -> None:
    # 0, 30, ..., 270 are ten candidates; the centres of four equal parts of them are 1, 3, 6 and 8
    assert sampled(300, 4, Sampling("every_k", every_k=30)) == [30, 90, 180, 240]
    assert sampled(300, 10, Sampling("every_k", every_k=30)) == list(range(0, 300, 30))


def test_fewer_candidates_than_wanted_are_repeated() -> None:
    assert sampled(50, 5, Sampling("every_k", every_k=30)) == [0, 0, 30, 30, 30]
    assert sampled(3, 6, Sampling("random")) == [0, 0, 1, 1, 2, 2]


def test_crops_of_the_spread_window_interleave() -> None:
    crops = [sampled(100, 4, Sampling("spread", crop=i, num_crops=4), window_s=0.64) for i in range(4)]
    # the window is frames 42 to 57: every crop takes four of these 16
    assert crops == [[42 + i, 46 + i, 50 + i, 54 + i] for i in range(4)]


@given(
    kind=st.sampled_from(KINDS),
    num_frames=st.integers(1, 400),
    wanted=st.integers(1, 16),
    num_crops=st.integers(1, 8),
    every_k=st.integers(1, 40),
    seed=st.integers(0, 5),
)
def test_crops_are_disjoint_and_inside_the_file(
    kind: str, num_frames: int, wanted: int, num_crops: int, every_k: int, seed: int
) -> None:
    seen: set[int] = set()
    for crop in range(num_crops):
        sampling = Sampling(kind, every_k, seed, crop, num_crops)
        try:
            indices = sampled(num_frames, wanted, sampling)
        except ClipError:
            # only where there are more crops than candidates
            candidates = {"spread": min(num_frames, 40), "random": num_frames}
            assert candidates.get(kind, -(-num_frames // every_k)) <= crop
            continue
        assert len(indices) == wanted
        assert indices == sorted(indices)
        assert indices[0] >= 0
        assert indices[-1] < num_frames
        assert not seen & set(indices)
        seen |= set(indices)
        assert sampled(num_frames, wanted, sampling) == indices


def test_random_frames_hang_on_the_files_name_alone() -> None:
    here, there = Path("a/x.mp4"), Path("b/c/x.mp4")
    assert file_seed(here) == file_seed(there)
    assert file_seed(here) != file_seed(Path("a/y.mp4"))
    draws = {tuple(sampled(250, 4, Sampling("random", seed=seed))) for seed in range(20)}
    assert len(draws) == 20


def test_random_frames_cover_the_file_evenly() -> None:
    drawn = np.concatenate([sampled(100, 10, Sampling("random", seed=seed)) for seed in range(300)])
    counts = np.bincount(drawn // 10, minlength=10)
    # 300 expected in each tenth, with a deviation of about 15
    assert np.abs(counts - 300).max() < 70


def test_one_crop_too_many_is_a_clip_error() -> None:
    with pytest.raises(ClipError, match="too few frames for 3 disjoint crops"):
        sampled(2, 1, Sampling("random", crop=2, num_crops=3))
