"""Small video files written by PyAV alone, and a drawn face that the Haar cascade finds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FPS = 25


def tone(
    duration_s: float, *, rate: int = 16_000, hz: float = 440.0, amplitude: float = 0.5
) -> NDArray[np.float32]:
    times_s = np.arange(round(duration_s * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hz * times_s)).astype(np.float32)


def flat_frames(levels: Sequence[int], size: tuple[int, int] = (64, 64)) -> NDArray[np.uint8]:
    """One grey frame per level."""
    return np.stack([np.full((*size, 3), level, dtype=np.uint8) for level in levels])


def draw_face(size: int, left: int, top: int, side: int) -> NDArray[np.uint8]:
    """A picture of size x size with a cartoon of a face in the square at (left, top)."""
    picture = np.full((size, size, 3), (90, 110, 140), dtype=np.uint8)
    add_face(picture, left, top, side)
    return picture


def add_face(picture: NDArray[np.uint8], left: int, top: int, side: int) -> None:
    def at(u: float, v: float) -> tuple[int, int]:
        return int(left + u * side), int(top + v * side)

    def oval(u: float, v: float, width: float, height: float, colour: tuple[int, int, int]) -> None:
        cv2.ellipse(picture, at(u, v), (int(width * side), int(height * side)), 0, 0, 360, colour, -1)

    oval(0.5, 0.5, 0.42, 0.56, (215, 175, 150))
    for u in (0.3, 0.7):
        oval(u, 0.36, 0.13, 0.07, (120, 85, 70))
        oval(u, 0.37, 0.05, 0.05, (30, 20, 20))
    cv2.rectangle(picture, at(0.45, 0.3), at(0.55, 0.62), (235, 200, 175), -1)
    oval(0.5, 0.65, 0.09, 0.03, (150, 110, 95))
    oval(0.5, 0.8, 0.17, 0.05, (130, 60, 60))
    picture[:] = cv2.GaussianBlur(picture, (0, 0), side / 40)


def write_clip(
    path: Path | Any,
    frames: NDArray[np.uint8],
    audio: NDArray[np.float32] | None,
    *,
    container: str = "mp4",
    rate: int = 16_000,
    audio_codec: str = "aac",
    video_codec: str = "libx264",
    crf: int = 12,
    faststart: bool = False,
    gop: int = 12,
) -> None:
    """Write (T, H, W, 3) frames at 25 fps and (samples,) or (samples, channels) sound."""
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(path, "w", format=container, options=options) as output:
        coding = {"crf": str(crf), "preset": "veryfast", "threads": "1"} if video_codec == "libx264" else {}
        video = output.add_stream(video_codec, rate=FPS, options=coding)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        video.gop_size = gop
        sound = None
        if audio is not None:
            layout = "mono" if audio.ndim == 1 else "stereo"
            sound = output.add_stream(audio_codec, rate=rate, layout=layout)
        for i, frame in enumerate(frames):
            output.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            if sound is not None and audio is not None:  # interleaved, as players expect
                begin, end = (round(j * rate / FPS) for j in (i, i + 1))
                piece = audio[begin:] if i == len(frames) - 1 else audio[begin:end]
                _write_sound(output, sound, piece, begin, rate)
        output.mux(video.encode(None))
        if sound is not None:
            output.mux(sound.encode(None))


def _write_sound(output: Any, sound: Any, piece: NDArray[np.float32], begin: int, rate: int) -> None:
    if not len(piece):
        return
    channels = piece[None, :] if piece.ndim == 1 else np.ascontiguousarray(piece.T)
    layout = "mono" if len(channels) == 1 else "stereo"
    if sound.codec_context.format.name.startswith("s16"):
        integers = np.round(channels * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(integers.T.reshape(1, -1), format="s16", layout=layout)
    else:
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
    frame.sample_rate, frame.pts = rate, begin
    output.mux(sound.encode(frame))
