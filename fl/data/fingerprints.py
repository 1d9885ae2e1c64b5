"""Perceptual fingerprints: do two files show the same recording, whatever they were encoded with?

A fingerprint is the perceptual hash (DCT signs against the median, after Zauner, "Implementation and
benchmarking of perceptual image hash functions", 2010) of three pictures of a file, 255 bits each.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

NUM_PICTURES = 3
"""Pictures of a file that are hashed."""
NEAR_SHARE = 0.10
"""Files whose fingerprints differ in at most this share of their bits are near-duplicates.

Measured: copies at CRF 28 to 35 and half to one and a half times the size differ in .01 to .07 of the bits;
at CRF 40 in up to .07 (recorded people) and .13 (rendered ones, whose backgrounds are plainer). Recorded
strangers in one studio differ in .23 and more, the nearest of 360 rendered people in .125 and more;
unrelated pictures in about half.
"""

_SIDE = 64  # pictures are shrunk to this before the DCT, pixels
_KEPT = 16  # lowest frequencies along each axis
_BITS = _KEPT * _KEPT - 1  # without the mean
_FLAT = 2.0  # a picture whose grey levels deviate by less shows nothing


def picture_hash(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the 255 lowest DCT frequencies of a picture lie above their median.

    Args:
        picture: (H, W, 3) uint8 RGB, of any size.

    Returns:
        (255,) bool; of a picture of one colour all False, which says nothing: see `fingerprint`.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    lowest = cv2.dct(small - small.mean())[:_KEPT, :_KEPT].ravel()[1:]
    return np.asarray(lowest > np.median(lowest))


def fingerprint(pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    """The hashes of ``NUM_PICTURES`` pictures of a file, packed.

    Args:
        pictures: each (H, W, 3) uint8 RGB, in order.

    Returns:
        96 bytes; none if a picture is nearly flat (black, say), for flat pictures are all alike.
    """
    if any(float(picture.std()) < _FLAT for picture in pictures):
        return b""
    bits = np.concatenate([picture_hash(picture) for picture in pictures])
    return np.packbits(bits).tobytes()


def pack(fingerprints: Sequence[bytes]) -> NDArray[np.uint64]:
    """(n, words) uint64 of n fingerprints, none of them empty."""
    return np.frombuffer(b"".join(fingerprints), dtype=np.uint64).reshape(len(fingerprints), -1)


def differing_shares(one: NDArray[np.uint64], many: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The share of bits, [0, 1], by which a packed fingerprint, (words,), differs from each of (n, words)."""
    num_bits = np.bitwise_count(many ^ one).sum(axis=1, dtype=np.int64)
    return np.asarray(num_bits / (NUM_PICTURES * _BITS))
