import itertools
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clip_files import flat_frames, write_clip
from corpus_trees import rendered_corpus
from hypothesis import given
from hypothesis import strategies as st

from fl.data.corpora import lavdf
from fl.data.fingerprints import NEAR_SHARE, differing_shares, fingerprint, pack
from fl.data.inspection import inspect_file
from fl.settings import MediaSettings

HEADS = Path(__file__).resolve().parents[2] / "shared" / "realdata" / "talking_heads"
RECODINGS = ((35, 1.0), (28, 0.5), (35, 1.5))  # CRF, size


def of_file(path: Path) -> bytes:
    return inspect_file(path, MediaSettings(), look=True).fingerprint


def of_copy(path: Path, crf: int, scale: float, folder: Path) -> bytes:
    """Of the same recording in another resolution and at another quality."""
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    height, width = (2 * round(side * scale / 2) for side in pictures[0].shape[:2])
    frames = np.stack([cv2.resize(picture, (width, height)) for picture in pictures])
    copy = folder / f"{path.stem}-{crf}.mp4"
    write_clip(copy, frames, None, crf=crf)
    return of_file(copy)


def shares(prints: list[bytes]) -> np.ndarray:
    packed = pack(prints)
    return np.stack([differing_shares(one, packed) for one in packed])


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(lambda: [c.path for c in lavdf.read(rendered_corpus()) if not c.label], id="rendered"),
        pytest.param(
            lambda: sorted(HEADS.glob("*.mpg")),
            id="recorded",
            marks=pytest.mark.skipif(not HEADS.is_dir(), reason="the recorded people are not here"),
        ),
    ],
)
def test_copies_are_near_and_different_people_are_not(files, tmp_path):
    paths = files()
    distances = shares([of_file(path) for path in paths])
    different = [distances[i, j] for i, j in itertools.combinations(range(len(paths)), 2)]
    assert min(different) > NEAR_SHARE
    for path, (crf, scale) in zip(paths[:6], itertools.cycle(RECODINGS)):
        distance = shares([of_file(path), of_copy(path, crf, scale, tmp_path)])[0, 1]
        assert 0 < distance <= NEAR_SHARE


def test_a_flat_picture_has_no_fingerprint():
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    black = flat_frames([0], (48, 64))[0]
    assert len(fingerprint([noise, noise, noise])) == 96
    assert fingerprint([noise, black, noise]) == b""


@given(st.lists(st.binary(min_size=96, max_size=96), min_size=1, max_size=6))
def test_differing_shares_count_bits(prints):
    bits = np.array([np.unpackbits(np.frombuffer(one, dtype=np.uint8)) for one in prints], dtype=int)
    expected = np.abs(bits[:, None] - bits[None]).sum(axis=2) / 765
    np.testing.assert_allclose(shares(prints), expected)
