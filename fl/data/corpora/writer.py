"""Writing a recording as an MP4 file: H.264 pictures, AAC sound."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from fl.data.corpora.recording import Recording

SAMPLE_RATE = 16_000
AAC_FRAME = 1024


@dataclass(frozen=True)
class Encoding:
    """How hard a clip is compressed; drawn apart from its label so that size tells nothing.

    Attributes:
        crf: constant rate factor of x264; larger is worse.
        audio_bps: bit rate of AAC, bits per second.
    """

    crf: int
    audio_bps: int


def draw_encoding(rng: np.random.Generator) -> Encoding:
    """Choose an encoding: crf 20 to 26, 32 to 64 kbit/s."""
    return Encoding(crf=int(rng.integers(20, 27)), audio_bps=int(rng.choice([32_000, 48_000, 64_000])))


def write_mp4(path: Path, recording: Recording, encoding: Encoding) -> None:
    """Encode ``recording`` to ``path``, one thread, same bytes for the same input.

    Width and height must be even.
    """
    fps = Fraction(recording.fps).limit_denominator(1001)
    height, width = recording.frames.shape[1:3]
    reformatter = VideoReformatter()
    with av.open(str(path), mode="w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.thread_count = 1
        # x264's macroblock tree is left out: its result is not the same in every run.
        video.options = {"preset": "veryfast", "crf": str(encoding.crf), "x264-params": "no-mbtree=1"}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = encoding.audio_bps
        audio.options = {"aac_coder": "fast"}
        for picture in recording.frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(video.encode(reformatter.reformat(frame, format="yuv420p", threads=1)))
        container.mux(video.encode(None))
        samples = recording.audio.astype(np.float32)
        for start in range(0, len(samples), AAC_FRAME):
            part = av.AudioFrame.from_ndarray(
                samples[None, start : start + AAC_FRAME], format="fltp", layout="mono"
            )
            part.sample_rate, part.pts = SAMPLE_RATE, start
            container.mux(audio.encode(part))
        container.mux(audio.encode(None))
