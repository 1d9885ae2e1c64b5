"""Reads image files: the size from the header first, then one picture, upright as its EXIF says."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from fl.data.headers import Header, check_size, open_file
from fl.errors import ClipError
from fl.settings import MediaSettings

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")

_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")


def is_image(head: bytes) -> bool:
    """Whether a file that starts with ``head`` (12 bytes or more) is a PNG, JPEG, BMP or WebP."""
    return head.startswith(_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def read_image_header(path: Path, limits: MediaSettings) -> Header:
    """The size of an image, without decoding it.

    Raises:
        ClipError: not an image, or larger than ``limits.max_side``.
    """
    with _opened(path, limits) as image:
        return _header(image)


def read_image(path: Path, limits: MediaSettings) -> tuple[NDArray[np.uint8], Header]:
    """The picture of an image file, the first of an animation; transparency is dropped.

    Returns:
        (H, W, 3) uint8 RGB, upright, and the header.

    Raises:
        ClipError: not an image, damaged, cut off, or larger than ``limits.max_side``.
    """
    with _opened(path, limits) as image:
        header = _header(image)
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):  # 16 bits of grey: convert() would clip them, not scale
            grey = (np.asarray(upright).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(grey[..., None], 3, axis=2), header
        return np.asarray(upright.convert("RGB"), dtype=np.uint8), header


@contextmanager
def _opened(path: Path, limits: MediaSettings) -> Iterator[Image.Image]:
    with open_file(path) as file:
        try:
            with warnings.catch_warnings():
                # Pillow warns above a size of its own; ours is checked on the next line.
                warnings.simplefilter("ignore")
                image = Image.open(file, formats=FORMATS)
                check_size(image.width, image.height, limits)
                yield image
        except ClipError:
            raise
        # Pillow's plugins let errors of parsing through as they are.
        except (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError) as error:
            raise ClipError(f"cannot be decoded: {type(error).__name__}: {error}") from error
        except Image.DecompressionBombError as error:
            raise ClipError(f"too large: {error}; the limit is {limits.max_side} pixels a side") from error


def _header(image: Image.Image) -> Header:
    return Header(0.0, 0.0, image.width, image.height, False, (image.format or "").lower(), 1)
