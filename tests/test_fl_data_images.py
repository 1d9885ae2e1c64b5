import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from clip_files import draw_face
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fl.data.containers import read_header
from fl.data.headers import DEFAULT_LIMITS, Header
from fl.data.images import is_image, read_image
from fl.data.media import read_window
from fl.data.reading import read_clip
from fl.data.sampling import Sampling
from fl.errors import ClipError
from fl.settings import ClipSettings, MediaSettings

FORMATS = ("png", "jpeg", "bmp", "webp")
SETTINGS = ClipSettings(num_frames=3, image_size=32, num_mfcc=5, window_s=0.8)


def save(folder: Path, kind: str, picture: np.ndarray | None = None) -> Path:
    path = folder / f"a.{kind}"
    shown = draw_face(128, 20, 30, 70) if picture is None else picture
    Image.fromarray(shown).save(path, format=kind, quality=95)
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_image_is_a_clip_of_one_frame_without_sound(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, kind)
    assert read_header(path) == Header(0.0, 0.0, 128, 128, False, kind, 1)
    window = read_window(path, num_frames=3, window_s=0.8)
    assert window.frames.shape == (3, 128, 128, 3)
    assert np.abs(window.frames[2].astype(int) - draw_face(128, 20, 30, 70)).mean() < 3
    clip = read_clip(path, SETTINGS)
    assert clip.frames.shape == (3, 32, 32, 3)
    assert (clip.frames == clip.frames[0]).all()
    assert clip.times_s.tolist() == [0, 0, 0]
    assert (clip.has_audio, clip.valid_steps) == (False, 40)
    assert not clip.mfcc.any()
    assert clip.header.codec == kind


@pytest.mark.parametrize("kind", FORMATS)
def test_size_is_checked_in_the_header_and_names_do_not_matter(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, kind).rename(tmp_path / "a.mp4")
    with pytest.raises(ClipError, match=r"128x128 pixels, the limit is 127 a side \(data\.media\.max_side\)"):
        read_clip(path, SETTINGS, limits=MediaSettings(max_side=127))
    assert read_clip(path, SETTINGS).frames.shape == (3, 32, 32, 3)


def test_picture_that_only_claims_to_be_huge_is_refused_before_decoding(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for side in (8192, 100_000):  # the second is above Pillow's own limit too
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        path = tmp_path / "a.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"no pixels at all"))
        with pytest.raises(ClipError, match=r"the limit is 4096"):
            read_image(path, DEFAULT_LIMITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((40, 60, 3), dtype=np.uint8)
    upright[:20, :30] = 255
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = Image.fromarray(upright)
    if orientation in back:
        stored = stored.transpose(back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    picture, _ = read_image(tmp_path / "a.png", DEFAULT_LIMITS)
    np.testing.assert_array_equal(picture, upright)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1", "I;16"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.tile(np.repeat(np.array([0, 255], np.uint8), 16), (32, 1))
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "a.png")
    picture, _ = read_image(tmp_path / "a.png", DEFAULT_LIMITS)
    np.testing.assert_array_equal(picture, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_off_image_is_a_clip_error(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path, kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ClipError, match="cannot be decoded"):
        read_image(path, DEFAULT_LIMITS)


@settings(max_examples=120)
@given(data=st.data())
def test_damaged_image_is_a_clip_error_or_still_a_picture(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from(FORMATS))
    path = save(tmp_path_factory.mktemp("damaged"), kind, draw_face(48, 5, 5, 30))
    contents = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(4, min(len(contents) - 1, 400)))
        contents[place] = data.draw(st.integers(0, 255))
    path.write_bytes(contents)
    try:
        picture, header = read_image(path, DEFAULT_LIMITS)
    except ClipError:
        return
    assert picture.dtype == np.uint8
    assert sorted(picture.shape[:2]) == sorted((header.height, header.width))


def test_second_crop_of_one_picture_is_a_clip_error(tmp_path: Path) -> None:
    path = save(tmp_path, "png")
    with pytest.raises(ClipError, match="too few frames for 2 disjoint crops"):
        read_window(path, num_frames=1, window_s=0.8, sampling=Sampling("random", crop=1, num_crops=2))


def test_formats_are_told_by_their_first_bytes() -> None:
    assert not is_image(b"RIFF\x00\x00\x00\x00AVI LIST")
    assert is_image(b"RIFF\x00\x00\x00\x00WEBPVP8 ")
    assert not is_image(b"GIF89a" + bytes(20))
    assert not is_image(b"")
