"""What happens to a video on its way through the net: JPEG, resizing, blur, noise, H.264.

JPEG, resizing, blur and noise act on what the network sees, the crops, of which strengths are told in
pixels and grey levels. H.264 is encoded anew from the whole file, with pictures that depend on each other,
and then cropped where the face was found in the original: only what the codec does is measured.
"""

import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import cv2
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from fl.data.augment import Frames, blur, compress
from fl.data.containers import check_header, opened, video_stream
from fl.data.decoding import Stretch, decode
from fl.data.headers import DEFAULT_LIMITS
from fl.data.media import upright_rgb
from fl.data.reading import cut_boxes, read_frames
from fl.data.sound import Sound
from fl.settings import ClipSettings, MediaSettings

H264 = "h264"

LEVELS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "jpeg": (95, 80, 65, 50, 30),
        "resize": (0.75, 0.5, 0.35, 0.25),
        "blur": (0.5, 1, 1.5, 2.5),
        "noise": (4, 8, 16, 32),
        H264: (18, 23, 28, 33, 40),
    }
)
"""Kind -> levels, each worse than the one before."""

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "jpeg": "quality of libjpeg",
        "resize": "side, as a share, to which the crop is shrunk and back",
        "blur": "deviation of the Gaussian, pixels of the crop",
        "noise": "deviation of the Gaussian, grey levels of 255",
        H264: "constant rate factor of x264, of the whole file",
    }
)
"""Kind -> what its levels mean."""

_TICKS = 90_000  # of the encoded video's clock a second


def degrade_crops(clip: Frames, kind: str, level: float, rng: np.random.Generator) -> Frames:
    """A clip's crops, made worse; the same size.

    Args:
        clip: (num_frames, height, width, 3) RGB; left as it is.
        kind: a key of `LEVELS` but "h264".
        level: see `UNITS`; JPEG's is in [1, 100], the share in (0, 1], deviations are at least 0.
        rng: draws the noise, anew for each frame.

    Raises:
        KeyError: no such kind.
    """
    makers = {
        "jpeg": lambda: compress(clip, int(level)),
        "resize": lambda: blur(clip, level),
        "blur": lambda: soften(clip, level),
        "noise": lambda: add_noise(clip, level, rng),
    }
    return makers[kind]()


def soften(clip: Frames, sigma: float) -> Frames:
    """Gaussian blur of every frame, as a lens out of focus; 0 changes nothing."""
    if sigma == 0:
        return clip.copy()
    return np.asarray([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in clip], dtype=np.uint8)


def add_noise(clip: Frames, sigma: float, rng: np.random.Generator) -> Frames:
    """Independent Gaussian noise on every value, as a sensor in the dark; 0 changes nothing."""
    noisy = clip + sigma * rng.standard_normal(clip.shape, dtype=np.float32)
    return np.asarray(np.clip(np.rint(noisy), 0, 255), dtype=np.uint8)


def reencoded_crops(
    path: Path,
    crf: float,
    boxes: NDArray[np.float32],
    settings: ClipSettings,
    limits: MediaSettings = DEFAULT_LIMITS,
    *,
    crop: int = 0,
    num_crops: int = 1,
) -> Frames:
    """A file's crops after its pictures went through H.264 once more.

    Args:
        path: a video.
        crf: constant rate factor of x264, [0, 51]; higher is worse.
        boxes: (num_frames, 4) of the original's face track, as `fl.data.reading.read_clip` gives.
        settings: how the clip was read.
        limits: what the file may claim of itself.
        crop: as in `fl.data.reading.read_clip`.
        num_crops: as there.

    Returns:
        (num_frames, image_size, image_size, 3).

    Raises:
        ClipError: the file cannot be used.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The same name: frames that are drawn at random are drawn by it.
        encoded = Path(folder) / path.name
        reencode(path, encoded, crf, limits)
        window = read_frames(encoded, settings, crop=crop, num_crops=num_crops, limits=limits)
    return cut_boxes(window.frames, boxes, settings)


def reencode(source: Path, out: Path, crf: float, limits: MediaSettings = DEFAULT_LIMITS) -> None:
    """Write the pictures of a video as H.264 in MP4, upright, without sound; times are kept.

    Raises:
        ClipError: the source cannot be used.
    """
    options = {"crf": f"{crf:g}", "preset": "veryfast", "threads": "1"}
    with opened(source, limits) as container, out.open("w+b") as file:
        video = video_stream(container, limits)
        header = check_header(container, video, limits)
        everything = [Stretch(0.0, header.duration_s, has_sound=False)]
        reformatter, last = VideoReformatter(), -1
        with av.open(file, "w", format="mp4") as output:
            stream = output.add_stream(
                "libx264", rate=Fraction(header.fps).limit_denominator(1001), options=options
            )
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = Fraction(1, _TICKS)
            for time_s, decoded in decode(container, video, header, Sound(0.0, 0.0), everything):
                pts = round(time_s * _TICKS)
                if pts <= last:
                    continue
                frame = _encodable(decoded, reformatter)
                if last < 0:
                    stream.width, stream.height = frame.width, frame.height
                frame.pts, frame.time_base, last = pts, Fraction(1, _TICKS), pts
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))


def _encodable(decoded: Any, reformatter: VideoReformatter) -> Any:
    """A frame, upright, as 4:2:0 with even sides; by way of RGB, which rounds, only if it is turned."""
    turned = round(decoded.rotation / 90) % 4
    if turned:
        rgb = np.ascontiguousarray(upright_rgb(decoded, reformatter))
        decoded = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    width, height = decoded.width - decoded.width % 2, decoded.height - decoded.height % 2
    frame = reformatter.reformat(decoded, width, height, "yuv420p", threads=1)
    frame.pict_type = PictureType.NONE  # or the encoder would repeat the original's choice of key frames
    return frame
